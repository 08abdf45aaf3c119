package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// Old agents say things in another way. The client means the same by them.
func ExampleWithVersion() {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		agent := consulmock.NewServer(consulmock.WithVersion(version))
		err := agent.Client().Agent().PassTTL(context.Background(), "none", "")
		fmt.Println(errors.Is(err, consul.ErrUnknownCheck), err)
		agent.Close()
	}
	// Output:
	// true consul: PUT http://127.0.0.1:8500/v1/agent/check/pass/none: 500 CheckID "none" does not have associated TTL
	// true consul: PUT http://127.0.0.1:8500/v1/agent/check/pass/none: 404 Unknown check ID "none". Ensure that the check ID is passed, not the check name.
}

// An agent may be gone, come back, and have forgotten everything.
func ExampleServer_Restart() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	count := func() {
		services, err := client.Agent().Services(ctx, nil)
		fmt.Println(len(services), err != nil)
	}
	agent.AddService(&consul.AgentServiceRegistration{Name: "web"})
	count()
	agent.Stop()
	count()
	agent.Start()
	count()
	agent.Restart(false) // without its data
	count()
	// Output:
	// 1 false
	// 0 true
	// 1 false
	// 0 false
}

// AddNode is for what other agents, or none, have put into the catalog.
func ExampleServer_AddNode() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddNode(&consul.CatalogRegistration{
		Node: "node2", Address: "10.0.0.2",
		Service: &consul.AgentService{Service: "web", Port: 8080},
		Check:   &consul.AgentCheck{CheckID: "serfHealth", Name: "Serf Health Status", Status: consul.HealthPassing},
	})

	entries, _, err := agent.Client().Health().Service(context.Background(), "web", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Println(e.Node.Node, e.Node.Address, e.Service.Port, e.Checks.AggregatedStatus())
	}
	// Output: node2 10.0.0.2 8080 passing
}

// SetKey changes what the code under test waits for.
func ExampleServer_SetKey() {
	agent := consulmock.NewServer()
	defer agent.Close()
	kv, ctx := agent.Client().KV(), context.Background()
	agent.SetKey("app/colour", []byte("blue"))
	pairs, meta, err := kv.List(ctx, "app/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(pairs), string(pairs[0].Value))

	agent.SetKey("app/colour", []byte("red"))
	agent.SetKey("app/size", []byte("5"))
	agent.RemoveKey("app/size")
	pairs, _, err = kv.List(ctx, "app/", &consul.QueryOptions{WaitIndex: meta.LastIndex})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(pairs), string(pairs[0].Value))
	// Output:
	// 1 blue
	// 1 red
}

// Dump shows what the server knows. New logs it by itself when a test has failed.
func ExampleServer_Dump() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 8080})
	for _, line := range strings.Split(agent.Dump(), "\n") {
		if strings.Contains(line, "service web") {
			fmt.Println(strings.TrimSpace(line))
			break
		}
	}
	// Output: service web (web) :8080 []
}

// Handler puts the fake into a server of the caller's, here one that wants a
// password.
func ExampleServer_Handler() {
	agent := consulmock.NewServer()
	defer agent.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		agent.Handler().ServeHTTP(w, r)
	}))
	defer proxy.Close()

	for _, password := range []string{"guessed", "secret"} {
		client, err := consul.NewClient(consul.Config{Address: proxy.URL, BasicAuth: url.UserPassword("me", password)})
		if err != nil {
			fmt.Println(err)
			return
		}
		leader, err := client.Status().Leader(context.Background())
		var refused *consul.StatusError
		if errors.As(err, &refused) {
			fmt.Println(refused.Code, refused.Body)
		} else {
			fmt.Println(leader, err)
		}
		client.CloseIdleConnections()
	}
	// Output:
	// 401 who are you?
	// 127.0.0.1:8300 <nil>
}

// A fault is for the requests that it names, and happens once unless it says
// otherwise. Several wait in line.
func ExampleFault() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web"})
	agent.Inject(consulmock.Fault{Path: "/v1/health/**", RateLimit: 2 * time.Second})
	agent.Inject(consulmock.Fault{Path: "/v1/health/**", TruncateAt: 10})
	remove := agent.Inject(consulmock.Fault{Path: "/v1/agent/*", Always: true, Status: http.StatusTeapot, Body: "tea?"})

	client, ctx := agent.Client(), context.Background()
	for range 3 {
		_, _, err := client.Health().Service(ctx, "web", nil)
		var status *consul.StatusError
		switch {
		case errors.As(err, &status):
			fmt.Println(status.Code, errors.Is(err, consul.ErrRateLimited), status.RetryAfter)
		default:
			fmt.Println(err)
		}
	}
	_, err := client.Agent().Self(ctx)
	fmt.Println(err)
	remove()
	_, err = client.Agent().Self(ctx)
	fmt.Println(err)
	// Output:
	// 429 true 2s
	// consul: GET http://127.0.0.1:8500/v1/health/service/web: reading the response: unexpected EOF
	// <nil>
	// consul: GET http://127.0.0.1:8500/v1/agent/self: 418 tea?
	// <nil>
}

// What was never recorded is explained.
func ExampleNewReplayServer() {
	replay, err := consulmock.NewReplayServer("testdata/status-1.8.7.har", func(problem string) { fmt.Println(problem) })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer replay.Close()
	client, ctx := replay.Client(), context.Background()

	leader, err := client.Status().Leader(ctx)
	fmt.Println(leader, err)
	client.Agent().Services(ctx, nil)
	// Output:
	// 127.0.0.1:19503 <nil>
	// consulmock: testdata/status-1.8.7.har has no response for GET /v1/agent/services;
	// the nearest is e002 GET /v1/status/peers:
	// 	path: recorded /v1/status/peers, requested /v1/agent/services
}

// With probes the fake runs HTTP, TCP and UDP checks as an agent does.
func ExampleWithProbes() {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	agent := consulmock.NewServer(consulmock.WithProbes(true))
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{
		Name: "web", Check: &consul.AgentServiceCheck{
			HTTP: web.URL, Interval: time.Millisecond, Status: consul.HealthPassing,
		},
	})
	for entries, err := range discovery.WatchService(context.Background(), agent.Client(), "web", nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if status := entries[0].Checks.AggregatedStatus(); status != consul.HealthPassing {
			fmt.Println(status)
			return
		}
	}
	// Output: critical
}
