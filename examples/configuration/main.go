// Configuration follows a folder of keys while it is edited: what is added, changed and
// removed, keys that are written together, and a document that is broken, which leaves
// the last good state in use.
//
//	go run ./examples/configuration
//
// It talks to an agent of its own, a fake one that lives in the program, and edits the
// keys itself. With a real agent it follows the folder until it is interrupted, and the
// edits are yours:
//
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./examples/configuration
//	consul kv put app/routes/shop '{"to": "http://shop:8080", "retries": 2}'
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

const folder = "app/routes"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "configuration:", err)
		os.Exit(1)
	}
}

// route is what a value is as JSON.
type route struct {
	To      string
	Retries int
}

func decode(p *consul.KVPair) (r route, err error) {
	if err = json.Unmarshal(p.Value, &r); err == nil && r.To == "" {
		err = errors.New(`"to" is missing`)
	}
	return r, err
}

func run(ctx context.Context, out io.Writer) error {
	client, next, closeClient, err := connect(ctx, out)
	if err != nil {
		return err
	}
	defer closeClient()

	// What the rest of a program uses: it is replaced as a whole, and read without a lock.
	var routes atomic.Pointer[map[string]route]
	routes.Store(new(map[string]route))

	snapshots := configuration.Watch(ctx, client, folder, nil)
	for values, err := range configuration.Decode(shown(out, snapshots), decode) {
		if err != nil {
			fmt.Fprintln(out, "error:", err)
		} else {
			routes.Store(&values)
		}
		fmt.Fprintln(out, "in use:", *routes.Load())
		if !next() {
			break
		}
	}
	return nil
}

// shown prints what has changed from one snapshot to the next.
func shown(out io.Writer, snapshots iter.Seq2[*configuration.Snapshot, error]) iter.Seq2[*configuration.Snapshot, error] {
	return func(yield func(*configuration.Snapshot, error) bool) {
		for s, err := range snapshots {
			if err == nil {
				fmt.Fprintf(out, "%s: added %q, changed %q, removed %q\n", s.Prefix, s.Added, s.Changed, s.Removed)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// connect returns a client: of the agent that the environment names, or of a fake one
// in which next makes one edit after the other, until there are none left.
func connect(ctx context.Context, out io.Writer) (client *consul.Client, next func() bool, closeClient func(), err error) {
	if os.Getenv("CONSUL_HTTP_ADDR") != "" {
		cfg, err := consul.ConfigFromEnv()
		if err != nil {
			return nil, nil, nil, err
		}
		client, err = consul.NewClient(cfg)
		return client, func() bool { return true }, func() {}, err
	}
	agent := consulmock.NewServer()
	client = agent.Client()
	edits := editsOf(ctx, client)
	next = func() bool {
		if len(edits) == 0 {
			return false
		}
		fmt.Fprintf(out, "\n# %s\n", edits[0].name)
		if err = edits[0].make(); err != nil {
			fmt.Fprintln(out, err)
			return false
		}
		edits = edits[1:]
		return true
	}
	return client, next, agent.Close, nil
}

// edit is what somebody does to the keys.
type edit struct {
	name string
	make func() error
}

func editsOf(ctx context.Context, client *consul.Client) []edit {
	put := func(name, value string) func() error {
		return func() error {
			return client.KV().Put(ctx, &consul.KVPair{Key: folder + "/" + name, Value: []byte(value)}, nil)
		}
	}
	return []edit{
		{"a key is added", put("shop", `{"to": "http://shop:8080", "retries": 2}`)},
		{"two keys are written together", func() error {
			_, err := client.Txn().Apply(ctx, []consul.TxnOp{
				{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: folder + "/shop", Value: []byte(`{"to": "http://shop:9090"}`)}},
				{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: folder + "/blog", Value: []byte(`{"to": "http://blog:9090"}`)}},
			}, nil)
			return err
		}},
		{"a document is broken", put("shop", `{"to": "http://sh`)},
		{"it is mended", put("shop", `{"to": "http://shop:9191"}`)},
		{"a key is deleted", func() error { return client.KV().Delete(ctx, folder+"/blog", nil) }},
	}
}
