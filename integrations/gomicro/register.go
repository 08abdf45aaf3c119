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

// leases are what a registry keeps registered, by the ID of the node.
type leases struct {
	mu   sync.Mutex
	held map[string]*lease
}

// lease is a node that is kept registered: for as long as go-micro goes on
// registering it, if it came with a TTL.
type lease struct {
	client       *consul.Client
	registration *discovery.Registration
	ends         time.Time // zero means never
	timer        *time.Timer
}

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
func (r *consulRegistry) Register(service *registry.Service, opts ...registry.RegisterOption) error {
	o := collect[registry.RegisterOptions](opts)
	if len(service.Nodes) == 0 {
		return fmt.Errorf("gomicro: service %q has no nodes", service.Name)
	}
	ctx, cancel, p, err := r.begin(o.Context)
	if err != nil {
		return err
	}
	defer cancel()
	var errs []error
	for _, node := range service.Nodes {
		def, err := p.definition(service, node, o.TTL)
		if err == nil {
			err = r.leases.renew(ctx, p, def)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Deregister removes every node of the service. Nodes that are not registered
// are no error.
func (r *consulRegistry) Deregister(service *registry.Service, opts ...registry.DeregisterOption) error {
	o := collect[registry.DeregisterOptions](opts)
	if len(service.Nodes) == 0 {
		return fmt.Errorf("gomicro: service %q has no nodes", service.Name)
	}
	ctx, cancel, p, err := r.begin(o.Context)
	if err != nil {
		return err
	}
	defer cancel()
	var errs []error
	for _, node := range service.Nodes {
		errs = append(errs, r.leases.end(ctx, p.client, node.Id))
	}
	return errors.Join(errs...)
}

// renew registers a node, or makes sure that it is registered as it should be.
func (l *leases) renew(ctx context.Context, p *present, def *consul.AgentServiceRegistration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[def.ID]
	if held != nil && held.client != p.client {
		l.drop(def.ID) // Init has named another agent
		held = nil
	}
	if held != nil {
		l.extend(def, held)
		return held.registration.Update(ctx, def)
	}
	registration, err := discovery.Register(ctx, p.client, def, &discovery.RegisterOptions{
		TTL:          -1,            // the definition has the check, if there is one
		CloseTimeout: p.timeout / 2, // which leaves time for another agent
		Logger:       p.logger,
		OnEvent:      p.onEvent,
	})
	if err != nil {
		return err
	}
	if l.held == nil {
		l.held = make(map[string]*lease)
	}
	held = &lease{client: p.client, registration: registration}
	l.held[def.ID] = held
	l.extend(def, held)
	return nil
}

// extend sets when the lease ends. l.mu must be held.
func (l *leases) extend(def *consul.AgentServiceRegistration, held *lease) {
	if held.timer != nil {
		held.timer.Stop()
	}
	held.ends, held.timer = time.Time{}, nil
	if def.Check == nil || def.Check.TTL <= 0 {
		return
	}
	held.ends = time.Now().Add(def.Check.TTL)
	held.timer = time.AfterFunc(def.Check.TTL, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.held[def.ID] == held && !time.Now().Before(held.ends) && !held.ends.IsZero() {
			l.drop(def.ID)
		}
	})
}

// end deregisters a node, whoever has registered it.
func (l *leases) end(ctx context.Context, client *consul.Client, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[id] != nil {
		return l.drop(id)
	}
	if err := client.Agent().ServiceDeregister(ctx, id); err != nil && !errors.Is(err, consul.ErrUnknownService) {
		return fmt.Errorf("gomicro: %w", err)
	}
	return nil
}

// drop ends a lease and deregisters its node. l.mu must be held.
func (l *leases) drop(id string) error {
	held := l.held[id]
	delete(l.held, id)
	if held.timer != nil {
		held.timer.Stop()
	}
	return held.registration.Close()
}
