// Package watch is the loop behind everything that follows a response of the agent: it
// repeats a blocking query by the rules for its index, at a bounded pace, with pauses
// after errors, and tells which responses have another content than the one before.
package watch

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
)

// Options are the options of a loop. A number that is 0 or less means its default.
type Options struct {
	Name string // of the watch, in events

	// Query has the options of each query. The loop sets WaitIndex, WaitHash and
	// Previous itself. WaitTime is how long one query waits for a change.
	Query consul.QueryOptions

	Burst       int           // number of queries that may follow each other at once
	MinInterval time.Duration // between two queries in the long run

	MinBackoff time.Duration // the longest pause after a first error, and
	MaxBackoff time.Duration // after many of them in a row

	OnEvent func(Event) // may be nil
}

// The defaults of Options.
const (
	DefaultWait        = time.Minute
	DefaultBurst       = 10
	DefaultMinInterval = time.Second
	DefaultMinBackoff  = 500 * time.Millisecond
	DefaultMaxBackoff  = 10 * time.Second
)

// responseTimeout bounds a query that does not wait. Without a leader an agent holds
// a query for up to 18 s before it responds, and the client allows 20 s for that. A
// query has to end some time after that.
const responseTimeout = 30 * time.Second

// WithDefaults returns a deep copy of o without fields that mean a default.
func (o Options) WithDefaults() Options {
	o.Query = cloneQuery(o.Query)
	o.Query.WaitIndex, o.Query.WaitHash, o.Query.Previous = 0, "", nil
	o.Query.WaitTime = pace.Positive(o.Query.WaitTime, DefaultWait)
	o.Burst = pace.Positive(o.Burst, DefaultBurst)
	o.MinInterval = pace.Positive(o.MinInterval, DefaultMinInterval)
	o.MinBackoff = pace.Positive(o.MinBackoff, DefaultMinBackoff)
	o.MaxBackoff = pace.Positive(o.MaxBackoff, DefaultMaxBackoff)
	for _, d := range []*time.Duration{&o.Query.WaitTime, &o.MinInterval, &o.MinBackoff, &o.MaxBackoff} {
		*d = min(*d, pace.MaxDuration)
	}
	return o
}

func cloneQuery(q consul.QueryOptions) consul.QueryOptions {
	q.Tags = slices.Clone(q.Tags)
	q.NodeMeta = maps.Clone(q.NodeMeta)
	return q
}

// Loop repeats a blocking query. It may be run several times, also at once if what it
// was given allows that.
type Loop[T any] struct {
	Query   func(ctx context.Context, q *consul.QueryOptions) (T, *consul.QueryMeta, error)
	Options Options // with defaults

	// Changes makes the function that reports whether a value differs from that of the
	// call before. Nil means [ContentChanges].
	Changes func() func(T) bool

	Retry chan struct{} // what is sent here ends the pause after an error; nil if nothing does

	// Acquire returns when a query may start, and whether it may wait for a change if
	// it wants to; release is called after the query. A nil release means that ctx
	// has ended. Nil limits nothing.
	Acquire func(ctx context.Context, wait bool) (release func(), mayWait bool)

	// IsDirect means that the query returns what one request returns, with its
	// metadata, so that nothing has changed if its result has not.
	IsDirect bool
}

// Result is the outcome of one query.
type Result[T any] struct {
	Value     T
	Meta      *consul.QueryMeta // may be nil
	Unchanged bool              // Value has the content of the last one
	Err       error             // Value and Meta mean nothing beside it
}

// Changed returns the loop as a sequence of each value that differs from the one
// before, and of each error. It ends when ctx does. Each loop over it begins anew.
func (l *Loop[T]) Changed(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		l.Run(ctx, func(r Result[T]) bool { return r.Unchanged || yield(r.Value, r.Err) })
	}
}

// Failing returns a sequence of one error.
func Failing[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

// Run repeats the query until ctx ends or yield returns false.
func (l *Loop[T]) Run(ctx context.Context, yield func(Result[T]) bool) {
	changes := l.Changes
	if changes == nil {
		changes = ContentChanges[T]
	}
	(&runner[T]{Loop: l, changed: changes(), previous: new(consul.Result)}).repeat(ctx, yield)
}

// runner is a loop that runs.
type runner[T any] struct {
	*Loop[T]
	changed  func(T) bool   // reports whether a value differs from that of the call before
	previous *consul.Result // of the last response

	failures int       // in a row
	since    time.Time // the first of them
}

// position is what the next query waits on. The zero position is nothing: the
// agent responds to the query at once.
type position struct {
	index uint64
	hash  string
}

func (p position) waits() bool { return p.index > 0 || p.hash != "" }

// next returns what to wait on after a response, and whether the watch starts over.
func (p position) next(meta *consul.QueryMeta) (next position, reset bool) {
	if meta == nil {
		return position{}, false
	}
	next.index, reset = nextIndex(p.index, meta.LastIndex)
	if meta.LastIndex == 0 {
		next.hash = meta.LastContentHash
	}
	return next, reset
}

// nextIndex returns the index to wait on after a response with the index got to
// a query that waited on the index sent, and whether the watch starts over. An
// index below the last one comes from servers that were restored or replaced, or
// is a quirk of streaming; 0 is none at all. To wait on either could be to wait
// for a long time, or on nothing: the next query does not wait.
func nextIndex(sent, got uint64) (next uint64, reset bool) {
	if got < sent {
		return 0, true
	}
	return got, false
}

// repeat repeats the query until ctx ends or yield returns false.
func (l *runner[T]) repeat(ctx context.Context, yield func(Result[T]) bool) {
	var (
		at    position
		due   time.Time
		limit = pace.Limiter{Interval: l.Options.MinInterval, Burst: l.Options.Burst}
	)
	for {
		var delay time.Duration
		due, delay = limit.Reserve(due, time.Now())
		if !pace.Sleep(ctx, delay) {
			return
		}
		r := l.perform(ctx, at)
		if ctx.Err() != nil {
			return
		}
		if r.Err != nil {
			// The agent may have been replaced by one that counts from 1, and a
			// query that waits on the index of its predecessor would find out late.
			at = position{}
			resume := time.Now().Add(l.failed(r.Err))
			if !yield(r) || !pace.SleepUnless(ctx, time.Until(resume), l.Retry) {
				return
			}
			continue
		}
		l.recovered()
		next, reset := at.next(r.Meta)
		if reset {
			l.emit(Reset{l.Options.Name, l.Options.Query.Datacenter, at.index, r.Meta.LastIndex})
		}
		at = next
		if !yield(r) {
			return
		}
		// What cannot be waited on is polled, and a burst of that is of no use.
		if !at.waits() && !reset && !pace.Sleep(ctx, time.Until(due)) {
			return
		}
	}
}

// perform performs one query.
func (l *runner[T]) perform(ctx context.Context, at position) (r Result[T]) {
	q := cloneQuery(l.Options.Query)
	wait := at.waits()
	if l.Acquire != nil {
		release, mayWait := l.Acquire(ctx, wait)
		if release == nil {
			r.Err = ctx.Err()
			return r
		}
		defer release()
		wait = wait && mayWait
	}
	q.Previous = l.previous
	timeout := responseTimeout
	if wait {
		q.WaitIndex, q.WaitHash = at.index, at.hash
		timeout += q.WaitTime + q.WaitTime/16
	}
	qctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r.Value, r.Meta, r.Err = l.Query(qctx, &q)
	switch {
	case r.Err != nil:
		var none T
		r.Value = none
		if ctx.Err() == nil && qctx.Err() != nil {
			r.Err = fmt.Errorf("no response within %s: %w", timeout, r.Err)
		}
	case l.IsDirect && r.Meta.Result == l.previous:
		r.Unchanged = true
	default:
		r.Unchanged = !l.changed(r.Value)
		if l.previous = new(consul.Result); r.Meta != nil && r.Meta.Result != nil {
			l.previous = r.Meta.Result
		}
	}
	return r
}

// failed notes a failed query, and returns how long to pause after it.
func (l *runner[T]) failed(err error) time.Duration {
	if l.failures++; l.failures == 1 {
		l.since = time.Now()
	}
	select {
	case <-l.Retry: // from before the failure: only this pause can be ended from now on
	default:
	}
	b := pace.Backoff{Min: l.Options.MinBackoff, Max: l.Options.MaxBackoff}
	pause := b.Pause(l.failures, pace.RetryAfter(err), rand.Float64())
	l.emit(Failed{l.Options.Name, l.Options.Query.Datacenter, err, l.failures, pause})
	return pause
}

// recovered notes that a query has not failed.
func (l *runner[T]) recovered() {
	if l.failures > 0 {
		l.emit(Recovered{l.Options.Name, l.Options.Query.Datacenter, l.failures, time.Since(l.since)})
		l.failures = 0
	}
}

func (l *runner[T]) emit(e Event) {
	if l.Options.OnEvent != nil {
		l.Options.OnEvent(e)
	}
}
