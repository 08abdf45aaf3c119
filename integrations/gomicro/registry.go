// Package gomicro is a Consul registry for go-micro v4 that depends on go-micro
// and on nothing else. It reads and writes what the official plugin,
// github.com/go-micro/plugins/v4/registry/consul, reads and writes, so services
// with either find each other.
//
//	service := micro.NewService(
//		micro.Name("greeter"),
//		micro.Registry(gomicro.NewRegistry()),
//	)
//
// The agent is the one that the CONSUL_* variables name, or 127.0.0.1:8500. The
// options are those of go-micro (registry.Addrs, registry.Timeout,
// registry.Secure, registry.TLSConfig) and of this package.
//
// To choose the registry by MICRO_REGISTRY=consul, or by the flag
// --registry=consul, import the package register in this folder for its side effect.
// This package does not do so by itself, because that would draw go-micro's command
// line into every program.
package gomicro

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/gomicro/internal/agent"
)

// defaultTimeout bounds every call of a registry, but not its watches. An agent
// whose servers have no leader responds, if at all, after 7 to 18 s; go-micro
// tries registrations again.
const defaultTimeout = 10 * time.Second

// consulRegistry is a [registry.Registry].
type consulRegistry struct {
	mu       sync.Mutex // guards what Init changes
	opts     registry.Options
	settings settings
	source   *agent.Source // of client
	client   *consul.Client
	err      error // of the options, returned by every call

	leases leases
}

// Format implements [fmt.Formatter]. It prints no options, which may hold a token.
func (r *consulRegistry) Format(s fmt.State, verb rune) {
	io.WriteString(s, "gomicro.Registry{}")
}

// NewRegistry returns a registry. It sends nothing before it is used. Options
// that make no sense are an error of every method, and of Init.
//
// Its methods may be called concurrently. [registry.Timeout] bounds each of their
// calls to the agent, 10 seconds by default, but not the watches.
func NewRegistry(opts ...registry.Option) registry.Registry {
	r := &consulRegistry{}
	r.Init(opts...)
	return r
}

// Init adds options. It makes a new client if [Config] is given again, which also
// reads the files again that it names, or if [Client], [registry.Addrs],
// [registry.Secure], [registry.TLSConfig] or the environment is another one.
//
// Watches that are under way keep the old client. What is registered moves to the
// new one when it is refreshed: it is registered with the new one first and
// deregistered with the old one then. As long as the new one does not take it, it
// stays where it is. If both are the same agent, it is away for a moment.
func (r *consulRegistry) Init(opts ...registry.Option) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range opts {
		if o != nil {
			o(&r.opts)
		}
	}
	r.settings = settingsOf(&r.opts)
	r.err = r.connect()
	return r.err
}

// connect makes a client if there is none for the present options. r.mu must be
// held.
func (r *consulRegistry) connect() error {
	if err := r.settings.validate(); err != nil {
		return err
	}
	source, err := sourceOf(&r.opts, &r.settings)
	if err != nil || r.source != nil && source.Equal(r.source) {
		return err
	}
	client, err := source.NewClient()
	if err == nil {
		r.source, r.client = source, client
	}
	return err
}

// Options returns the options that were given.
func (r *consulRegistry) Options() registry.Options {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opts
}

// String returns "consul".
func (r *consulRegistry) String() string { return "consul" }

// present is what a registry works with between two calls of Init.
type present struct {
	settings
	client  *consul.Client
	timeout time.Duration
}

func (r *consulRegistry) present() (*present, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	p := &present{r.settings, r.client, defaultTimeout}
	if r.opts.Timeout > 0 {
		p.timeout = r.opts.Timeout
	}
	return p, nil
}

// closeTimeout bounds what takes a node away. It leaves time for another agent.
func (p *present) closeTimeout() time.Duration { return p.timeout / 2 }

// begin returns what a call works with, and its context. go-micro leaves the
// context out of the options unless the user passes one.
func (r *consulRegistry) begin(ctx context.Context) (context.Context, context.CancelFunc, *present, error) {
	p, err := r.present()
	if err != nil {
		return nil, nil, nil, err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	return ctx, cancel, p, nil
}

// collect returns the options of a call.
func collect[O any, F ~func(*O)](opts []F) O {
	var o O
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// GetService returns the service, one for each version. Nodes with a critical
// check are left out, and so are versions without nodes; if nothing is left the
// error is [registry.ErrNotFound].
func (r *consulRegistry) GetService(name string, opts ...registry.GetOption) ([]*registry.Service, error) {
	ctx, cancel, p, err := r.begin(collect[registry.GetOptions](opts).Context)
	if err != nil {
		return nil, err
	}
	defer cancel()
	ask := p.client.Health().Service
	if p.connect {
		ask = p.client.Health().Connect
	}
	query := p.queryOptions()
	entries, _, err := ask(ctx, name, &query)
	if err != nil {
		return nil, fmt.Errorf("gomicro: service %q: %w", name, err)
	}
	services := servicesOf(name, instancesOf(entries))
	if len(services) == 0 {
		return nil, registry.ErrNotFound
	}
	return services, nil
}

// instancesOf makes of a response what watches yield.
func instancesOf(entries []*consul.ServiceEntry) []discovery.Instance {
	instances := make([]discovery.Instance, len(entries))
	for i, e := range entries {
		instances[i] = discovery.InstanceOf(e)
	}
	return instances
}

// ListServices returns the services of which Consul knows, go-micro's or not,
// ordered by their names and with nothing else.
func (r *consulRegistry) ListServices(opts ...registry.ListOption) ([]*registry.Service, error) {
	ctx, cancel, p, err := r.begin(collect[registry.ListOptions](opts).Context)
	if err != nil {
		return nil, err
	}
	defer cancel()
	query := p.queryOptions()
	names, _, err := p.client.Catalog().Services(ctx, &query)
	if err != nil {
		return nil, fmt.Errorf("gomicro: services: %w", err)
	}
	var services []*registry.Service
	for _, name := range slices.Sorted(maps.Keys(names)) {
		services = append(services, &registry.Service{Name: name})
	}
	return services, nil
}

// sourceOf returns what the options, and the environment, have for a client.
func sourceOf(o *registry.Options, s *settings) (*agent.Source, error) {
	return agent.NewSource(agent.Options{
		Client: s.client, NoClient: s.noClient, Config: s.config, Addrs: o.Addrs, Secure: o.Secure, TLS: o.TLSConfig,
	})
}
