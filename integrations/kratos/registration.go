package kratos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// removalTimeout bounds the removal of an instance that the registry has not
// registered.
const removalTimeout = 5 * time.Second

// registration is an instance that is kept registered, or is about to be. The calls
// about one instance run one after the other, in the order in which they began.
type registration struct {
	id   string
	kept *discovery.Registration // nil if it is not registered; for the call whose turn it is

	// The following are guarded by Registry.mu.
	calls     int                // that wait for their turn or have it
	last      <-chan struct{}    // closed when the latest of them has ended
	supersede context.CancelFunc // ends the latest of them if it is a Register in the background
}

// turn is the turn of a call about an instance.
type turn struct {
	*registration
	r     *Registry
	ready <-chan struct{} // closed when it has come
	ended chan struct{}
}

// queue takes the next turn. A Register in the background that came before is
// superseded. r.mu must be held.
func (r *Registry) queue(id string) *turn {
	g := r.registrations[id]
	if g == nil {
		nobody := make(chan struct{})
		close(nobody)
		g = &registration{id: id, last: nobody, supersede: func() {}}
		r.registrations[id] = g
	}
	g.supersede()
	t := &turn{registration: g, r: r, ready: g.last, ended: make(chan struct{})}
	g.last = t.ended
	g.calls++
	return t
}

// wait waits for the turn. After an error the turn is over.
func (t *turn) wait(ctx context.Context) error {
	select {
	case <-t.ready:
	case <-ctx.Done():
	}
	err := ctx.Err()
	if err != nil {
		go func() {
			<-t.ready
			t.end()
		}()
	}
	return err
}

// end gives the turn to the next call.
func (t *turn) end() {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	close(t.ended)
	if t.calls--; t.calls == 0 && t.kept == nil {
		delete(t.r.registrations, t.id)
	}
}

// Register registers an instance, and keeps it registered and its heartbeat going
// until Deregister, even after ctx has ended. The instance is healthy at once. An
// instance without an ID has its name as the ID. One with the ID of another that is
// registered replaces it, without a gap; after an error of that either may be
// registered, and the new one is tried again.
//
// Calls about the same instance wait for each other, others do not. An error means
// that the instance is not registered, or that it is unknown whether it is; it may
// take a second longer than ctx. See [Options.Background] for agents that may start
// later than the program.
func (r *Registry) Register(ctx context.Context, i *Instance) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	def, err := r.opts.definition(i)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("kratos: registering instance %q: %w", def.ID, err)
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errClosed
	}
	t := r.queue(def.ID)
	if r.opts.Background {
		ctx, t.supersede = context.WithCancel(context.WithoutCancel(ctx))
	}
	r.mu.Unlock()
	if r.opts.Background {
		return t.registerInBackground(ctx, def)
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if err := t.wait(ctx); err != nil {
		return fmt.Errorf("kratos: registering instance %q: %w", def.ID, err)
	}
	defer t.end()
	return t.register(ctx, def)
}

// register registers the instance for the first time, or changes it.
func (t *turn) register(ctx context.Context, def *consul.AgentServiceRegistration) (err error) {
	if t.kept != nil {
		err = t.kept.Update(ctx, def)
	} else {
		t.kept, err = discovery.Register(ctx, t.r.client, def, &discovery.RegisterOptions{
			TTL:        -1, // def has all checks
			Background: t.r.opts.Background,
			Logger:     t.r.opts.Logger,
			OnEvent:    t.r.opts.OnEvent,
		})
	}
	if err != nil {
		return fmt.Errorf("kratos: %w", err)
	}
	return nil
}

// registerInBackground does not wait for the agent, nor for earlier calls.
func (t *turn) registerInBackground(ctx context.Context, def *consul.AgentServiceRegistration) error {
	select {
	case <-t.ready:
		if t.kept == nil { // otherwise Update would wait for the agent
			defer t.end()
			return t.register(ctx, def)
		}
	default:
	}
	go func() {
		<-t.ready
		defer t.end()
		if ctx.Err() != nil {
			return
		}
		// Failures of what is registered are logged by package discovery.
		if err := t.register(ctx, def); t.kept == nil && t.r.opts.Logger != nil {
			t.r.opts.Logger.Warn("registering in the background failed", "service", def.Name, "id", def.ID, "error", err)
		}
	}()
	return nil
}

// Deregister ends the heartbeat of an instance and removes it from the agent. An
// instance that the agent does not know counts as removed. After an error it may
// still be there.
//
// If ctx ends first, Deregister returns, and the removal goes on in the background:
// for up to 5 seconds after earlier calls about the instance have ended.
func (r *Registry) Deregister(ctx context.Context, i *Instance) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	if i == nil {
		return errNilInstance
	}
	id := i.id() // kratos may use the instance again while the removal goes on
	if id == "" {
		return errors.New("kratos: the instance has neither an ID nor a name")
	}
	r.mu.Lock()
	t := r.queue(id)
	r.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		<-t.ready
		defer t.end()
		done <- t.deregister(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("kratos: deregistering instance %q: %w", id, ctx.Err())
	}
}

// deregister removes the instance from the agent, also if somebody else has
// registered it.
func (t *turn) deregister(ctx context.Context) error {
	if t.kept != nil {
		return t.drop()
	}
	ctx, cancel := context.WithTimeout(ctx, removalTimeout)
	defer cancel()
	err := t.r.client.Agent().ServiceDeregister(ctx, t.id)
	if err != nil && !errors.Is(err, consul.ErrUnknownService) {
		return fmt.Errorf("kratos: %w", err)
	}
	return nil
}

// drop removes the instance if the registry has registered it.
func (t *turn) drop() error {
	if t.kept == nil {
		return nil
	}
	kept := t.kept
	t.kept = nil
	if err := kept.Close(); err != nil {
		return fmt.Errorf("kratos: %w", err)
	}
	return nil
}
