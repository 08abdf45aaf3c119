package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	frame "github.com/go-kratos/kratos/v2"
	"github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/go-kratos/kratos/v2/transport/http"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
	"github.com/lictor-go/consul/internal/outage"
)

// The variables that make the test program a server.
const (
	envAdapter = "INTEROP_ADAPTER"
	envAgent   = "INTEROP_AGENT"
	envName    = "INTEROP_NAME"
	envID      = "INTEROP_ID"

	envInterval = "INTEROP_INTERVAL" // of checks, as time.Duration writes it
)

// runServer runs a kratos app if this process is to be a server.
func runServer() bool {
	open := adapters[os.Getenv(envAdapter)]
	if open == nil {
		return false
	}
	listen := func(scheme string) (net.Listener, *url.URL) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		return l, &url.URL{Scheme: scheme, Host: l.Addr().String()}
	}
	l, endpoint := listen("http")
	web := http.NewServer(http.Listener(l), http.Endpoint(endpoint))
	web.HandleFunc("/id", func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprintf(w, "%q", os.Getenv(envID)) })
	l, endpoint = listen("grpc")
	calls := grpc.NewServer(grpc.Listener(l), grpc.Endpoint(endpoint))
	checks, err := time.ParseDuration(os.Getenv(envInterval))
	if err != nil {
		panic(err)
	}
	r, err := open(&nethttp.Transport{}, os.Getenv(envAgent), options{interval: checks})
	if err != nil {
		panic(err)
	}
	go func() {
		outage.Serve()
		os.Exit(0)
	}()
	if err := frame.New(frame.ID(os.Getenv(envID)), frame.Name(os.Getenv(envName)), frame.Registrar(r), frame.Server(web, calls)).Run(); err != nil {
		panic(err)
	}
	return true
}

// killing is how often the agent connects to the endpoints, and what happens before
// an instance is killed.
type killing struct {
	name     string
	interval time.Duration
	outage   time.Duration // of the clients' way to their agent, a second before the kill
	after    time.Duration // for how long calls go on when the agent has noticed the kill
}

var killings = []killing{
	{"the default options", 10 * time.Second, 0, 5 * time.Second},
	{"an interval of 1 s, the clients' agent away for 8 s before", time.Second, 8 * time.Second, 20 * time.Second},
}

// TestCalls kills one of two instances of a service (as with kill -9) while clients
// call it: calls fail until the agent has noticed, and no longer.
func TestCalls(t *testing.T) {
	test := func(t *testing.T, c *consul.Client, address string) {
		s := killing{interval: time.Second, after: 5 * time.Second}
		results, err := killOne(testContext(t), c, address, "calls", "ours", []string{"ours"}, s, 0)
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range results {
			if r.Lag > 4*time.Second {
				t.Errorf("%s: calls failed for %s, of that %s after the agent had noticed: %v", name, r.Last, r.Lag, r.Errors)
			}
		}
	}
	t.Run("fake", func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithProbes(true))
		test(t, fake.Client(), fake.URL())
	})
	t.Run("real", func(t *testing.T) {
		a := agenttest.Start(t, agenttest.Options{})
		test(t, a.Client(), "http://"+a.Addr)
	})
}

// BenchmarkKill does so several times, and prints for how long calls failed. There
// are clients with both adapters for each kill, so that it is the same for them; the
// servers have the one or the other. It takes a minute and a half.
func BenchmarkKill(b *testing.B) {
	a := agenttest.Start(b, agenttest.Options{})
	const runs = 10
	both := []string{"ours", "theirs"}
	for n, s := range killings {
		all := outage.Repeat(b, runs, func(run int) (map[string]outage.Result, error) {
			// The kills are spread over the time between two checks.
			after := time.Duration(run) * s.interval / runs
			return killOne(testContext(b), a.Client(), "http://"+a.Addr, fmt.Sprintf("web-%d-%d", n, run), both[run%2], both, s, after)
		})
		fmt.Printf("%s, %d kills, Consul %s\n%s", s.name, runs, a.Version, outage.Table(all))
	}
}

// killOne starts two servers, and clients with each of some adapters, and kills one
// of the servers.
func killOne(ctx context.Context, c *consul.Client, address, service, server string, clients []string, s killing, after time.Duration) (map[string]outage.Result, error) {
	way := outage.NewWay(strings.TrimPrefix(address, "http://"))
	defer way.Close()
	const servers = 2
	var kill func()
	for n := range servers {
		var err error
		kill, err = outage.Start(envAdapter+"="+server, envAgent+"="+address, envName+"="+service,
			fmt.Sprintf("%s=%s-%d", envID, service, n), fmt.Sprintf("%s=%s", envInterval, s.interval))
		if err != nil {
			return nil, err
		}
		defer kill()
	}
	if err := outage.AwaitInstances(ctx, c, service, servers); err != nil {
		return nil, err
	}
	callers := map[string]func() error{}
	for _, name := range clients {
		stop, err := addCallers(ctx, callers, name, "http://"+way.Address(), service)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	for who, call := range callers { // connections to both instances
		for range 20 {
			if err := call(); err != nil {
				return nil, fmt.Errorf("%s, before the kill: %w", who, err)
			}
			time.Sleep(20 * time.Millisecond)
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
		Client: c, Service: service, Kill: kill, Callers: callers, Every: 20 * time.Millisecond, After: s.after,
	}.Measure(ctx)
}

// addCallers adds clients of the service for HTTP and for gRPC.
func addCallers(ctx context.Context, callers map[string]func() error, name, address, service string) (stop func(), err error) {
	r, err := adapters[name](&nethttp.Transport{}, address, options{})
	if err != nil {
		return nil, err
	}
	client, err := http.NewClient(ctx, http.WithEndpoint("discovery:///"+service), http.WithDiscovery(r), http.WithBlock(), http.WithTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	conn, err := grpc.DialInsecure(ctx, grpc.WithEndpoint("discovery:///"+service), grpc.WithDiscovery(r), grpc.WithTimeout(time.Second))
	if err != nil {
		client.Close()
		return nil, err
	}
	stop = func() {
		client.Close()
		conn.Close()
		if c, ok := r.(io.Closer); ok {
			c.Close()
		}
	}
	health := grpc_health_v1.NewHealthClient(conn)
	callers["HTTP, "+name] = func() error {
		var id string
		return client.Invoke(ctx, "GET", "/id", nil, &id)
	}
	callers["gRPC, "+name] = func() error {
		_, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	}
	return stop, nil
}
