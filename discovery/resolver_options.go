package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
)

// ResolverOptions are the options of a resolver. Nil, and the zero
// ResolverOptions, consist of defaults. A number that is 0 or less means the
// default, but for ExcludeFor.
type ResolverOptions struct {
	// Query is what is asked about every service: Tags, Filter, Near, NodeMeta,
	// AllowStale, UseCache and so on. PassingOnly, WaitIndex and WaitHash are the
	// resolver's own. For WaitTime see [WatchOptions].
	Query consul.QueryOptions

	// AllowWarning makes instances count that have a warning check. Without it
	// only those do that have none but passing checks.
	AllowWarning bool

	// AnyStatus makes all instances count, also those that have a critical check
	// or are in maintenance, whose Weight is 0.
	AnyStatus bool

	// Connect looks for the instances through which a service can be reached in
	// the service mesh: its proxies, and itself where it takes part natively.
	Connect bool

	// Datacenters are asked one after the other: the instances are those of the
	// first datacenter that has any. The next one is asked when the ones before
	// it have none, or when the agent has refused to ask them, or failed three
	// times in a row; and no longer when one of them has some again. Empty means
	// Query.Datacenter.
	Datacenters []string

	// MinInstances holds removals back: while fewer instances than that are
	// healthy, so many of those that were used last stay in use that there are
	// MinInstances of them. It keeps a fault of the checks from taking everything
	// out of service, at the price of using what may be dead. It is off by
	// default.
	MinInstances int

	// IdleTimeout is the time after which a service is forgotten that nobody asks
	// for, watches or uses (see [Resolver.Acquire]), 5 minutes by default. It is
	// kept for longer while the agent cannot repeat the response in use: when the
	// agent is away or fails, but not when it refuses the query.
	IdleTimeout time.Duration

	// MaxQueries is how many queries may be under way at the same time, and so the
	// most connections that the resolver uses: 128 by default, of the 200 that
	// agents allow to a client. An eighth of them, 1 to 16, do not wait for
	// changes. They serve first queries, and services for which there is no room
	// among the others, which are polled about every 5 seconds. Several Datacenters
	// have equal shares of that eighth, at least 1 each, so that one that hangs does
	// not hold up the others. With no more queries than Datacenters, all are polled.
	MaxQueries int

	// Balancer returns the balancer of one service; see [Random], [RoundRobin],
	// [WeightedRandom] and [LeastLoaded]. It is called when the service is picked
	// from for the first time. Nil means WeightedRandom.
	Balancer func() Balancer

	// ExcludeFor is how long an instance is not picked after it was seen failing,
	// unless all are failing. It doubles with every further failure up to a
	// minute, and ends with a success, or when the service is forgotten (see
	// IdleTimeout). 5 seconds if 0; never if negative.
	ExcludeFor time.Duration

	// Dial opens the connections of [Resolver.DialContext]. Nil means a
	// [net.Dialer] with a timeout of 10 seconds.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Burst, MinInterval, MinBackoff and MaxBackoff are those of the watch of
	// each service; see [WatchOptions].
	Burst       int
	MinInterval time.Duration
	MinBackoff  time.Duration
	MaxBackoff  time.Duration

	// Logger gets what happens; nil is silent. Of failures in a row the first one
	// is a warning, and the others are for debugging. OnEvent is called with
	// [InstancesChangedEvent], [WatchErrorEvent], [WatchRecoveredEvent] and
	// [IndexResetEvent]; nil is none.
	Logger  *slog.Logger
	OnEvent func(Event)
}

const (
	defaultIdleTimeout = 5 * time.Minute
	defaultMaxQueries  = 128
	defaultExcludeFor  = 5 * time.Second
)

// withDefaults returns a copy of o without fields that mean a default, except for
// Balancer.
func (o *ResolverOptions) withDefaults() ResolverOptions {
	var c ResolverOptions
	if o != nil {
		c = *o
	}
	c.IdleTimeout = positive(c.IdleTimeout, defaultIdleTimeout)
	c.MaxQueries = positive(c.MaxQueries, defaultMaxQueries)
	if c.ExcludeFor == 0 {
		c.ExcludeFor = defaultExcludeFor
	}
	c.ExcludeFor = min(c.ExcludeFor, maxDuration)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	c.Query.PassingOnly = !c.AllowWarning && !c.AnyStatus
	c.Datacenters = slices.Clone(c.Datacenters)
	if len(c.Datacenters) == 0 {
		c.Datacenters = []string{c.Query.Datacenter}
	}
	return c
}

// watch returns the options of the watches, with defaults.
func (o *ResolverOptions) watch() WatchOptions {
	w := &WatchOptions{
		Query: o.Query, Burst: o.Burst, MinInterval: o.MinInterval, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		Logger: o.Logger, OnEvent: o.OnEvent,
	}
	return w.withDefaults()
}

// newBalancer returns the balancer of a service.
func (o *ResolverOptions) newBalancer() Balancer {
	if o.Balancer != nil {
		if b := o.Balancer(); b != nil {
			return b
		}
	}
	return WeightedRandom()
}

// check returns an error if the agent cannot be asked about a service, so that
// nobody waits for its response.
func (o *ResolverOptions) check(service string) error {
	if service == "" {
		return errors.New("discovery: service is empty")
	}
	for _, element := range strings.Split(service, "/") {
		if element == "." || element == ".." {
			return fmt.Errorf("discovery: service %q: the element . or .. is not allowed in a path", service)
		}
	}
	switch q := &o.Query; {
	case q.MaxAge < 0:
		return fmt.Errorf("discovery: ResolverOptions.Query.MaxAge is %s; want 0 or more", q.MaxAge)
	case q.StaleIfError < 0:
		return fmt.Errorf("discovery: ResolverOptions.Query.StaleIfError is %s; want 0 or more", q.StaleIfError)
	}
	return nil
}
