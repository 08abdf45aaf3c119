package interop

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	official "github.com/go-micro/plugins/v4/registry/consul"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/client"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/selector"
	"go-micro.dev/v4/server"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro"
	"github.com/lictor-go/consul/internal/agenttest"
	"github.com/lictor-go/consul/internal/outage"
)

// The variables that make the test program a go-micro server.
const (
	envAdapter = "GOMICRO_TEST_ADAPTER" // a key of adapters
	envAgent   = "GOMICRO_TEST_AGENT"   // host:port
	envName    = "GOMICRO_TEST_NAME"
	envID      = "GOMICRO_TEST_ID"
	envCheck   = "GOMICRO_TEST_CHECK" // ttl or tcp
)

// adapter is one of the two registries.
type adapter struct {
	registry func(...registry.Option) registry.Registry
	tcpCheck func(time.Duration) registry.Option
}

var adapters = map[string]adapter{
	"ours":   {gomicro.NewRegistry, gomicro.TCPCheck},
	"theirs": {official.NewRegistry, official.TCPCheck},
}

func TestMain(m *testing.M) {
	logger.DefaultLogger = logger.NewLogger(logger.WithLevel(logger.FatalLevel))
	if os.Getenv(envAdapter) != "" {
		serve()
		return
	}
	os.Exit(m.Run())
}

// The times of the servers. go-micro's own are 30 s and 60 s or 90 s.
const (
	interval    = 5 * time.Second
	ttl         = 15 * time.Second
	tcpInterval = time.Second
)

// Greeter is the service.
type Greeter struct{ id string }

type (
	Request  struct{}
	Response struct{ ID string }
)

// Hello answers with the ID of the server.
func (g *Greeter) Hello(_ context.Context, _ *Request, rsp *Response) error {
	rsp.ID = g.id
	return nil
}

// serve is a server process. It ends when it is killed, or with the test.
func serve() {
	a := adapters[os.Getenv(envAdapter)]
	opts := []registry.Option{registry.Addrs(os.Getenv(envAgent))}
	if os.Getenv(envCheck) == "tcp" {
		opts = append(opts, a.tcpCheck(tcpInterval))
	}
	id := os.Getenv(envID)
	s := server.NewRPCServer(
		server.Name(os.Getenv(envName)), server.Id(id), server.Address("127.0.0.1:0"),
		server.Registry(a.registry(opts...)), server.Broker(broker.NewMemoryBroker()),
		server.RegisterInterval(interval), server.RegisterTTL(ttl),
	)
	if err := s.Handle(s.NewHandler(&Greeter{id})); err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	outage.Serve()
}

// scenario is how an instance is watched over, and what happens before it is
// killed.
type scenario struct {
	name   string
	check  string
	outage time.Duration // of the client's way to its agent, a second before the kill
	after  time.Duration // for how long calls go on when the agent has noticed the kill
}

var (
	tcpCheck  = scenario{"TCP check every 1 s", "tcp", 0, 5 * time.Second}
	scenarios = []scenario{
		tcpCheck,
		{"TTL of 15 s, refreshed every 5 s", "ttl", 0, 5 * time.Second},
		{"TCP check every 1 s, the client's agent away for 8 s before", "tcp", 8 * time.Second, 55 * time.Second},
	}
)

// TestCalls has two server processes and calls flowing to them, and kills one (as
// with kill -9): calls fail until the agent has noticed, and no longer.
func TestCalls(t *testing.T) {
	test := func(t *testing.T, c *consul.Client, address string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		// go-micro's cache begins to watch up to 100 ms after it has got the nodes. It
		// would not be told of a node that has gone in between, with any registry.
		results, err := killOne(ctx, "ours", "greeter", tcpCheck, time.Second, c, address)
		check(t, err)
		if r := results["ours"]; r.Lag > 4*time.Second {
			t.Errorf("calls failed for %s, of that %s after the agent had noticed: %v", r.Last, r.Lag, r.Errors)
		}
	}
	t.Run("fake", func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithProbes(true))
		u, err := url.Parse(fake.URL())
		check(t, err)
		test(t, fake.Client(), u.Host)
	})
	t.Run("real agent", func(t *testing.T) {
		a := agenttest.Start(t, agenttest.Options{})
		test(t, a.Client(), a.Addr)
	})
}

// BenchmarkKill does so several times with each registry and in each scenario, and
// prints for how long calls failed. It takes two minutes.
func BenchmarkKill(b *testing.B) {
	const runs = 10
	for _, s := range scenarios {
		a := agenttest.Start(b, agenttest.Options{})
		// For some seconds after its start an agent does not pass on what its
		// checks find.
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		all := outage.Repeat(b, 2*runs, func(run int) (map[string]outage.Result, error) {
			name := []string{"ours", "theirs"}[run%2]
			// The kills are spread over the time between two refreshes.
			after := time.Duration(run/2) * interval / runs
			return killOne(ctx, name, fmt.Sprintf("greeter-%d", run), s, after, a.Client(), a.Addr)
		})
		fmt.Printf("%s, %d kills each, Consul %s\n%s", s.name, runs, a.Version, outage.Table(all))
	}
}

// killOne starts two servers and a client, and kills one of the servers.
func killOne(ctx context.Context, adapter, service string, s scenario, after time.Duration, c *consul.Client, address string) (map[string]outage.Result, error) {
	way := outage.NewWay(address)
	defer way.Close()
	ids := []string{service + "-1", service + "-2"}
	var kill func()
	for _, id := range ids {
		var err error
		kill, err = outage.Start(envAdapter+"="+adapter, envAgent+"="+address, envName+"="+service, envID+"="+id, envCheck+"="+s.check)
		if err != nil {
			return nil, err
		}
		defer kill()
	}
	if err := outage.AwaitInstances(ctx, c, service, len(ids)); err != nil {
		return nil, err
	}
	call := caller(adapters[adapter].registry(registry.Addrs(way.Address())), service)
	for seen := map[string]bool{}; len(seen) < len(ids); {
		id, err := call()
		if err == nil {
			seen[id] = true
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("called %v, error %w", seen, err)
		}
	}
	time.Sleep(after)
	if s.outage > 0 {
		way.SetDown(true)
		time.Sleep(s.outage)
		way.SetDown(false)
		time.Sleep(time.Second)
	}
	return outage.Kill{
		Client: c, Service: service, Kill: kill, Every: 10 * time.Millisecond, After: s.after,
		Callers: map[string]func() error{adapter: func() error {
			_, err := call()
			return err
		}},
	}.Measure(ctx)
}

// caller returns a function that calls the service once and returns the ID of
// the server that answered.
func caller(r registry.Registry, service string) func() (string, error) {
	c := client.NewClient(
		client.Selector(selector.NewSelector(selector.Registry(r), selector.SetStrategy(selector.RoundRobin))),
		client.Broker(broker.NewMemoryBroker()),
		client.ContentType("application/json"),
		client.Retries(0),
	)
	return func() (string, error) {
		var rsp Response
		err := c.Call(context.Background(), c.NewRequest(service, "Greeter.Hello", &Request{}), &rsp)
		return rsp.ID, err
	}
}
