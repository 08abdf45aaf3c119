package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/discovery"
)

// The functions up to the first test are those of README.md, which TestSnippets
// compares.

func connect() (*consul.Client, error) {
	cfg, err := consul.ConfigFromEnv() // CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, ...; without them, 127.0.0.1:8500
	if err != nil {
		return nil, err
	}
	return consul.NewClient(cfg)
}

func serve(ctx context.Context, client *consul.Client, work func(context.Context) error) error {
	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		ID: "web-8080", Name: "web", Port: 8080, // with a TTL check of 30 s, unless you give it checks
	}, nil)
	if err != nil {
		return err
	}
	defer reg.Close() // deregisters
	return work(ctx)
}

func follow(ctx context.Context, client *consul.Client, use func([]*consul.ServiceEntry)) {
	for entries, err := range discovery.WatchService(ctx, client, "db", nil) {
		if err != nil {
			log.Print(err) // the watch goes on
			continue
		}
		use(entries) // at once, and after each change
	}
}

func dial(ctx context.Context, resolver *discovery.Resolver) (net.Conn, error) {
	instance, err := resolver.Pick(ctx, "db") // a healthy one, from memory
	if err != nil {
		return nil, err
	}
	return net.Dial("tcp", instance.HostPort())
}

func lead(ctx context.Context, client *consul.Client, work func(context.Context) error) error {
	election := coordination.NewElection(client, "web/leader", nil)
	return election.Run(ctx, func(ctx context.Context, lease *coordination.Lease) error {
		return work(ctx) // ctx ends before another instance can lead
	})
}

func level(ctx context.Context, client *consul.Client) (string, error) {
	view, err := configuration.NewView(ctx, client, "web", nil) // a program has one, for as long as it runs
	if err != nil {
		return "", err
	}
	defer view.Close()
	value, _ := view.Get("log/level") // the key web/log/level, from memory
	return string(value), nil
}

func TestDatabaseGoesAway(t *testing.T) {
	agent := consulmock.New(t) // in memory; ends with the test
	agent.AddService(&consul.AgentServiceRegistration{Name: "db", Port: 5432})
	for entries, err := range discovery.WatchService(context.Background(), agent.Client(), "db", nil) {
		switch {
		case err != nil:
			t.Fatal(err)
		case len(entries) == 0:
			return // seen
		}
		agent.RemoveService("db")
	}
}

// TestReadme runs the functions of README.md.
func TestReadme(t *testing.T) {
	for _, name := range os.Environ() {
		if name, _, _ := strings.Cut(name, "="); strings.HasPrefix(name, "CONSUL_") {
			t.Setenv(name, "")
		}
	}
	agent := consulmock.New(t)
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL())
	client, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	services := func() (n int) {
		list, err := client.Agent().Services(ctx, nil)
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	during := 0
	err = serve(ctx, client, func(context.Context) error { during = services(); return io.EOF })
	if err != io.EOF || during != 1 || services() != 0 {
		t.Errorf("serve: %v with %d services, %d after it", err, during, services())
	}

	holder := ""
	err = lead(ctx, client, func(ctx context.Context) error {
		if pair, _, err := client.KV().Get(ctx, "web/leader", nil); err == nil {
			holder = pair.Session
		}
		return io.EOF
	})
	if err != io.EOF || holder == "" {
		t.Errorf("lead: %v, the key was held by %q", err, holder)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "well") }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, name := range []string{"db", "api"} {
		agent.AddService(&consul.AgentServiceRegistration{Name: name, Address: "127.0.0.1", Port: port})
	}
	watch, stop := context.WithCancel(ctx)
	follow(watch, client, func(entries []*consul.ServiceEntry) {
		if len(entries) != 1 {
			t.Errorf("follow: %d instances", len(entries))
		}
		stop()
	})

	resolver := discovery.NewResolver(client, nil)
	defer resolver.Close()
	conn, err := dial(ctx, resolver)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	web := &http.Client{Transport: discovery.NewTransport(resolver, nil)}
	resp, err := web.Get("http://api/status")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || string(body) != "well" {
		t.Errorf("http://api/status: %q, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()

	agent.SetKey("web/log/level", []byte("debug"))
	if got, err := level(ctx, client); got != "debug" || err != nil {
		t.Errorf("level: %q, %v", got, err)
	}
}
