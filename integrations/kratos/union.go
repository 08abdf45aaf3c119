package kratos

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// finder finds the instances of services. A [discovery.Resolver] finds those in one
// datacenter, a union those in several.
type finder interface {
	Instances(ctx context.Context, service string) ([]discovery.Instance, error)
	Watch(ctx context.Context, service string) iter.Seq2[[]discovery.Instance, error]
	Close() error
}

// grace is how long a first list waits for the datacenters that have not responded,
// after one has.
const grace = time.Second

// union finds the instances of services in several datacenters, all together. It has
// the contract of a resolver: one blocking query for each service and datacenter,
// responses from memory, and last instances that stay while the agent is down.
type union struct {
	client *consul.Client
	opts   discovery.ResolverOptions
	named  []string     // datacenters; nil means listed
	listed *datacenters // nil if they are named
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	resolvers map[string]*discovery.Resolver // by datacenter
}

func newUnion(c *consul.Client, o *Options) *union {
	u := &union{client: c, opts: o.resolver(), resolvers: make(map[string]*discovery.Resolver)}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	if o.AllDatacenters {
		u.listed = newDatacenters(u.ctx, c, o)
	} else {
		u.named = o.Datacenters
	}
	return u
}

// Close ends all queries and watches, and waits for the goroutines of the queries.
func (u *union) Close() error {
	u.cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.resolvers {
		r.Close()
	}
	if u.listed != nil {
		u.listed.close()
	}
	return nil
}

// resolver returns the resolver of a datacenter.
func (u *union) resolver(dc string) *discovery.Resolver {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.resolvers[dc]
	if r == nil {
		opts := u.opts
		opts.Datacenters = []string{dc}
		r = discovery.NewResolver(u.client, &opts)
		if u.ctx.Err() != nil {
			r.Close()
		}
		u.resolvers[dc] = r
	}
	return r
}

// Instances returns the first list of Watch. An error ends the wait only if the agent
// has refused the queries for all datacenters.
func (u *union) Instances(ctx context.Context, service string) ([]discovery.Instance, error) {
	var failure error
	for list, err := range u.Watch(ctx, service) {
		var failed datacenterErrors
		if err == nil || errors.Is(err, discovery.ErrClosed) || errors.As(err, &failed) && failed.areRefusals() {
			return list, err
		}
		failure = err
	}
	err := fmt.Errorf("no response about service %q: %w", service, ctx.Err())
	if failure != nil {
		err = fmt.Errorf("%w; first error: %w", err, failure)
	}
	return nil, err
}

// Watch yields the instances in all datacenters, in the order of the datacenters'
// names, and again whenever they may have changed, until ctx ends. An error is
// yielded only as long as every datacenter has failed and none has responded. When
// the union is closed, the sequence ends with [discovery.ErrClosed].
func (u *union) Watch(ctx context.Context, service string) iter.Seq2[[]discovery.Instance, error] {
	return func(yield func([]discovery.Instance, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		m := &merge{union: u, service: service, watches: make(map[string]*dcWatch), reports: make(chan report)}
		defer m.running.Wait()
		defer cancel()
		m.start(ctx)
		var timeout <-chan time.Time // of the grace
		for {
			select {
			case r := <-m.reports:
				m.take(ctx, r)
			case <-timeout:
				m.waited = true
			case <-ctx.Done():
				return
			case <-u.ctx.Done():
			}
			if u.ctx.Err() != nil {
				yield(nil, fmt.Errorf("service %q: %w", service, discovery.ErrClosed))
				return
			}
			responded, pending := m.state()
			switch {
			case !m.changed:
			case responded && pending && !m.waited:
				if timeout == nil {
					timeout = time.After(grace)
				}
			case responded:
				m.changed, m.waited = false, true
				if !yield(m.instances(), nil) {
					return
				}
			case !pending:
				m.changed = false
				if !yield(nil, m.errors()) {
					return
				}
			}
		}
	}
}

// merge is what a watch knows of a service. Only the goroutine of the watch uses it,
// except for the reports.
type merge struct {
	union   *union
	service string
	running sync.WaitGroup
	reports chan report

	watches map[string]*dcWatch // by datacenter
	listed  bool                // there was a list of datacenters
	err     error               // why there was none
	waited  bool                // lists do not wait for pending datacenters any more
	changed bool                // since the last yield
}

// dcWatch is the watch of the service in one datacenter.
type dcWatch struct {
	cancel    context.CancelFunc
	responded bool
	instances []discovery.Instance
	err       error // why it has not responded
}

// report is a list of instances or an error: of a datacenter, or without a watch of
// the list of datacenters.
type report struct {
	watch       *dcWatch
	datacenters []string
	instances   []discovery.Instance
	err         error
}

// send passes a report on, and reports whether it was taken before ctx ended.
func (m *merge) send(ctx context.Context, r report) bool {
	select {
	case m.reports <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

// start follows the list of datacenters.
func (m *merge) start(ctx context.Context) {
	if m.union.listed == nil {
		m.take(ctx, report{datacenters: m.union.named})
		return
	}
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		for dcs, err := range m.union.listed.watch(ctx) {
			if !m.send(ctx, report{datacenters: dcs, err: err}) {
				return
			}
		}
	}()
}

// follow follows the service in one more datacenter.
func (m *merge) follow(ctx context.Context, dc string) {
	w := new(dcWatch)
	ctx, w.cancel = context.WithCancel(ctx)
	m.watches[dc] = w
	m.running.Add(1)
	go func() {
		defer m.running.Done()
		for list, err := range m.union.resolver(dc).Watch(ctx, m.service) {
			if !m.send(ctx, report{watch: w, instances: list, err: err}) {
				return
			}
		}
	}()
}

// take takes a report. Those of datacenters that are gone have no effect.
func (m *merge) take(ctx context.Context, r report) {
	m.changed = true
	switch {
	case r.watch != nil && r.err != nil:
		r.watch.err = r.err
	case r.watch != nil:
		r.watch.responded, r.watch.instances, r.watch.err = true, r.instances, nil
	case r.err != nil:
		m.err = r.err
	default:
		m.listed, m.err = true, nil
		for dc, w := range m.watches {
			if !slices.Contains(r.datacenters, dc) {
				w.cancel()
				delete(m.watches, dc)
			}
		}
		for _, dc := range r.datacenters {
			if m.watches[dc] == nil {
				m.follow(ctx, dc)
			}
		}
	}
}

// state reports whether a datacenter has responded, and whether one has neither
// responded nor failed.
func (m *merge) state() (responded, pending bool) {
	pending = !m.listed && m.err == nil
	for _, w := range m.watches {
		responded = responded || w.responded
		pending = pending || !w.responded && w.err == nil
	}
	return responded, pending
}

// instances returns the instances of all datacenters that have responded.
func (m *merge) instances() []discovery.Instance {
	all := []discovery.Instance{}
	for _, dc := range slices.Sorted(maps.Keys(m.watches)) {
		all = append(all, m.watches[dc].instances...)
	}
	return all
}

// errors returns the errors of all datacenters, or of the list of them.
func (m *merge) errors() error {
	if !m.listed {
		return datacenterErrors{m.err}
	}
	var errs datacenterErrors
	for _, dc := range slices.Sorted(maps.Keys(m.watches)) {
		errs = append(errs, fmt.Errorf("datacenter %q: %w", dc, m.watches[dc].err))
	}
	return errs
}

// datacenterErrors are the errors of all datacenters.
type datacenterErrors []error

func (e datacenterErrors) Error() string {
	texts := make([]string, len(e))
	for n, err := range e {
		texts[n] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e datacenterErrors) Unwrap() []error { return e }

// areRefusals reports whether the agent will give the same response to the next
// query about every datacenter.
func (e datacenterErrors) areRefusals() bool {
	return !slices.ContainsFunc(e, func(err error) bool {
		var status *consul.StatusError
		return !errors.As(err, &status) || status.Code/100 != 4 || status.Code == 408 || errors.Is(err, consul.ErrRateLimited)
	})
}
