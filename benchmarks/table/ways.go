package main

import (
	"context"
	"crypto/tls"
	"net/url"
	"strconv"
	"strings"

	contrib "github.com/go-kratos/kratos/contrib/registry/consul/v2"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// way is a way to follow the instances of services.
type way struct {
	name   string
	shares bool // many that follow a service share one query

	// open returns how to follow services of the agent at an address. What its
	// calls share ends with ctx.
	open func(ctx context.Context, addr string) (follow, error)
}

// follow calls seen with the instances of a service and the port of the first one,
// at once and at each change, until ctx ends or something fails.
type follow func(ctx context.Context, service string, seen func(instances any, port int)) error

var (
	ourLoop      = way{name: "our blocking queries in a loop", open: openOurLoop}
	watchService = way{name: "discovery.WatchService", open: openWatchService}
	resolver     = way{name: "discovery.Resolver", shares: true, open: openResolver}
	apiLoop      = way{name: "consul/api's blocking queries in a loop", open: openAPILoop}
	apiPlan      = way{name: "consul/api's watch plan", open: openPlan}
	kratos       = way{name: "kratos's watcher", shares: true, open: openKratos}
)

// newClient returns our client of a canned agent, whose certificate nobody trusts.
func newClient(addr string) (*consul.Client, error) {
	c := consul.Config{Address: addr}
	if strings.HasPrefix(addr, "https://") {
		c.TLS.Base = &tls.Config{InsecureSkipVerify: true}
	}
	return consul.NewClient(c)
}

// newAPI returns the client of consul/api likewise.
func newAPI(addr string) (*api.Client, error) {
	return api.NewClient(&api.Config{Address: addr, TLSConfig: api.TLSConfig{InsecureSkipVerify: true}})
}

func openOurLoop(_ context.Context, addr string) (follow, error) {
	client, err := newClient(addr)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, service string, seen func(any, int)) error {
		q := &consul.QueryOptions{Previous: new(consul.Result)}
		for {
			entries, meta, err := client.Health().Service(ctx, service, q)
			if err != nil {
				return err
			}
			if meta.Result != q.Previous && len(entries) > 0 {
				seen(entries, entries[0].Service.Port)
			}
			q.WaitIndex, q.Previous = meta.LastIndex, meta.Result
		}
	}, nil
}

func openWatchService(_ context.Context, addr string) (follow, error) {
	client, err := newClient(addr)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, service string, seen func(any, int)) error {
		for entries, err := range discovery.WatchService(ctx, client, service, nil) {
			if err == nil && len(entries) > 0 { // after an error it goes on by itself
				seen(entries, entries[0].Service.Port)
			}
		}
		return ctx.Err()
	}, nil
}

func openResolver(ctx context.Context, addr string) (follow, error) {
	client, err := newClient(addr)
	if err != nil {
		return nil, err
	}
	r := discovery.NewResolver(client, nil)
	context.AfterFunc(ctx, func() { r.Close() })
	return func(ctx context.Context, service string, seen func(any, int)) error {
		for instances, err := range r.Watch(ctx, service) {
			if err == nil && len(instances) > 0 { // as above
				seen(instances, instances[0].Port)
			}
		}
		return ctx.Err()
	}, nil
}

func openAPILoop(_ context.Context, addr string) (follow, error) {
	client, err := newAPI(addr)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, service string, seen func(any, int)) error {
		q := &api.QueryOptions{}
		for {
			entries, meta, err := client.Health().Service(service, "", false, q.WithContext(ctx))
			if err != nil {
				return err
			}
			if meta.LastIndex != q.WaitIndex && len(entries) > 0 {
				seen(entries, entries[0].Service.Port)
			}
			q.WaitIndex = meta.LastIndex
		}
	}, nil
}

func openPlan(_ context.Context, addr string) (follow, error) {
	return func(ctx context.Context, service string, seen func(any, int)) error {
		plan, err := watch.Parse(map[string]any{"type": "service", "service": service})
		if err != nil {
			return err
		}
		plan.Logger = hclog.NewNullLogger()
		plan.Handler = func(_ uint64, value any) {
			if entries := value.([]*api.ServiceEntry); len(entries) > 0 {
				seen(entries, entries[0].Service.Port)
			}
		}
		context.AfterFunc(ctx, plan.Stop)
		return plan.Run(addr)
	}, nil
}

func openKratos(_ context.Context, addr string) (follow, error) {
	client, err := newAPI(addr)
	if err != nil {
		return nil, err
	}
	registry := contrib.New(client)
	return func(ctx context.Context, service string, seen func(any, int)) error {
		w, err := registry.Watch(ctx, service)
		if err != nil {
			return err
		}
		defer w.Stop()
		for {
			instances, err := w.Next()
			if err != nil {
				return err
			}
			if len(instances) == 0 || len(instances[0].Endpoints) == 0 {
				continue
			}
			endpoint, err := url.Parse(instances[0].Endpoints[0])
			if err != nil {
				return err
			}
			port, err := strconv.Atoi(endpoint.Port())
			if err != nil {
				return err
			}
			seen(instances, port)
		}
	}, nil
}
