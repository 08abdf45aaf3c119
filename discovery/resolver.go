package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul"
)

var (
	// ErrNoInstances means that a service has no instance to pick. The error that
	// wraps it says whether there would have to be a healthy one, and whether the
	// token may have kept some from being seen.
	ErrNoInstances = errors.New("no instances")

	// ErrClosed means that a resolver was closed.
	ErrClosed = errors.New("resolver closed")
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

// newBalancer returns the balancer of a service.
func (o *ResolverOptions) newBalancer() Balancer {
	if o.Balancer != nil {
		if b := o.Balancer(); b != nil {
			return b
		}
	}
	return WeightedRandom()
}

const (
	defaultIdleTimeout = 5 * time.Minute
	defaultMaxQueries  = 128
	defaultExcludeFor  = 5 * time.Second
)

// Resolver holds the instances of the services that it was asked for. However
// many ask for a service, there is one blocking query about it, and all but the
// first are answered from memory. Its methods may be called concurrently.
//
// While the agent is away the last good answer stays in use; [Resolver.State]
// says how old it is and what is wrong.
type Resolver struct {
	client  *consul.Client
	opts    ResolverOptions // with defaults
	watch   WatchOptions    // of each service, without the name
	slots   *slots
	started time.Time
	ctx     context.Context // of the queries; ended by Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // of their goroutines

	mu       sync.RWMutex
	services map[string]*service
}

// NewResolver returns a resolver, which asks nothing before it is asked. Nil
// options mean passing instances only. With a nil client every question is an
// error.
func NewResolver(c *consul.Client, opts *ResolverOptions) *Resolver {
	r := &Resolver{client: c, started: time.Now(), services: make(map[string]*service)}
	if opts != nil {
		r.opts = *opts
	}
	o := &r.opts
	o.IdleTimeout = positive(o.IdleTimeout, defaultIdleTimeout)
	o.MaxQueries = positive(o.MaxQueries, defaultMaxQueries)
	if o.ExcludeFor == 0 {
		o.ExcludeFor = defaultExcludeFor
	}
	o.ExcludeFor = min(o.ExcludeFor, maxDuration)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if token := strings.TrimSpace(o.Query.Token); token != "" {
		// Unlike these options, a client prints without its token wherever it is a
		// field.
		if o.Query.Token = ""; c != nil {
			r.client = c.WithToken(token)
		}
	}
	o.Query.PassingOnly = !o.AllowWarning && !o.AnyStatus
	o.Datacenters = slices.Clone(o.Datacenters)
	if len(o.Datacenters) == 0 {
		o.Datacenters = []string{o.Query.Datacenter}
	}
	watch := WatchOptions{
		Query: o.Query, Burst: o.Burst, MinInterval: o.MinInterval, MinBackoff: o.MinBackoff, MaxBackoff: o.MaxBackoff,
		Logger: o.Logger, OnEvent: o.OnEvent,
	}
	r.watch = watch.withDefaults()
	r.slots = newSlots(o.MaxQueries, len(o.Datacenters))
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// clock returns the time since the resolver was made. Changes of the system's time
// do not move it.
func (r *Resolver) clock() time.Duration { return time.Since(r.started) }

// Instances returns the healthy instances of a service, in the agent's order. A
// service without any, or of which Consul does not know, has an empty list.
//
// The first call for a service waits for the agent's answer until ctx ends,
// whatever goes wrong meanwhile, unless the agent refuses the question. Later
// calls are answered from memory at once. The slice is the caller's.
func (r *Resolver) Instances(ctx context.Context, service string) ([]Instance, error) {
	_, v, err := r.lookUp(ctx, service)
	if err != nil {
		return nil, err
	}
	return append([]Instance{}, v.instances...), nil
}

// Pick returns the instance that the balancer picks, or ErrNoInstances if there
// is none. For waiting see Instances. Instances seen failing by [Resolver.Acquire]
// are left out for a while.
func (r *Resolver) Pick(ctx context.Context, service string) (Instance, error) {
	s, v, err := r.lookUp(ctx, service)
	if err != nil {
		return Instance{}, err
	}
	return s.pick(v, s.balancer().Pick, nil)
}

// PickKey is Pick for things that shall stay with the same instance: it returns
// the same one for the same key, in every process, for as long as it is healthy,
// and was not seen failing by [Resolver.Acquire] just now. When an instance goes,
// only its keys move. The balancer is not asked.
func (r *Resolver) PickKey(ctx context.Context, service, key string) (Instance, error) {
	s, v, err := r.lookUp(ctx, service)
	if err != nil {
		return Instance{}, err
	}
	return s.pick(v, func(instances []Instance) int { return rendezvous(key, instances) }, nil)
}

// Acquire is Pick with feedback. The caller calls done when it has used the
// instance, with the error if the instance has failed: it is then left out of
// picks for a while. Until then the use counts as load. Further calls of done do
// nothing. An error that is [context.Canceled] is not held against the instance.
func (r *Resolver) Acquire(ctx context.Context, service string) (i Instance, done func(error), err error) {
	return r.acquire(ctx, service, nil)
}

// acquire is Acquire among the instances that are not in tried.
func (r *Resolver) acquire(ctx context.Context, service string, tried []instanceKey) (Instance, func(error), error) {
	s, v, err := r.lookUp(ctx, service)
	if err != nil {
		return Instance{}, nil, err
	}
	i, err := s.pick(v, s.balancer().Pick, tried)
	if err != nil {
		return Instance{}, nil, err
	}
	i.stats.load.Add(1)
	var once atomic.Bool
	return i, func(err error) {
		if once.CompareAndSwap(false, true) {
			i.stats.load.Add(-1)
			s.judge(i, err)
		}
	}, nil
}

// Watch yields the healthy instances of a service, and again whenever they have
// changed, until ctx ends or the loop breaks. A slow loop misses what happened
// between two of its iterations. The slice is shared by all loops: it must not
// be changed.
//
// When queries fail, the first error is yielded, further ones are not. The last
// instances stay valid: they are yielded again, changed or not, when the agent
// answers again. When ctx ends, the sequence ends without an error; when the
// resolver is closed, it ends with ErrClosed.
func (r *Resolver) Watch(ctx context.Context, service string) iter.Seq2[[]Instance, error] {
	return func(yield func([]Instance, error) bool) {
		if ctx == nil {
			yield(nil, errNilContext)
			return
		}
		s, err := r.use(service)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.release(s)
		var seen uint64
		failed := false
		for ctx.Err() == nil {
			v := s.view.Load()
			if v.answered && (v.generation != seen || failed && v.err == nil) {
				seen, failed = v.generation, failed && v.err != nil
				if !yield(v.instances, nil) {
					return
				}
				continue // something newer may be there
			}
			if v.err != nil && !failed {
				failed = true
				if !yield(nil, v.err) {
					return
				}
				continue
			}
			select {
			case <-v.superseded:
			case <-ctx.Done():
			case <-r.ctx.Done():
				yield(nil, fmt.Errorf("discovery: service %q: %w", service, ErrClosed))
				return
			}
		}
	}
}

// State is what a resolver knows about a service.
type State struct {
	Instances []Instance // shared: it must not be changed

	// Answered is when the agent has last answered; zero means never. As long as
	// Err is nil a query is waiting for changes, and the instances are those of
	// now, even if Answered is a minute or so ago.
	Answered time.Time

	// Err is the error of the last query, nil if it was answered.
	Err error

	Datacenter string // the one of the instances; empty for the client's
	Held       int    // instances that are held back; see ResolverOptions.MinInstances
}

// State returns what the resolver knows about a service, without waiting and
// without asking. It reports false if nobody has asked for the service lately.
func (r *Resolver) State(service string) (State, bool) {
	r.mu.RLock()
	s := r.services[service]
	r.mu.RUnlock()
	if s == nil {
		return State{}, false
	}
	return s.state(), true
}

// Retry ends the pause after a failed query about a service: the agent is asked
// again at once, or as soon as Burst and MinInterval allow it. It does not wait, and
// does nothing to a query that waits for a change.
func (r *Resolver) Retry(service string) {
	r.mu.RLock()
	s := r.services[service]
	r.mu.RUnlock()
	if s != nil {
		s.retry()
	}
}

// Close ends the resolver's queries and waits for its goroutines. Everything
// that waits for the resolver, or asks it later, gets ErrClosed. Further calls do
// nothing. It must not be called from OnEvent. The error is always nil.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.cancel()
	for name, s := range r.services {
		s.idle.Stop()
		delete(r.services, name)
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// lookUp returns a service and what is known about it, after the agent's first
// answer.
func (r *Resolver) lookUp(ctx context.Context, name string) (*service, *view, error) {
	if ctx == nil {
		return nil, nil, errNilContext
	}
	r.mu.RLock()
	s := r.services[name]
	r.mu.RUnlock()
	if s != nil {
		if v := s.view.Load(); v.answered {
			s.touch()
			return s, v, nil
		}
	}
	s, err := r.use(name)
	if err != nil {
		return nil, nil, err
	}
	defer r.release(s)
	for {
		v := s.view.Load()
		switch {
		case v.answered:
			return s, v, nil
		case v.settled && isRefusal(v.err):
			return nil, nil, v.err
		}
		select {
		case <-v.superseded:
		case <-ctx.Done():
			err := fmt.Errorf("discovery: no answer about service %q: %w", name, ctx.Err())
			if v.err != nil {
				err = fmt.Errorf("%w; last error: %w", err, v.err)
			}
			return nil, nil, err
		case <-r.ctx.Done():
			return nil, nil, fmt.Errorf("discovery: service %q: %w", name, ErrClosed)
		}
	}
}

// check returns an error if the agent cannot be asked about a service, so that
// nobody waits for its response.
func (r *Resolver) check(service string) error {
	if service == "" {
		return errors.New("discovery: service is empty")
	}
	for _, element := range strings.Split(service, "/") {
		if element == "." || element == ".." {
			return fmt.Errorf("discovery: service %q: the element . or .. is not allowed in a path", service)
		}
	}
	q := &r.opts.Query
	switch {
	case q.MaxAge < 0:
		return fmt.Errorf("discovery: ResolverOptions.Query.MaxAge is %s; want 0 or more", q.MaxAge)
	case q.StaleIfError < 0:
		return fmt.Errorf("discovery: ResolverOptions.Query.StaleIfError is %s; want 0 or more", q.StaleIfError)
	}
	return nil
}

// use returns a service that is not forgotten before its release.
func (r *Resolver) use(name string) (*service, error) {
	if r.client == nil {
		return nil, errNilClient
	}
	if err := r.check(name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, fmt.Errorf("discovery: service %q: %w", name, ErrClosed)
	}
	s := r.services[name]
	if s == nil {
		s = newService(r, name)
		r.services[name] = s
	}
	s.users++
	return s, nil
}

// release ends a use of a service.
func (r *Resolver) release(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.used.Store(int64(r.clock()))
	if s.users--; s.users == 0 && r.ctx.Err() == nil {
		s.idle.Reset(r.opts.IdleTimeout)
	}
}

// minIdleCheck is the shortest time between two looks at a service that has to be
// kept although nobody uses it.
const minIdleCheck = time.Second

// forget drops a service if nobody has used it for IdleTimeout.
func (r *Resolver) forget(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil || s.users > 0 { // release starts the timer again
		return
	}
	idle := r.clock() - time.Duration(s.used.Load())
	switch {
	case idle < r.opts.IdleTimeout:
		s.idle.Reset(r.opts.IdleTimeout - idle)
	case s.mustBeKept():
		s.idle.Reset(max(r.opts.IdleTimeout, minIdleCheck))
	default:
		delete(r.services, s.name)
		s.cancel()
	}
}
