package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lictor-go/consul"
)

// Query is a blocking query: it asks with the options q, whose WaitIndex,
// WaitHash and WaitTime the watch has set, and returns the answer with its
// metadata. If they say that the answer is unchanged, because the Query has set
// [consul.QueryOptions.Known], the answer may be anything. It must obey ctx. Nil
// metadata counts as an answer without an index.
//
// An error is an error even with metadata beside it: it is yielded, and the next
// query does not wait. To wait for something that does not exist yet, return an
// empty value and the metadata, but not the [consul.ErrNotFound].
//
// Most methods of [consul.Health] and [consul.Catalog] become a Query with a
// function literal around them, and some are one:
//
//	discovery.Watch(ctx, client.Catalog().Nodes, nil)
type Query[T any] func(ctx context.Context, q *consul.QueryOptions) (T, *consul.QueryMeta, error)

// WatchOptions are the options of a watch. Nil, and the zero WatchOptions,
// consist of defaults. A number that is 0 or less means the default.
type WatchOptions struct {
	// Query has the options of each query. The watch sets WaitIndex, WaitHash and
	// Known itself. WaitTime is how long one query waits for a change, 1 minute by
	// default. [consul.Config.WaitTime] is not used: a watch repeats its queries, and
	// its wait is how long it can miss changes after the servers were restored from
	// a backup, and most of the time that it takes to notice that an agent hangs.
	// A longer wait saves little, since an unchanged response costs one small
	// request. Agents cut it to their maximum, which is 10 minutes by default.
	Query consul.QueryOptions

	// Burst is the number of queries that may follow each other at once, and
	// MinInterval the time between two of them in the long run. The defaults are
	// 10 and 1 second: a change is seen at once, a service that never stops
	// changing is seen once a second. They limit all queries, also those that
	// failed or brought no change. A query that cannot be waited on is sent once
	// in each MinInterval, without bursts.
	Burst       int
	MinInterval time.Duration

	// MinBackoff bounds the pause after a first error, 500 ms by default. The
	// bound doubles with each further error in a row up to MaxBackoff, 10 seconds
	// by default: that is also how long it may take until a watch notices that an
	// agent is back. A pause is random between nothing and the bound, plus what the
	// agent asks for in Retry-After (at most 10 minutes of it).
	MinBackoff time.Duration
	MaxBackoff time.Duration

	// Name is what events and logs call the watch. [WatchService] sets it to the
	// service if it is empty.
	Name string

	// Logger gets what happens; nil is silent. Of failures in a row the first one
	// is a warning, and the others are for debugging. OnEvent is called with
	// [WatchErrorEvent], [WatchRecoveredEvent] and [IndexResetEvent]; nil is none.
	Logger  *slog.Logger
	OnEvent func(Event)
}

const (
	defaultWait        = time.Minute
	defaultBurst       = 10
	defaultMinInterval = time.Second
	defaultMinBackoff  = 500 * time.Millisecond
	defaultMaxBackoff  = 10 * time.Second

	// Without a leader an agent holds a query for up to 18 s before it says so,
	// and the client allows 20 s for that. A query has to end some time after
	// that, even one that does not wait.
	answerTimeout = 30 * time.Second
)

// withDefaults returns a copy of o that has nothing in common with it and no
// field that means a default.
func (o *WatchOptions) withDefaults() WatchOptions {
	var c WatchOptions
	if o != nil {
		c = *o
	}
	c.Query = cloneQuery(c.Query)
	c.Query.WaitIndex, c.Query.WaitHash, c.Query.Known = 0, "", 0
	c.Query.WaitTime = positive(c.Query.WaitTime, defaultWait)
	c.Burst = positive(c.Burst, defaultBurst)
	c.MinInterval = positive(c.MinInterval, defaultMinInterval)
	c.MinBackoff = positive(c.MinBackoff, defaultMinBackoff)
	c.MaxBackoff = positive(c.MaxBackoff, defaultMaxBackoff)
	for _, d := range []*time.Duration{&c.Query.WaitTime, &c.MinInterval, &c.MinBackoff, &c.MaxBackoff} {
		*d = min(*d, maxDuration)
	}
	return c
}

func positive[N int | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

func cloneQuery(q consul.QueryOptions) consul.QueryOptions {
	q.Tags = slices.Clone(q.Tags)
	q.NodeMeta = maps.Clone(q.NodeMeta)
	return q
}

// Watch repeats a blocking query and yields each change, until ctx ends or the
// loop breaks. The query runs in the goroutine of the loop, between two
// iterations: there is nothing to stop or to drain, and a slow loop sees fewer,
// later answers.
//
// The first answer is yielded at once, and then each answer whose content
// differs from the one before; an answer with another index but the same content
// yields nothing. What is yielded belongs to the loop.
//
// Every failed query is yielded as an error with the zero T, the first at once,
// and the watch goes on after a growing pause if the loop does. An answer after
// errors is yielded only if it differs from the last one before them. When ctx
// ends, the sequence ends without an error.
//
// The agent responds to a query that waits when something has changed.
// [consul.Agent.Service] is waited on by its hash. A query whose response has
// neither an index nor a hash, such as [consul.Catalog.Datacenters], cannot be
// waited on and is repeated every MinInterval. Whatever the agent does, a query
// ends with an error 30 s after the longest wait, which is WaitTime and the
// sixteenth that agents add to it.
//
// Each running watch holds one connection, of which agents allow 200 to a
// client by default. To follow many services at once use a [Resolver], which
// shares and bounds them.
func Watch[T any](ctx context.Context, query Query[T], opts *WatchOptions) iter.Seq2[T, error] {
	if query == nil {
		return failed[T](errors.New("discovery: nil query"))
	}
	return (&watcher[T]{query: query, opts: opts.withDefaults()}).seq(ctx)
}

var (
	errNilClient  = errors.New("discovery: nil client")
	errNilContext = errors.New("discovery: nil context")
)

// failed returns a sequence of one error.
func failed[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

// seq returns the watch as a sequence.
func (w *watcher[T]) seq(ctx context.Context) iter.Seq2[T, error] {
	if ctx == nil {
		return failed[T](errNilContext)
	}
	return func(yield func(T, error) bool) {
		h := newHasher()
		w.run(ctx, func(v T) uint64 { return h.sum(v) }, yield)
	}
}

// WatchService yields the instances of a service whenever they, their nodes or
// their checks have changed; with opts.Query.PassingOnly only those without a
// failing or warning check. A service without instances is an empty list. For
// everything else see [Watch].
func WatchService(ctx context.Context, c *consul.Client, service string, opts *WatchOptions) iter.Seq2[[]*consul.ServiceEntry, error] {
	if c == nil {
		return failed[[]*consul.ServiceEntry](errNilClient)
	}
	o := opts.withDefaults()
	if o.Name == "" {
		o.Name = service
	}
	w := &watcher[[]*consul.ServiceEntry]{opts: o, skipsKnown: true}
	w.query = func(ctx context.Context, q *consul.QueryOptions) ([]*consul.ServiceEntry, *consul.QueryMeta, error) {
		return c.Health().Service(ctx, service, q)
	}
	return w.seq(ctx)
}

// watcher is the loop behind every watch.
type watcher[T any] struct {
	query    Query[T]
	opts     WatchOptions  // with defaults
	gate     gate          // nil lets every query pass
	answered func()        // called after each answer, and after its yield if it had one; may be nil
	retry    chan struct{} // ends the pause after an error; nil if nothing does

	// skipsKnown says that the query makes one request and passes on its metadata,
	// so that an answer need not be decoded that has the bytes of the last one. A
	// query that makes an answer of several requests would lose changes.
	skipsKnown bool
}

// gate lets a query pass when there is room for it, and says whether it may
// wait for a change. The caller calls release after the query. A nil release
// means that ctx has ended.
type gate func(ctx context.Context, wait bool) (release func(), mayWait bool)

// position is what the next query waits on. The zero position is nothing: the
// query is answered at once.
type position struct {
	index uint64
	hash  string
	known uint64 // fingerprint of the last answer; 0 for none
}

func (p position) waits() bool { return p.index > 0 || p.hash != "" }

// run repeats the query until ctx ends or yield returns false. digest tells
// answers apart.
func (w *watcher[T]) run(ctx context.Context, digest func(T) uint64, yield func(T, error) bool) {
	var (
		none     T
		at       position
		due      time.Time
		failures int
		since    time.Time // the first of them
		last     uint64
		hasLast  bool
		dc       = w.opts.Query.Datacenter
		observe  = observer{w.opts.Logger, w.opts.OnEvent}
		pace     = pace{w.opts.MinInterval, w.opts.Burst}
		backoff  = backoff{w.opts.MinBackoff, w.opts.MaxBackoff}
	)
	for {
		var delay time.Duration
		due, delay = pace.reserve(due, time.Now())
		if !sleep(ctx, delay) {
			return
		}
		answer, meta, err := w.ask(ctx, at)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			// The agent may have been replaced by one that counts from 1, and a
			// query that waits on the index of its predecessor would find out late.
			at = position{}
			if failures++; failures == 1 {
				since = time.Now()
			}
			select {
			case <-w.retry: // from before the failure: only this pause can be ended now
			default:
			}
			pause := backoff.pause(failures, retryAfter(err), rand.Float64())
			resume := time.Now().Add(pause)
			observe.emit(WatchErrorEvent{w.opts.Name, dc, err, failures, pause})
			if !yield(none, err) || !sleepUnless(ctx, time.Until(resume), w.retry) {
				return
			}
			continue
		}
		if failures > 0 {
			observe.emit(WatchRecoveredEvent{w.opts.Name, dc, failures, time.Since(since)})
			failures = 0
		}
		next, reset := nextPosition(at, meta)
		if reset {
			observe.emit(IndexResetEvent{w.opts.Name, dc, at.index, meta.LastIndex})
		}
		at = next
		if meta != nil && meta.Unchanged {
			// It was not decoded, because it is the last answer.
		} else if sum := digest(answer); !hasLast || sum != last {
			last, hasLast = sum, true
			if !yield(answer, nil) {
				return
			}
		}
		if w.answered != nil {
			w.answered()
		}
		// What cannot be waited on is polled, and a burst of that is of no use.
		if !at.waits() && !reset && !sleep(ctx, time.Until(due)) {
			return
		}
	}
}

// nextPosition returns what to wait on after an answer.
func nextPosition(at position, meta *consul.QueryMeta) (next position, reset bool) {
	if meta == nil {
		return position{}, false
	}
	next.index, reset = nextIndex(at.index, meta.LastIndex)
	if meta.LastIndex == 0 {
		next.hash = meta.LastContentHash
	}
	next.known = meta.Fingerprint
	return next, reset
}

// ask performs one query.
func (w *watcher[T]) ask(ctx context.Context, at position) (T, *consul.QueryMeta, error) {
	q := cloneQuery(w.opts.Query)
	wait := at.waits()
	if w.gate != nil {
		release, mayWait := w.gate(ctx, wait)
		if release == nil {
			var none T
			return none, nil, ctx.Err()
		}
		defer release()
		wait = wait && mayWait
	}
	if w.skipsKnown {
		q.Known = max(at.known, 1) // 1 is no answer, but asks for the fingerprint of this one
	}
	timeout := answerTimeout
	if wait {
		q.WaitIndex, q.WaitHash = at.index, at.hash
		timeout += q.WaitTime + q.WaitTime/16
	}
	qctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, meta, err := w.query(qctx, &q)
	if err != nil && ctx.Err() == nil && qctx.Err() != nil {
		err = fmt.Errorf("no answer within %s: %w", timeout, err)
	}
	return answer, meta, err
}

// retryAfter returns how long the agent asks to wait after an error.
func retryAfter(err error) time.Duration {
	var status *consul.StatusError
	if errors.As(err, &status) {
		return status.RetryAfter
	}
	return 0
}

// sleep waits for d, and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool { return sleepUnless(ctx, d, nil) }

// sleepUnless is sleep that ends when something is sent to wake.
func sleepUnless(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
