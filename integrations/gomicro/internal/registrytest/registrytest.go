// Package registrytest has the tests of a Consul registry for go-micro that do not
// depend on which one it is, so that the official plugin can be put through them
// too.
package registrytest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
)

// Adapter is a registry to be tested, with those of its options that the tests
// need.
type Adapter struct {
	New        func(...registry.Option) registry.Registry
	TCPCheck   func(interval time.Duration) registry.Option
	Connect    func() registry.Option
	Datacenter func(string) registry.Option
}

// Run runs all tests with an agent, fake or real.
func Run(t *testing.T, a Adapter, c *consul.Client, address string) {
	for _, test := range []struct {
		name string
		run  func(*T)
	}{
		{"EverythingArrives", testEverythingArrives},
		{"UnknownService", testUnknownService},
		{"CriticalNodes", testCriticalNodes},
		{"ForeignTags", testForeignTags},
		{"Refresh", testRefresh},
		{"Changes", testChanges},
		{"Versions", testVersions},
		{"WatchUnknown", testWatchUnknown},
		{"Deregister", testDeregister},
		{"WatchAll", testWatchAll},
		{"TCPCheckWithTTL", testTCPCheckWithTTL},
		{"SeveralNodes", testSeveralNodes},
		{"WatchOptions", testWatchOptions},
		{"PortlessNodes", testPortlessNodes},
		{"Outage", testOutage},
		{"StopWithResultsLeft", testStopWithResultsLeft},
		{"TimeoutAndWatch", testTimeoutAndWatch},
		{"SecureVerifies", testSecureVerifies},
		{"Failover", testFailover},
		{"Connections", testConnections},
		{"DottedMetadata", testDottedMetadata},
		{"OldChecks", testOldChecks},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name != "StopWithResultsLeft" { // which looks at all goroutines
				t.Parallel()
			}
			test.run(&T{T: t, adapter: a, client: c, address: address})
		})
	}
}

// T is a test with an agent.
type T struct {
	*testing.T
	adapter Adapter
	client  *consul.Client
	address string // host:port of the agent
}

// patience is how long tests wait for what should happen at once.
const patience = 3 * time.Second

func (t *T) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// registry returns a registry for the agent.
func (t *T) registry(opts ...registry.Option) registry.Registry {
	return t.adapter.New(append([]registry.Option{registry.Addrs(t.address)}, opts...)...)
}

// service returns a service with one node, named after the test.
func (t *T) service(version, id, address string) *registry.Service {
	name := "go.micro." + t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
	return &registry.Service{
		Name: name, Version: version,
		Nodes: []*registry.Node{{Id: name + "-" + id, Address: address, Metadata: map[string]string{"protocol": "mucp"}}},
	}
}

// register registers a service and deregisters it when the test ends.
func (t *T) register(r registry.Registry, s *registry.Service, opts ...registry.RegisterOption) {
	t.Helper()
	t.Cleanup(func() { r.Deregister(s) })
	t.check(r.Register(s, opts...))
}

func (t *T) check(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry returns what the agent has of a service that has one instance.
func (t *T) entry(name string) *consul.ServiceEntry {
	t.Helper()
	entries, _, err := t.client.Health().Service(t.ctx(), name, nil)
	t.check(err)
	if len(entries) != 1 {
		t.Fatalf("%d instances of %s, want one", len(entries), name)
	}
	return entries[0]
}

// watch is a watcher whose results can be waited for.
type watch struct {
	t       *T
	watcher registry.Watcher
	results chan *registry.Result
}

func (t *T) watch(r registry.Registry, opts ...registry.WatchOption) *watch {
	t.Helper()
	watcher, err := r.Watch(opts...)
	t.check(err)
	w := &watch{t, watcher, make(chan *registry.Result)}
	stopped := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			result, err := watcher.Next()
			if err != nil {
				return
			}
			select {
			case w.results <- result:
			case <-stopped:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stopped)
		watcher.Stop()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Next does not return after Stop")
		}
	})
	return w
}

// want waits for a result with the action about the node, which may be in it
// with others, and returns the node.
func (w *watch) want(action string, s *registry.Service) *registry.Node {
	w.t.Helper()
	return w.wantWithin(patience, action, s)
}

func (w *watch) wantWithin(patience time.Duration, action string, s *registry.Service) *registry.Node {
	w.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case result := <-w.results:
			if result.Service.Name != s.Name || result.Action != action {
				continue
			}
			for _, n := range result.Service.Nodes {
				if n.Id == s.Nodes[0].Id && (action == "delete" || result.Service.Version == s.Version) {
					return n
				}
			}
		case <-timeout:
			w.t.Fatalf("no %s of %s within %s", action, s.Nodes[0].Id, patience)
		}
	}
}

// proxy stands between a registry and the agent.
type proxy struct {
	*httptest.Server
	down        atomic.Bool // requests are cut off, and new ones refused
	connections atomic.Int32

	mu       sync.Mutex
	requests []*url.URL
	cut      chan struct{} // closed to cut what is under way
}

func (t *T) proxy(start func(*httptest.Server)) *proxy {
	p := &proxy{cut: make(chan struct{})}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: t.address})
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			panic(http.ErrAbortHandler)
		}
		p.mu.Lock()
		p.requests = append(p.requests, r.URL)
		cut := p.cut
		p.mu.Unlock()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-cut:
				cancel()
			case <-ctx.Done():
			}
		}()
		forward.ServeHTTP(w, r.WithContext(ctx))
	}))
	p.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			p.connections.Add(1)
		}
	}
	start(p.Server)
	t.Cleanup(func() {
		p.setDown(true)
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *proxy) address() string { return p.Listener.Addr().String() }

func (p *proxy) setDown(down bool) {
	p.down.Store(down)
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.cut)
	p.cut = make(chan struct{})
}

// asked returns the requests for a path so far.
func (p *proxy) asked(path string) (list []*url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.requests {
		if u.Path == path {
			list = append(list, u)
		}
	}
	return list
}

// eventually waits until ok is true.
func (t *T) eventually(what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
