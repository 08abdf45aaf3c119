package interop

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
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
	"github.com/lictor-go/consul/conformance/agent"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro"
)

// The variables that make the test program a go-micro server.
const (
	envAdapter = "GOMICRO_TEST_ADAPTER" // a key of adapters
	envAgent   = "GOMICRO_TEST_AGENT"   // host:port
	envID      = "GOMICRO_TEST_ID"
	envCheck   = "GOMICRO_TEST_CHECK" // ttl or tcp
)

// adapter is one of the two registries.
type adapter struct {
	registry func(...registry.Option) registry.Registry
	tcpCheck func(time.Duration) registry.Option
}

var adapters = map[string]adapter{
	"this":     {gomicro.NewRegistry, gomicro.TCPCheck},
	"official": {official.NewRegistry, official.TCPCheck},
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
		server.Name("greeter"), server.Id(id), server.Address("127.0.0.1:0"),
		server.Registry(a.registry(opts...)), server.Broker(broker.NewMemoryBroker()),
		server.RegisterInterval(interval), server.RegisterTTL(ttl),
	)
	if err := s.Handle(s.NewHandler(&Greeter{id})); err != nil {
		panic(err)
	}
	if err := s.Start(); err != nil {
		panic(err)
	}
	os.Stdin.Read(make([]byte, 1)) // ends with the test
}

// startServer starts a server process and returns what kills it at once.
func startServer(t *testing.T, adapter, address, id, check string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envAdapter+"="+adapter, envAgent+"="+address, envID+"="+id, envCheck+"="+check)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
		stdin.Close()
	}
	t.Cleanup(kill)
	return kill
}

// scenario is how an instance is watched over, and what happens before it is
// killed.
type scenario struct {
	name   string
	check  string
	outage time.Duration // of the client's way to its agent, a second before the kill
}

var scenarios = []scenario{
	{"TCP check, 1 s", "tcp", 0},
	{"TTL 15 s, refreshed every 5 s", "ttl", 0},
	{"TCP check, 1 s; agent away for 8 s before", "tcp", 8 * time.Second},
}

// TestKill has two server processes and calls flowing to them, kills one, and
// reports for how long calls fail. The client calls every 10 ms and does not try
// again by itself. With GOMICRO_TEST_OFFICIAL it does so with the plugin too.
func TestKill(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithProbes(true))
		u, err := url.Parse(fake.URL())
		check(t, err)
		killOne(t, "this", scenarios[0], fake.Client(), u.Host)
	})
	t.Run("real agent", func(t *testing.T) {
		agent.Binary(t)
		for _, s := range scenarios {
			for name := range adapters {
				t.Run(s.name+"/"+name, func(t *testing.T) {
					if name == "official" && os.Getenv("GOMICRO_TEST_OFFICIAL") == "" {
						t.Skip("for comparison only; set GOMICRO_TEST_OFFICIAL to see it")
					}
					t.Parallel()
					a := agent.Start(t, agent.Options{})
					// For some seconds after its start an agent does not pass on
					// what its checks find.
					<-time.After(5 * time.Second)
					killOne(t, name, s, a.Client(), a.Addr)
				})
			}
		}
	})
}

func killOne(t *testing.T, adapter string, s scenario, c *consul.Client, address string) {
	var down atomic.Bool
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	defer way.CloseClientConnections()
	u, err := url.Parse(way.URL)
	check(t, err)

	startServer(t, adapter, address, "1", s.check)
	kill := startServer(t, adapter, address, "2", s.check)
	waitForInstances(t, c, 2)

	call := caller(adapters[adapter].registry(registry.Addrs(u.Host)))
	deadline := time.Now().Add(20 * time.Second)
	for seen := map[string]bool{}; len(seen) < 2; {
		id, err := call()
		if err == nil {
			seen[id] = true
		}
		if time.Now().After(deadline) {
			t.Fatalf("called %v after 20 s, error %v", seen, err)
		}
	}
	<-time.After(time.Duration(rand.Int64N(int64(interval)))) // anywhere between two refreshes
	if s.outage > 0 {
		down.Store(true)
		way.CloseClientConnections()
		<-time.After(s.outage)
		down.Store(false)
		<-time.After(time.Second)
	}
	kill()
	start := time.Now()
	var last time.Duration
	calls, failed := 0, 0
	others := map[string]int{} // errors of calls that did not go to the killed server
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	quiet, atLeast := 4*time.Second, 4*time.Second
	switch {
	case s.outage > 0 && adapter == "official":
		atLeast = 50 * time.Second
	case s.outage > 0 || s.check == "ttl":
		atLeast = ttl + 2*time.Second
	}
	for time.Since(start)-last < quiet || time.Since(start) < atLeast {
		<-ticker.C
		calls++
		_, err := call()
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "connection refused"):
			failed++
			last = time.Since(start)
		default:
			others[err.Error()]++
		}
	}
	t.Logf("%s, %s: calls failed for %s (%d of %d), others %v", s.name, adapter, last.Round(100*time.Millisecond), failed, calls, others)
	// What Consul itself takes, and a pause after an outage.
	limit := 4*tcpInterval + s.outage
	if s.check == "ttl" {
		limit = ttl + 3*time.Second
	}
	if adapter == "this" && last > limit {
		t.Errorf("calls failed for %s, more than %s", last, limit)
	}
}

// caller returns a function that calls the service once and returns the ID of
// the server that answered.
func caller(r registry.Registry) func() (string, error) {
	c := client.NewClient(
		client.Selector(selector.NewSelector(selector.Registry(r), selector.SetStrategy(selector.RoundRobin))),
		client.Broker(broker.NewMemoryBroker()),
		client.ContentType("application/json"),
		client.Retries(0),
	)
	return func() (string, error) {
		var rsp Response
		err := c.Call(context.Background(), c.NewRequest("greeter", "Greeter.Hello", &Request{}), &rsp)
		return rsp.ID, err
	}
}

func waitForInstances(t *testing.T, c *consul.Client, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	q := &consul.QueryOptions{PassingOnly: true, WaitTime: time.Second}
	for {
		entries, meta, err := c.Health().Service(ctx, "greeter", q)
		check(t, err)
		if len(entries) == n {
			return
		}
		q.WaitIndex = meta.LastIndex
	}
}
