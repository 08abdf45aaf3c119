// Quickstart shows the whole life of a service: three instances of web are
// registered, send heartbeats, are watched and picked; one fails and is seen
// leaving; then all are deregistered.
//
//	go run ./examples/quickstart
//
// It talks to an agent of its own, a fake one that lives in the program. To see
// the same with a real agent, name its address:
//
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./examples/quickstart
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

const ttl = 1500 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	client, closeClient, err := connect()
	if err != nil {
		return err
	}
	defer closeClient()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	log := &timeline{out: out, start: time.Now()}

	self, err := client.Agent().Self(ctx)
	if err != nil {
		return err
	}
	log.printf("agent", "%s, Consul %s", self.Config.NodeName, self.Config.Version)

	// Three instances register themselves, with three heartbeats in each TTL.
	heartbeats := make(chan string)
	instances := map[string]*discovery.Registration{}
	defer func() {
		for id, r := range instances {
			err = errors.Join(err, r.Close()) // deregisters, also after an interrupt
			log.printf("deregister", "%s", id)
		}
	}()
	for n, id := range []string{"web-1", "web-2", "web-3"} {
		instances[id], err = register(ctx, client, id, 8081+n, heartbeats)
		if err != nil {
			delete(instances, id)
			return err
		}
		log.printf("register", "%s, TTL %s", id, ttl)
	}

	// A client of theirs watches them.
	resolver := discovery.NewResolver(client, &discovery.ResolverOptions{Query: consul.QueryOptions{Tags: []string{"quickstart"}}})
	defer resolver.Close()
	views := watch(ctx, resolver, log)
	if err := await(ctx, views, "web-1 web-2 web-3"); err != nil {
		return err
	}
	if err := pick(ctx, resolver, log); err != nil {
		return err
	}
	for n := 0; n < 3; n++ {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for heartbeats: %w", ctx.Err())
		case id := <-heartbeats:
			log.printf("heartbeat", "%s is well", id)
		}
	}

	// One of them fails, and is not picked any more.
	instances["web-2"].SetStatus(consul.HealthCritical, "disk full")
	log.printf("fail", "web-2: disk full")
	if err := await(ctx, views, "web-1 web-3"); err != nil {
		return err
	}
	if err := pick(ctx, resolver, log); err != nil {
		return err
	}

	// All of them go.
	for _, id := range []string{"web-1", "web-2", "web-3"} {
		if err := instances[id].Close(); err != nil {
			return err
		}
		delete(instances, id)
		log.printf("deregister", "%s", id)
	}
	return await(ctx, views, "")
}

// connect returns a client for the agent at CONSUL_HTTP_ADDR, or for a fake one.
func connect() (client *consul.Client, closeClient func(), err error) {
	if os.Getenv("CONSUL_HTTP_ADDR") == "" {
		agent := consulmock.NewServer()
		return agent.Client(), agent.Close, nil
	}
	cfg, err := consul.ConfigFromEnv()
	if err != nil {
		return nil, nil, err
	}
	client, err = consul.NewClient(cfg)
	if err != nil {
		return nil, nil, err
	}
	return client, client.CloseIdleConnections, nil
}

// register registers an instance of web. Each of its heartbeats is sent to
// heartbeats if somebody receives it.
func register(ctx context.Context, client *consul.Client, id string, port int, heartbeats chan<- string) (*discovery.Registration, error) {
	return discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		ID:      id,
		Name:    "web",
		Address: "127.0.0.1",
		Port:    port,
		Tags:    []string{"quickstart"},
		Check:   &consul.AgentServiceCheck{TTL: ttl, DeregisterCriticalServiceAfter: time.Minute},
	}, &discovery.RegisterOptions{
		Health: func(context.Context) (consul.HealthStatus, string) {
			select {
			case heartbeats <- id:
			default:
			}
			return consul.HealthPassing, "serving"
		},
	})
}

// watch returns a channel that gets the IDs of the healthy instances whenever
// they change.
func watch(ctx context.Context, resolver *discovery.Resolver, log *timeline) <-chan string {
	views := make(chan string)
	go func() {
		for healthy, err := range resolver.Watch(ctx, "web") {
			if errors.Is(err, discovery.ErrClosed) {
				return
			}
			if err != nil {
				log.printf("watch", "%v", err)
				continue
			}
			ids := make([]string, len(healthy))
			for i, instance := range healthy {
				ids[i] = instance.ID
			}
			log.printf("watch", "%d healthy %s", len(ids), strings.Join(ids, " "))
			select {
			case views <- strings.Join(ids, " "):
			case <-ctx.Done():
			}
		}
	}()
	return views
}

// await returns when exactly the instances with these IDs have been seen.
func await(ctx context.Context, views <-chan string, want string) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the instances %q: %w", want, ctx.Err())
		case seen := <-views:
			if seen == want {
				return nil
			}
		}
	}
}

func pick(ctx context.Context, resolver *discovery.Resolver, log *timeline) error {
	instance, err := resolver.Pick(ctx, "web")
	if err != nil {
		return err
	}
	log.printf("pick", "%s at %s", instance.ID, instance.HostPort())
	return nil
}

// timeline prints lines with the time since it began.
type timeline struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func (l *timeline) printf(what, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%6.3fs  %-10s  %s\n", time.Since(l.start).Seconds(), what, fmt.Sprintf(format, args...))
}
