// Package kratos has what the registries for kratos v2 and v3 share: the interfaces
// of the two differ in their import path only. Programs import kratosv2 or kratosv3,
// and this package for its [Options].
package kratos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

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

var (
	errNilContext  = errors.New("kratos: nil context")
	errNilClient   = errors.New("kratos: nil client")
	errNilInstance = errors.New("kratos: nil instance")
	errNoName      = errors.New("kratos: the service has no name")

	errClosed = closedError{}
)

// closedError is the error of calls after Close.
type closedError struct{}

func (closedError) Error() string { return "kratos: registry closed" }

// Is reports also true for context.Canceled: kratos ends its loops over watchers for
// no other error.
func (closedError) Is(target error) bool {
	return target == discovery.ErrClosed || target == context.Canceled
}

// Registry registers instances and finds them. Its methods may be called
// concurrently.
type Registry struct {
	client *consul.Client
	opts   *Options // with defaults
	finder finder

	mu            sync.Mutex
	closed        bool
	registrations map[string]*registration // by ID
}

// New returns a registry that uses the client. It sends nothing. opts is copied;
// nil means defaults.
func New(c *consul.Client, opts *Options) *Registry {
	r := &Registry{client: c, opts: opts.withDefaults(), registrations: make(map[string]*registration)}
	if r.opts.isUnion() {
		r.finder = newUnion(c, r.opts)
	} else {
		o := r.opts.resolver()
		r.finder = discovery.NewResolver(c, &o)
	}
	return r
}

// check returns an error if there is no context or no client.
func (r *Registry) check(ctx context.Context) error {
	switch {
	case ctx == nil:
		return errNilContext
	case r.client == nil:
		return errNilClient
	}
	return nil
}

// GetService returns the healthy instances of a service, or an empty list if there
// are none. The first call for a service queries Consul; calls within a minute, or
// during a Watch, return what is in memory, also while the agent is down. The
// instances belong to the caller.
//
// When Consul does not respond, GetService tries again until ctx ends or the
// Timeout is over, unless the agent refuses the query.
func (r *Registry) GetService(ctx context.Context, name string) ([]*Instance, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, errNoName
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	instances, err := r.finder.Instances(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("kratos: %w", err)
	}
	return r.opts.convert(instances), nil
}

// Watch returns a watcher of a service. It does not wait for Consul. The watcher
// ends when ctx does, and holds a goroutine until then or until Stop.
func (r *Registry) Watch(ctx context.Context, name string) (*Watcher, error) {
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, errNoName
	}
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	return newWatcher(ctx, r, name), nil
}

// Close deregisters all instances that are registered and ends all watchers. Later
// calls of Register, GetService and Watch return an error that is
// [discovery.ErrClosed]. kratos does not call Close: it is for programs that create
// registries more than once.
//
// Close waits for calls of Register and Deregister that have begun. When the agent
// hangs, it returns some 5 seconds after the Timeout at the latest, and 5 seconds
// later for each Deregister of the same instance that waits for its turn. Further
// calls do nothing. It must not be called from OnEvent.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	var turns []*turn
	for _, id := range slices.Sorted(maps.Keys(r.registrations)) {
		turns = append(turns, r.queue(id))
	}
	r.mu.Unlock()
	errs := make([]error, len(turns))
	var dropping sync.WaitGroup
	for n, t := range turns {
		dropping.Add(1)
		go func() {
			defer dropping.Done()
			<-t.ready
			defer t.end()
			errs[n] = t.drop()
		}()
	}
	r.finder.Close()
	dropping.Wait()
	return errors.Join(errs...)
}
