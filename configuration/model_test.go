//go:build go1.25

package configuration_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

// TestModel writes and deletes at random, while requests fail in every way and the agent
// loses its data. Each snapshot is a state that the folder has had, whoever is given it;
// the differences add up to it; and soon after the last change everybody has the last
// state.
func TestModel(t *testing.T) {
	for seed := range uint64(2) {
		bothVersions(t, func(t *testing.T, agent *fakeAgent) {
			m := &model{t: t, agent: agent, random: rand.New(rand.NewPCG(seed, 0)), now: state{}, last: make(map[string]state)}
			m.had = map[string]bool{m.now.String(): true}
			m.run()
		})
	}
}

// state is what is in a folder.
type state map[string]string

func (s state) String() string { return fmt.Sprint(map[string]string(s)) }

// model is what the folder app should have.
type model struct {
	t      *testing.T
	agent  *fakeAgent
	random *rand.Rand

	mu   sync.Mutex
	now  state
	had  map[string]bool  // by the text of a state: also those that are about to be
	last map[string]state // that somebody was given, by name
}

func (m *model) run() {
	ctx, cancel := context.WithCancel(context.Background())
	view := viewOf(m.agent, "app", nil)
	followers := map[string]iter.Seq2[*configuration.Snapshot, error]{
		"Watch": configuration.Watch(ctx, m.agent.client, "app", nil),
		"stale": configuration.Watch(ctx, m.agent.client, "app", &configuration.Options{Query: consul.QueryOptions{AllowStale: true}}),
		"View":  view.Watch(ctx),
	}
	var wg sync.WaitGroup
	for name, snapshots := range followers {
		wg.Go(func() { m.follow(name, snapshots) })
	}
	for range 150 {
		m.change()
		m.disturb()
		time.Sleep(time.Duration(m.random.IntN(3000)) * time.Millisecond)
	}
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	for name := range followers {
		if m.last[name].String() != m.now.String() {
			m.t.Errorf("%s has %s; want %s", name, m.last[name], m.now)
		}
	}
	if err := view.Err(); err != nil {
		m.t.Error(err)
	}
	cancel()
	wg.Wait()
}

// follow checks what somebody is given.
func (m *model) follow(name string, snapshots iter.Seq2[*configuration.Snapshot, error]) {
	sum := state{} // of the differences
	for s, err := range snapshots {
		if err != nil {
			continue
		}
		before := maps.Clone(sum)
		for _, key := range s.Removed {
			delete(sum, key)
		}
		for _, key := range append(s.Added, s.Changed...) {
			value, _ := s.Get(key)
			sum[key] = string(value)
		}
		is := state{}
		for _, p := range s.Pairs {
			is[p.Key] = string(p.Value)
		}
		added, removed := len(s.Added), len(s.Removed)
		m.mu.Lock()
		if !maps.Equal(is, sum) || !m.had[is.String()] || len(sum) != len(before)+added-removed {
			m.t.Errorf("%s: %s after %s, +%q ~%q -%q; the folder was so: %t", name, is, before, s.Added, s.Changed, s.Removed, m.had[is.String()])
		}
		m.last[name] = is
		m.mu.Unlock()
	}
}

// change changes something, in the folder or beside it.
func (m *model) change() {
	key := []string{"a", "b", "d/a", "d/b", "e/f/g"}[m.random.IntN(5)]
	next := maps.Clone(m.now)
	var ops []*consul.KVTxnOp
	switch m.random.IntN(10) {
	case 0, 1, 2, 3:
		next[key] = fmt.Sprint(m.random.IntN(3))
		ops = append(ops, &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/" + key, Value: []byte(next[key])})
	case 4, 5, 6:
		delete(next, key)
		ops = append(ops, &consul.KVTxnOp{Verb: consul.KVDelete, Key: "app/" + key})
	case 7:
		clear(next)
		ops = append(ops, &consul.KVTxnOp{Verb: consul.KVDeleteTree, Key: []string{"a", "app/"}[m.random.IntN(2)]})
	case 8:
		for _, other := range []string{"app", "app/", "app/d/", "app2/a", "b"} {
			ops = append(ops, &consul.KVTxnOp{Verb: consul.KVSet, Key: other})
		}
	case 9:
		next[key], next["x"] = "both", "both"
		for _, key := range []string{key, "x"} {
			ops = append(ops, &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/" + key, Value: []byte("both")})
		}
	}
	m.mu.Lock()
	m.now, m.had[next.String()] = next, true
	m.mu.Unlock()
	var all []consul.TxnOp
	for _, op := range ops {
		all = append(all, consul.TxnOp{KV: op})
	}
	if _, err := m.agent.client.Txn().Apply(context.Background(), all, nil); err != nil {
		m.t.Error(err)
	}
}

// disturb makes reads fail for a while, or the agent lose its data, or lets time pass so
// that the servers forget deletions; most often it does nothing.
func (m *model) disturb() {
	switch m.random.IntN(40) {
	case 0, 1, 2, 3:
		faults := []consulmock.Fault{
			{NoLeader: true}, {Status: 404}, {Status: 429}, {Status: 502}, {Status: 403, Body: "Permission denied"}, {Drop: consulmock.ResetRequest},
			{Drop: consulmock.DropAnswer}, {TruncateAt: 7}, {Body: "<html>"}, {Latency: 3 * time.Second}, {Hang: make(chan struct{})},
		}
		fault := faults[m.random.IntN(len(faults))]
		fault.Method, fault.Path, fault.Always = http.MethodGet, "/v1/kv/**", true
		remove := m.agent.Inject(fault)
		time.Sleep(time.Duration(m.random.IntN(100)) * time.Second)
		m.change()
		remove()
	case 4:
		m.mu.Lock()
		m.now = state{}
		m.mu.Unlock()
		m.agent.Restart(false)
	case 5, 6:
		time.Sleep(time.Duration(m.random.IntN(40)) * time.Minute)
	}
}
