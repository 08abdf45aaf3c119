// Package kratosv3 is a registry for kratos v3 that keeps services in Consul. It
// reads and writes what kratos's own adapter for Consul does.
//
//	client, err := consul.NewClient(consul.Config{})
//	registry := kratosv3.New(client, nil)
//	app := kratos.New(kratos.Name("helloworld"), kratos.Registrar(registry), kratos.Server(grpcServer))
//	conn, err := grpc.DialInsecure(ctx, grpc.WithEndpoint("discovery:///helloworld"), grpc.WithDiscovery(registry))
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

// Register registers an instance and keeps it registered until Deregister.
func (r *Registry) Register(ctx context.Context, i *registry.ServiceInstance) error {
	return r.core.Register(ctx, (*kratos.Instance)(i))
}

// Deregister removes an instance.
func (r *Registry) Deregister(ctx context.Context, i *registry.ServiceInstance) error {
	return r.core.Deregister(ctx, (*kratos.Instance)(i))
}

// GetService returns the healthy instances of a service, an empty list if there
// are none.
func (r *Registry) GetService(ctx context.Context, name string) ([]*registry.ServiceInstance, error) {
	return convert(r.core.GetService(ctx, name))
}

// Watch returns a watcher of a service, at once. ctx ends the watcher.
func (r *Registry) Watch(ctx context.Context, name string) (registry.Watcher, error) {
	w, err := r.core.Watch(ctx, name)
	if err != nil {
		return nil, err
	}
	return watcher{w}, nil
}

// Close deregisters what is registered and ends what is followed. kratos does not
// call it.
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
