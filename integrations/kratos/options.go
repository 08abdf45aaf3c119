package kratos

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// Options are the options of a registry. Nil, and the zero Options, consist of
// defaults.
type Options struct {
	// Interval is the time between two TCP checks of an endpoint, and half of the
	// TTL of the heartbeat check: an instance without a heartbeat for two intervals
	// is critical. 10 seconds if 0 or less.
	Interval time.Duration

	// DeregisterAfter is the time after which the agent deregisters an instance
	// that is critical. 10 minutes if 0 or less. Agents raise it to one minute.
	DeregisterAfter time.Duration

	// NoTCPChecks omits the checks in which the agent connects to the endpoints,
	// NoHeartbeat the TTL check. An instance that the agent has lost is registered
	// again in any case. Without any check an instance is healthy until it is
	// deregistered.
	NoTCPChecks bool
	NoHeartbeat bool

	// Checks are further checks of every instance that is registered. TTL checks
	// among them get heartbeats as well. Leave CheckID empty if the program
	// registers several instances: an agent moves a check whose ID it knows to the
	// instance that was registered last.
	Checks []*consul.AgentServiceCheck

	// Tags are added to those of every instance that is registered.
	Tags []string

	// Background makes Register return at once, and register the instance as soon
	// as the agent accepts it. Without it, an agent that is down is an error. See
	// Logger and OnEvent for what happens in the background.
	Background bool

	// Query has the parameters of queries for instances, such as Tags, Filter and
	// AllowStale. PassingOnly, WaitIndex and WaitHash have no effect.
	Query consul.QueryOptions

	// Datacenters are the datacenters whose instances are found, all together.
	// Empty means that of Query, or else that of the client or the agent.
	// AllDatacenters means all datacenters that the agent knows, whatever
	// Datacenters says; their list is requested again every minute. If either is
	// set, instances have their datacenter as the metadata "dc".
	//
	// A datacenter that is unreachable, or responds more than a second later than
	// the first one, is missing until it responds. One that becomes unreachable
	// later keeps its last instances.
	Datacenters    []string
	AllDatacenters bool

	// DefaultScheme is that of the endpoint of instances that were not registered
	// by kratos, which have an address and a port only. Empty means http.
	DefaultScheme string

	// Resolve converts an instance in Consul to one of kratos, or to nil to leave
	// it out. The maps and slices in its argument are its own. It may be called
	// concurrently. Nil means [Options.Convert].
	Resolve func(discovery.Instance) *Instance

	// Timeout bounds Register and GetService if their contexts do not end
	// earlier. 10 seconds if 0 or less.
	Timeout time.Duration

	// Logger gets what happens; nil is silent. OnEvent is called with the events
	// of package discovery, and must not block or call Close; nil means none.
	Logger  *slog.Logger
	OnEvent func(discovery.Event)
}

const (
	defaultInterval        = 10 * time.Second
	defaultDeregisterAfter = 10 * time.Minute
	defaultTimeout         = 10 * time.Second
	defaultScheme          = "http"

	// idleTimeout is the time after which a service that nobody watches is
	// forgotten.
	idleTimeout = time.Minute

	// maxBackoff bounds the pause after failed queries, and with it the time until
	// watchers notice that the agent is back. The agent is local, as a rule.
	maxBackoff = 2 * time.Second
)

// withDefaults returns a copy of o that shares nothing with it and has no field
// that means a default.
func (o *Options) withDefaults() *Options {
	c := new(Options)
	if o != nil {
		*c = *o
	}
	c.Tags, c.Datacenters = slices.Clone(c.Tags), slices.Clone(c.Datacenters)
	c.Query.Tags, c.Query.NodeMeta = slices.Clone(c.Query.Tags), maps.Clone(c.Query.NodeMeta)
	c.Checks = slices.Clone(c.Checks)
	for n, check := range c.Checks {
		if check != nil {
			copied := *check
			c.Checks[n] = &copied
		}
	}
	c.Interval = positive(c.Interval, defaultInterval)
	c.DeregisterAfter = positive(c.DeregisterAfter, defaultDeregisterAfter)
	c.Timeout = positive(c.Timeout, defaultTimeout)
	if c.DefaultScheme == "" {
		c.DefaultScheme = defaultScheme
	}
	if c.Resolve == nil {
		c.Resolve = c.Convert
	}
	return c
}

func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// isUnion reports whether the instances of several datacenters are found together.
func (o *Options) isUnion() bool { return o.AllDatacenters || len(o.Datacenters) > 0 }

// resolver returns the options of the resolver of one datacenter.
func (o *Options) resolver() discovery.ResolverOptions {
	return discovery.ResolverOptions{
		Query: o.Query, IdleTimeout: idleTimeout, MaxBackoff: maxBackoff, Logger: o.Logger, OnEvent: o.OnEvent,
	}
}
