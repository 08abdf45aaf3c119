package kratos

import (
	"context"
	"sync"
)

// Watcher follows the instances of a service. Its methods may be called
// concurrently, but two calls of Next at the same time share the news.
type Watcher struct {
	finder *finder
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	news   chan struct{} // has a value when Next has something to return

	mu     sync.Mutex
	latest snapshot
	known  bool  // there were instances once
	err    error // why there is nothing yet
}

func newWatcher(ctx context.Context, f *finder, name string) *Watcher {
	w := &Watcher{finder: f, done: make(chan struct{}), news: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(ctx)
	go func() {
		defer close(w.done)
		f.follow(w.ctx, name, w.take)
	}()
	return w
}

// take takes what there is now, or an error. That there is nothing is no news until
// there was something. An error is none as long as there is something to go on
// with.
func (w *Watcher) take(now snapshot, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && w.known:
		return
	case err != nil:
		w.err = err
	case w.known && now.equal(w.latest), !w.known && now.isEmpty():
		w.err = nil
		return
	default:
		w.latest, w.known, w.err = now, true, nil
	}
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Next returns all healthy instances: for the first time when there are some, and
// then whenever something has changed, also when none is left. They are the
// caller's. An error of Consul is returned as long as there was no answer, and Next
// can be called again. After Stop, or when the context given to Watch has ended,
// Next returns the error of that context.
func (w *Watcher) Next() ([]*Instance, error) {
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case <-w.ctx.Done():
			return nil, w.ctx.Err()
		case <-w.news:
		}
		w.mu.Lock()
		latest, known, err := w.latest, w.known, w.err
		w.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if known { // else there was an error that is gone
			return w.finder.convert(latest), nil
		}
	}
}

// Stop ends the watcher, and the calls of Next that wait. It may be called more than
// once. The error is always nil.
func (w *Watcher) Stop() error {
	w.cancel()
	<-w.done
	return nil
}
