package grpcresolver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/lictor-go/consul/discovery"
)

// channel is the resolver of one channel.
type channel struct {
	cc      resolver.ClientConn
	target  target
	config  *serviceconfig.ParseResult // nil if no policy was named
	address func(discovery.Instance) string
	shared  *query
	release func() // of shared

	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	closing   sync.Once
	mu        sync.Mutex
	closed    bool
	known     bool        // Consul has responded
	failed    bool        // gRPC was told an error
	endpoints []endpoint  // that gRPC has
	latest    []endpoint  // of Consul's last response
	impatient *time.Timer // until the first response
	grace     *time.Timer // nil if the last response was not empty
}

// Format implements [fmt.Formatter]. It prints the service alone: the query that
// is shared knows its credentials.
func (c *channel) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "grpcresolver.channel{Service:%q}", c.target.watch.service)
}

// start starts to follow the service.
func (c *channel) start() {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.impatient = time.AfterFunc(c.target.timeout, c.loseHope)
	go c.follow(ctx)
}

func (c *channel) follow(ctx context.Context) {
	defer close(c.done)
	for instances, err := range c.shared.resolver.Watch(ctx, c.target.watch.service) {
		if err != nil {
			c.fail(err)
			continue
		}
		c.take(c.choose(instances))
	}
}

// ResolveNow has a query that failed tried again, if that was not done a moment
// ago. A query that waits for a change is left alone: there is nothing that
// it would not say by itself.
func (c *channel) ResolveNow(resolver.ResolveNowOptions) {
	c.shared.resolver.Retry(c.target.watch.service)
}

// Close ends the query, if it is not shared with other channels, and waits until
// nothing is left of it.
func (c *channel) Close() {
	c.closing.Do(func() {
		c.cancel()
		<-c.done
		c.mu.Lock()
		c.closed = true
		c.impatient.Stop()
		if c.grace != nil {
			c.grace.Stop()
		}
		c.mu.Unlock()
		c.release()
	})
}

// loseHope is called when there has been no response for a while. An error that was told
// before tells more.
func (c *channel) loseHope() {
	c.mu.Lock()
	told := c.failed
	c.mu.Unlock()
	if !told {
		c.fail(fmt.Errorf("Consul has said nothing about service %q for %s", c.target.watch.service, c.target.timeout))
	}
}

// fail tells gRPC what is wrong as long as it has nothing else. Afterwards it
// keeps what it has.
func (c *channel) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !c.known {
		c.failed = true
		c.cc.ReportError(fmt.Errorf("grpcresolver: %w", err))
	}
}

// choose returns the endpoints to be used, in a stable order, each address once.
func (c *channel) choose(instances []discovery.Instance) []endpoint {
	var chosen []endpoint
	taken := make(map[string]bool, len(instances))
	for _, i := range instances {
		if c.target.limit > 0 && len(chosen) == c.target.limit {
			break
		}
		addr := c.address(i)
		if addr == "" || taken[addr] {
			continue
		}
		taken[addr] = true
		chosen = append(chosen, endpoint{addr, instance{i}})
	}
	// An order by nearness means something, any other is an accident: with a
	// stable one, pick_first keeps its connection.
	if c.target.watch.near == "" {
		slices.SortFunc(chosen, func(a, b endpoint) int { return cmp.Compare(a.addr, b.addr) })
	}
	return chosen
}

// take takes a response of Consul.
func (c *channel) take(endpoints []endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = endpoints
	if len(endpoints) == 0 && len(c.endpoints) > 0 && c.target.grace > 0 {
		if c.grace == nil {
			c.grace = time.AfterFunc(c.target.grace, c.believe)
		}
		return
	}
	if c.grace != nil {
		c.grace.Stop()
		c.grace = nil
	}
	c.apply()
}

// believe applies an empty list that was not replaced in time.
func (c *channel) believe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && c.grace != nil && len(c.latest) == 0 {
		c.grace = nil
		c.apply()
	}
}

// apply gives gRPC the latest endpoints unless it has them. c.mu must be held.
func (c *channel) apply() {
	if c.known && slices.EqualFunc(c.endpoints, c.latest, endpoint.equal) {
		return
	}
	isFirst := !c.known
	c.known, c.endpoints = true, c.latest
	c.impatient.Stop()
	state := resolver.State{ServiceConfig: c.config}
	for _, e := range c.endpoints {
		addr := resolver.Address{Addr: e.addr}
		state.Addresses = append(state.Addresses, addr)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{
			Addresses:  []resolver.Address{addr},
			Attributes: e.attributes(),
		})
	}
	// What gRPC says of an empty list by itself does not name the service, so calls
	// that wait for the first list get the error alone.
	if len(c.endpoints) > 0 || !isFirst {
		// An error reports that the balancer does not like the list. Asking again would
		// bring the same one.
		_ = c.cc.UpdateState(state)
	}
	if len(c.endpoints) == 0 {
		c.cc.ReportError(fmt.Errorf("grpcresolver: Consul has no %sinstance of service %q", c.adjective(), c.target.watch.service))
	}
}

func (c *channel) adjective() string {
	if c.target.watch.unhealthy {
		return ""
	}
	return "healthy "
}
