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
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

// ResolverOptions are the options of a resolver. Nil and the zero ResolverOptions
// mean the defaults. A number that is 0 or less means its default, except for
// ExcludeFor.
type ResolverOptions struct {
	// Query has the options of the queries about every service: Tags, Filter, Near,
	// NodeMeta, AllowStale, UseCache and so on. The resolver sets PassingOnly,
	// WaitIndex, WaitHash and Previous itself. For WaitTime see [WatchOptions].
	Query consul.QueryOptions

	// AllowWarning includes instances that have a warning check. By default only
	// instances are included whose checks are all passing.
	AllowWarning bool

	// AnyStatus includes all instances, also those that have a critical check or
	// are in maintenance. The Weight of those is 0.
	AnyStatus bool

	// Connect finds the instances through which a service can be reached in the
	// service mesh: its proxies, and its own instances that support the mesh
	// natively.
	Connect bool

	// Datacenters are in order of preference: the instances are those of the first
	// datacenter that has any. A datacenter is queried while those before it have no
	// instances, or cannot be queried: the agent has refused such a query, or has
	// responded to three in a row with an error. Empty means Query.Datacenter.
	Datacenters []string

	// MinInstances keeps at least this many instances in use: when fewer are
	// healthy, recently removed ones are kept to make up the number. So a fault of
	// the checks does not take everything out of service, but some instances in use
	// may be dead. It is off by default.
	MinInstances int

	// IdleTimeout is the time after which a service is forgotten that nobody requests,
	// watches or uses (see [Resolver.Acquire]), 5 minutes by default. It is
	// kept for longer while the agent cannot repeat the last good response, because
	// it cannot be reached or has no leader; but not if it refuses the query.
	IdleTimeout time.Duration

	// MaxQueries is how many queries may be under way at the same time. By default
	// there are 128 over HTTP/1, where each needs one of the 200 connections that
	// agents allow to a client; over HTTP/2, where some 250 share a connection, any
	// number may wait for changes. If it is set, it holds over both. An eighth of them, 1 to 16, do not wait for
	// changes. They serve first queries, and services for which there is no room
	// among the others, which are polled about every 5 seconds. Several Datacenters
	// have equal shares of that eighth, at least 1 each, so that one that hangs does
	// not hold up the others. With no more queries than Datacenters, all are polled.
	MaxQueries int

	// Balancer returns a new balancer for a service: [Random], [RoundRobin],
	// [WeightedRandom], [LeastLoaded], or one of your own. It is called when an
	// instance of the service is picked for the first time. Nil means
	// WeightedRandom.
	Balancer func() Balancer

	// ExcludeFor is how long an instance is not picked after a failure, unless all
	// instances have failed: 5 seconds if 0, and no time at all if negative. It
	// doubles with every further failure, up to a minute (or ExcludeFor, if that is
	// longer), and ends with a success, or when the service is forgotten (see
	// IdleTimeout). The failures of an instance that is removed after that time do
	// not count any more when it is back.
	ExcludeFor time.Duration

	// Dial opens the connections of [Resolver.DialContext]. Nil means a
	// [net.Dialer] with a timeout of 10 seconds.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Burst, MinInterval, MinBackoff and MaxBackoff are the options of the watch of
	// each service; see [WatchOptions].
	Burst       int
	MinInterval time.Duration
	MinBackoff  time.Duration
	MaxBackoff  time.Duration

	// Logger logs each event; nil logs nothing. Of failures in a row the first one
	// is logged as a warning, and a success after them at info level. Everything
	// else is at debug level, changes of instances too. OnEvent, if not nil, is
	// called with each [InstancesChangedEvent], [WatchErrorEvent],
	// [WatchRecoveredEvent] and [IndexResetEvent].
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
	c.IdleTimeout = pace.Positive(c.IdleTimeout, defaultIdleTimeout)
	c.MaxQueries = pace.Positive(c.MaxQueries, defaultMaxQueries)
	if c.ExcludeFor == 0 {
		c.ExcludeFor = defaultExcludeFor
	}
	c.ExcludeFor = min(c.ExcludeFor, pace.MaxDuration)
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

// loop returns the options of the loops, with defaults.
func (o *ResolverOptions) loop() watch.Options {
	w := &WatchOptions{
		Query: o.Query, Burst: o.Burst, MinInterval: o.MinInterval, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		Logger: o.Logger, OnEvent: o.OnEvent,
	}
	return w.loop("")
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

// check returns an error if no agent can be queried about a service, so that nobody
// waits for the response.
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
