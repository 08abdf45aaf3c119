package kratos

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/lictor-go/consul/discovery"
)

// Watcher follows the instances of a service. Its methods may be called
// concurrently; of several calls of Next at the same time one gets each change.
type Watcher struct {
	opts   *Options
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	news   chan struct{} // has a value when Next has something to return

	mu     sync.Mutex
	latest []discovery.Instance
	known  bool  // there were instances once
	err    error // why there is nothing yet
}

func newWatcher(ctx context.Context, r *Registry, name string) *Watcher {
	w := &Watcher{opts: r.opts, done: make(chan struct{}), news: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(ctx)
	go func() {
		defer close(w.done)
		for list, err := range r.finder.Watch(w.ctx, name) {
			if errors.Is(err, discovery.ErrClosed) {
				return
			}
			w.take(list, err)
		}
	}()
	return w
}

// take takes a list or an error. An empty list is no news until there were
// instances, and an error is none after that.
func (w *Watcher) take(list []discovery.Instance, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && w.known:
		return
	case err != nil:
		w.err = err
	case w.known && reflect.DeepEqual(list, w.latest), !w.known && len(list) == 0:
		w.err = nil
		return
	default:
		w.latest, w.known, w.err = list, true, nil
	}
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Next returns all healthy instances: first when there are some, and then whenever
// they have changed, including when none is left. They belong to the caller.
//
// An error of Consul is returned only before the first instances; Next can be
// called again. After Stop, or when the context given to Watch has ended, Next
// returns the error of that context. After Close of the registry it returns an error
// that is both [discovery.ErrClosed] and [context.Canceled].
func (w *Watcher) Next() ([]*Instance, error) {
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case <-w.done: // ends before ctx only with the registry
			if err := w.ctx.Err(); err != nil {
				return nil, err
			}
			return nil, errClosed
		case <-w.ctx.Done():
			return nil, w.ctx.Err()
		case <-w.news:
		}
		w.mu.Lock()
		latest, known, err := w.latest, w.known, w.err
		w.mu.Unlock()
		if err != nil {
			return nil, fmt.Errorf("kratos: %w", err)
		}
		if known { // otherwise there was an error that is gone
			return w.opts.convert(latest), nil
		}
	}
}

// Stop ends the watcher and the calls of Next that wait. It may be called more than
// once. The error is always nil.
func (w *Watcher) Stop() error {
	w.cancel()
	<-w.done
	return nil
}
