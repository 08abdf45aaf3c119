package discovery

import (
	"context"
	"log/slog"
	"time"

	"github.com/lictor-go/consul/internal/watch"
)

// Event is something that happened inside this package, for metrics. It is one
// of [RegisteredEvent], [HeartbeatFailedEvent], [HealedEvent],
// [DeregisteredEvent], [WatchErrorEvent], [WatchRecoveredEvent],
// [IndexResetEvent] and [InstancesChangedEvent].
//
// The functions called OnEvent in the options are called by the goroutine to
// which the event happened, possibly by several at once. They must not block: a
// heartbeat may be waiting for them.
type Event interface {
	// log returns how the event reads in a log.
	log() (slog.Level, string, []slog.Attr)
}

// RegisteredEvent reports that the agent accepted a service for the first time.
type RegisteredEvent struct {
	Service, ID string
}

// HealReason is what a registration recovered from.
type HealReason string

const (
	// HealLost means that the agent no longer had the service or one of its
	// checks, and the service was registered again: the agent was restarted
	// without its data, or somebody deregistered it.
	HealLost HealReason = "lost"

	// HealFailing means that requests failed for a while, but the agent had kept
	// the service: nothing was lost.
	HealFailing HealReason = "failing"
)

// HealedEvent reports that a registration is in order again, and its status
// reported.
type HealedEvent struct {
	Service, ID string
	Reason      HealReason
	Cause       error         // the first error
	Took        time.Duration // since then
}

// HeartbeatFailedEvent reports that a heartbeat, a poll or a registration failed,
// or that [RegisterOptions.Health] did not return in time. There is no event of a
// failure that Register returns.
type HeartbeatFailedEvent struct {
	Service, ID string
	CheckID     string // empty if the request was about the whole service
	Err         error
	Failures    int           // in a row
	RetryIn     time.Duration // until the next try
}

// DeregisteredEvent reports that Close removed a service, or could not do so in
// time, with the error that Close returns.
type DeregisteredEvent struct {
	Service, ID string
	Err         error
}

// WatchErrorEvent reports that a query of a watch failed.
type WatchErrorEvent struct {
	Watch      string // the name of the watch; for a resolver, the service
	Datacenter string // that was queried; empty for the client's
	Err        error
	Failures   int           // in a row
	RetryIn    time.Duration // until the next query
}

// WatchRecoveredEvent reports that a query of a watch succeeded after others had
// failed.
type WatchRecoveredEvent struct {
	Watch      string
	Datacenter string
	Failures   int           // in a row
	Took       time.Duration // since the first of them
}

// IndexResetEvent reports that a response had a lower index than the one before, so
// that the watch started over.
type IndexResetEvent struct {
	Watch      string
	Datacenter string
	From, To   uint64
}

// InstancesChangedEvent reports that a resolver has other instances of a service
// than before, or that another number of them is held. The events of a service come
// one after the other, in order.
type InstancesChangedEvent struct {
	Service                 string
	Datacenter              string // of the instances; empty for the client's
	Added, Removed, Changed int
	Total                   int // now
	Held                    int // of them were not in the last response; see [ResolverOptions.MinInstances]
}

// watchEvent returns the event of a watch as one of this package.
func watchEvent(e watch.Event) Event {
	switch e := e.(type) {
	case watch.Failed:
		return WatchErrorEvent(e)
	case watch.Recovered:
		return WatchRecoveredEvent(e)
	case watch.Reset:
		return IndexResetEvent(e)
	}
	return nil
}

func (e RegisteredEvent) log() (slog.Level, string, []slog.Attr) {
	return slog.LevelInfo, "service registered", []slog.Attr{slog.String("service", e.Service), slog.String("id", e.ID)}
}

func (e HealedEvent) log() (slog.Level, string, []slog.Attr) {
	msg := "service registered again"
	if e.Reason == HealFailing {
		msg = "heartbeats succeed again"
	}
	return slog.LevelInfo, msg, []slog.Attr{slog.String("service", e.Service), slog.String("id", e.ID),
		slog.Duration("took", e.Took), slog.Any("cause", e.Cause)}
}

func (e HeartbeatFailedEvent) log() (slog.Level, string, []slog.Attr) {
	return watch.FailureLevel(e.Failures), "heartbeat failed", []slog.Attr{slog.String("service", e.Service), slog.String("id", e.ID),
		slog.String("check", e.CheckID), slog.Any("error", e.Err), slog.Int("failures", e.Failures), slog.Duration("retry_in", e.RetryIn)}
}

func (e DeregisteredEvent) log() (slog.Level, string, []slog.Attr) {
	attrs := []slog.Attr{slog.String("service", e.Service), slog.String("id", e.ID)}
	if e.Err != nil {
		return slog.LevelError, "service not deregistered", append(attrs, slog.Any("error", e.Err))
	}
	return slog.LevelInfo, "service deregistered", attrs
}

func (e WatchErrorEvent) log() (slog.Level, string, []slog.Attr)     { return watch.Failed(e).Log() }
func (e WatchRecoveredEvent) log() (slog.Level, string, []slog.Attr) { return watch.Recovered(e).Log() }
func (e IndexResetEvent) log() (slog.Level, string, []slog.Attr)     { return watch.Reset(e).Log() }

func (e InstancesChangedEvent) log() (slog.Level, string, []slog.Attr) {
	return slog.LevelDebug, "instances changed", []slog.Attr{slog.String("service", e.Service), slog.String("datacenter", e.Datacenter),
		slog.Int("added", e.Added), slog.Int("removed", e.Removed), slog.Int("changed", e.Changed),
		slog.Int("total", e.Total), slog.Int("held", e.Held)}
}

// observer passes events on. The zero observer drops them.
type observer struct {
	logger  *slog.Logger
	onEvent func(Event)
}

func (o observer) emit(e Event) {
	if o.logger != nil {
		level, msg, attrs := e.log()
		o.logger.LogAttrs(context.Background(), level, msg, attrs...)
	}
	if o.onEvent != nil {
		o.onEvent(e)
	}
}
