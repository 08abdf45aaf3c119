package grpcresolver_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/grpcresolver"
)

// patience bounds waits, most of which last milliseconds.
const patience = time.Minute

// conn is the channel's side of a resolver.
type conn struct {
	resolver.ClientConn

	mu      sync.Mutex
	states  []resolver.State
	errs    []error
	changed chan struct{}
}

func newConn() *conn { return &conn{changed: make(chan struct{}, 1)} }

func (c *conn) UpdateState(s resolver.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, s)
	c.signal()
	if len(s.Addresses) == 0 {
		return balancer.ErrBadResolverState
	}
	return nil
}

func (c *conn) ReportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	c.signal()
}

func (c *conn) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{}
}

func (c *conn) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// await returns when done does.
func (c *conn) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		ok := done()
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-c.changed:
		case <-timeout:
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Fatalf("waiting for %s; states %v, errors %v", what, c.states, c.errs)
		}
	}
}

// awaitAddrs returns the last state when it has exactly these addresses.
func (c *conn) awaitAddrs(t *testing.T, want ...string) resolver.State {
	t.Helper()
	var last resolver.State
	c.await(t, "the addresses "+strings.Join(want, " "), func() bool {
		if len(c.states) == 0 {
			return false
		}
		last = c.states[len(c.states)-1]
		return slices.Equal(addrs(last), want)
	})
	return last
}

// awaitError returns the last error when it says the words.
func (c *conn) awaitError(t *testing.T, words string) {
	t.Helper()
	c.await(t, "an error with "+words, func() bool {
		return len(c.errs) > 0 && strings.Contains(c.errs[len(c.errs)-1].Error(), words)
	})
}

// counts returns how many states and errors there were.
func (c *conn) counts() (states, errs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.states), len(c.errs)
}

func addrs(s resolver.State) []string {
	list := []string{}
	for _, a := range s.Addresses {
		list = append(list, a.Addr)
	}
	return list
}

// build builds a resolver, which is closed when the test ends.
func build(t *testing.T, b *grpcresolver.Builder, target string) *conn {
	t.Helper()
	c, _ := buildResolver(t, b, target)
	return c
}

func buildResolver(t *testing.T, b *grpcresolver.Builder, target string) (*conn, resolver.Resolver) {
	t.Helper()
	c := newConn()
	r, err := tryBuild(b, target, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return c, r
}

func tryBuild(b *grpcresolver.Builder, target string, cc resolver.ClientConn) (resolver.Resolver, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	return b.Build(resolver.Target{URL: *u}, cc, resolver.BuildOptions{})
}

// onFake returns a builder for a fake agent.
func onFake(t *testing.T, opts *grpcresolver.Options) (*consulmock.Server, *grpcresolver.Builder) {
	t.Helper()
	agent := consulmock.New(t)
	o := grpcresolver.Options{}
	if opts != nil {
		o = *opts
	}
	o.Client = agent.Client()
	return agent, grpcresolver.New(&o)
}

// web is an instance of the service web with a TTL check.
func web(id, address string, port int, status consul.HealthStatus) *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{
		ID: id, Name: "web", Address: address, Port: port,
		Check: &consul.AgentServiceCheck{TTL: 1000 * time.Hour, Status: status},
	}
}
