package configuration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

// A program looks values up whenever it needs them.
func ExampleNewView() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	agent.SetKey("app/web/log/level", []byte("info"))
	client, ctx := agent.Client(), context.Background()

	view, err := configuration.NewView(ctx, client, "app/web", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer view.Close()

	if level, ok := view.Get("log/level"); ok {
		fmt.Printf("log at level %s\n", level)
	}
	if _, ok := view.Get("log/file"); !ok {
		fmt.Println("log to the standard output")
	}
	// Output:
	// log at level info
	// log to the standard output
}

// Watch tells what has changed, and errors do not end it.
func ExampleWatch() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	agent.SetKey("app/web/greeting", []byte("hello"))
	agent.SetKey("app/web/limit", []byte("10"))
	client := agent.Client()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	edits := []func(){
		func() { agent.SetKey("app/web/greeting", []byte("good morning")) },
		func() { agent.RemoveKey("app/web/limit") },
		cancel,
	}
	for snapshot, err := range configuration.Watch(ctx, client, "app/web", nil) {
		if err != nil {
			continue // the last snapshot remains what is known
		}
		for _, key := range snapshot.Added {
			value, _ := snapshot.Get(key)
			fmt.Printf("%s is %s\n", key, value)
		}
		for _, key := range snapshot.Changed {
			value, _ := snapshot.Get(key)
			fmt.Printf("%s is %s now\n", key, value)
		}
		for _, key := range snapshot.Removed {
			fmt.Println(key, "is gone")
		}
		edits[0]()
		edits = edits[1:]
	}
	// Output:
	// greeting is hello
	// limit is 10
	// greeting is good morning now
	// limit is gone
}

// Values are JSON documents, each decoded into a type of the program's own. A document
// that is broken keeps the last good ones in use.
func ExampleDecode() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	agent.SetKey("app/routes/shop", []byte(`{"to": "http://shop:8080", "retries": 2}`))
	agent.SetKey("app/routes/blog", []byte(`{"to": "http://blog:8080"}`))
	client := agent.Client()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	type Route struct {
		To      string
		Retries int
	}
	decode := func(p *consul.KVPair) (r Route, err error) {
		err = json.Unmarshal(p.Value, &r)
		return r, err
	}
	var routes atomic.Pointer[map[string]Route] // what the rest of the program uses
	for values, err := range configuration.Decode(configuration.Watch(ctx, client, "app/routes", nil), decode) {
		if err != nil {
			fmt.Println(err)
			fmt.Println("still to", (*routes.Load())["shop"].To)
			cancel() // ends the loop
			continue // with what routes has
		}
		routes.Store(&values)
		fmt.Println("the shop is at", values["shop"].To)
		agent.SetKey("app/routes/shop", []byte(`{"to": `))
	}
	// Output:
	// the shop is at http://shop:8080
	// configuration: key "app/routes/shop": unexpected end of JSON input
	// still to http://shop:8080
}

// A folder is read once, for instance by a command that ends soon.
func ExampleLoad() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	agent.SetKey("app/web/log/level", []byte("info"))
	agent.SetKey("app/web/log/format", []byte("text"))
	client, ctx := agent.Client(), context.Background()

	snapshot, err := configuration.Load(ctx, client, "app/web", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, pair := range snapshot.Pairs {
		fmt.Printf("%s=%s\n", pair.Key, pair.Value)
	}
	// Output:
	// log/format=text
	// log/level=info
}

// Logs and metrics are events; nothing is logged without a Logger.
func ExampleOptions() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	agent.SetKey("app/web/limit", []byte("10"))
	client, ctx := agent.Client(), context.Background()

	var changes atomic.Int64
	view, err := configuration.NewView(ctx, client, "app/web", &configuration.Options{
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnEvent: func(e configuration.Event) {
			switch e := e.(type) {
			case configuration.ChangedEvent:
				changes.Add(1)
				fmt.Println("added:", e.Added)
			case configuration.WatchErrorEvent:
				fmt.Println("failed:", e.Failures)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	view.Close()
	fmt.Println("changes:", changes.Load())
	// Output:
	// added: [limit]
	// changes: 1
}
