//go:build go1.25

package discovery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestModel takes thousands of random steps: instances come, go and flap, the
// agent dies, forgets, hangs, limits, loses its leader, its connections and its
// index. Definitions that are kept registered are updated meanwhile, several times
// at once, with contexts that end early, and with what the agent refuses. No
// subscriber may ever see a state that never was. After each quiet period everyone
// sees the state that is, and what is kept registered is, as its last update said. With
// -short it takes half as many.
func TestModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, 1795262008348046479} // the last one restarts with services that the catalog has still
	if testing.Short() {
		seeds = seeds[2:]
	}
	for n, seed := range seeds {
		version := []string{"1.21.4", "1.8.7"}[n%2]
		t.Run(fmt.Sprintf("seed %d, %s", seed, version), func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				m := newModel(t, agent, seed)
				for range 60 {
					for range 10 {
						m.step()
						m.update()
					}
					m.quiet()
				}
				m.close()
			}, consulmock.WithVersion(version))
		})
	}
}

var modelServices = []string{"a", "b", "c", "d"}

type model struct {
	t     *testing.T
	agent *fakeAgent
	rand  *rand.Rand
	heal  []func() // ends what is wrong with the agent

	kept     []*keptService
	updating sync.WaitGroup
	updates  *rand.Rand // of their own, so that the other steps of a seed stay the same
	resolver *discovery.Resolver
	stop     context.CancelFunc
	watchers sync.WaitGroup
	ports    map[string]int // by ID
	trace    []string       // the steps since the last quiet period

	mu    sync.Mutex
	now   map[string]map[string]string // service, ID, what it says if it passes; empty if not
	was   map[string]map[string]bool   // service, state that has been
	mixed bool                         // the agent restarts, and tells the catalog of its services one by one
	said  map[string]map[string]bool   // ID, what it said since the last quiet period
	views map[string]string            // subscriber, what it saw last
}

// keptService is a service that is kept registered.
type keptService struct {
	*discovery.Registration
	port    int          // of the last update
	refused bool         // the agent refuses the last update
	ports   map[int]bool // of all updates that the agent may have accepted
}

func newModel(t *testing.T, agent *fakeAgent, seed uint64) *model {
	m := &model{
		t: t, agent: agent, rand: rand.New(rand.NewPCG(seed, 0)), updates: rand.New(rand.NewPCG(seed, 1)), ports: map[string]int{},
		now: map[string]map[string]string{}, was: map[string]map[string]bool{}, said: map[string]map[string]bool{}, views: map[string]string{},
	}
	for n := range 2 {
		m.kept = append(m.kept, &keptService{ports: map[int]bool{0: true}, Registration: agent.register(&consul.AgentServiceRegistration{
			Name: "kept", ID: fmt.Sprint("kept-", n), Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
		}, nil)})
	}
	m.resolver = discovery.NewResolver(agent.client, &discovery.ResolverOptions{MaxQueries: 5})
	var ctx context.Context
	ctx, m.stop = context.WithCancel(t.Context())
	for _, s := range modelServices {
		m.now[s], m.was[s] = map[string]string{}, map[string]bool{"": true}
	}
	for _, s := range modelServices {
		m.watchers.Go(func() {
			opts := &discovery.WatchOptions{Query: consul.QueryOptions{PassingOnly: true}}
			for entries, err := range discovery.WatchService(ctx, agent.client, s, opts) {
				if err == nil {
					m.saw("watch "+s, s, stateOf(entries))
				}
			}
		})
		for n := range 3 {
			m.watchers.Go(func() {
				for list, err := range m.resolver.Watch(ctx, s) {
					if err == nil {
						m.saw(fmt.Sprint("resolver ", n, " ", s), s, stateOfInstances(list))
					}
				}
			})
		}
	}
	return m
}

func stateOf(entries []*consul.ServiceEntry) string {
	var list []string
	for _, e := range entries {
		list = append(list, fmt.Sprint(e.Service.ID, ":", e.Service.Port))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func stateOfInstances(instances []discovery.Instance) string {
	var list []string
	for _, i := range instances {
		list = append(list, fmt.Sprint(i.ID, ":", i.Port))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// saw notes what a subscriber sees.
func (m *model) saw(who, service, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views[who] = state
	if !m.was[service][state] && !(m.mixed && m.isMixed(service, state)) {
		m.t.Errorf("%s saw %q, which never was; steps: %q", who, state, m.trace)
	}
}

// isMixed reports whether each instance has said its part of a state. m.mu must be
// held.
func (m *model) isMixed(service, state string) bool {
	missing := map[string]bool{}
	for id := range m.said {
		missing[id] = strings.HasPrefix(id, service)
	}
	for _, says := range strings.Fields(state) {
		id, _, _ := strings.Cut(says, ":")
		if !m.said[id][says] {
			return false
		}
		missing[id] = false
	}
	for id, is := range missing {
		if is && !m.said[id][""] {
			return false
		}
	}
	return true
}

// say notes what an instance says from now on. m.mu must be held.
func (m *model) say(id, says string) {
	if m.said[id] == nil {
		m.said[id] = map[string]bool{"": true}
	}
	m.said[id][says] = true
}

// change changes the state of a service, with the subscribers held up.
func (m *model) change(service, id, says string, do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if says == "gone" {
		delete(m.now[service], id)
		m.say(id, "")
	} else {
		m.now[service][id] = says
		m.say(id, says)
	}
	m.was[service][m.state(service)] = true
	do()
}

// state returns the present state of a service. m.mu must be held.
func (m *model) state(service string) string {
	var list []string
	for _, says := range m.now[service] {
		if says != "" {
			list = append(list, says)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (m *model) step() {
	s := modelServices[m.rand.IntN(len(modelServices))]
	id := fmt.Sprint(s, m.rand.IntN(4))
	_, there := m.now[s][id]
	switch n := m.rand.IntN(20); {
	case n < 6: // comes, or changes
		port := 1 + m.rand.IntN(3)
		m.note("add %s:%d", id, port)
		says := fmt.Sprint(id, ":", port)
		if there && m.now[s][id] == "" {
			says = "" // the check keeps its status
		}
		m.ports[id] = port
		m.change(s, id, says, func() {
			m.agent.AddService(&consul.AgentServiceRegistration{Name: s, ID: id, Port: port, Check: &consul.AgentServiceCheck{
				TTL: 10000 * time.Hour, Status: consul.HealthPassing,
			}})
			if !there { // a status that was never reported would not outlive a restart
				m.agent.SetCheckStatus("service:"+id, consul.HealthPassing, "")
			}
		})
	case n < 9 && there: // goes
		m.note("remove %s", id)
		m.change(s, id, "gone", func() { m.agent.RemoveService(id) })
	case n < 13 && there: // flaps
		m.flap(s, id)
	case n == 13:
		kept := m.kept[m.rand.IntN(len(m.kept))].ID()
		m.note("deregister %s", kept)
		ctx, cancel := context.WithTimeout(m.t.Context(), time.Second) // it may hang
		if _, err := m.agent.Client().Agent().ServiceHealthByID(ctx, kept); err == nil {
			m.agent.RemoveService(kept)
		}
		cancel()
	case n == 14:
		m.note("stop")
		m.agent.Stop()
		m.heal = append(m.heal, m.agent.Start)
	case n == 15:
		m.note("restart with data")
		m.mu.Lock()
		m.mixed = true
		m.mu.Unlock()
		m.agent.Restart(true)
	case n == 16 && m.rand.IntN(3) == 0:
		m.note("restart without data")
		m.mu.Lock()
		for s := range m.now {
			for id := range m.now[s] {
				m.say(id, "")
			}
			clear(m.now[s])
			m.was[s][""] = true
		}
		m.agent.Restart(false)
		m.mu.Unlock()
	case n >= 17:
		m.fault()
	}
	switch m.rand.IntN(4) {
	case 0: // at once
	case 1:
		synctest.Wait()
	case 2:
		time.Sleep(time.Duration(m.rand.IntN(1000)) * time.Millisecond)
	case 3:
		time.Sleep(time.Duration(m.rand.IntN(40)) * time.Second)
	}
}

// update changes one of the definitions that are kept registered, or none, up to
// three times at once.
func (m *model) update() {
	if m.updates.IntN(4) > 0 {
		return
	}
	k := m.kept[m.updates.IntN(len(m.kept))]
	for range 1 + m.updates.IntN(3) {
		k.port++
		k.refused = m.updates.IntN(4) == 0
		def := &consul.AgentServiceRegistration{Name: "kept", ID: k.ID(), Port: k.port, Checks: []*consul.AgentServiceCheck{{
			CheckID: []string{"", "other-" + k.ID()}[m.updates.IntN(2)],
			TTL:     []time.Duration{5 * time.Second, 15 * time.Second, 5 * time.Minute}[m.updates.IntN(3)],
		}}}
		if k.refused {
			def.Checks = append(def.Checks, &consul.AgentServiceCheck{Args: []string{"true"}, Interval: time.Minute})
		}
		k.ports[k.port] = true // also if it is refused: agents refuse the check only when they have changed the service
		after := []time.Duration{0, time.Millisecond, time.Second, 30 * time.Second}[m.updates.IntN(4)]
		m.note("update %s:%d within %s, refused %t", k.ID(), k.port, after, k.refused)
		m.updating.Go(func() {
			ctx, cancel := context.WithTimeout(m.t.Context(), after)
			defer cancel()
			k.Update(ctx, def)
		})
		synctest.Wait() // it is the last one now
	}
}

// checkKept compares what is kept registered with the last updates.
func (m *model) checkKept() {
	entries, _, err := m.agent.Client().Health().Service(m.t.Context(), "kept", &consul.QueryOptions{PassingOnly: true})
	if err != nil || len(entries) != len(m.kept) {
		m.t.Errorf("%d of %d are kept registered (%v); steps: %q", len(entries), len(m.kept), err, m.trace)
		return
	}
	for i, k := range m.kept { // entries are sorted by ID
		port, err := entries[i].Service.Port, k.Err()
		if (err != nil) != k.refused || !k.ports[port] || !k.refused && port != k.port {
			m.t.Errorf("%s has port %d (%v); the last update said %d, refused %t; steps: %q", k.ID(), port, err, k.port, k.refused, m.trace)
		}
	}
}

// flap sets the status of an instance.
func (m *model) flap(s, id string) {
	status := []consul.HealthStatus{consul.HealthPassing, consul.HealthWarning, consul.HealthCritical}[m.rand.IntN(3)]
	m.note("%s is %s", id, status)
	says := ""
	if status == consul.HealthPassing {
		says = fmt.Sprint(id, ":", m.ports[id])
	}
	m.change(s, id, says, func() { m.agent.SetCheckStatus("service:"+id, status, "") })
}

// fault makes something go wrong with some or all requests for a while.
func (m *model) fault() {
	faults := []consulmock.Fault{
		{NoLeader: true, Latency: 7 * time.Second},
		{RateLimit: 2 * time.Second},
		{RateLimit: -1},
		{Drop: consulmock.DropRequest},
		{Drop: consulmock.DropAnswer},
		{TruncateAt: 1 + m.rand.IntN(500)},
		{Hang: make(chan struct{})},
		{Latency: 3 * time.Second},
		{Index: 1 + m.rand.Uint64N(20)},
		{Index: consulmock.ZeroIndex},
		{Index: 1 << 60},
		{Status: 502, Body: "<html>"},
	}
	f := faults[m.rand.IntN(len(faults))]
	f.Path = []string{"/v1/health/**", "/v1/agent/check/**", "/v1/agent/**"}[m.rand.IntN(3)]
	if f.Always = m.rand.IntN(2) == 0; !f.Always {
		f.Times = 1 + m.rand.IntN(10)
	}
	m.note("fault %s index %d latency %s", f.Path, f.Index, f.Latency)
	m.heal = append(m.heal, m.agent.Inject(f))
}

func (m *model) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// quiet ends all faults and compares what everybody sees with what is.
func (m *model) quiet() {
	for _, f := range m.heal {
		f()
	}
	m.heal = nil
	time.Sleep(3 * time.Minute)
	m.updating.Wait()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range modelServices {
		entries, _, err := m.agent.Client().Health().Service(m.t.Context(), s, &consul.QueryOptions{PassingOnly: true})
		if err != nil {
			m.t.Fatal(err)
		}
		is := stateOf(entries)
		if is != m.state(s) {
			m.t.Fatalf("the model of %s says %q, the agent %q; steps: %q", s, m.state(s), is, m.trace)
		}
		for who, view := range m.views {
			if strings.HasSuffix(who, " "+s) && view != is {
				m.t.Errorf("%s sees %q instead of %q; steps: %q", who, view, is, m.trace)
			}
		}
		list, err := m.resolver.Instances(m.t.Context(), s)
		if err != nil || stateOfInstances(list) != is {
			m.t.Errorf("the resolver has %q (%v) instead of %q", stateOfInstances(list), err, is)
		}
	}
	m.checkKept()
	if m.t.Failed() {
		m.t.FailNow()
	}
	m.trace, m.mixed = nil, false
	clear(m.said)
	for _, instances := range m.now {
		for id, says := range instances {
			m.said[id] = map[string]bool{says: true}
		}
	}
}

func (m *model) close() {
	m.stop()
	m.watchers.Wait()
	m.resolver.Close()
	for _, k := range m.kept {
		if err := k.Close(); err != nil {
			m.t.Error(err)
		}
	}
}
