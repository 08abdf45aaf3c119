//go:build go1.25

package gomicro

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

const registerPath = "/v1/agent/service/register"

func heartbeatPath(id string) string { return "/v1/agent/check/update/service:" + id }

func deregisterPath(id string) string { return "/v1/agent/service/deregister/" + id }

// within returns a context that ends so much later.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// took checks how long something took.
func took(t *testing.T, what string, start time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(start); took != want {
		t.Errorf("%s took %s, want %s", what, took, want)
	}
}

// A node whose registration hangs is nobody else's business.
func TestHungNodeHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		for _, id := range []string{"1", "2"} {
			check(t, r.Register(greeter(id), registry.RegisterTTL(time.Minute)))
		}
		remove := fake.Inject(consulmock.Fault{Path: heartbeatPath("1"), Hang: make(chan struct{}), Always: true})
		hung := make(chan error)
		go func() { hung <- r.Register(greeter("1"), registry.RegisterTTL(time.Minute)) }()
		synctest.Wait()

		start := time.Now()
		check(t, r.Register(greeter("2"), registry.RegisterTTL(time.Minute)))
		check(t, r.Register(greeter("3"), registry.RegisterTTL(time.Minute)))
		check(t, r.Deregister(greeter("2")))
		check(t, r.Deregister(greeter("3")))
		check(t, r.Deregister(greeter("4"))) // which is not registered
		took(t, "what others did", start, 0)
		if err := <-hung; err == nil {
			t.Error("the refresh that hung has no error")
		}
		remove()
		check(t, r.Deregister(greeter("1")))
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// Nodes of the same call do not wait for each other either: one whose agent does not
// respond must not cost the others their lease.
func TestHungNodeHoldsUpNoOtherOfItsService(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		both := greeter("1")
		both.Nodes = append(both.Nodes, greeter("2").Nodes...)
		check(t, r.Register(both, registry.RegisterTTL(time.Minute)))
		remove := fake.Inject(consulmock.Fault{Path: heartbeatPath("1"), Hang: make(chan struct{}), Always: true})
		for range 6 {
			err := r.Register(both, registry.RegisterTTL(time.Minute))
			if err == nil || !strings.Contains(err.Error(), `"1"`) || strings.Contains(err.Error(), `"2"`) {
				t.Errorf("want an error about node 1 alone: %v", err)
			}
			time.Sleep(20 * time.Second)
		}
		if got := nodes(t, r); !slices.Contains(got, "2") {
			t.Errorf("found %v, want 2 among them", got)
		}
		remove()
		check(t, r.Deregister(both))
	})
}

// A call about several nodes takes its place in the queues of all of them when it is
// made, so that a later call about one of them also takes effect later.
func TestCallAboutSeveralNodesKeepsItsOrder(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		both := greeter("1")
		both.Nodes = append(both.Nodes, greeter("2").Nodes...)
		fake.Inject(consulmock.Fault{Path: registerPath, Latency: 3 * time.Second})
		registered := make(chan error)
		go func() { registered <- r.Register(both, registry.RegisterTTL(time.Hour)) }()
		synctest.Wait()
		check(t, r.Deregister(greeter("2")))
		check(t, <-registered)
		if got := nodes(t, r); !slices.Equal(got, []string{"1"}) {
			t.Errorf("found %v, want 1 alone: 2 was deregistered last", got)
		}
		check(t, r.Deregister(both))
	})
}

// Who waits for a call about the same node waits no longer than the context says.
func TestWaitingForTheSameNodeEndsWithTheContext(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		remove := fake.Inject(consulmock.Fault{Path: registerPath, Hang: make(chan struct{}), Always: true})
		hung := make(chan error)
		go func() { hung <- r.Register(greeter("1"), registry.RegisterTTL(time.Minute)) }()
		synctest.Wait()
		for name, call := range map[string]func(context.Context) error{
			"Register": func(ctx context.Context) error {
				return r.Register(greeter("1"), registry.RegisterTTL(time.Minute), registry.RegisterContext(ctx))
			},
			"Deregister": func(ctx context.Context) error {
				return r.Deregister(greeter("1"), registry.DeregisterContext(ctx))
			},
		} {
			start := time.Now()
			err := call(within(t, 100*time.Millisecond))
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"1"`) {
				t.Errorf("%s: error %v", name, err)
			}
			took(t, name, start, 100*time.Millisecond)
		}
		if err := <-hung; err == nil {
			t.Error("the registration that hung has no error")
		}
		remove()
		time.Sleep(time.Minute)
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		check(t, r.Deregister(greeter("1")))
	})
}

// The context bounds Deregister. The removal goes on: else the heartbeats of a node
// that should be gone would.
func TestDeregisterContext(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		s := greeter("1")
		s.Nodes = append(s.Nodes, greeter("2").Nodes...)
		check(t, r.Register(s))
		fake.Inject(consulmock.Fault{Path: "/v1/agent/service/deregister/*", Latency: 2 * time.Second, Always: true})
		start := time.Now()
		err := r.Deregister(s, registry.DeregisterContext(within(t, 200*time.Millisecond)))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		took(t, "Deregister", start, 200*time.Millisecond)
		time.Sleep(2 * time.Second)
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("2 s later there are %v", got)
		}
		time.Sleep(time.Hour)
		if n := count(fake, registerPath); n != 2 {
			t.Errorf("registered %d times, want 2", n)
		}
	})
}

// Calls about a node take effect in the order in which they were made, also after
// some that were given up.
func TestCallsAboutANodeKeepTheirOrder(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		for range 50 {
			check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
			r.Deregister(greeter("1"), registry.DeregisterContext(ended)) // goes on afterwards
		}
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		synctest.Wait()
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("registered last: found %v", got)
		}
		r.Deregister(greeter("1"), registry.DeregisterContext(ended))
		synctest.Wait()
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("deregistered last: found %v", got)
		}
	})
}

// A lease that ends while the agent hangs is removed when the agent is back, and a
// refresh that comes meanwhile wins.
func TestLeaseEndsWhileTheAgentHangs(t *testing.T) {
	for _, refreshed := range []bool{false, true} {
		t.Run(fmt.Sprintf("refreshed %t", refreshed), func(t *testing.T) {
			bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
				check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
				fake.Inject(consulmock.Fault{Path: deregisterPath("1"), Latency: 3 * time.Second})
				time.Sleep(time.Minute + time.Second)
				start := time.Now()
				check(t, r.Register(greeter("2"), registry.RegisterTTL(time.Hour)))
				took(t, "another node", start, 0)
				if refreshed {
					check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
				}
				time.Sleep(10 * time.Second)
				want := 1
				if refreshed {
					want = 2
				}
				if got := nodes(t, r); len(got) != want {
					t.Errorf("found %v, want %d", got, want)
				}
				check(t, r.Deregister(greeter("1")))
				check(t, r.Deregister(greeter("2")))
			})
		})
	}
}

// What ends leaves nothing behind in the registry: go-micro's broker makes up a node
// for each subscription.
func TestEndedNodesAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		leases := &r.(*consulRegistry).leases
		for i := range 100 {
			s := greeter(fmt.Sprint(i))
			check(t, r.Register(s, registry.RegisterTTL(time.Minute)))
			if i%2 == 0 {
				check(t, r.Deregister(s))
			}
			check(t, r.Deregister(greeter("never registered")))
		}
		time.Sleep(2 * time.Minute)
		leases.mu.Lock()
		defer leases.mu.Unlock()
		if n := len(leases.nodes); n != 0 {
			t.Errorf("%d of 150 nodes are remembered", n)
		}
	})
}

// Bad services are an error that says what is wrong.
func TestWrongServices(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		for words, s := range map[string]*registry.Service{
			"nil":                                nil,
			"no nodes":                           {Name: "greeter"},
			"no ID":                              {Name: "greeter", Nodes: []*registry.Node{{Address: "10.0.0.1:80"}}},
			`node 2 of service "greeter" is nil`: {Name: "greeter", Nodes: []*registry.Node{{Id: "1", Address: "10.0.0.1:80"}, nil}},
		} {
			if err := r.Register(s); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("Register, want an error with %q: %v", words, err)
			}
			if err := r.Deregister(s); err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("Deregister, want an error with %q: %v", words, err)
			}
		}
		if n := len(fake.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
		if err := r.Register(&registry.Service{Nodes: []*registry.Node{{Id: "1"}}}); err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("without a name: %v", err)
		}
		if err := r.Register(greeter("1"), registry.RegisterTTL(time.Nanosecond)); err == nil || !strings.Contains(err.Error(), "TTL") {
			t.Errorf("with a TTL of 1 ns: %v", err)
		}
		check(t, r.Register(greeter("1"), nil, registry.RegisterTTL(1<<63-1)))
		time.Sleep(time.Hour)
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("with the longest TTL: found %v", got)
		}
		check(t, r.Deregister(greeter("1"), nil))
	})
}

// Everything at the same time, about few nodes, while the agent fails now and then.
// In the end everybody deregisters, and nothing may be left.
func TestConcurrentCalls(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		second := consulmock.New(t)
		clients := []*consul.Client{fake.Client(), second.Client()}
		for _, c := range clients {
			defer c.CloseIdleConnections()
		}
		fake.Inject(consulmock.Fault{Method: "PUT", Skip: 50, Times: 20, Status: 500})
		fake.Inject(consulmock.Fault{Method: "PUT", Skip: 100, Times: 20, Latency: 3 * time.Second})
		second.Inject(consulmock.Fault{Method: "PUT", Skip: 20, Times: 20, Drop: consulmock.DropAnswer})
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s := greeter(fmt.Sprint(n % 3))
				for i := range 40 {
					switch (n + i) % 5 {
					case 0, 1:
						r.Register(s, registry.RegisterTTL(time.Second))
					case 2:
						r.Register(s, registry.RegisterContext(within(t, time.Duration(i)*time.Millisecond)))
					case 3:
						r.Deregister(s, registry.DeregisterContext(within(t, time.Duration(i)*time.Millisecond)))
					case 4:
						check(t, r.Init(Client(clients[i%2])))
					}
					time.Sleep(time.Duration(n*i) * time.Millisecond)
				}
			}()
		}
		wg.Wait()
		for _, id := range []string{"0", "1", "2"} {
			check(t, r.Deregister(greeter(id)))
		}
		time.Sleep(time.Minute)
		for i, c := range clients {
			if got := nodes(t, NewRegistry(Client(c))); len(got) != 0 {
				t.Errorf("left at agent %d: %v", i, got)
			}
		}
		before := len(fake.Requests()) + len(second.Requests())
		time.Sleep(time.Hour)
		if n := len(fake.Requests()) + len(second.Requests()) - before; n != 0 {
			t.Errorf("%d requests afterwards", n)
		}
	})
}
