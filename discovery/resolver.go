package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

var (
	// ErrNoInstances means that a service has no instance to pick. The text of the
	// error that wraps it tells whether only healthy instances count, and whether
	// the token may not allow to see all.
	ErrNoInstances = errors.New("no instances")

	// ErrClosed means that a resolver was closed.
	ErrClosed = errors.New("resolver closed")
)

// Resolver finds instances of services, and keeps them in memory. The first call
// for a service starts a watch of it, one for all callers; later calls return from
// memory. Make one with [NewResolver]. Its methods may be called concurrently.
//
// While the agent cannot be reached, the last good response stays in use.
// [Resolver.State] reports how old it is and what is wrong.
type Resolver struct {
	client  *consul.Client
	opts    ResolverOptions // with defaults
	loop    watch.Options   // of each service, without the name
	limiter *queryLimiter
	started time.Time
	ctx     context.Context // of the queries; ended by Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // of their goroutines

	mu       sync.RWMutex
	services map[string]*entry
}

// NewResolver returns a resolver. It sends nothing before the first call for a
// service. Nil options mean passing instances only. If c is nil, every call
// returns an error.
func NewResolver(c *consul.Client, opts *ResolverOptions) *Resolver {
	r := &Resolver{client: c, opts: opts.withDefaults(), started: time.Now(), services: make(map[string]*entry)}
	if token := strings.TrimSpace(r.opts.Query.Token); token != "" {
		// Unlike these options, a client prints without its token wherever it is a
		// field.
		if r.opts.Query.Token = ""; c != nil {
			r.client = c.WithToken(token)
		}
	}
	r.loop = r.opts.loop()
	r.limiter = newQueryLimiter(r.opts.MaxQueries, len(r.opts.Datacenters))
	r.limiter.isStrict = opts != nil && opts.MaxQueries > 0
	r.ctx, r.cancel = context.WithCancel(r.limiter.observe(context.Background()))
	return r
}

// clock returns the time since the resolver was made. Changes of the system's time
// do not move it.
func (r *Resolver) clock() time.Duration { return time.Since(r.started) }

// Instances returns the healthy instances of a service, in the agent's order. A
// service without any, or one that Consul does not know, has an empty list.
//
// The first call for a service waits for the agent's response until ctx ends, and
// while that fails the query is repeated. If the agent refuses the query, with a
// status such as 403, that error is returned at once. Later calls return from
// memory at once, whether ctx has ended or not. The slice belongs to the caller; the
// maps and slices in its instances are shared.
func (r *Resolver) Instances(ctx context.Context, service string) ([]Instance, error) {
	_, v, err := r.lookUp(ctx, service)
	if err != nil {
		return nil, err
	}
	return append([]Instance{}, v.instances...), nil
}

// Pick returns the instance that the balancer picks, or ErrNoInstances if there
// is none. It waits as [Resolver.Instances] does. Instances that have failed are
// left out for a while; see [Resolver.Acquire].
func (r *Resolver) Pick(ctx context.Context, service string) (Instance, error) {
	e, v, err := r.lookUp(ctx, service)
	if err != nil {
		return Instance{}, err
	}
	return e.pick(v, e.balancer().Pick, nil)
}

// PickKey is Pick for what has to stay with the same instance: it returns the same
// one for the same key, in every process, for as long as it is healthy and has not
// failed a short time ago. When an instance is removed, only its keys move.
// Instances get keys in proportion to their weights. The balancer is not used.
func (r *Resolver) PickKey(ctx context.Context, service, key string) (Instance, error) {
	e, v, err := r.lookUp(ctx, service)
	if err != nil {
		return Instance{}, err
	}
	return e.pick(v, func(instances []Instance) int { return rendezvous(key, instances) }, nil)
}

// Acquire is Pick with feedback. The caller has to call done when it has used the
// instance, with an error if the instance has failed, which is then left out of
// picks for a while (see [ResolverOptions.ExcludeFor]). A [context.Canceled] counts
// neither as a failure nor as a success. Until done is called, the use counts in
// [Instance.Load], and the service is not forgotten. Further calls of done do
// nothing.
func (r *Resolver) Acquire(ctx context.Context, service string) (i Instance, done func(error), err error) {
	return r.acquire(ctx, service, nil)
}

// acquire is Acquire among the instances that are not in tried.
func (r *Resolver) acquire(ctx context.Context, service string, tried []instanceKey) (Instance, func(error), error) {
	e, v, err := r.lookUp(ctx, service)
	if err != nil {
		return Instance{}, nil, err
	}
	i, err := e.pick(v, e.balancer().Pick, tried)
	if err != nil {
		return Instance{}, nil, err
	}
	i.stats.load.Add(1)
	var once atomic.Bool
	return i, func(err error) {
		if once.CompareAndSwap(false, true) {
			i.stats.load.Add(-1)
			e.feedback(i, err)
		}
	}, nil
}

// Watch yields the healthy instances of a service, and again whenever they have
// changed, until ctx ends or the loop breaks. A slow loop misses what happened
// between two of its iterations. The slice is shared by all loops: it must not
// be changed.
//
// When queries fail, the first error of the outage is yielded, further ones are not.
// The last instances stay valid. When the agent responds again, they are yielded
// again, changed or not. When ctx ends, the sequence ends without an error; when the
// resolver is closed, it ends with ErrClosed.
func (r *Resolver) Watch(ctx context.Context, service string) iter.Seq2[[]Instance, error] {
	return func(yield func([]Instance, error) bool) {
		if ctx == nil {
			yield(nil, errNilContext)
			return
		}
		e, err := r.use(service)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.release(e)
		var seen, outage uint64
		failed := false // as far as the loop was told
		for ctx.Err() == nil {
			v := e.view.Load()
			if v.answered && (v.generation != seen || failed && v.err == nil) {
				// A datacenter may fail all the time while another one changes.
				seen, failed = v.generation, failed && v.err != nil && v.outage == outage
				if !yield(v.instances, nil) {
					return
				}
				continue // something newer may be there
			}
			if v.err != nil && !failed {
				failed, outage = true, v.outage
				if !yield(nil, v.err) {
					return
				}
				continue
			}
			select {
			case <-v.superseded:
			case <-ctx.Done():
			case <-r.ctx.Done():
				if e.view.Load() != v {
					continue // there was something new before the end
				}
				yield(nil, fmt.Errorf("discovery: service %q: %w", service, ErrClosed))
				return
			}
		}
	}
}

// State is what a resolver knows about a service.
type State struct {
	Instances []Instance // shared: it must not be changed

	// Answered is the time of the agent's last response; zero means that there was
	// none. While Err is nil, a query is waiting for changes, so the instances are
	// current even if Answered is a minute ago. (Services beyond
	// [ResolverOptions.MaxQueries] are queried every 5 seconds instead, which by
	// default happens over HTTP/1 only.)
	Answered time.Time

	// Err is the error of the last query, nil if the agent responded.
	Err error

	Datacenter string // of the instances; empty for the client's
	Held       int    // instances that are kept in use; see ResolverOptions.MinInstances
}

// State returns what the resolver knows about a service. It neither waits nor sends
// anything, and does not count as a use of the service. It reports false if the
// service is not followed.
func (r *Resolver) State(service string) (State, bool) {
	r.mu.RLock()
	e := r.services[service]
	r.mu.RUnlock()
	if e == nil {
		return State{}, false
	}
	return e.state(), true
}

// Retry ends the pause after a failed query about a service: the query is repeated
// at once, or as soon as Burst and MinInterval allow it. It does not wait, and does
// nothing if a query is under way.
func (r *Resolver) Retry(service string) {
	r.mu.RLock()
	e := r.services[service]
	r.mu.RUnlock()
	if e != nil {
		e.retry()
	}
}

// Close ends the resolver's queries and waits for its goroutines. Calls and loops
// that wait for the resolver end with ErrClosed, and so do later ones. Further
// calls of Close do nothing. It must not be called from OnEvent. The error is always
// nil.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.cancel()
	for name, e := range r.services {
		e.idle.Stop()
		delete(r.services, name)
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// lookUp returns a service and what is known about it, after the agent's first
// response.
func (r *Resolver) lookUp(ctx context.Context, name string) (*entry, *view, error) {
	if ctx == nil {
		return nil, nil, errNilContext
	}
	r.mu.RLock()
	e := r.services[name]
	r.mu.RUnlock()
	if e != nil {
		if v := e.view.Load(); v.answered {
			e.touch()
			return e, v, nil
		}
	}
	e, err := r.use(name)
	if err != nil {
		return nil, nil, err
	}
	defer r.release(e)
	for {
		v := e.view.Load()
		switch {
		case v.answered:
			return e, v, nil
		case v.settled && pace.IsRefusal(v.err):
			return nil, nil, v.err
		}
		select {
		case <-v.superseded:
		case <-ctx.Done():
			err := fmt.Errorf("discovery: no response about service %q: %w", name, ctx.Err())
			if v.err != nil {
				err = fmt.Errorf("%w; last error: %w", err, v.err)
			}
			return nil, nil, err
		case <-r.ctx.Done():
			return nil, nil, fmt.Errorf("discovery: service %q: %w", name, ErrClosed)
		}
	}
}

// use returns a service that is not forgotten before its release.
func (r *Resolver) use(name string) (*entry, error) {
	if r.client == nil {
		return nil, errNilClient
	}
	if err := r.opts.check(name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return nil, fmt.Errorf("discovery: service %q: %w", name, ErrClosed)
	}
	e := r.services[name]
	if e == nil {
		e = newEntry(r, name)
		r.services[name] = e
	}
	e.users++
	return e, nil
}

// release ends a use of a service.
func (r *Resolver) release(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.used.Store(int64(r.clock()))
	if e.users--; e.users == 0 && r.ctx.Err() == nil {
		e.idle.Reset(r.opts.IdleTimeout)
	}
}

// minIdleCheck is the shortest time between two checks of a service that has to be
// kept although nobody uses it.
const minIdleCheck = time.Second

// forget drops a service if nobody has used it for IdleTimeout.
func (r *Resolver) forget(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil || e.users > 0 { // release starts the timer again
		return
	}
	idle := r.clock() - time.Duration(e.used.Load())
	switch {
	case idle < r.opts.IdleTimeout:
		e.idle.Reset(r.opts.IdleTimeout - idle)
	case e.mustBeKept():
		e.idle.Reset(max(r.opts.IdleTimeout, minIdleCheck))
	default:
		delete(r.services, e.service)
		e.cancel()
	}
}
