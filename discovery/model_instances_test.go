//go:build go1.25

package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
)

// TestModelInstances takes random steps in which instances come, go, change and
// move, and agents fail or start over, and compares what a resolver and a watch
// have after each of them with what is made from nothing: lists, load, exclusions
// and events.
func TestModelInstances(t *testing.T) {
	for n, opts := range []ResolverOptions{
		{},
		{AllowWarning: true},
		{AnyStatus: true, MinInstances: 3},
		{Datacenters: []string{"dc1", "dc2"}},
		{Datacenters: []string{"dc2", "dc1"}, MinInstances: 4},
	} {
		t.Run(fmt.Sprint("options ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newInstancesModel(t, opts, uint64(n))
				m.settle()
				m.check()
				for range instancesModelSteps {
					m.step()
					if opts.MinInstances == 0 { // else what is held depends on what was seen in between
						for range m.rand.IntN(3) {
							m.step()
						}
					}
					m.settle()
					m.check()
					if t.Failed() {
						t.Fatalf("steps: %q", m.trace[max(0, len(m.trace)-10):])
					}
				}
				m.end()
			})
		})
	}
}

const instancesModelSteps = 150

type instancesModel struct {
	t        *testing.T
	rand     *rand.Rand
	agent    *listingAgent
	opts     ResolverOptions
	resolver *Resolver
	trace    []string

	view []Instance            // expected
	uses []modelUse            // under way
	load map[instanceKey]int   // expected
	out  map[instanceKey]int64 // expected stats.until

	mu          sync.Mutex
	atEvent     []Instance // the view at the last event
	heldAtEvent int
	events      int
	watched     []*consul.ServiceEntry
	snapshots   []snapshot
	readers     sync.WaitGroup
	stop        context.CancelFunc
}

type modelUse struct {
	Instance
	done func(error)
}

// snapshot is a list that was handed out, and what was in it.
type snapshot struct{ list, was []Instance }

func newInstancesModel(t *testing.T, opts ResolverOptions, seed uint64) *instancesModel {
	m := &instancesModel{
		t: t, rand: rand.New(rand.NewPCG(seed, 0)), opts: opts, agent: &listingAgent{dcs: map[string]*listing{}},
		load: map[instanceKey]int{}, out: map[instanceKey]int64{},
	}
	for _, dc := range []string{"dc1", "dc2"} {
		m.agent.dcs[dc] = &listing{base: 1 << 32, index: 1 << 32, changed: make(chan struct{})}
	}
	c, err := consul.NewClient(consul.Config{Transport: m.agent})
	if err != nil {
		t.Fatal(err)
	}
	opts.OnEvent = m.event
	m.resolver = NewResolver(c, &opts)
	var ctx context.Context
	ctx, m.stop = context.WithCancel(t.Context())
	m.readers.Go(func() {
		o := &WatchOptions{Query: consul.QueryOptions{Datacenter: "dc1"}}
		for entries, err := range WatchService(ctx, c, "web", o) {
			if err == nil {
				m.yielded(entries)
			}
		}
	})
	for range 2 {
		m.readers.Go(func() {
			for list, err := range m.resolver.Watch(ctx, "web") {
				if err == nil {
					m.keep(list)
				}
			}
		})
	}
	t.Cleanup(m.close)
	return m
}

// event compares an event with what has changed since the one before.
func (m *instancesModel) event(e Event) {
	changed, ok := e.(InstancesChangedEvent)
	if !ok {
		return
	}
	state, _ := m.resolver.State("web")
	m.mu.Lock()
	defer m.mu.Unlock()
	want := InstancesChangedEvent{Service: "web", Datacenter: state.Datacenter, Total: len(state.Instances), Held: state.Held}
	for _, i := range state.Instances {
		n := slices.IndexFunc(m.atEvent, func(o Instance) bool { return o.key() == i.key() })
		switch {
		case n < 0:
			want.Added++
		case !reflect.DeepEqual(bare(m.atEvent[n]), bare(i)):
			want.Changed++
		}
	}
	for _, i := range m.atEvent {
		if !slices.ContainsFunc(state.Instances, func(o Instance) bool { return o.key() == i.key() }) {
			want.Removed++
		}
	}
	if changed != want || want.Added+want.Removed+want.Changed == 0 && want.Held == m.heldAtEvent {
		m.t.Errorf("event %+v, want %+v", changed, want)
	}
	m.atEvent, m.heldAtEvent = state.Instances, state.Held
	m.events++
}

// bare returns an instance without what is no content.
func bare(i Instance) Instance {
	i.entry, i.stats = nil, nil
	return i
}

func bareList(list []Instance) []Instance {
	bares := make([]Instance, len(list))
	for n, i := range list {
		bares[n] = bare(i)
	}
	return bares
}

// keep keeps a list, to see later that it has not changed.
func (m *instancesModel) keep(list []Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshots = append(m.snapshots, snapshot{list, slices.Clone(list)})
	if len(m.snapshots) > 20 {
		m.snapshots = m.snapshots[1:]
	}
}

// yielded notes what the watch yields, and then does to it what a loop may.
func (m *instancesModel) yielded(entries []*consul.ServiceEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watched != nil && contentOf(m.watched) == contentOf(entries) {
		m.t.Errorf("yielded without a change: %s", contentOf(entries))
	}
	m.watched = slices.Clone(entries)
	slices.Reverse(entries)
	clear(entries[len(entries)/2:])
}

// contentOf returns what counts of entries.
func contentOf(entries []*consul.ServiceEntry) string {
	var text strings.Builder
	for _, e := range entries {
		s := *e.Service
		s.CreateIndex, s.ModifyIndex = 0, 0
		json, _ := json.Marshal([]any{e.Node.Node, e.Node.Meta, s, e.Checks})
		text.Write(append(json, '\n'))
	}
	return text.String()
}

// step changes something.
func (m *instancesModel) step() {
	dc := []string{"dc1", "dc2"}[m.rand.IntN(2)]
	l := m.agent.dcs[dc]
	list := slices.Clone(l.list)
	n := m.rand.IntN(len(list) + 1)
	what := m.rand.IntN(18)
	m.note("%s: %d at %d of %d", dc, what, n, len(list))
	switch there := n < len(list); {
	case what < 4: // comes
		i := &modelInstance{id: fmt.Sprint(m.rand.IntN(8)), dc: dc, status: consul.HealthPassing, port: 1}
		if !slices.ContainsFunc(list, func(o *modelInstance) bool { return o.id == i.id }) {
			list = slices.Insert(list, n, i)
		}
	case what < 6 && there: // goes
		list = slices.Delete(list, n, n+1)
	case what < 10 && there: // changes
		i := *list[n]
		switch m.rand.IntN(4) {
		case 0:
			i.port++
		case 1:
			i.index++ // no content
		case 2:
			i.spaces++ // other bytes
		case 3:
			i.status = []consul.HealthStatus{consul.HealthPassing, consul.HealthWarning, consul.HealthCritical}[m.rand.IntN(3)]
		}
		list[n] = &i
	case what == 10:
		m.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	case what == 11: // the service disappears, or comes back under another order
		if list, l.gone = l.gone, list; len(list) > 0 {
			slices.Reverse(list)
		}
	case what == 12:
		l.fail(errors.New("connection refused"))
		time.Sleep(time.Duration(m.rand.IntN(20)) * time.Second)
	case what == 13:
		l.fail(errStatus)
		if m.opts.MinInstances == 0 { // what is held depends on whether another datacenter was used meanwhile
			time.Sleep(time.Duration(m.rand.IntN(10)) * time.Second)
		}
	case what == 14: // restarts
		l.fail(errors.New("connection reset"))
		l.reset()
	case what == 15:
		l.reset()
	case what == 16:
		m.use()
	case what == 17 && len(m.uses) > 0:
		m.endUse(m.rand.IntN(len(m.uses)))
	}
	l.set(list)
}

// use begins a use of an instance.
func (m *instancesModel) use() {
	if len(m.view) == 0 {
		return
	}
	i, done, err := m.resolver.Acquire(m.t.Context(), "web")
	if err != nil { // the last one has just gone
		if !errors.Is(err, ErrNoInstances) {
			m.t.Error(err)
		}
		return
	}
	m.uses = append(m.uses, modelUse{i, done})
	m.load[i.key()]++
}

// endUse ends a use, some of which have failed.
func (m *instancesModel) endUse(n int) {
	u := m.uses[n]
	m.uses = slices.Delete(m.uses, n, n+1)
	var err error
	if m.rand.IntN(2) == 0 {
		err = errors.New("boom")
	}
	u.done(err)
	u.done(nil) // does nothing
	k := u.key()
	if m.load[k]--; err == nil {
		delete(m.out, k)
	} else {
		m.out[k] = u.stats.until.Load()
	}
}

// settle waits until everybody has seen what is.
func (m *instancesModel) settle() {
	for _, l := range m.agent.dcs {
		l.fail(nil)
	}
	time.Sleep(30 * time.Second)
	synctest.Wait()
}

// check compares what is known with what is made from nothing.
func (m *instancesModel) check() {
	dcs := m.opts.Datacenters
	if len(dcs) == 0 {
		dcs = []string{""}
	}
	var response []Instance
	var from string
	for n, dc := range dcs {
		var has []Instance
		for _, e := range m.agent.of(dc).entries(false) {
			if i := InstanceOf(e); m.opts.admits(i.Status) {
				has = append(has, i)
			}
		}
		if n == 0 || len(has) > 0 {
			response, from = has, dc
		}
		if len(has) > 0 {
			break
		}
	}
	held := 0
	want := slices.Clone(response)
	for _, i := range m.view {
		if len(want) < m.opts.MinInstances && !slices.ContainsFunc(response, func(o Instance) bool { return o.key() == i.key() }) {
			want = append(want, i)
			held++
		}
	}
	m.view = bareList(want)

	list, err := m.resolver.Instances(m.t.Context(), "web")
	if err != nil || !reflect.DeepEqual(bareList(list), m.view) {
		m.t.Errorf("the resolver has %+v, %v; want %+v", bareList(list), err, m.view)
	}
	state, _ := m.resolver.State("web")
	if state.Held != held || state.Datacenter != from || state.Err != nil {
		m.t.Errorf("the resolver has %d held of %q, %v; want %d of %q", state.Held, state.Datacenter, state.Err, held, from)
	}
	now := int64(m.resolver.clock())
	for _, i := range list {
		k := i.key()
		if i.Load() != m.load[k] || i.stats.excluded(time.Duration(now)) != (now < m.out[k]) {
			m.t.Errorf("%v has load %d, left out %t; want %d, %t", k, i.Load(), i.stats.excluded(time.Duration(now)), m.load[k], now < m.out[k])
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.snapshots {
		if !reflect.DeepEqual(s.list, s.was) {
			m.t.Errorf("a list has changed from %+v to %+v", bareList(s.was), bareList(s.list))
		}
	}
	for _, i := range list {
		if !slices.ContainsFunc(m.atEvent, func(o Instance) bool { return reflect.DeepEqual(bare(o), bare(i)) }) {
			m.t.Errorf("no event about %+v", bare(i))
		}
	}
	if len(m.atEvent) != len(list) || m.heldAtEvent != held {
		m.t.Errorf("%d instances at the last event, %d of them held; now %d and %d", len(m.atEvent), m.heldAtEvent, len(list), held)
	}
	if got, want := contentOf(m.watched), contentOf(m.agent.of("dc1").entries(false)); got != want {
		m.t.Errorf("the watch has %s; want %s", got, want)
	}
	m.checkStats()
}

// checkStats checks that nothing is kept of instances that have gone, except while
// it may be needed.
func (m *instancesModel) checkStats() {
	m.resolver.mu.RLock()
	e := m.resolver.services["web"]
	m.resolver.mu.RUnlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	known := map[instanceKey]bool{}
	for _, k := range e.absent {
		if known[k] {
			m.t.Errorf("%v is absent twice", k)
		}
		known[k] = true
	}
	for _, i := range e.view.Load().instances {
		if known[i.key()] || e.stats[i.key()] != i.stats {
			m.t.Errorf("%v is absent, or its stats are lost", i.key())
		}
		known[i.key()] = true
	}
	if len(e.stats) != len(known) {
		m.t.Errorf("stats of %d instances, want %d", len(e.stats), len(known))
	}
}

// end ends all uses and checks that nothing is kept of what has gone.
func (m *instancesModel) end() {
	for len(m.uses) > 0 {
		m.endUse(0)
	}
	time.Sleep(time.Hour)
	for _, l := range m.agent.dcs {
		l.set([]*modelInstance{{id: "last", dc: "dc1", status: consul.HealthPassing}})
	}
	m.settle()
	m.resolver.mu.RLock()
	e := m.resolver.services["web"]
	m.resolver.mu.RUnlock()
	e.mu.Lock()
	if len(e.absent) > 0 || len(e.stats) != len(e.view.Load().instances) || m.events == 0 {
		m.t.Errorf("%d absent, stats of %d, %d events", len(e.absent), len(e.stats), m.events)
	}
	e.mu.Unlock()
}

func (m *instancesModel) close() {
	m.stop()
	m.readers.Wait()
	m.resolver.Close()
}

func (m *instancesModel) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}
