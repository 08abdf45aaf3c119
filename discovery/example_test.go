package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// A program registers itself, says how it is, and leaves.
func ExampleRegister() {
	agent := consulmock.NewServer() // stands for the local agent
	defer agent.Close()
	client := agent.Client()

	ctx := context.Background()
	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		Name: "web", ID: "web-1", Port: 8080,
		Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
	}, &discovery.RegisterOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		fmt.Println(err)
		return
	}
	print := func() {
		instances, _, err := client.Health().Service(ctx, "web", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, i := range instances {
			fmt.Println(i.Service.ID, i.Checks.AggregatedStatus())
		}
		if len(instances) == 0 {
			fmt.Println("none")
		}
	}
	print()
	if err := reg.Close(); err != nil {
		fmt.Println(err)
	}
	print()
	// Output:
	// web-1 passing
	// none
}

// A function is asked before each heartbeat how the service is.
func ExampleRegister_health() {
	agent := consulmock.NewServer()
	defer agent.Close()

	ping := func(context.Context) error { return errors.New("database is read-only") }
	reg, err := discovery.Register(context.Background(), agent.Client(), &consul.AgentServiceRegistration{Name: "web"},
		&discovery.RegisterOptions{
			TTL: 20 * time.Second,
			Health: func(ctx context.Context) (consul.HealthStatus, string) {
				if err := ping(ctx); err != nil {
					return consul.HealthWarning, err.Error()
				}
				return consul.HealthPassing, ""
			},
		})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reg.Close()

	checks, err := agent.Client().Agent().Checks(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for id, check := range checks {
		fmt.Println(id, check.Status, check.Output)
	}
	// Output:
	// service:web warning database is read-only
}

// A loop sees the healthy instances of a service, and every change of them.
func ExampleWatchService() {
	agent := consulmock.NewServer()
	defer agent.Close()

	opts := &discovery.WatchOptions{Query: consul.QueryOptions{PassingOnly: true}}
	for entries, err := range discovery.WatchService(context.Background(), agent.Client(), "db", opts) {
		if err != nil {
			fmt.Println(err) // the watch goes on
			continue
		}
		fmt.Println(len(entries), "instances")
		if len(entries) == 2 {
			break
		}
		id := fmt.Sprint("db-", len(entries)+1)
		agent.AddService(&consul.AgentServiceRegistration{Name: "db", ID: id}) // somebody starts one
	}
	// Output:
	// 0 instances
	// 1 instances
	// 2 instances
}

// Whatever an agent lets one wait for can be watched: here the names of all
// services.
func ExampleWatch() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()

	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Tags: []string{"v1"}})
	for services, err := range discovery.Watch(context.Background(), client.Catalog().Services, nil) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		for _, name := range []string{"db", "web"} {
			if tags, ok := services[name]; ok {
				fmt.Println(name, tags)
			}
		}
		if services["db"] != nil {
			break
		}
		agent.AddService(&consul.AgentServiceRegistration{Name: "db"})
	}
	// Output:
	// web [v1]
	// db []
	// web [v1]
}

// A key can be watched before it exists: it is nil then.
func ExampleWatch_key() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()

	feature := func(ctx context.Context, q *consul.QueryOptions) (*consul.KVPair, *consul.QueryMeta, error) {
		return client.KV().Get(ctx, "features/search", q)
	}
	for pair, err := range discovery.Watch(context.Background(), feature, nil) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		if pair != nil {
			fmt.Printf("search is %s\n", pair.Value)
			break
		}
		fmt.Println("no such key yet")
		agent.SetKey("features/search", []byte("on"))
	}
	// Output:
	// no such key yet
	// search is on
}

// And so can all keys that start with a prefix, before there are any.
func ExampleWatch_prefix() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()

	features := func(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, *consul.QueryMeta, error) {
		return client.KV().List(ctx, "features/", q)
	}
	for pairs, err := range discovery.Watch(context.Background(), features, nil) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(len(pairs), "keys")
		if len(pairs) > 0 {
			fmt.Printf("%s is %s\n", pairs[0].Key, pairs[0].Value)
			break
		}
		agent.SetKey("features/search", []byte("on"))
	}
	// Output:
	// 0 keys
	// 1 keys
	// features/search is on
}

// The nodes are watched in the same way.
func ExampleWatch_nodes() {
	agent := consulmock.NewServer()
	defer agent.Close()

	for nodes, err := range discovery.Watch(context.Background(), agent.Client().Catalog().Nodes, nil) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		for _, n := range nodes {
			fmt.Println(n.Node, n.Address)
		}
		break
	}
	// Output:
	// node1 127.0.0.1
}

// A function literal makes a Query of what takes more arguments: here the checks
// that are critical.
func ExampleWatch_checks() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()

	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Hour}})
	critical := func(ctx context.Context, q *consul.QueryOptions) (consul.HealthChecks, *consul.QueryMeta, error) {
		return client.Health().State(ctx, consul.HealthCritical, q)
	}
	for checks, err := range discovery.Watch(context.Background(), critical, nil) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		if len(checks) == 0 {
			fmt.Println("all is well")
			break
		}
		for _, c := range checks {
			fmt.Println(c.CheckID, c.Status)
		}
		agent.SetCheckStatus("service:web", consul.HealthPassing, "")
	}
	// Output:
	// service:web critical
	// all is well
}

// A resolver picks instances from memory.
func ExampleResolver() {
	agent := consulmock.NewServer()
	defer agent.Close()
	for n := range 3 {
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: fmt.Sprint("web-", n), Address: "10.0.0.1", Port: 8080 + n})
	}

	resolver := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{Balancer: discovery.RoundRobin})
	defer resolver.Close()
	var picked []string
	for range 3 {
		instance, err := resolver.Pick(context.Background(), "web")
		if err != nil {
			fmt.Println(err)
			return
		}
		picked = append(picked, instance.HostPort())
	}
	slices.Sort(picked) // it begins anywhere
	fmt.Println(picked)
	// Output:
	// [10.0.0.1:8080 10.0.0.1:8081 10.0.0.1:8082]
}

// What fails is not picked for a while.
func ExampleResolver_Acquire() {
	agent := consulmock.NewServer()
	defer agent.Close()
	for _, id := range []string{"web-1", "web-2"} {
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: id})
	}
	resolver := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{Balancer: discovery.LeastLoaded})
	defer resolver.Close()

	first, done, err := resolver.Acquire(context.Background(), "web")
	if err != nil {
		fmt.Println(err)
		return
	}
	done(errors.New("connection refused"))
	for range 10 {
		second, done, err := resolver.Acquire(context.Background(), "web")
		if err != nil {
			fmt.Println(err)
			return
		}
		if second.ID == first.ID {
			fmt.Println("picked again")
		}
		done(nil)
	}
	fmt.Println("the other one was picked")
	// Output:
	// the other one was picked
}

// An http.Client sends requests to services by their names.
func ExampleNewTransport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s", r.Host)
	}))
	defer server.Close()
	agent := consulmock.NewServer()
	defer agent.Close()
	host, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Address: host, Port: n})

	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()
	client := &http.Client{Transport: discovery.NewTransport(resolver, nil), Timeout: 10 * time.Second}
	resp, err := client.Get("http://web.service.consul/status")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output:
	// hello from web.service.consul <nil>
}

// Everything that takes a function to dial with can use services by their names.
func ExampleResolver_DialContext() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "db", Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port})

	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()
	conn, err := resolver.DialContext(context.Background(), "tcp", "db:5432") // the port is the instance's
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(conn.RemoteAddr().String() == listener.Addr().String())
	// Output:
	// true
}
