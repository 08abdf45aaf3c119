// Package discovery runs package discovery against real agents that are killed,
// stopped, emptied and flooded, and measures how long it takes until everything
// is in order again.
package discovery

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestMain lets tests run at once: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	explicit := false
	flag.Visit(func(f *flag.Flag) { explicit = explicit || f.Name == "test.parallel" })
	if !explicit {
		flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

const ttl = 10 * time.Second

// service is a service that is kept registered, and what was said about it.
type service struct {
	t   *testing.T
	reg *discovery.Registration

	mu     sync.Mutex
	healed []discovery.HealedEvent
}

// keep registers web until the end of the test.
func keep(t *testing.T, c *consul.Client, check *consul.AgentServiceCheck) *service {
	t.Helper()
	s := &service{t: t}
	reg, err := discovery.Register(context.Background(), c, &consul.AgentServiceRegistration{
		Name: "web", ID: "web-1", Address: "127.0.0.1", Port: 80, Check: check,
	}, &discovery.RegisterOptions{OnEvent: func(e discovery.Event) {
		if e, ok := e.(discovery.HealedEvent); ok {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.healed = append(s.healed, e)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.reg = reg
	t.Cleanup(func() { reg.Close() })
	return s
}

// reasons returns what the service was healed from.
func (s *service) reasons() (list []discovery.HealReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.healed {
		list = append(list, h.Reason)
	}
	return list
}

// passing reports whether the service is passing, with its check.
func passing(c *consul.Client, q consul.QueryOptions) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	q.PassingOnly = true
	entries, _, err := c.Health().Service(ctx, "web", &q)
	return err == nil && len(entries) == 1 &&
		slices.ContainsFunc(entries[0].Checks, func(c *consul.HealthCheck) bool { return c.ServiceID == "web-1" })
}

// settledOr waits until cond has held for two seconds, and returns how long it
// took until it did for good; or -1 if that is more than atMost.
func settledOr(atMost time.Duration, cond func() bool) time.Duration {
	start := time.Now()
	since := start
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < 2*time.Second {
		if !cond() {
			since = time.Now()
		}
		if since.Sub(start) > atMost {
			return -1
		}
		<-tick.C
	}
	return since.Sub(start)
}

// await waits until cond holds, and returns how long that took.
func await(t *testing.T, what string, atMost time.Duration, cond func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Since(start) > atMost {
			t.Fatalf("%s: not within %s", what, atMost)
		}
		<-tick.C
	}
	return time.Since(start)
}

// listener is a TCP port to be checked by agents.
func listener(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// client returns a client of an agent that counts its connections.
func client(t *testing.T, a *agenttest.Agent) (c *consul.Client, connections *atomic.Int32) {
	connections = new(atomic.Int32)
	dialer := &net.Dialer{}
	transport := newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		connections.Add(1)
		return &countedConn{Conn: conn, n: connections}, nil
	})
	t.Cleanup(transport.CloseIdleConnections)
	cfg := a.Config()
	cfg.Transport = transport
	c, err := consul.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, connections
}

type countedConn struct {
	net.Conn
	n    *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.n.Add(-1) })
	return c.Conn.Close()
}

// table collects the healing times of all scenarios, and prints them in the end.
var table struct {
	sync.Mutex
	rows []row
}

type row struct {
	order    int
	scenario string
	how      string
	agent    []time.Duration
	resolver []time.Duration
}

func span(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	slices.Sort(d)
	s := func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
	if len(d) == 1 {
		return s(d[0])
	}
	return fmt.Sprintf("%s (%s to %s)", s(d[len(d)/2]), s(d[0]), s(d[len(d)-1]))
}
