package gomicro

import (
	"context"
	"sync"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// maxBackoff bounds the pauses between queries that fail, and with them the time
// for which a client is blind after its agent has been away.
const maxBackoff = 5 * time.Second

// Watch returns a watcher of one service, or of all services if the options name
// none. It never fails because of Consul: while the agent is away the watcher
// waits for it, and what has changed meanwhile is told afterwards.
//
// Watching all services takes a blocking query for each of them, up to a bound of
// 112; beyond it services are asked about every 5 seconds.
func (r *consulRegistry) Watch(opts ...registry.WatchOption) (registry.Watcher, error) {
	o := collect[registry.WatchOptions](opts)
	p, err := r.present()
	if err != nil {
		return nil, err
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	query := p.queryOptions()
	w := &watcher{
		results:    make(chan *registry.Result),
		names:      make(chan map[string][]string, 1),
		snapshots:  make(chan snapshot),
		over:       make(chan *grace),
		emptyGrace: p.emptyGrace,
		done:       make(chan struct{}),
		resolver: discovery.NewResolver(p.client, &discovery.ResolverOptions{
			Query:        query,
			AllowWarning: !query.PassingOnly,
			Connect:      p.connect,
			MaxBackoff:   maxBackoff,
			Logger:       p.logger,
			OnEvent:      p.onEvent,
		}),
	}
	w.ctx, w.cancel = context.WithCancel(o.Context)
	if o.Service != "" {
		w.names <- map[string][]string{o.Service: nil}
	} else {
		w.start(func() { w.list(p, query) })
	}
	go w.run()
	return w, nil
}

// watcher is a [registry.Watcher]. One goroutine, that of run, tells what has
// changed; the others bring it what the agent says.
type watcher struct {
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{} // closed when all goroutines have ended
	results chan *registry.Result

	resolver   *discovery.Resolver
	sources    sync.WaitGroup           // the goroutines but that of run
	names      chan map[string][]string // the services to be watched, with their tags
	snapshots  chan snapshot
	over       chan *grace // whose time is over
	emptyGrace time.Duration
}

// snapshot is what there is of a service.
type snapshot struct {
	of       *followed
	services []*registry.Service
}

// followed is a service that is being watched. It is used by run alone.
type followed struct {
	name     string
	cancel   context.CancelFunc
	found    []*registry.Service // the last snapshot
	unlisted bool                // the list of all services has it no more
	known    []*registry.Service // what has been told
	grace    *grace              // nil if that is what there is
}

// grace is the time for which the last nodes of a service are kept.
type grace struct {
	of    *followed
	timer *time.Timer
}

// Next returns the next change, and waits until there is one. After Stop, and
// after the end of the context of the options, the error is
// [registry.ErrWatcherStopped].
func (w *watcher) Next() (*registry.Result, error) {
	if w.ctx.Err() != nil {
		return nil, registry.ErrWatcherStopped
	}
	select {
	case result := <-w.results:
		return result, nil
	case <-w.ctx.Done():
		return nil, registry.ErrWatcherStopped
	}
}

// Stop ends the watcher and its queries. Further calls do nothing.
func (w *watcher) Stop() {
	w.cancel()
	<-w.done
}

// run tells the changes until the watcher is stopped.
func (w *watcher) run() {
	defer close(w.done)
	defer w.resolver.Close()
	defer w.sources.Wait()
	defer w.cancel()
	services := make(map[string]*followed)
	for {
		select {
		case names := <-w.names:
			w.relist(services, names)
		case s := <-w.snapshots:
			if services[s.of.name] == s.of {
				s.of.found = s.services
				w.settle(s.of)
			}
		case g := <-w.over:
			if g.of.grace == g {
				g.of.grace = nil
				w.tell(g.of, nil)
			}
		case <-w.ctx.Done():
			for _, f := range services {
				f.endGrace()
			}
			return
		}
		for name, f := range services {
			if f.unlisted && len(f.known) == 0 {
				f.cancel()
				delete(services, name)
			}
		}
	}
}

// relist makes the listed services those that are followed.
func (w *watcher) relist(services map[string]*followed, names map[string][]string) {
	for name := range names {
		if services[name] == nil {
			services[name] = w.follow(name)
		}
	}
	for name, f := range services {
		_, listed := names[name]
		if f.unlisted == listed {
			f.unlisted = !listed
			w.settle(f)
		}
	}
}

// settle tells what has changed in a service, or waits with it if nothing is left.
func (w *watcher) settle(f *followed) {
	now := f.found
	if f.unlisted {
		now = nil
	}
	if len(now) > 0 || len(f.known) == 0 || w.emptyGrace <= 0 {
		f.endGrace()
		w.tell(f, now)
		return
	}
	if f.grace != nil {
		return
	}
	g := &grace{of: f}
	f.grace = g
	g.timer = time.AfterFunc(w.emptyGrace, func() {
		select {
		case w.over <- g:
		case <-w.ctx.Done():
		}
	})
}

func (f *followed) endGrace() {
	if f.grace != nil {
		f.grace.timer.Stop()
		f.grace = nil
	}
}

// tell tells what has changed in a service. It waits for the caller of Next, and
// meanwhile newer snapshots replace older ones.
func (w *watcher) tell(f *followed, now []*registry.Service) {
	for _, result := range changesOf(f.known, now) {
		select {
		case w.results <- result:
		case <-w.ctx.Done():
			return
		}
	}
	f.known = now
}

// list brings the names of all services.
func (w *watcher) list(p *present, query consul.QueryOptions) {
	opts := &discovery.WatchOptions{Query: query, Name: "services", MaxBackoff: maxBackoff, Logger: p.logger, OnEvent: p.onEvent}
	for names, err := range discovery.Watch(w.ctx, p.client.Catalog().Services, opts) {
		if err != nil {
			continue // the watch tries again
		}
		select {
		case w.names <- names:
		case <-w.ctx.Done():
		}
	}
}

// follow starts to bring snapshots of a service.
func (w *watcher) follow(name string) *followed {
	ctx, cancel := context.WithCancel(w.ctx)
	f := &followed{name: name, cancel: cancel}
	w.start(func() {
		for instances, err := range w.resolver.Watch(ctx, name) {
			if err != nil {
				continue // the resolver tries again
			}
			select {
			case w.snapshots <- snapshot{f, servicesOf(name, instances)}:
			case <-ctx.Done():
			}
		}
	})
	return f
}

func (w *watcher) start(source func()) {
	w.sources.Add(1)
	go func() {
		defer w.sources.Done()
		source()
	}()
}
