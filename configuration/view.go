package configuration

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

// ErrClosed is the error of loops over a [View] that was closed.
var ErrClosed = errors.New("the view is closed")

// View follows a folder and holds its last good snapshot in memory. While the agent
// is away, or refuses to respond, the snapshot stays, and Err returns why it may be
// out of date. The methods of a View may be called by several goroutines at once.
type View struct {
	folder string
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	mu         sync.RWMutex
	snapshot   *Snapshot // nil before the first
	answered   time.Time
	err        error
	superseded chan struct{} // closed when snapshot or err are replaced
}

// NewView follows a folder, whose name is given as for [Watch], from now until Close.
// It waits for the first snapshot, which may be empty, until ctx ends, and repeats a
// query that fails. If the agent refuses the query, with a status such as 403, or the
// token may not read the folder, that error is returned at once. After NewView has
// returned, ctx does not matter any more. A View holds one connection, or shares one
// over HTTP/2.
func NewView(ctx context.Context, c *consul.Client, prefix string, opts *Options) (*View, error) {
	w, err := newFolderWatch(ctx, c, prefix, opts)
	if err != nil {
		return nil, err
	}
	v := &View{folder: w.folder, snapshot: w.opts.Since, done: make(chan struct{}), superseded: make(chan struct{})}
	var running context.Context
	running, v.cancel = context.WithCancel(context.WithoutCancel(ctx))
	reader := w.reader()
	w.opts.Since = nil // it is not needed any more once there is a newer one
	go func() {
		defer close(v.done)
		w.run(running, reader, v.take)
	}()
	if err := v.first(ctx); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// first returns when there has been a response, or an error if there will be none.
func (v *View) first(ctx context.Context) error {
	for {
		_, answered, superseded, failed := v.state()
		switch {
		case !answered.IsZero():
			return nil
		case pace.IsRefusal(failed), errors.Is(failed, consul.ErrPermissionDenied):
			return failed
		}
		select {
		case <-superseded:
		case <-ctx.Done():
			err := fmt.Errorf("configuration: no response about folder %q: %w", v.folder, ctx.Err())
			if failed != nil {
				err = fmt.Errorf("%w; last error: %w", err, failed)
			}
			return err
		}
	}
}

// take takes the result of a query.
func (v *View) take(r watch.Result[*Snapshot]) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	news := (r.Err == nil) != (v.err == nil) || v.answered.IsZero()
	v.err = r.Err
	if r.Err == nil {
		v.answered = time.Now()
		if !r.Unchanged {
			v.snapshot, news = r.Value, true
		}
	}
	if news {
		close(v.superseded)
		v.superseded = make(chan struct{})
	}
	return true
}

func (v *View) state() (s *Snapshot, answered time.Time, superseded <-chan struct{}, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.snapshot, v.answered, v.superseded, v.err
}

// Get returns the value of a key in the last snapshot, and whether there is one. The
// key is relative to the folder. The value is shared: it must not be changed. Get
// neither waits nor sends anything. Keys that belong together are taken from one
// [View.Snapshot], because Get may be of another one each time.
func (v *View) Get(key string) ([]byte, bool) { return v.Snapshot().Get(key) }

// Snapshot returns the last good snapshot. It is never nil, not even after Close, and
// must not be changed.
func (v *View) Snapshot() *Snapshot {
	s, _, _, _ := v.state()
	return s
}

// Err returns the error of the last query, or nil if the agent has responded to it and
// the snapshot is current. Close does not change it.
func (v *View) Err() error {
	_, _, _, err := v.state()
	return err
}

// Answered returns the time of the last good response. While Err is nil, a query is
// waiting for changes, so that the snapshot is current even if Answered is a minute
// ago. An agent that has fallen silent, without an end of the connection, is an error
// only when the wait is over, a sixteenth of it that agents may add, and 20 seconds:
// with the default wait about 84 seconds after Answered.
func (v *View) Answered() time.Time {
	_, answered, _, _ := v.state()
	return answered
}

// Watch yields the last snapshot, and again whenever the folder has changed, until ctx
// ends or the loop breaks. A loop that is slow misses snapshots but no difference:
// Added, Changed and Removed are the differences from what the same loop was given
// before, and at first all keys are added. Any number of loops cost the agent nothing.
//
// When queries fail, the first error is yielded, further ones are not, and the last
// snapshot stays valid. When ctx ends, the sequence ends without an error; when the
// View is closed, it ends with ErrClosed.
func (v *View) Watch(ctx context.Context) iter.Seq2[*Snapshot, error] {
	if ctx == nil {
		return watch.Failing[*Snapshot](errNilContext)
	}
	return func(yield func(*Snapshot, error) bool) {
		var seen *Snapshot
		failed := false
		for ctx.Err() == nil {
			s, _, superseded, err := v.state()
			if s != seen {
				next := s.since(seen)
				news := seen == nil || next.differs()
				seen, failed = s, false // an error is a new one now
				if news && !yield(next, nil) {
					return
				}
				continue // something newer may be there
			}
			if err != nil && !failed {
				if failed = true; !yield(nil, err) {
					return
				}
				continue
			}
			failed = err != nil
			select {
			case <-superseded:
			case <-ctx.Done():
			case <-v.done:
				if _, _, last, _ := v.state(); last != superseded {
					continue // there was something new before the end
				}
				yield(nil, fmt.Errorf("configuration: folder %q: %w", v.folder, ErrClosed))
				return
			}
		}
	}
}

// Close ends the queries of the View and waits for its goroutine. Its loops end with
// ErrClosed; Get and Snapshot go on to return the last snapshot. Further calls do
// nothing. It must not be called from OnEvent. The error is always nil.
func (v *View) Close() error {
	v.cancel()
	<-v.done
	return nil
}
