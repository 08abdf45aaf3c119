// Package kratos is what the registries for kratos v2 and v3 have in common: the
// interfaces of the two differ in nothing but the path that they are imported from.
// Programs import kratosv2 or kratosv3, and this package for its [Options].
package kratos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// Instance is an instance of a service as kratos describes it. It converts to the
// type ServiceInstance of kratos v2 and v3.
type Instance struct {
	ID        string
	Name      string // of the service
	Version   string
	Metadata  map[string]string
	Endpoints []string // URLs such as grpc://10.0.0.1:9000?isSecure=false
}

// Options are the options of a registry. Nil, and the zero Options, consist of
// defaults.
type Options struct {
	// Interval is the time between two checks of an instance, 10 seconds if 0 or
	// less: the agent connects to each endpoint so often, and an instance that has
	// not been heard of for twice as long is critical.
	Interval time.Duration

	// DeregisterAfter is the time after which the agent deregisters an instance
	// that is critical, 10 minutes if 0 or less. Agents take at least one minute.
	DeregisterAfter time.Duration

	// NoTCPChecks leaves out the checks in which the agent connects to the
	// endpoints, NoHeartbeat the one by which the instance is heard of. An agent
	// that has lost an instance is noticed all the same. Without any check an
	// instance is healthy until it is deregistered.
	NoTCPChecks bool
	NoHeartbeat bool

	// Checks are further checks of every instance that is registered.
	Checks []*consul.AgentServiceCheck

	// Tags are added to those of every instance that is registered.
	Tags []string

	// Background makes Register return at once, and register the instance as soon
	// as the agent takes it. Without it, an agent that is away is an error.
	Background bool

	// Query is what is asked about services besides their names: Tags, Filter,
	// AllowStale and so on.
	Query consul.QueryOptions

	// Datacenters are those whose instances are found, all together. Empty means
	// that of Query, or else that of the client or the agent. AllDatacenters
	// means every one that there is; they are counted again every minute. If
	// either is set, the instances say theirs in the metadata "dc".
	Datacenters    []string
	AllDatacenters bool

	// DefaultScheme is that of the endpoint of instances that were not registered
	// by kratos, which have an address and a port only. Empty means http.
	DefaultScheme string

	// Resolve turns an instance in Consul into one of kratos, or into nil to leave
	// it out. It may be called concurrently. Nil means [Options.Convert].
	Resolve func(discovery.Instance) *Instance

	// Timeout bounds Register and GetService if their contexts do not end
	// earlier. 10 seconds if 0 or less.
	Timeout time.Duration

	// Logger gets what happens; nil is silent. OnEvent is called with the events
	// of package discovery; nil is none.
	Logger  *slog.Logger
	OnEvent func(discovery.Event)
}

const (
	defaultInterval        = 10 * time.Second
	defaultDeregisterAfter = 10 * time.Minute
	defaultTimeout         = 10 * time.Second
	defaultScheme          = "http"

	// idleTimeout is how long a service is followed that nobody watches.
	idleTimeout = time.Minute

	// maxBackoff bounds the pause after queries that failed, and with it the time for
	// which watchers are blind when the agent is back. It is local, as a rule.
	maxBackoff = 2 * time.Second
)

// Registry registers instances and finds them. Its methods may be called
// concurrently.
type Registry struct {
	client *consul.Client
	opts   Options // with defaults
	finder *finder

	mu            sync.Mutex
	registrations map[string]*registration // by ID
}

// New returns a registry that uses the client. It sends nothing.
func New(c *consul.Client, opts *Options) *Registry {
	r := &Registry{client: c, registrations: make(map[string]*registration)}
	if opts != nil {
		r.opts = *opts
	}
	o := &r.opts
	o.Tags, o.Checks, o.Datacenters = slices.Clone(o.Tags), slices.Clone(o.Checks), slices.Clone(o.Datacenters)
	o.Interval = positive(o.Interval, defaultInterval)
	o.DeregisterAfter = positive(o.DeregisterAfter, defaultDeregisterAfter)
	o.Timeout = positive(o.Timeout, defaultTimeout)
	if o.DefaultScheme == "" {
		o.DefaultScheme = defaultScheme
	}
	if o.Resolve == nil {
		o.Resolve = o.Convert
	}
	r.finder = newFinder(c, o)
	return r
}

func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// registration is an instance that is kept registered. mu is held while the agent
// is talked to, so that calls about one instance come one after the other.
type registration struct {
	mu   sync.Mutex
	kept *discovery.Registration // nil if it is not registered
}

// registration returns that of an instance. Those of a process are few, and stay.
func (r *Registry) registration(id string) *registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.registrations[id]
	if g == nil {
		g = new(registration)
		r.registrations[id] = g
	}
	return g
}

// Register registers an instance, and keeps it registered and its heartbeat going
// until Deregister, whatever becomes of ctx. The instance is healthy at once. An
// instance that changed replaces the one with the same ID.
func (r *Registry) Register(ctx context.Context, i *Instance) error {
	def, err := r.opts.definition(i)
	if err != nil {
		return err
	}
	g := r.registration(def.ID)
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	if g.kept != nil {
		if err := g.kept.Update(ctx, def); err != nil {
			return fmt.Errorf("kratos: %w", err)
		}
		return nil
	}
	kept, err := discovery.Register(ctx, r.client, def, &discovery.RegisterOptions{
		TTL:        -1, // the definition has the checks that there shall be
		Background: r.opts.Background,
		Logger:     r.opts.Logger,
		OnEvent:    r.opts.OnEvent,
	})
	if err != nil {
		return fmt.Errorf("kratos: %w", err)
	}
	g.kept = kept
	return nil
}

// drop ends the registration. g.mu must be held.
func (g *registration) drop() error {
	if g.kept == nil {
		return nil
	}
	kept := g.kept
	g.kept = nil
	return kept.Close()
}

// Deregister ends the heartbeat of an instance and removes it from the agent. One
// that the agent does not know is removed. If ctx ends first, the removal goes on
// for up to 5 seconds all the same.
func (r *Registry) Deregister(ctx context.Context, i *Instance) error {
	g := r.registration(i.ID)
	done := make(chan error, 1)
	go func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.kept != nil {
			done <- g.drop()
			return
		}
		err := r.client.Agent().ServiceDeregister(ctx, i.ID)
		if errors.Is(err, consul.ErrUnknownService) {
			err = nil
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("kratos: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("kratos: deregistering instance %q: %w", i.ID, ctx.Err())
	}
}

// GetService returns the healthy instances of a service, an empty list if there
// are none. The first call about a service asks Consul, those that follow within a
// minute or during a Watch are answered from memory. The instances are the
// caller's.
func (r *Registry) GetService(ctx context.Context, name string) ([]*Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	instances, err := r.finder.find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("kratos: %w", err)
	}
	return instances, nil
}

// Watch returns a watcher of a service, at once. ctx ends the watcher.
func (r *Registry) Watch(ctx context.Context, name string) (*Watcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, errors.New("kratos: the service has no name")
	}
	return newWatcher(ctx, r.finder, name), nil
}

// Close deregisters what is registered and ends what is followed. kratos does not
// call it: it is for programs that make registries more than once.
func (r *Registry) Close() error {
	r.mu.Lock()
	registrations := r.registrations
	r.registrations = make(map[string]*registration)
	r.mu.Unlock()
	var errs []error
	for _, g := range registrations {
		g.mu.Lock()
		errs = append(errs, g.drop())
		g.mu.Unlock()
	}
	r.finder.close()
	return errors.Join(errs...)
}
