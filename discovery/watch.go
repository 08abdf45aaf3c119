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

// Query is a blocking query. It sends the options q, in which the watch has set
// WaitIndex, WaitHash and WaitTime, and returns the response with its metadata.
// Nil metadata counts as a response without an index. A Query must return when ctx
// ends.
//
// The watch sets [consul.QueryOptions.Previous] to the result of the query before,
// so that a response costs what has changed. So what the client returns to a Query
// may be part of later responses: a Query that leaves something out of a map, or
// changes an element of a list, has to do so in a copy.
//
// An error counts as an error even if there are metadata: it is yielded, and the
// next query does not wait. To wait for something that does not exist yet, such as
// a key, return an empty value and the metadata of the response with 404, but not
// the [consul.ErrNotFound].
//
// Most methods of [consul.Health] and [consul.Catalog] become a Query with a
// function literal around them, and some are one:
//
//	discovery.Watch(ctx, client.Catalog().Nodes, nil)
type Query[T any] func(ctx context.Context, q *consul.QueryOptions) (T, *consul.QueryMeta, error)

// WatchOptions are the options of a watch. Nil and the zero WatchOptions mean the
// defaults. A number that is 0 or less means its default.
type WatchOptions struct {
	// Query has the options of each query. The watch sets WaitIndex, WaitHash and
	// Previous itself. WaitTime is how long one query waits for a change, 1 minute by
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

	// MinBackoff is the longest pause after a first error, 500 ms by default. The
	// longest pause doubles with each further error in a row, up to MaxBackoff, 10
	// seconds by default. So it may take MaxBackoff until a watch notices that an
	// agent is back. A pause is random between nothing and the longest, plus the
	// Retry-After of the response, of which at most 10 minutes count.
	MinBackoff time.Duration
	MaxBackoff time.Duration

	// Name is the name of the watch in events and logs. If it is empty,
	// [WatchService] uses the name of the service.
	Name string

	// Logger logs each event; nil logs nothing. Of failures in a row the first one
	// is logged as a warning, the others at debug level. OnEvent, if not nil, is
	// called with each [WatchErrorEvent], [WatchRecoveredEvent] and
	// [IndexResetEvent].
	Logger  *slog.Logger
	OnEvent func(Event)
}

const (
	defaultWait        = time.Minute
	defaultBurst       = 10
	defaultMinInterval = time.Second
	defaultMinBackoff  = 500 * time.Millisecond
	defaultMaxBackoff  = 10 * time.Second

	// Without a leader an agent holds a query for up to 18 s before it responds,
	// and the client allows 20 s for that. A query has to end some time after
	// that, even one that does not wait.
	responseTimeout = 30 * time.Second
)

// withDefaults returns a deep copy of o without fields that mean a default.
func (o *WatchOptions) withDefaults() WatchOptions {
	var c WatchOptions
	if o != nil {
		c = *o
	}
	c.Query = cloneQuery(c.Query)
	c.Query.WaitIndex, c.Query.WaitHash, c.Query.Previous = 0, "", nil
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
// iterations: there is nothing to stop or to drain, and a slow loop sees fewer and
// later responses. The sequence can be ranged over several times.
//
// The first response is yielded, and then each one whose content differs from the
// one before. A response with another index but the same content yields nothing.
// Fields named CreateIndex and ModifyIndex are no content, and neither is what
// cannot be compared: functions and channels.
//
// What is yielded must not be changed, except that a slice may be sorted: its
// elements, and maps, may be yielded again later.
//
// Each failed query is yielded at once, as an error with the zero T. If the loop
// goes on, the watch tries again after a growing pause. A response after errors is
// yielded only if it differs from the last one before them. When ctx ends, the
// sequence ends without an error.
//
// The agent responds to a query that waits when something has changed.
// [consul.Agent.Service] is waited on by its hash. A query whose response has
// neither an index nor a hash, such as [consul.Catalog.Datacenters], cannot be
// waited on and is repeated every MinInterval. Whatever the agent does, a query
// ends with an error 30 s after the longest wait, which is WaitTime and the
// sixteenth that agents add to it.
//
// Each running watch holds one connection, of which agents allow a client 200 by
// default; over https, where the agent speaks HTTP/2, some 250 share one. To follow
// many services at once use a [Resolver], which shares and limits its queries.
func Watch[T any](ctx context.Context, query Query[T], opts *WatchOptions) iter.Seq2[T, error] {
	if query == nil {
		return errorSeq[T](errors.New("discovery: nil query"))
	}
	return (&watcher[T]{query: query, opts: opts.withDefaults()}).seq(ctx)
}

var (
	errNilClient  = errors.New("discovery: nil client")
	errNilContext = errors.New("discovery: nil context")
)

// errorSeq returns a sequence of one error.
func errorSeq[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

// seq returns the watch as a sequence.
func (w *watcher[T]) seq(ctx context.Context) iter.Seq2[T, error] {
	if ctx == nil {
		return errorSeq[T](errNilContext)
	}
	return func(yield func(T, error) bool) {
		loop := *w // each loop begins anew
		loop.previous = new(consul.Result)
		loop.changed = contentChanged[T]()
		loop.run(ctx, func(r result[T]) bool { return r.unchanged || yield(r.value, r.err) })
	}
}

// WatchService is a [Watch] of [consul.Health.Service]: it yields the instances of
// a service whenever they, their nodes or their checks have changed. With
// opts.Query.PassingOnly it yields only instances without a warning or critical
// check. A service without instances is an empty list.
func WatchService(ctx context.Context, c *consul.Client, service string, opts *WatchOptions) iter.Seq2[[]*consul.ServiceEntry, error] {
	if c == nil {
		return errorSeq[[]*consul.ServiceEntry](errNilClient)
	}
	o := opts.withDefaults()
	if o.Name == "" {
		o.Name = service
	}
	w := &watcher[[]*consul.ServiceEntry]{opts: o, isDirect: true}
	w.query = func(ctx context.Context, q *consul.QueryOptions) ([]*consul.ServiceEntry, *consul.QueryMeta, error) {
		return c.Health().Service(ctx, service, q)
	}
	return w.seq(ctx)
}

// watcher is the loop behind every watch.
type watcher[T any] struct {
	query   Query[T]
	opts    WatchOptions  // with defaults
	changed func(T) bool  // reports whether a value differs from that of the call before
	retry   chan struct{} // ends the pause after an error; nil if nothing does

	// acquire returns when a query may start, and whether it may wait for a change if
	// it wants to; release is called after the query. A nil release means that ctx
	// has ended. Nil limits nothing.
	acquire func(ctx context.Context, wait bool) (release func(), mayWait bool)

	// isDirect means that the query returns what one request returns, with its
	// metadata, so that nothing has changed if its result has not.
	isDirect bool

	previous *consul.Result // of the last response

	failures int       // in a row
	since    time.Time // the first of them
}

// result is the outcome of one query.
type result[T any] struct {
	value     T
	meta      *consul.QueryMeta // may be nil
	unchanged bool              // value has the content of the last one
	err       error             // value and meta mean nothing beside it
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

// run repeats the query until ctx ends or yield returns false.
func (w *watcher[T]) run(ctx context.Context, yield func(result[T]) bool) {
	var (
		at    position
		due   time.Time
		limit = rateLimiter{w.opts.MinInterval, w.opts.Burst}
	)
	for {
		var delay time.Duration
		due, delay = limit.reserve(due, time.Now())
		if !sleep(ctx, delay) {
			return
		}
		r := w.perform(ctx, at)
		if ctx.Err() != nil {
			return
		}
		if r.err != nil {
			// The agent may have been replaced by one that counts from 1, and a
			// query that waits on the index of its predecessor would find out late.
			at = position{}
			resume := time.Now().Add(w.failed(r.err))
			if !yield(r) || !sleepUnless(ctx, time.Until(resume), w.retry) {
				return
			}
			continue
		}
		w.recovered()
		next, reset := at.next(r.meta)
		if reset {
			w.emit(IndexResetEvent{w.opts.Name, w.opts.Query.Datacenter, at.index, r.meta.LastIndex})
		}
		at = next
		if !yield(r) {
			return
		}
		// What cannot be waited on is polled, and a burst of that is of no use.
		if !at.waits() && !reset && !sleep(ctx, time.Until(due)) {
			return
		}
	}
}

// perform performs one query.
func (w *watcher[T]) perform(ctx context.Context, at position) (r result[T]) {
	q := cloneQuery(w.opts.Query)
	wait := at.waits()
	if w.acquire != nil {
		release, mayWait := w.acquire(ctx, wait)
		if release == nil {
			r.err = ctx.Err()
			return r
		}
		defer release()
		wait = wait && mayWait
	}
	q.Previous = w.previous
	timeout := responseTimeout
	if wait {
		q.WaitIndex, q.WaitHash = at.index, at.hash
		timeout += q.WaitTime + q.WaitTime/16
	}
	qctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r.value, r.meta, r.err = w.query(qctx, &q)
	switch {
	case r.err != nil:
		var none T
		r.value = none
		if ctx.Err() == nil && qctx.Err() != nil {
			r.err = fmt.Errorf("no response within %s: %w", timeout, r.err)
		}
	case w.isDirect && r.meta.Result == w.previous:
		r.unchanged = true
	default:
		r.unchanged = !w.changed(r.value)
		if w.previous = new(consul.Result); r.meta != nil && r.meta.Result != nil {
			w.previous = r.meta.Result
		}
	}
	return r
}

// failed notes a failed query, and returns how long to pause after it.
func (w *watcher[T]) failed(err error) time.Duration {
	if w.failures++; w.failures == 1 {
		w.since = time.Now()
	}
	select {
	case <-w.retry: // from before the failure: only this pause can be ended from now on
	default:
	}
	b := backoff{w.opts.MinBackoff, w.opts.MaxBackoff}
	pause := b.pause(w.failures, retryAfter(err), rand.Float64())
	w.emit(WatchErrorEvent{w.opts.Name, w.opts.Query.Datacenter, err, w.failures, pause})
	return pause
}

// recovered notes that a query has not failed.
func (w *watcher[T]) recovered() {
	if w.failures > 0 {
		w.emit(WatchRecoveredEvent{w.opts.Name, w.opts.Query.Datacenter, w.failures, time.Since(w.since)})
		w.failures = 0
	}
}

func (w *watcher[T]) emit(e Event) { observer{w.opts.Logger, w.opts.OnEvent}.emit(e) }
