package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

// entry is what a resolver knows about one service.
type entry struct {
	r        *Resolver
	service  string
	balancer func() Balancer // makes it when it is called for the first time
	ctx      context.Context // of its queries
	cancel   context.CancelFunc

	view    atomic.Pointer[view]
	failing atomic.Int64 // Resolver.clock until which some instance may be left out of picks

	used  atomic.Int64 // Resolver.clock of the last use
	users int          // calls and loops that wait for the service; guarded by Resolver.mu
	idle  *time.Timer  // calls Resolver.forget

	mu      sync.Mutex
	watches []*dcWatch // one for each datacenter
	source  *dcWatch   // where the view's instances are from; nil before the first response
	list    *list      // that they were made of
	stats   map[instanceKey]*stats
	absent  []instanceKey // those of stats that are not in the view

	events   []InstancesChangedEvent // to be passed on, in order
	emitting bool                    // by some goroutine
}

// view is what readers see. It does not change once it is stored.
type view struct {
	instances  []Instance
	generation uint64 // of instances; 0 before the first response
	answered   bool
	settled    bool // every datacenter has been queried that has to be
	held       int
	datacenter string
	err        error  // nil if the agent responds
	outage     uint64 // counts the times at which err was nil before and is not now

	superseded chan struct{} // closed when there is a newer view
}

// list is the content of a response: the entries of the instances that count.
// Another list is another content, or was seen by another watch.
type list struct{ entries []*consul.ServiceEntry }

// dcWatch is the watch of a service in one datacenter. It is guarded by entry.mu.
type dcWatch struct {
	number     int // of the datacenter
	datacenter string
	cancel     context.CancelFunc // nil if it does not run
	list       *list              // of the last response; nil before the first
	answeredAt time.Time          // the last response
	filtered   bool               // the token did not allow to see all of it
	failures   int                // in a row, that the agent itself responded with
	err        error              // of the last query
	retry      chan struct{}      // ends the pause after an error
}

// maxFailures is the number of errors in a row after which a datacenter counts as
// out of reach.
const maxFailures = 3

func (w *dcWatch) isDown() bool { return w.failures >= maxFailures }

// isSettled reports whether it is known what the datacenter can contribute.
func (w *dcWatch) isSettled() bool { return w.list != nil || w.isDown() }

// hasInstances reports whether the last response had instances.
func (w *dcWatch) hasInstances() bool { return w.list != nil && len(w.list.entries) > 0 }

// newEntry returns the entry of a service whose first datacenter is being queried.
func newEntry(r *Resolver, service string) *entry {
	e := &entry{r: r, service: service, balancer: sync.OnceValue(r.opts.newBalancer)}
	e.ctx, e.cancel = context.WithCancel(r.ctx)
	e.view.Store(&view{superseded: make(chan struct{})})
	e.used.Store(int64(r.clock()))
	e.idle = time.AfterFunc(r.opts.IdleTimeout, func() { r.forget(e) })
	for n, dc := range r.opts.Datacenters {
		e.watches = append(e.watches, &dcWatch{number: n, datacenter: dc})
	}
	e.mu.Lock()
	e.start(e.watches[0])
	e.mu.Unlock()
	return e
}

// touch notes that the service is in use. It does not write every time, since
// many read at once.
func (e *entry) touch() {
	if now := int64(e.r.clock()); now-e.used.Load() > int64(e.r.opts.IdleTimeout/16) {
		e.used.Store(now)
	}
}

// mustBeKept reports whether something would be lost with the entry: the load of
// uses that are under way, or the last good response of an agent that cannot
// repeat it. An agent that refuses the query does not bring it back.
func (e *entry) mustBeKept() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, st := range e.stats {
		if st.load.Load() > 0 {
			return true
		}
	}
	return e.source != nil && e.source.err != nil && !pace.IsRefusal(e.source.err)
}

// start starts a watch. e.mu must be held.
func (e *entry) start(w *dcWatch) {
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(e.ctx)
	w.retry = make(chan struct{}, 1)
	number := w.number // w is not for the goroutine
	loop := &watch.Loop[[]*consul.ServiceEntry]{
		Query:   e.query(),
		Options: e.r.loop,
		Acquire: func(ctx context.Context, wait bool) (func(), bool) {
			return e.r.limiter.acquire(ctx, number, wait)
		},
		Retry:    w.retry,
		IsDirect: true,
		Changes:  instancesChanged,
	}
	loop.Options.Name = e.service
	loop.Options.Query.Datacenter = w.datacenter
	e.r.wg.Add(1)
	go func() {
		defer e.r.wg.Done()
		loop.Run(ctx, func(r watch.Result[[]*consul.ServiceEntry]) bool {
			e.update(ctx, w, r)
			return true
		})
	}()
}

// retry ends the pauses of the watches. It does nothing to one whose query is under
// way.
func (e *entry) retry() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.watches {
		if w.cancel != nil {
			select {
			case w.retry <- struct{}{}:
			default:
			}
		}
	}
}

// query returns a [Query] for the entries of the instances that count.
func (e *entry) query() Query[[]*consul.ServiceEntry] {
	read := e.r.client.Health().Service
	if e.r.opts.Connect {
		read = e.r.client.Health().Connect
	}
	var last []*consul.ServiceEntry
	return func(ctx context.Context, q *consul.QueryOptions) ([]*consul.ServiceEntry, *consul.QueryMeta, error) {
		entries, meta, err := read(ctx, e.service, q)
		if err != nil {
			return nil, nil, err
		}
		if meta.Result != q.Previous {
			last = e.r.opts.admitted(entries, last)
		}
		return last, meta, nil
	}
}

// admitted returns the entries of the instances that count. It does not look into
// those that counted last time, if they are where they are expected.
func (o *ResolverOptions) admitted(entries, last []*consul.ServiceEntry) []*consul.ServiceEntry {
	at, others := 0, 0 // the place in last, and entries since that are not there
	return slices.DeleteFunc(entries, func(e *consul.ServiceEntry) bool {
		for _, i := range [...]int{at, at + others, at + 1} {
			if e != nil && i < len(last) && last[i] == e {
				at, others = i+1, 0
				return false
			}
		}
		others++
		return e == nil || !o.admits(e.Checks.AggregatedStatus())
	})
}

// admits reports whether instances with the status count.
func (o *ResolverOptions) admits(status consul.HealthStatus) bool {
	switch status {
	case consul.HealthPassing:
		return true
	case consul.HealthWarning:
		return o.AllowWarning || o.AnyStatus
	}
	return o.AnyStatus
}

// update takes the result of a query of a watch that was started with ctx.
func (e *entry) update(ctx context.Context, w *dcWatch, r watch.Result[[]*consul.ServiceEntry]) {
	e.mu.Lock()
	// If ctx has ended, the watch was stopped, and perhaps started again.
	if ctx.Err() == nil && w.take(r) {
		e.reconcile()
		e.emit()
	}
	e.mu.Unlock()
}

// take notes the result of a query. It reports whether more than the time of the
// last response has changed.
func (w *dcWatch) take(r watch.Result[[]*consul.ServiceEntry]) bool {
	before := w.err
	w.err = r.Err
	if r.Err != nil {
		// An agent that cannot be reached tells nothing about a datacenter.
		var status *consul.StatusError
		switch {
		case pace.IsRefusal(r.Err):
			w.failures = maxFailures
		case errors.As(r.Err, &status):
			w.failures++
		}
		return true
	}
	w.failures, w.answeredAt, w.filtered = 0, time.Now(), r.Meta.ResultsFilteredByACLs
	if !r.Unchanged {
		w.list = &list{r.Value}
	}
	return !r.Unchanged || before != nil
}

// emit passes the events on, in their order although the watches run side by side:
// who adds the totals up would else be left with an old one. e.mu must be held, and
// is given up meanwhile.
func (e *entry) emit() {
	for !e.emitting && len(e.events) > 0 {
		event := e.events[0]
		e.events = e.events[1:]
		e.emitting = true
		e.mu.Unlock()
		observer{e.r.opts.Logger, e.r.opts.OnEvent}.emit(event)
		e.mu.Lock()
		e.emitting = false
	}
}

// reconcile starts and stops watches, and publishes what the service has now. e.mu
// must be held.
func (e *entry) reconcile() {
	source, err, settled := chooseSource(e.watches)
	needed := true
	for _, w := range e.watches {
		switch {
		case needed && w.cancel == nil:
			e.start(w)
		case !needed && w.cancel != nil:
			w.cancel()
			*w = dcWatch{number: w.number, datacenter: w.datacenter}
		}
		if !w.isSettled() || w.hasInstances() && !w.isDown() {
			needed = false
		}
	}
	e.publish(source, err, settled)
}

// chooseSource returns the watch whose instances are to be used; the error to be
// shown; and whether that is settled. It is not, and what was used stays in use,
// while a datacenter that matters has not responded: it would be wrong to report
// that there are no instances.
func chooseSource(watches []*dcWatch) (source *dcWatch, err error, settled bool) {
	var empty, down *dcWatch
	for _, w := range watches {
		if w.err != nil && err == nil {
			err = w.err
		}
		switch {
		case !w.isSettled():
			return nil, err, false
		case w.hasInstances() && !w.isDown():
			return w, err, true
		case w.hasInstances() && down == nil:
			down = w
		case w.list != nil && empty == nil:
			empty = w
		}
	}
	if down != nil {
		return down, err, true
	}
	return empty, err, true
}

// publish stores a view of the source's instances, or of the ones before if
// source is nil. There is an event if they have changed, or others are held than before.
// e.mu must be held.
func (e *entry) publish(source *dcWatch, err error, settled bool) {
	old := e.view.Load()
	v := *old
	v.err, v.settled = err, settled
	if old.err == nil && err != nil {
		v.outage++
	}
	switch {
	case source != nil && (source != e.source || source.list != e.list):
		e.source, e.list = source, source.list
		v.instances, v.held = hold(old.instances, nextInstances(old.instances, source.list.entries), e.r.opts.MinInstances)
		v.datacenter, v.answered = source.datacenter, true
		v.generation++
		from, to := unmatched(old.instances, v.instances)
		e.attachStats(from, to)
		added, removed, changed := difference(from, to)
		if added+removed+changed > 0 || v.held != old.held {
			e.events = append(e.events, InstancesChangedEvent{
				Service: e.service, Datacenter: v.datacenter,
				Added: added, Removed: removed, Changed: changed, Total: len(v.instances), Held: v.held,
			})
		}
	case v.err == old.err && v.settled == old.settled:
		return
	}
	v.superseded = make(chan struct{})
	e.view.Store(&v)
	close(old.superseded)
}

// attachStats connects the instances that are new in a view with what is known of
// them already. What is known of an instance that has gone is kept for as long as
// it may be needed should the instance come back.
func (e *entry) attachStats(from, to []*Instance) {
	if e.stats == nil {
		e.stats = make(map[instanceKey]*stats, len(to))
	}
	stay := make(map[instanceKey]bool, len(to))
	for _, i := range to {
		k := i.key()
		stay[k] = true
		if e.stats[k] == nil {
			e.stats[k] = new(stats)
		}
		i.stats = e.stats[k]
	}
	for _, i := range from {
		if k := i.key(); !stay[k] {
			e.absent = append(e.absent, k)
		}
	}
	now := e.r.clock()
	e.absent = slices.DeleteFunc(e.absent, func(k instanceKey) bool {
		switch st := e.stats[k]; {
		case stay[k], st == nil:
			return true
		case st.load.Load() > 0 || st.excluded(now):
			return false
		}
		delete(e.stats, k)
		return true
	})
}

func (e *entry) state() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.view.Load()
	st := State{Instances: v.instances, Err: v.err, Datacenter: v.datacenter, Held: v.held}
	if e.source != nil {
		st.Answered = e.source.answeredAt
	}
	return st
}

// pick picks one of the usable instances.
func (e *entry) pick(v *view, choose func([]Instance) int, tried []instanceKey) (Instance, error) {
	candidates := v.instances
	if now := e.r.clock(); len(tried) > 0 || int64(now) < e.failing.Load() {
		candidates = usable(candidates, tried, now)
	}
	if len(candidates) == 0 {
		return Instance{}, e.noInstances()
	}
	i := choose(candidates)
	if i < 0 || i >= len(candidates) {
		return Instance{}, fmt.Errorf("discovery: service %q: the balancer picked %d; want 0 to %d", e.service, i, len(candidates)-1)
	}
	return candidates[i], nil
}

// noInstances returns an ErrNoInstances that has what is known of the reason.
func (e *entry) noInstances() error {
	text := fmt.Sprintf("discovery: service %q: no healthy instances", e.service)
	if e.r.opts.AnyStatus {
		text = fmt.Sprintf("discovery: service %q: no instances", e.service)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.ContainsFunc(e.watches, func(w *dcWatch) bool { return w.filtered }) {
		text += " (the token may not be allowed to see all)"
	}
	return noInstancesError(text)
}

type noInstancesError string

func (e noInstancesError) Error() string { return string(e) }

func (e noInstancesError) Unwrap() error { return ErrNoInstances }

// feedback notes how a use of an instance went.
func (e *entry) feedback(i Instance, err error) {
	switch {
	case err == nil:
		i.stats.succeeded()
	case errors.Is(err, context.Canceled), e.r.opts.ExcludeFor < 0:
	default:
		until := i.stats.failed(e.r.clock(), e.r.opts.ExcludeFor)
		for was := e.failing.Load(); was < until && !e.failing.CompareAndSwap(was, until); {
			was = e.failing.Load()
		}
	}
}
