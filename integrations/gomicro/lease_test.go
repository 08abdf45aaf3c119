//go:build go1.25

package gomicro

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// bubble runs a test in virtual time. A goroutine that is left behind fails it.
func bubble(t *testing.T, test func(t *testing.T, fake *consulmock.Server, r registry.Registry)) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t)
		c := fake.Client()
		defer c.CloseIdleConnections()
		test(t, fake, NewRegistry(Client(c)))
	})
}

func greeter(id string) *registry.Service { return greeterAt(id, "10.0.0.1:80") }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nodes returns the IDs of the nodes that a registry finds.
func nodes(t *testing.T, r registry.Registry) (ids []string) {
	t.Helper()
	services, err := r.GetService("greeter")
	if err != nil && err != registry.ErrNotFound {
		t.Fatal(err)
	}
	for _, s := range services {
		for _, n := range s.Nodes {
			ids = append(ids, n.Id)
		}
	}
	return ids
}

func count(fake *consulmock.Server, path string) (n int) {
	for _, r := range fake.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

func TestRefreshedNodeStays(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		s := greeter("1")
		for range 20 {
			check(t, r.Register(s, registry.RegisterTTL(time.Minute)))
			time.Sleep(30 * time.Second)
			if got := nodes(t, r); len(got) != 1 {
				t.Fatalf("found %v", got)
			}
		}
		if n := count(fake, "/v1/agent/service/register"); n != 1 {
			t.Errorf("registered %d times", n)
		}
		check(t, r.Deregister(s))
	})
}

// Some three heartbeats in a TTL, between two refreshes as well.
func TestHeartbeats(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Hour)))
		before := count(fake, heartbeatPath("1"))
		for range 10 {
			time.Sleep(59 * time.Minute)
			check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Hour)))
		}
		n := count(fake, heartbeatPath("1")) - before - 10 // those of the refreshes
		if n < 20 || n > 40 {
			t.Errorf("%d heartbeats in 10 TTLs", n)
		}
		check(t, r.Deregister(greeter("1")))
	})
}

func TestNodeThatIsNotRefreshedGoes(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		time.Sleep(59 * time.Second)
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("after 59 s: %v", got)
		}
		time.Sleep(2 * time.Second)
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("after 61 s: %v", got)
		}
		// A late refresh brings it back.
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("refreshed late: %v", got)
		}
		check(t, r.Deregister(greeter("1")))
		time.Sleep(10 * time.Minute)
		if n := count(fake, "/v1/agent/service/deregister/1"); n != 2 {
			t.Errorf("deregistered %d times, want 2", n)
		}
	})
}

func TestNodeWithoutTTLStays(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		check(t, r.Register(greeter("1")))
		time.Sleep(time.Hour)
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("after an hour: %v", got)
		}
		check(t, r.Deregister(greeter("1")))
	})
}

// Plugin v1.2.1 notices at the next Register, after up to 30 s.
func TestNodeReturnsAfterTheAgentHasLostIt(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"with TTL": time.Minute, "without": 0} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
				check(t, r.Register(greeter("1"), registry.RegisterTTL(ttl)))
				time.Sleep(time.Second)
				fake.Restart(false)
				time.Sleep(24 * time.Second)
				if got := nodes(t, r); len(got) != 1 {
					t.Errorf("24 s after the restart: %v", got)
				}
				check(t, r.Deregister(greeter("1")))
			})
		})
	}
}

// This is what go-micro's server does at every tick while its RegisterCheck
// fails.
func TestDeregisteredAndRegisteredAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		for range 10 {
			check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
			check(t, r.Deregister(greeter("1")))
			check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
			if got := nodes(t, r); len(got) != 1 {
				t.Fatalf("found %v", got)
			}
			time.Sleep(30 * time.Second)
		}
		check(t, r.Deregister(greeter("1")))
	})
}

// Plugin v1.2.1 keeps its state by the name: of two nodes of one name, each Register
// makes it forget the other, and register both anew at each refresh.
func TestTwoNodesOfOneNameAreKeptApart(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		for range 10 {
			check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
			check(t, r.Register(greeter("2"), registry.RegisterTTL(time.Minute)))
			time.Sleep(30 * time.Second)
		}
		if got := nodes(t, r); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("found %v", got)
		}
		if n := count(fake, "/v1/agent/service/register"); n != 2 {
			t.Errorf("registered %d times, want 2", n)
		}
		check(t, r.Deregister(greeter("1")))
		if got := nodes(t, r); !slices.Equal(got, []string{"2"}) {
			t.Errorf("left: %v", got)
		}
		check(t, r.Deregister(greeter("2")))
	})
}

// What the agent checks itself needs no refresh: the TTL does not matter.
func TestNodeThatTheAgentChecksStays(t *testing.T) {
	for name, option := range map[string]registry.Option{
		"TCP":  TCPCheck(10 * time.Second),
		"HTTP": HTTPCheck("http", "8080", "/health", 10*time.Second, time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := consulmock.New(t)
				r := NewRegistry(Client(fake.Client()), option)
				check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
				// A server listens before it registers; that it is well is seen by a request.
				if got := len(nodes(t, r)); got != map[string]int{"TCP": 1, "HTTP": 0}[name] {
					t.Errorf("at first %d nodes", got)
				}
				fake.SetCheckStatus("service:1", consul.HealthPassing, "")
				time.Sleep(time.Hour)
				if got := nodes(t, r); len(got) != 1 {
					t.Errorf("after an hour: %v", got)
				}
				if n := count(fake, heartbeatPath("1")); n != 0 {
					t.Errorf("%d heartbeats", n)
				}
				check(t, r.Deregister(greeter("1")))
			})
		})
	}
}

// The timeout bounds each call of a registry whose agent is silent.
func TestTimeout(t *testing.T) {
	for want, opts := range map[time.Duration][]registry.Option{
		10 * time.Second: nil,
		3 * time.Second:  {registry.Timeout(3 * time.Second)},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := consulmock.New(t)
			fake.Inject(consulmock.Fault{Hang: make(chan struct{}), Always: true})
			r := NewRegistry(append(opts, Client(fake.Client()))...)
			for name, call := range map[string]func() error{
				"Register":     func() error { return r.Register(greeter("1")) },
				"Deregister":   func() error { return r.Deregister(greeter("1")) },
				"GetService":   func() error { _, err := r.GetService("greeter"); return err },
				"ListServices": func() error { _, err := r.ListServices(); return err },
			} {
				start := time.Now()
				if err := call(); err == nil {
					t.Errorf("%s: no error", name)
				}
				// A registration that failed is removed, which takes a second at most.
				if took := time.Since(start); took > want+time.Second {
					t.Errorf("%s took %s, want %s", name, took, want)
				}
			}
			ctx := within(t, time.Second)
			start := time.Now()
			if _, err := r.ListServices(registry.ListContext(ctx)); err == nil {
				t.Error("with a context: no error")
			}
			took(t, "with a context", start, time.Second)
		})
	}
}

// An agent that does not answer must not hold up the start of a server, which
// sleeps and tries again by itself.
func TestRegisterIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		fake.Inject(consulmock.Fault{Hang: make(chan struct{}), Always: true})
		start := time.Now()
		if err := r.Register(greeter("1"), registry.RegisterTTL(time.Minute)); err == nil {
			t.Error("no error")
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := r.GetService("greeter", registry.GetContext(ctx)); err == nil {
			t.Error("no error")
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("with a context it took %s", took)
		}
	})
}
