package kratosv2_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	nethttp "net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	frame "github.com/go-kratos/kratos/v2"
	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/go-kratos/kratos/v2/transport/http"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
	"github.com/lictor-go/consul/integrations/kratos/kratosv2"
	"github.com/lictor-go/consul/internal/agenttest"
)

const (
	service  = "helloworld"
	patience = time.Minute
)

func TestMain(m *testing.M) {
	log.SetLogger(log.NewFilter(log.DefaultLogger, log.FilterLevel(log.LevelFatal)))
	m.Run()
}

// onEachAgent runs the test with the fake and with a real agent, if there is one.
func onEachAgent(t *testing.T, test func(t *testing.T, c *consul.Client)) {
	t.Run("fake", func(t *testing.T) { test(t, consulmock.New(t).Client()) })
	t.Run("real", func(t *testing.T) { test(t, agenttest.Start(t, agenttest.Options{}).Client()) })
}

// serve runs an app with an HTTP and a gRPC server, which says its ID on HTTP.
func serve(t *testing.T, c *consul.Client, id string) (stop func()) {
	t.Helper()
	r := kratosv2.New(c, nil)
	l, endpoint := listen(t, "http")
	web := http.NewServer(http.Listener(l), http.Endpoint(endpoint))
	l, endpoint = listen(t, "grpc")
	calls := grpc.NewServer(grpc.Listener(l), grpc.Endpoint(endpoint))
	web.HandleFunc("/id", func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprintf(w, "%q", id) })
	started := make(chan struct{})
	app := frame.New(frame.ID(id), frame.Name(service), frame.Version("v1"), frame.Registrar(r),
		frame.Server(web, calls),
		frame.AfterStart(func(context.Context) error { close(started); return nil }))
	ended := make(chan error, 1)
	go func() { ended <- app.Run() }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatal("the app has ended: ", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := app.Stop(); err != nil {
			t.Error("Stop: ", err)
		}
		if err := <-ended; err != nil {
			t.Error("Run: ", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// listen also returns the endpoint, which kratos would otherwise take to be on
// another interface.
func listen(t *testing.T, scheme string) (net.Listener, *url.URL) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l, &url.URL{Scheme: scheme, Host: l.Addr().String()}
}

// TestApp runs two instances and calls them over HTTP and gRPC while one of them is
// stopped and a third one is started.
func TestApp(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		stopOne := serve(t, c, "one")
		serve(t, c, "two")
		r := kratosv2.New(c, nil)
		t.Cleanup(func() { r.Close() })
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()

		web, err := http.NewClient(ctx, http.WithEndpoint("discovery:///"+service), http.WithDiscovery(r), http.WithBlock())
		if err != nil {
			t.Fatal(err)
		}
		defer web.Close()
		awaitIDs(ctx, t, web, "one", "two")

		conn, err := grpc.DialInsecure(ctx, grpc.WithEndpoint("discovery:///"+service), grpc.WithDiscovery(r), grpc.WithTimeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		check := func() {
			t.Helper()
			if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Error("gRPC: ", err)
			}
		}
		check()
		stopOne()
		awaitIDs(ctx, t, web, "two")
		check()
		serve(t, c, "three")
		awaitIDs(ctx, t, web, "two", "three")
		check()
	})
}

// TestFirstCall makes a call right after the client, as the README says.
func TestFirstCall(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		serve(t, c, "one")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for range 5 { // registries that know nothing yet
			r := kratosv2.New(c, nil)
			web, err := http.NewClient(ctx, http.WithEndpoint("discovery:///"+service), http.WithDiscovery(r), http.WithBlock())
			if err != nil {
				t.Fatal(err)
			}
			var id string
			if err := web.Invoke(ctx, "GET", "/id", nil, &id); err != nil || id != "one" {
				t.Errorf("HTTP: %q, %v", id, err)
			}
			web.Close()
			r.Close()
			r = kratosv2.New(c, nil)
			conn, err := grpc.DialInsecure(ctx, grpc.WithEndpoint("discovery:///"+service), grpc.WithDiscovery(r), grpc.WithTimeout(patience))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Error("gRPC: ", err)
			}
			conn.Close()
			r.Close()
		}
	})
}

// TestNoFirstCall makes clients while there is no instance, or no agent.
func TestNoFirstCall(t *testing.T) {
	fake := consulmock.New(t)
	r := kratosv2.New(fake.Client(), nil)
	t.Cleanup(func() { r.Close() })
	dial := func(ctx context.Context, opts ...http.ClientOption) error {
		web, err := http.NewClient(ctx, append(opts, http.WithEndpoint("discovery:///"+service), http.WithDiscovery(r))...)
		if err == nil {
			web.Close()
		}
		return err
	}
	call := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := grpc.DialInsecure(ctx, grpc.WithEndpoint("discovery:///"+service), grpc.WithDiscovery(r), grpc.WithTimeout(100*time.Millisecond))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(100*time.Millisecond, cancel)
	defer timer.Stop()
	if err := dial(ctx, http.WithBlock()); !errors.Is(err, context.Canceled) {
		t.Errorf("no instance: %v; want the end of the context", err)
	}
	if err := call(); err == nil {
		t.Error("no instance: a gRPC call has succeeded")
	}
	fake.Stop()
	r = kratosv2.New(fake.Client(), nil)
	t.Cleanup(func() { r.Close() })
	if err := dial(context.Background(), http.WithBlock()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no agent: %v; want the reason", err)
	}
	if err := dial(context.Background()); err != nil {
		t.Errorf("no agent, without WithBlock: %v", err)
	}
	if err := call(); err == nil {
		t.Error("no agent: a gRPC call has succeeded")
	}
}

// awaitIDs calls until 50 calls in a row were answered by exactly these instances.
func awaitIDs(ctx context.Context, t *testing.T, web *http.Client, want ...string) {
	t.Helper()
	for {
		seen := map[string]bool{}
		for range 50 {
			var id string
			if err := web.Invoke(ctx, "GET", "/id", nil, &id); err != nil {
				if ctx.Err() != nil {
					t.Fatalf("want %q: %v", want, err)
				}
				clear(seen)
				break // an instance that was stopped
			}
			seen[id] = true
		}
		missing := len(seen) != len(want)
		for _, id := range want {
			missing = missing || !seen[id]
		}
		if !missing {
			return
		}
	}
}

// TestRegistry has every method do its work.
func TestRegistry(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r := kratosv2.New(c, nil)
		w, err := r.Watch(ctx, "some.dotted/service")
		if err != nil {
			t.Fatal(err)
		}
		i := &registry.ServiceInstance{
			ID: "1", Name: "some.dotted/service", Version: "v1", Metadata: map[string]string{"a": "b"},
			Endpoints: []string{"grpc://127.0.0.1:1?isSecure=true"},
		}
		if err := r.Register(ctx, i); err != nil {
			t.Fatal(err)
		}
		if list, err := w.Next(); err != nil || len(list) != 1 || !list[0].Equal(i) {
			t.Fatalf("Next: %v, %v; want %v", list, err, i)
		}
		if list, err := r.GetService(ctx, i.Name); err != nil || len(list) != 1 || !list[0].Equal(i) {
			t.Fatalf("GetService: %v, %v; want %v", list, err, i)
		}
		if err := r.Deregister(ctx, i); err != nil {
			t.Fatal(err)
		}
		if list, err := w.Next(); err != nil || len(list) != 0 {
			t.Fatalf("Next: %v, %v; want none", list, err)
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := w.Next(); err != context.Canceled {
			t.Errorf("Next after Stop: %v", err)
		}
		if _, err := r.Watch(ctx, ""); err == nil {
			t.Error("Watch of nothing is no error")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.GetService(ctx, i.Name); err == nil {
			t.Error("GetService after Close is no error")
		}
	})
}

// TestUnreachableDatacenter finds the instances of a datacenter beside one that the
// agent has no path to, without waiting for the timeout.
func TestUnreachableDatacenter(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		r := kratosv2.New(c, &kratos.Options{Datacenters: []string{"dc1", "dc9"}, Timeout: 24 * time.Hour})
		t.Cleanup(func() { r.Close() })
		i := &registry.ServiceInstance{ID: "1", Name: "web", Endpoints: []string{"grpc://127.0.0.1:1"}}
		if err := r.Register(context.Background(), i); err != nil {
			t.Fatal(err)
		}
		found := make(chan error, 1)
		go func() {
			list, err := r.GetService(context.Background(), "web")
			if err == nil && (len(list) != 1 || list[0].Metadata["dc"] != "dc1") {
				err = fmt.Errorf("found %v; want one instance, in dc1", list)
			}
			found <- err
		}()
		select {
		case err := <-found:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("GetService waits for the unreachable datacenter")
		}
	})
}
