package discovery

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/internal/agenttest"
)

var services = flag.Int("services", 2000, "number of services of TestServicesOverHTTP2")

// queries counts the queries about services on their way to an agent.
type queries struct {
	http.RoundTripper
	waiting atomic.Int32 // under way
	waits   atomic.Int32 // in all
	others  atomic.Int32
}

func (q *queries) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("index") == "" {
		q.others.Add(1)
		return q.RoundTripper.RoundTrip(r)
	}
	q.waits.Add(1)
	q.waiting.Add(1)
	defer q.waiting.Add(-1)
	return q.RoundTripper.RoundTrip(r)
}

// TestServicesOverHTTP2 follows thousands of services over HTTP/2 with default options:
// with a few connections, and without polling. With -v it prints figures.
func TestServicesOverHTTP2(t *testing.T) {
	ca := agenttest.NewCA(t, "right")
	a := agenttest.Start(t, agenttest.Options{TLS: &agenttest.TLS{Cert: ca.Issue("agent"), Clients: ca.CertPEM}})
	add := addService(t, a.Client())
	each(*services, 16, func(n int) { add(n, 1) })

	relay := agenttest.NewRelay(t, a.HTTPS)
	count := &queries{}
	c, err := consul.NewClient(consul.Config{
		Address: "https://" + relay.Addr, TLS: consul.TLSConfig{CAPEM: ca.CertPEM},
		WrapTransport: func(base http.RoundTripper) http.RoundTripper {
			count.RoundTripper = base
			return count
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	r := discovery.NewResolver(c, nil)
	defer r.Close()
	goroutines, memory := usage()
	start := time.Now()
	each(*services, *services, func(n int) {
		if list, err := r.Instances(context.Background(), serviceName(n)); err != nil || len(list) != 1 {
			t.Errorf("%s: %d instances, %v", serviceName(n), len(list), err)
		}
	})
	first := time.Since(start)
	await(t, "all queries wait", 20*time.Second, func() bool { return count.waiting.Load() == int32(*services) })
	dialed, open, most := relay.Counts()
	goroutines2, memory2 := usage()
	t.Logf("%d services of an agent %s: first responses after %s; %d connections, %d at the same time at most, %d opened; %.1f goroutines and %.1f KiB per service",
		*services, a.Version, first.Round(time.Millisecond), open, most, dialed,
		float64(goroutines2-goroutines)/float64(*services), float64(memory2-memory)/1024/float64(*services))
	if most := *services/100 + 20; open > *services/100 || dialed > most {
		t.Errorf("%d connections of %d, want at most %d of %d", open, dialed, *services/100, most)
	}

	var slowest time.Duration
	for n := 0; n < *services; n += *services / 50 {
		slowest = max(slowest, seen(t, r, n, func() { add(n, 2) }))
	}
	t.Logf("of 50 changes the last one is seen after %s", slowest)
	if slowest > time.Second {
		t.Errorf("a change was seen after %s", slowest)
	}
	if n := count.others.Load(); n != int32(*services) {
		t.Errorf("%d queries did not wait, want the first %d", n, *services)
	}

	// The agent hangs up on all at once.
	before, _, _ := relay.Counts()
	relay.Cut()
	start = time.Now()
	await(t, "all queries wait again", 30*time.Second, func() bool {
		return count.others.Load() >= int32(2**services) && count.waiting.Load() == int32(*services)
	})
	dialed, open, _ = relay.Counts()
	t.Logf("after the end of all connections all wait again after %s; %d connections, %d opened", time.Since(start).Round(time.Millisecond), open, dialed-before)
	slowest = seen(t, r, 1, func() { add(1, 2) })
	t.Logf("a change is seen after %s then", slowest)
}

func serviceName(n int) string { return fmt.Sprintf("service-%05d", n) }

// addService returns what registers an instance of a service, on one of twenty nodes.
func addService(t *testing.T, c *consul.Client) func(n, instance int) {
	return func(n, instance int) {
		name := serviceName(n)
		err := c.Catalog().Register(context.Background(), &consul.CatalogRegistration{
			Node: fmt.Sprint("node-", n%20), Address: "10.0.0.1", SkipNodeUpdate: true,
			Service: &consul.AgentService{ID: fmt.Sprintf("%s-%d", name, instance), Service: name, Port: 80},
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// seen returns how long it takes until the resolver knows of a second instance.
func seen(t *testing.T, r *discovery.Resolver, n int, change func()) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var start time.Time
	for list, err := range r.Watch(ctx, serviceName(n)) {
		switch {
		case err != nil:
			t.Error(err)
		case start.IsZero():
			start = time.Now()
			change()
		case len(list) == 2:
			return time.Since(start)
		}
	}
	t.Errorf("%s: a change was not seen", serviceName(n))
	return 0
}

// each calls f with the numbers below n, so many at the same time.
func each(n, parallel int, f func(int)) {
	var next atomic.Int32
	var wg sync.WaitGroup
	for range parallel {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		}()
	}
	wg.Wait()
}

// usage returns the number of goroutines, and the bytes of heap and stacks in use.
func usage() (goroutines int, bytes int64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int64(m.HeapAlloc + m.StackInuse)
}
