package kratos

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lictor-go/consul/discovery"
)

// recountInterval is the time after which it is asked again which datacenters there
// are. That cannot be waited on.
const recountInterval = time.Minute

// follow calls take with what there is of a service whenever it may have changed,
// and with errors, until ctx ends.
func (f *finder) follow(ctx context.Context, name string, take func(snapshot, error)) {
	if f.isPlain() {
		for list, err := range f.resolver("").Watch(ctx, name) {
			take(snapshot{"": list}, err)
		}
		return
	}
	m := &merger{
		finder: f, name: name, take: take,
		legs: make(map[string]context.CancelFunc), known: make(snapshot), pending: make(map[string]bool),
	}
	defer m.wg.Wait()
	if !f.opts.AllDatacenters {
		m.set(ctx, f.opts.Datacenters)
		<-ctx.Done()
		return
	}
	opts := &discovery.WatchOptions{
		Name: "datacenters", MinInterval: recountInterval, Burst: 1, Logger: f.opts.Logger, OnEvent: f.opts.OnEvent,
	}
	for dcs, err := range discovery.Watch(ctx, f.client.Catalog().Datacenters, opts) {
		if err != nil {
			m.fail("", err)
			continue
		}
		m.set(ctx, dcs)
	}
}

// merger puts together what is known of a service in several datacenters.
type merger struct {
	finder *finder
	name   string
	take   func(snapshot, error)
	wg     sync.WaitGroup

	mu      sync.Mutex
	legs    map[string]context.CancelFunc // by datacenter
	known   snapshot
	pending map[string]bool // datacenters that have neither answered nor failed
}

// set follows the service in exactly these datacenters.
func (m *merger) set(ctx context.Context, dcs []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dc, cancel := range m.legs {
		if !slices.Contains(dcs, dc) {
			cancel()
			delete(m.legs, dc)
			delete(m.pending, dc)
			delete(m.known, dc)
		}
	}
	for _, dc := range dcs {
		if m.legs[dc] == nil {
			m.start(ctx, dc)
		}
	}
	m.tell(nil)
}

// start follows the service in one more datacenter. m.mu must be held.
func (m *merger) start(ctx context.Context, dc string) {
	ctx, m.legs[dc] = context.WithCancel(ctx)
	m.pending[dc] = true
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		for list, err := range m.finder.resolver(dc).Watch(ctx, m.name) {
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				m.fail(dc, err)
			} else {
				m.update(ctx, dc, list)
			}
		}
	}()
}

// update takes the instances in one datacenter.
func (m *merger) update(ctx context.Context, dc string, list []discovery.Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return // the datacenter is gone
	}
	delete(m.pending, dc)
	m.known[dc] = list
	m.tell(nil)
}

// fail takes an error of one datacenter, or of the question which there are.
func (m *merger) fail(dc string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pending, dc)
	m.tell(err)
}

// tell passes on what is known once every datacenter has answered or failed; and
// an error only if nothing is known. m.mu must be held.
func (m *merger) tell(err error) {
	switch {
	case len(m.pending) > 0:
	case len(m.known) > 0:
		m.take(maps.Clone(m.known), nil)
	case err != nil:
		m.take(nil, err)
	}
}
