package discovery

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/watch"
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
	// is logged as a warning, and a success after them at info level. Everything
	// else is at debug level. OnEvent, if not nil, is called with each
	// [WatchErrorEvent], [WatchRecoveredEvent] and [IndexResetEvent].
	Logger  *slog.Logger
	OnEvent func(Event)
}

// loop returns the options of the loop behind a watch, with defaults. name is for a
// watch without one.
func (o *WatchOptions) loop(name string) watch.Options {
	var c WatchOptions
	if o != nil {
		c = *o
	}
	observe := observer{c.Logger, c.OnEvent}
	return watch.Options{
		Name: cmp.Or(c.Name, name), Query: c.Query, Burst: c.Burst, MinInterval: c.MinInterval, MinBackoff: c.MinBackoff, MaxBackoff: c.MaxBackoff,
		OnEvent: func(e watch.Event) { observe.emit(watchEvent(e)) },
	}.WithDefaults()
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
		return watch.Failing[T](errors.New("discovery: nil query"))
	}
	return sequence(ctx, &watch.Loop[T]{Query: query, Options: opts.loop("")})
}

// sequence returns a watch as a sequence.
func sequence[T any](ctx context.Context, l *watch.Loop[T]) iter.Seq2[T, error] {
	if ctx == nil {
		return watch.Failing[T](errNilContext)
	}
	return l.Changed(ctx)
}

var (
	errNilClient       = errors.New("discovery: nil client")
	errNilContext      = errors.New("discovery: nil context")
	errNilRegistration = errors.New("discovery: nil AgentServiceRegistration")
)

// WatchService is a [Watch] of [consul.Health.Service]: it yields the instances of
// a service whenever they, their nodes or their checks have changed. With
// opts.Query.PassingOnly it yields only instances without a warning or critical
// check. A service without instances is an empty list.
func WatchService(ctx context.Context, c *consul.Client, service string, opts *WatchOptions) iter.Seq2[[]*consul.ServiceEntry, error] {
	if c == nil {
		return watch.Failing[[]*consul.ServiceEntry](errNilClient)
	}
	return sequence(ctx, &watch.Loop[[]*consul.ServiceEntry]{
		Query: func(ctx context.Context, q *consul.QueryOptions) ([]*consul.ServiceEntry, *consul.QueryMeta, error) {
			return c.Health().Service(ctx, service, q)
		},
		Options:  opts.loop(service),
		IsDirect: true,
	})
}
