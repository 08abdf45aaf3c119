package config

import (
	"context"

	"go-micro.dev/v4/config/source"

	"github.com/lictor-go/consul/configuration"
)

// watcher is a [source.Watcher].
type watcher struct {
	ctx    context.Context
	cancel context.CancelFunc
	sets   chan *source.ChangeSet
	done   chan struct{} // closed when the goroutine has ended
}

// Watch returns a watcher, with the client of Read. It does not wait for Consul. It
// begins with what Read has returned since the last Watch, if that was called once, so
// that nothing is lost between the two: go-micro drops a change that comes while
// another one, of whatever content, is waiting to be taken.
func (s *consulSource) Watch() (source.Watcher, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.mu.Lock()
	var since *configuration.Snapshot
	if s.reads == 1 { // else it is not known whose
		since = s.read
	}
	s.read, s.reads = nil, 0
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{ctx: ctx, cancel: cancel, sets: make(chan *source.ChangeSet), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		s.follow(ctx, since, w.sets)
	}()
	return w, nil
}

// follow sends each configuration that differs from the one before until ctx ends.
func (s *consulSource) follow(ctx context.Context, since *configuration.Snapshot, sets chan<- *source.ChangeSet) {
	opts := s.settings.options()
	checksum := ""
	if since != nil {
		if set, err := s.changeSet(since); err == nil {
			opts.Since, checksum = since, set.Checksum
		}
	}
	for snapshot, err := range configuration.Watch(ctx, s.client, s.settings.prefixOrDefault(), opts) {
		if err != nil {
			continue // it is an event, and the watch goes on
		}
		set, err := s.changeSet(snapshot)
		if err != nil {
			if s.settings.logger != nil {
				s.settings.logger.Error("the last good configuration stays", "error", err)
			}
			continue
		}
		if set.Checksum == checksum {
			continue
		}
		select {
		case sets <- set:
			checksum = set.Checksum
		case <-ctx.Done():
			return
		}
	}
}

// Next returns the configuration when it is another one than before. Failures
// of Consul, and values that cannot be decoded, are not errors of Next, at which
// go-micro would begin anew again and again: the last good configuration stays. After
// Stop the error is source.ErrWatcherStopped.
func (w *watcher) Next() (*source.ChangeSet, error) {
	if w.ctx.Err() != nil {
		return nil, source.ErrWatcherStopped
	}
	select {
	case set := <-w.sets:
		return set, nil
	case <-w.ctx.Done():
		return nil, source.ErrWatcherStopped
	}
}

// Stop ends the watcher, and calls of Next that wait. It may be called again. The
// error is always nil.
func (w *watcher) Stop() error {
	w.cancel()
	<-w.done
	return nil
}
