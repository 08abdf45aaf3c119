package kratos

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// finder finds instances, in one datacenter or in several.
type finder struct {
	client *consul.Client
	opts   *Options

	mu        sync.Mutex
	resolvers map[string]*discovery.Resolver // by datacenter, each of which has indexes of its own
	closed    bool
}

func newFinder(c *consul.Client, o *Options) *finder {
	return &finder{client: c, opts: o, resolvers: make(map[string]*discovery.Resolver)}
}

// isPlain reports whether there is one datacenter only, the client's, which goes
// by the empty name.
func (f *finder) isPlain() bool { return !f.opts.AllDatacenters && len(f.opts.Datacenters) == 0 }

// datacenters returns those to look at.
func (f *finder) datacenters(ctx context.Context) ([]string, error) {
	switch {
	case f.isPlain():
		return []string{""}, nil
	case f.opts.AllDatacenters:
		dcs, _, err := f.client.Catalog().Datacenters(ctx, nil)
		return dcs, err
	}
	return f.opts.Datacenters, nil
}

func (f *finder) resolver(dc string) *discovery.Resolver {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.resolvers[dc]
	if r == nil {
		q := f.opts.Query
		if dc != "" {
			q.Datacenter = dc
		}
		r = discovery.NewResolver(f.client, &discovery.ResolverOptions{
			Query: q, IdleTimeout: idleTimeout, MaxBackoff: maxBackoff, Logger: f.opts.Logger, OnEvent: f.opts.OnEvent,
		})
		if f.closed {
			r.Close()
		}
		f.resolvers[dc] = r
	}
	return r
}

func (f *finder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, r := range f.resolvers {
		r.Close()
	}
}

// snapshot is what is known of a service: its instances by datacenter.
type snapshot map[string][]discovery.Instance

func (s snapshot) isEmpty() bool {
	for _, list := range s {
		if len(list) > 0 {
			return false
		}
	}
	return true
}

func (s snapshot) equal(o snapshot) bool { return reflect.DeepEqual(s, o) }

// convert converts the instances anew each time: kratos changes what it is given.
func (f *finder) convert(s snapshot) []*Instance {
	all := []*Instance{}
	for _, dc := range slices.Sorted(maps.Keys(s)) {
		for _, i := range s[dc] {
			k := f.opts.Resolve(i)
			if k == nil {
				continue
			}
			if dc != "" {
				if k.Metadata == nil {
					k.Metadata = make(map[string]string)
				}
				k.Metadata["dc"] = dc
			}
			all = append(all, k)
		}
	}
	return all
}

// find returns the instances in all datacenters. It asks them at the same time. One
// that fails is an error only if there is none that answers.
func (f *finder) find(ctx context.Context, name string) ([]*Instance, error) {
	dcs, err := f.datacenters(ctx)
	if err != nil {
		return nil, err
	}
	lists, errs := make([][]discovery.Instance, len(dcs)), make([]error, len(dcs))
	var asking sync.WaitGroup
	for n, dc := range dcs {
		asking.Add(1)
		go func() {
			defer asking.Done()
			lists[n], errs[n] = f.resolver(dc).Instances(ctx, name)
		}()
	}
	asking.Wait()
	found := make(snapshot)
	for n, dc := range dcs {
		if errs[n] == nil {
			found[dc] = lists[n]
		}
	}
	if len(found) == 0 {
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	return f.convert(found), nil
}
