package gomicro

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// Register registers every node of the service, or refreshes it. go-micro's
// server calls it at an interval.
//
// Between two calls the node is kept registered: its heartbeats are sent several
// times within the TTL, and it is registered again when the agent has lost it.
// That ends when Register has not been called for a TTL: then the node is
// deregistered, as it would be by Consul if its process had ended.
//
// A call for a node that has not changed reports that it is well, or looks after
// it if the agent runs its check, and registers it only if it is gone. With
// [TCPCheck] or [HTTPCheck] the TTL does not matter.
//
// Calls about the same node take effect one after the other, in the order in
// which they were made; nodes do not wait for each other.
func (r *consulRegistry) Register(service *registry.Service, opts ...registry.RegisterOption) error {
	o := collect[registry.RegisterOptions](opts)
	if err := checkNodes(service); err != nil {
		return err
	}
	ctx, cancel, p, err := r.begin(o.Context)
	if err != nil {
		return err
	}
	defer cancel()
	var defs []*consul.AgentServiceRegistration
	for _, node := range service.Nodes {
		def, err := p.definition(service, node, o.TTL)
		if err != nil {
			return err
		}
		defs = append(defs, def)
	}
	renewals := make([]<-chan error, len(defs))
	for i, def := range defs {
		renewals[i] = r.leases.renew(ctx, p, def)
	}
	var errs []error
	for i, renewed := range renewals {
		if err := <-renewed; err != nil {
			errs = append(errs, fmt.Errorf("gomicro: registering node %q: %w", defs[i].ID, err))
		}
	}
	return errors.Join(errs...)
}

// Deregister removes every node of the service. Nodes that are not registered
// are no error. If the context of the options ends first, the removal goes on for
// up to half of the timeout all the same.
func (r *consulRegistry) Deregister(service *registry.Service, opts ...registry.DeregisterOption) error {
	o := collect[registry.DeregisterOptions](opts)
	if err := checkNodes(service); err != nil {
		return err
	}
	ctx, cancel, p, err := r.begin(o.Context)
	if err != nil {
		return err
	}
	defer cancel()
	removals := make([]<-chan error, len(service.Nodes))
	for i, node := range service.Nodes {
		removals[i] = r.leases.end(ctx, p, node.Id)
	}
	var errs []error
	for i, removed := range removals {
		var err error
		select {
		case err = <-removed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("gomicro: deregistering node %q: %w", service.Nodes[i].Id, err))
		}
	}
	return errors.Join(errs...)
}

// checkNodes returns an error if the service has no nodes, or one without an ID.
func checkNodes(service *registry.Service) error {
	switch {
	case service == nil:
		return errors.New("gomicro: the service is nil")
	case len(service.Nodes) == 0:
		return fmt.Errorf("gomicro: service %q has no nodes", service.Name)
	}
	for i, node := range service.Nodes {
		switch {
		case node == nil:
			return fmt.Errorf("gomicro: node %d of service %q is nil", i+1, service.Name)
		case node.Id == "":
			return fmt.Errorf("gomicro: node %d of service %q has no ID", i+1, service.Name)
		}
	}
	return nil
}

// leases are what a registry keeps registered, by the ID of the node.
type leases struct {
	mu    sync.Mutex // guards the map and the queues; never held during a request
	nodes map[string]*node
}

// node is one that is kept registered, or about which calls are under way. The
// calls form a queue, because a registration and a deregistration that overlap
// could take effect in either order.
type node struct {
	last  <-chan struct{} // closed when the last call of the queue has ended
	lease *lease          // nil if it is not registered; belongs to the first call of the queue
}

// lease is a node that is kept registered: for as long as go-micro goes on
// registering it, if it came with a TTL.
type lease struct {
	client       *consul.Client
	registration *discovery.Registration
	ends         time.Time // zero means never
	timer        *time.Timer
}

// enter puts a call about a node at the end of its queue. When turn is closed the
// calls before it have ended. Then, and not earlier, leave has to be called.
func (l *leases) enter(id string) (n *node, turn <-chan struct{}, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = l.nodes[id]
	if n == nil {
		empty := make(chan struct{})
		close(empty)
		n = &node{last: empty}
		if l.nodes == nil {
			l.nodes = make(map[string]*node)
		}
		l.nodes[id] = n
	}
	turn = n.last
	ended := make(chan struct{})
	n.last = ended
	return n, turn, func() {
		defer close(ended)
		l.mu.Lock()
		defer l.mu.Unlock()
		if n.last == ended && n.lease == nil {
			delete(l.nodes, id)
		}
	}
}

// renew registers a node, or makes sure that it is registered as it should be. The
// channel receives the result.
func (l *leases) renew(ctx context.Context, p *present, def *consul.AgentServiceRegistration) <-chan error {
	n, turn, leave := l.enter(def.ID)
	renewed := make(chan error, 1)
	go func() {
		select {
		case <-turn:
			renewed <- l.renewInTurn(ctx, p, def, n, leave)
		case <-ctx.Done():
			renewed <- ctx.Err()
			<-turn
			leave()
		}
	}()
	return renewed
}

// renewInTurn renews the lease of n, whose turn it is, and calls leave.
func (l *leases) renewInTurn(ctx context.Context, p *present, def *consul.AgentServiceRegistration, n *node, leave func()) error {
	old := n.lease
	if old != nil {
		l.extend(old, def)
	}
	if old != nil && old.client == p.client {
		defer leave()
		return old.registration.Update(ctx, def)
	}
	registration, err := discovery.Register(ctx, p.client, def, &discovery.RegisterOptions{
		TTL:          -1, // the definition has the check, if there is one
		Health:       p.health,
		CloseTimeout: p.closeTimeout(),
		Logger:       p.logger,
		OnEvent:      p.onEvent,
	})
	if err != nil {
		leave()
		return err
	}
	n.lease = &lease{client: p.client, registration: registration}
	l.extend(n.lease, def)
	if old == nil {
		leave()
		return nil
	}
	// Init has named another agent. The caller need not wait for the old one, which
	// may be gone for good. If it was the same agent by another name, the node has
	// been removed there too, and Update brings it back.
	go func() {
		defer leave()
		old.close()
		ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
		defer cancel()
		registration.Update(ctx, def)
	}()
	return nil
}

// extend sets when a lease ends. It must be called in turn.
func (l *leases) extend(held *lease, def *consul.AgentServiceRegistration) {
	if held.timer != nil {
		held.timer.Stop()
	}
	held.ends, held.timer = time.Time{}, nil
	if def.Check == nil || def.Check.TTL <= 0 {
		return
	}
	held.ends = time.Now().Add(def.Check.TTL)
	held.timer = time.AfterFunc(def.Check.TTL, func() {
		n, turn, leave := l.enter(def.ID)
		defer leave()
		<-turn
		if n.lease == held && !held.ends.IsZero() && !time.Now().Before(held.ends) {
			n.lease = nil
			held.close()
		}
	})
}

// end deregisters a node, whoever has registered it. The channel tells the result.
func (l *leases) end(ctx context.Context, p *present, id string) <-chan error {
	n, turn, leave := l.enter(id)
	removed := make(chan error, 1)
	go func() {
		defer leave()
		<-turn
		if held := n.lease; held != nil {
			n.lease = nil
			removed <- held.close()
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.closeTimeout())
		defer cancel()
		err := p.client.Agent().ServiceDeregister(ctx, id)
		if errors.Is(err, consul.ErrUnknownService) {
			err = nil
		}
		removed <- err
	}()
	return removed
}

// close ends a lease and deregisters its node.
func (held *lease) close() error {
	if held.timer != nil {
		held.timer.Stop()
	}
	return held.registration.Close()
}
