// Watch-services prints the healthy instances of every service, and every change
// of them, until it is interrupted. The agent is the one that Consul's own
// environment variables name, or the local one:
//
//	go run ./examples/watch-services
//
// It follows the list of services with one watch, and the instances of each with
// a resolver, which bounds the connections however many services there are.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		err = run(ctx, cfg, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run prints what happens until ctx ends.
func run(ctx context.Context, cfg consul.Config, out io.Writer) error {
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	resolver := discovery.NewResolver(client, &discovery.ResolverOptions{Logger: logger})
	defer resolver.Close()

	p := &printer{out: out}
	var loops sync.WaitGroup
	defer loops.Wait()
	watched := make(map[string]context.CancelFunc)
	options := &discovery.WatchOptions{Name: "services", Logger: logger}
	for services, err := range discovery.Watch(ctx, client.Catalog().Services, options) {
		if err != nil {
			continue // it is logged, and the watch goes on
		}
		for name := range services {
			if watched[name] != nil {
				continue
			}
			ctx, cancel := context.WithCancel(ctx)
			watched[name] = cancel
			loops.Add(1)
			go func() {
				defer loops.Done()
				for instances, err := range resolver.Watch(ctx, name) {
					if err == nil {
						p.print(name, instances)
					}
				}
			}()
		}
		for name, cancel := range watched {
			if _, ok := services[name]; !ok {
				cancel()
				delete(watched, name)
				p.print(name, nil)
			}
		}
	}
	for _, cancel := range watched {
		cancel()
	}
	return nil
}

type printer struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *printer) print(service string, instances []discovery.Instance) {
	var list []string
	for _, i := range instances {
		list = append(list, fmt.Sprintf("%s at %s", i.ID, i.HostPort()))
	}
	slices.Sort(list)
	if len(list) == 0 {
		list = []string{"none"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%s %s: %s\n", time.Now().Format(time.TimeOnly), service, strings.Join(list, ", "))
}
