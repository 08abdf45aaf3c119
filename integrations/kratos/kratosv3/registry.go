// Package kratosv3 is a registry for kratos v3 that keeps services in Consul, in the
// form in which kratos's own adapter for Consul does. Here frame is kratos itself,
// and kratos is the package of the options:
//
//	client, err := consul.NewClient(consul.Config{})
//	registry := kratosv3.New(client, &kratos.Options{Interval: 5 * time.Second})
//	app := frame.New(frame.Name("helloworld"), frame.Registrar(registry), frame.Server(grpcServer))
//	conn, err := grpc.NewClient(ctx, grpc.WithEndpoint("discovery:///helloworld"), grpc.WithDiscovery(registry))
//
// HTTP clients need http.WithBlock: without it, calls fail until the instances are
// known.
package kratosv3

import (
	"context"

	"github.com/go-kratos/kratos/v3/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/kratos"
)

// Registry is a [registry.Registrar] and a [registry.Discovery]. Its methods do what
// those of [kratos.Registry] do, and may be called concurrently.
type Registry struct{ core *kratos.Registry }

var (
	_ registry.Registrar = (*Registry)(nil)
	_ registry.Discovery = (*Registry)(nil)
	_ registry.Watcher   = watcher{}
)

// New returns a registry that uses the client. It sends nothing. Nil options mean
// defaults.
func New(c *consul.Client, opts *kratos.Options) *Registry {
	return &Registry{kratos.New(c, opts)}
}

// Register registers an instance and keeps it registered until Deregister, even after
// ctx has ended.
func (r *Registry) Register(ctx context.Context, i *registry.ServiceInstance) error {
	return r.core.Register(ctx, (*kratos.Instance)(i))
}

// Deregister removes an instance. If ctx ends first, the removal goes on in the
// background for up to 5 seconds.
func (r *Registry) Deregister(ctx context.Context, i *registry.ServiceInstance) error {
	return r.core.Deregister(ctx, (*kratos.Instance)(i))
}

// GetService returns the healthy instances of a service, an empty list if there
// are none.
func (r *Registry) GetService(ctx context.Context, name string) ([]*registry.ServiceInstance, error) {
	return convert(r.core.GetService(ctx, name))
}

// Watch returns a watcher of a service. It does not wait for Consul. The watcher ends
// when ctx does.
func (r *Registry) Watch(ctx context.Context, name string) (registry.Watcher, error) {
	w, err := r.core.Watch(ctx, name)
	if err != nil {
		return nil, err
	}
	return watcher{w}, nil
}

// Close deregisters all instances that are registered and ends all watchers. kratos
// does not call it.
func (r *Registry) Close() error { return r.core.Close() }

type watcher struct{ *kratos.Watcher }

func (w watcher) Next() ([]*registry.ServiceInstance, error) { return convert(w.Watcher.Next()) }

func convert(instances []*kratos.Instance, err error) ([]*registry.ServiceInstance, error) {
	if err != nil {
		return nil, err
	}
	converted := make([]*registry.ServiceInstance, len(instances))
	for n, i := range instances {
		converted[n] = (*registry.ServiceInstance)(i)
	}
	return converted, nil
}
