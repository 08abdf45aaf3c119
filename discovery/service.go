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
)

// service is what a resolver knows about one service.
type service struct {
	r        *Resolver
	name     string
	balancer func() Balancer // makes it when it is called for the first time
	ctx      context.Context // of its queries
	cancel   context.CancelFunc

	view    atomic.Pointer[view]
	failing atomic.Int64 // Resolver.clock until which some instance may be left out of picks

	used  atomic.Int64 // Resolver.clock of the last use
	users int          // that wait for it or watch it; guarded by Resolver.mu
	idle  *time.Timer  // calls Resolver.forget

	mu     sync.Mutex
	legs   []*leg // one for each datacenter
	lists  uint64 // how many lists the legs have got
	source *leg   // where the view's instances are from; nil before the first answer
	serial uint64 // of that list
	stats  map[instanceKey]*stats

	events   []InstancesChangedEvent // to be passed on, in order
	emitting bool                    // by some goroutine
}

// view is what readers see. It does not change once it is stored.
type view struct {
	instances  []Instance
	generation uint64 // of instances; 0 before the first answer
	answered   bool
	settled    bool // every datacenter has been asked that has to be
	held       int
	datacenter string
	err        error // nil if the agent answers

	superseded chan struct{} // closed when there is a newer view
}

// leg is the watch of a service in one datacenter. It is guarded by service.mu.
type leg struct {
	datacenter string
	gate       gate               // of its queries
	cancel     context.CancelFunc // nil if it does not run
	instances  []Instance         // of the last answer
	serial     uint64             // of that list among all of the service; 0 before the first answer
	answeredAt time.Time
	failures   int // in a row, that the agent itself answered with
	err        error
	filtered   bool          // the token was not allowed to see all that the last answer is about
	retry      chan struct{} // ends the pause after an error
}

// maxLegFailures is the number of errors in a row after which a datacenter
// counts as out of reach.
const maxLegFailures = 3

func (l *leg) isDown() bool { return l.failures >= maxLegFailures }

// settled reports whether it is known what the leg can contribute.
func (l *leg) settled() bool { return l.serial > 0 || l.isDown() }

// newService returns a service whose first datacenter is being asked about. r.mu
// must be held.
func newService(r *Resolver, name string) *service {
	s := &service{r: r, name: name, balancer: sync.OnceValue(r.opts.newBalancer)}
	s.ctx, s.cancel = context.WithCancel(r.ctx)
	s.view.Store(&view{superseded: make(chan struct{})})
	s.used.Store(int64(r.clock()))
	s.idle = time.AfterFunc(r.opts.IdleTimeout, func() { r.forget(s) })
	for n, dc := range r.opts.Datacenters {
		s.legs = append(s.legs, &leg{datacenter: dc, gate: r.slots.gate(n)})
	}
	s.mu.Lock()
	s.start(s.legs[0])
	s.mu.Unlock()
	return s
}

// touch notes that the service is in use. It does not write every time, since
// many read at once.
func (s *service) touch() {
	if now := int64(s.r.clock()); now-s.used.Load() > int64(s.r.opts.IdleTimeout/16) {
		s.used.Store(now)
	}
}

// mustBeKept reports whether something would be lost with the service: the load
// of uses that are under way, or the last good response of an agent that cannot
// repeat it. An agent that refuses the query does not bring it back.
func (s *service) mustBeKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.stats {
		if st.load.Load() > 0 {
			return true
		}
	}
	return s.source != nil && s.source.err != nil && !isRefusal(s.source.err)
}

// start starts the watch of a leg. s.mu must be held.
func (s *service) start(l *leg) {
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(s.ctx)
	l.retry = make(chan struct{}, 1)
	opts := s.r.watch
	opts.Name = s.name
	opts.Query.Datacenter = l.datacenter
	w := &watcher[[]Instance]{
		query: func(ctx context.Context, q *consul.QueryOptions) ([]Instance, *consul.QueryMeta, error) {
			instances, meta, err := s.query(ctx, q)
			if err == nil {
				s.mu.Lock()
				l.filtered = meta.ResultsFilteredByACLs
				s.mu.Unlock()
			}
			return instances, meta, err
		},
		opts:       opts,
		gate:       l.gate,
		skipsKnown: true,
		answered:   func() { s.confirm(ctx, l) },
		retry:      l.retry,
	}
	s.r.wg.Add(1)
	go func() {
		defer s.r.wg.Done()
		h := newHasher()
		w.run(ctx, func(i []Instance) uint64 { return h.sum(i) }, func(i []Instance, err error) bool {
			s.update(ctx, l, i, err)
			return true
		})
	}()
}

// retry ends the pauses of the watches. It does nothing to one whose query is under
// way.
func (s *service) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.legs {
		if l.cancel != nil {
			select {
			case l.retry <- struct{}{}:
			default:
			}
		}
	}
}

// query asks for the instances that count.
func (s *service) query(ctx context.Context, q *consul.QueryOptions) ([]Instance, *consul.QueryMeta, error) {
	ask := s.r.client.Health().Service
	if s.r.opts.Connect {
		ask = s.r.client.Health().Connect
	}
	entries, meta, err := ask(ctx, s.name, q)
	if err != nil {
		return nil, nil, err
	}
	instances := make([]Instance, 0, len(entries))
	for _, e := range entries {
		if e == nil {
			continue
		}
		if i := newInstance(e); s.r.opts.admits(i.Status) {
			instances = append(instances, i)
		}
	}
	return instances, meta, nil
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

// update takes an answer or an error of a leg whose watch has ctx.
func (s *service) update(ctx context.Context, l *leg, instances []Instance, err error) {
	s.mu.Lock()
	if ctx.Err() != nil { // the leg was stopped, and perhaps started again
		s.mu.Unlock()
		return
	}
	if err == nil {
		l.instances, l.err, l.failures = instances, nil, 0
		s.lists++
		l.serial = s.lists
		l.answeredAt = time.Now()
	} else {
		l.err = err
		// An agent that cannot be reached says nothing about a datacenter.
		var status *consul.StatusError
		switch {
		case isRefusal(err):
			l.failures = maxLegFailures
		case errors.As(err, &status):
			l.failures++
		}
	}
	s.settle()
	s.emit()
	s.mu.Unlock()
}

// confirm notes that a leg was answered.
func (s *service) confirm(ctx context.Context, l *leg) {
	s.mu.Lock()
	if ctx.Err() != nil {
		s.mu.Unlock()
		return
	}
	failed := l.err != nil
	l.err, l.failures = nil, 0
	l.answeredAt = time.Now()
	if failed {
		s.settle()
		s.emit()
	}
	s.mu.Unlock()
}

// emit passes the events on, in their order though the legs run side by side: who
// adds the totals up would else be left with an old one. s.mu must be held, and
// is given up meanwhile.
func (s *service) emit() {
	for !s.emitting && len(s.events) > 0 {
		e := s.events[0]
		s.events = s.events[1:]
		s.emitting = true
		s.mu.Unlock()
		observer{s.r.opts.Logger, s.r.opts.OnEvent}.emit(e)
		s.mu.Lock()
		s.emitting = false
	}
}

// settle starts and stops legs, and publishes what the service has now. s.mu must
// be held.
func (s *service) settle() {
	source, err, settled := chooseLeg(s.legs)
	needed := true
	for _, l := range s.legs {
		switch {
		case needed && l.cancel == nil:
			s.start(l)
		case !needed && l.cancel != nil:
			l.cancel()
			*l = leg{datacenter: l.datacenter, gate: l.gate}
		}
		if !l.settled() || len(l.instances) > 0 && !l.isDown() {
			needed = false
		}
	}
	s.publish(source, err, settled)
}

// chooseLeg returns the leg whose instances are to be used; the error to be shown;
// and whether that is settled. It is not, and what was used stays in use, while a
// datacenter that matters has not answered: it would be wrong to say that there
// are no instances.
func chooseLeg(legs []*leg) (source *leg, err error, settled bool) {
	var empty, down *leg
	for _, l := range legs {
		if l.err != nil && err == nil {
			err = l.err
		}
		switch {
		case !l.settled():
			return nil, err, false
		case l.serial == 0:
		case len(l.instances) > 0 && !l.isDown():
			return l, err, true
		case len(l.instances) > 0 && down == nil:
			down = l
		case empty == nil:
			empty = l
		}
	}
	if down != nil {
		return down, err, true
	}
	return empty, err, true
}

// publish stores a view of the source's instances, or of the ones before if
// source is nil. There is an event if they have changed. s.mu must be held.
func (s *service) publish(source *leg, err error, settled bool) {
	old := s.view.Load()
	v := *old
	v.err, v.settled = err, settled
	if source != nil && (source != s.source || source.serial != s.serial) {
		s.source, s.serial = source, source.serial
		// A copy, because the list may have been published before.
		v.instances, v.held = hold(old.instances, slices.Clone(source.instances), s.r.opts.MinInstances)
		v.datacenter, v.answered = source.datacenter, true
		v.generation++
		s.attachStats(v.instances)
		added, removed, changed := difference(old.instances, v.instances)
		if added+removed+changed > 0 {
			s.events = append(s.events, InstancesChangedEvent{
				Service: s.name, Datacenter: v.datacenter,
				Added: added, Removed: removed, Changed: changed, Total: len(v.instances), Held: v.held,
			})
		}
	} else if v.err == old.err && v.settled == old.settled {
		return
	}
	v.superseded = make(chan struct{})
	s.view.Store(&v)
	close(old.superseded)
}

// attachStats connects instances with what is known of them already. What is known
// of an instance that is gone is kept for as long as it may be needed should the
// instance come back.
func (s *service) attachStats(instances []Instance) {
	known := s.stats
	s.stats = make(map[instanceKey]*stats, len(instances))
	for i := range instances {
		k := instances[i].key()
		st := known[k]
		if st == nil {
			st = new(stats)
		}
		s.stats[k], instances[i].stats = st, st
	}
	now := s.r.clock()
	for k, st := range known {
		if st.load.Load() > 0 || st.excluded(now) {
			s.stats[k] = st
		}
	}
}

func (s *service) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view.Load()
	st := State{Instances: v.instances, Err: v.err, Datacenter: v.datacenter, Held: v.held}
	if s.source != nil {
		st.Answered = s.source.answeredAt
	}
	return st
}

// pick picks one of the usable instances.
func (s *service) pick(v *view, choose func([]Instance) int, tried []instanceKey) (Instance, error) {
	candidates := v.instances
	if now := s.r.clock(); len(tried) > 0 || int64(now) < s.failing.Load() {
		candidates = usable(candidates, tried, now)
	}
	if len(candidates) == 0 {
		return Instance{}, s.noInstances()
	}
	i := choose(candidates)
	if i < 0 || i >= len(candidates) {
		return Instance{}, fmt.Errorf("discovery: service %q: the balancer picked %d; want 0 to %d", s.name, i, len(candidates)-1)
	}
	return candidates[i], nil
}

// noInstances returns an ErrNoInstances that says what is known of the reason.
func (s *service) noInstances() error {
	text := fmt.Sprintf("discovery: service %q: no healthy instances", s.name)
	if s.r.opts.AnyStatus {
		text = fmt.Sprintf("discovery: service %q: no instances", s.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.legs, func(l *leg) bool { return l.filtered }) {
		text += " (the token may not be allowed to see all)"
	}
	return noInstancesError(text)
}

type noInstancesError string

func (e noInstancesError) Error() string { return string(e) }

func (e noInstancesError) Unwrap() error { return ErrNoInstances }

// judge takes the feedback about a use of an instance.
func (s *service) judge(i Instance, err error) {
	switch {
	case err == nil:
		if i.stats.failures.Load() > 0 {
			i.stats.failures.Store(0)
			i.stats.until.Store(0)
		}
	case errors.Is(err, context.Canceled), s.r.opts.ExcludeFor < 0:
	default:
		n := int(i.stats.failures.Add(1))
		until := int64(s.r.clock() + exclusion(s.r.opts.ExcludeFor, n))
		i.stats.until.Store(until)
		for was := s.failing.Load(); was < until && !s.failing.CompareAndSwap(was, until); {
			was = s.failing.Load()
		}
	}
}
