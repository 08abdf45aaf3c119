// Package grpcresolver finds the instances of a gRPC service in Consul.
//
//	conn, err := grpc.NewClient("consul://127.0.0.1:8500/greeter?tag=v2&dc=dc1",
//		grpc.WithResolvers(grpcresolver.New(nil)),
//		grpc.WithTransportCredentials(insecure.NewCredentials()))
//
// A target is consul://[token@|user:password@][host[:port]]/service[?parameters].
// The README lists the parameters. Without a host the agent is that of
// [Options.Client] or, by default, that of the CONSUL_* environment variables.
//
// A channel gets the healthy instances of the service, and again whenever they
// change. While Consul is away it keeps those that it has, and the resolver goes
// on asking. Only before the first response do calls fail, with the reason.
// Channels with the same agent and the same question share one query, which ends
// with the last of them.
//
// Balancers find out about the instance behind an endpoint by [FromEndpoint]. The
// policy of package weighted is one.
package grpcresolver

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// Options are the options of a builder. Nil, and the zero Options, consist of
// defaults.
type Options struct {
	// Scheme is that of the targets. Empty means consul.
	Scheme string

	// Client is used for targets that name neither a host nor a socket. They may
	// have a token of their own, or a token file, which is then read once; a user or
	// the parameter insecure is an error. Nil means a client made from Config.
	Client *consul.Client

	// Config is what clients are made from, together with the target's parameters:
	// certificates, for example, have no place in a target. If its address begins
	// with https://, or its Scheme is https, TLS is also used for targets that name
	// another host, unless they have tls=false. If it has settings of TLS and neither
	// of these, such targets need tls=true or tls=false. Nil means that of the
	// environment; see [consul.ConfigFromEnv].
	Config *consul.Config

	// Policy names the load balancing policy of targets without the parameter lb:
	// round_robin, for example. It has to be registered. Empty means that the
	// resolver names none, and that grpc.WithDefaultServiceConfig decides, or else
	// that all calls go to the first instance that can be reached (pick_first).
	Policy string

	// Timeout is the time after which calls fail if Consul has not said anything
	// about the service yet. They succeed when it has. 10 seconds if 0 or less. An
	// agent that refuses connections makes them fail at once.
	Timeout time.Duration

	// EmptyGrace is how long the last instances stay in use when Consul reports that
	// there are none any more. By default they do not: calls fail at once.
	EmptyGrace time.Duration

	// Address returns the address to dial an instance at, or an empty one to leave
	// it out. Nil means host:port, or the unix socket; instances without a port
	// are left out.
	Address func(discovery.Instance) string

	// Logger gets what happens; nil is silent. OnEvent is called with the events
	// of [discovery.Resolver]; nil is none.
	Logger  *slog.Logger
	OnEvent func(discovery.Event)
}

const (
	defaultScheme  = "consul"
	defaultTimeout = 10 * time.Second

	// Agents are local, as a rule, and when they are back nobody should stay blind.
	defaultMaxBackoff = 5 * time.Second
)

// Builder builds a resolver for each channel. It implements [resolver.Builder]. It
// may be used for any number of channels, which share queries.
type Builder struct {
	opts Options
	pool *pool
}

// New returns a builder for grpc.WithResolvers, or for [resolver.Register]. Nil
// options mean defaults.
func New(opts *Options) *Builder {
	b := &Builder{}
	if opts != nil {
		b.opts = *opts
	}
	if b.opts.Scheme == "" {
		b.opts.Scheme = defaultScheme
	}
	if b.opts.Timeout <= 0 {
		b.opts.Timeout = defaultTimeout
	}
	if b.opts.Address == nil {
		b.opts.Address = address
	}
	if b.opts.Config != nil {
		cfg := *b.opts.Config
		b.opts.Config = &cfg
	}
	b.pool = newPool(&b.opts)
	return b
}

// Format implements [fmt.Formatter]. It prints the scheme alone: targets and
// options hold credentials.
func (b Builder) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "grpcresolver.Builder{Scheme:%q}", b.opts.Scheme)
}

// Scheme returns the scheme of the targets.
func (b *Builder) Scheme() string { return b.opts.Scheme }

// Build returns the resolver of a channel. It sends nothing itself. A malformed
// target, or a policy that is not registered, is an error.
func (b *Builder) Build(to resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	t, err := parseTarget(&to.URL)
	if err != nil {
		return nil, fmt.Errorf("grpcresolver: %w", err)
	}
	if t.policy == "" {
		t.policy = b.opts.Policy
	}
	if t.timeout <= 0 {
		t.timeout = b.opts.Timeout
	}
	if !t.graced {
		t.grace = b.opts.EmptyGrace
	}
	c := &channel{cc: cc, target: t, address: b.opts.Address, done: make(chan struct{})}
	if t.policy != "" && !opts.DisableServiceConfig {
		if balancer.Get(t.policy) == nil {
			return nil, fmt.Errorf("grpcresolver: no load balancing policy %q is registered", t.policy)
		}
		c.config = cc.ParseServiceConfig(`{"loadBalancingConfig":[{` + strconv.Quote(t.policy) + `:{}}]}`)
	}
	if c.shared, err = b.pool.acquire(t.agent, t.watch); err != nil {
		return nil, fmt.Errorf("grpcresolver: %w", err)
	}
	c.release = func() { b.pool.release(c.shared) }
	c.target.agent = agentKey{} // not needed any more, and must not be printed
	c.start()
	return c, nil
}
