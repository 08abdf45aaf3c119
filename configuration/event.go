package configuration

import (
	"context"
	"log/slog"
	"time"

	"github.com/lictor-go/consul/internal/watch"
)

// Event is something that happened while a folder was followed, for metrics. It is one
// of [ChangedEvent], [WatchErrorEvent], [WatchRecoveredEvent] and [IndexResetEvent].
//
// [Options.OnEvent] is called by the goroutine to which the event happened. It must
// not block.
type Event interface {
	// log returns how the event reads in a log.
	log() (slog.Level, string, []slog.Attr)
}

// ChangedEvent reports that a folder has another content than before. The first
// response is such a change, unless it has no keys. The slices are shared: they must
// not be changed.
type ChangedEvent struct {
	Watch                   string // the folder, with its slash
	Datacenter              string // that was queried; empty for the client's
	Added, Changed, Removed []string
	Total                   int // number of keys now
}

// WatchErrorEvent reports that a query failed.
type WatchErrorEvent struct {
	Watch      string // the folder, with its slash
	Datacenter string // that was queried; empty for the client's
	Err        error
	Failures   int           // in a row
	RetryIn    time.Duration // until the next query
}

// WatchRecoveredEvent reports that a query succeeded after others had failed.
type WatchRecoveredEvent struct {
	Watch      string
	Datacenter string
	Failures   int           // in a row
	Took       time.Duration // since the first of them
}

// IndexResetEvent reports that a response had a lower index than the one before, so
// that the watch started over. It is normal 15 minutes after a key of the folder was
// deleted, and when the servers were restored from a backup.
type IndexResetEvent struct {
	Watch      string
	Datacenter string
	From, To   uint64
}

// watchEvent returns the event of a loop as one of this package.
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

func (e ChangedEvent) log() (slog.Level, string, []slog.Attr) {
	return slog.LevelInfo, "configuration changed", []slog.Attr{slog.String("watch", e.Watch), slog.String("datacenter", e.Datacenter),
		slog.Int("added", len(e.Added)), slog.Int("changed", len(e.Changed)), slog.Int("removed", len(e.Removed)), slog.Int("total", e.Total)}
}

func (e WatchErrorEvent) log() (slog.Level, string, []slog.Attr)     { return watch.Failed(e).Log() }
func (e WatchRecoveredEvent) log() (slog.Level, string, []slog.Attr) { return watch.Recovered(e).Log() }
func (e IndexResetEvent) log() (slog.Level, string, []slog.Attr)     { return watch.Reset(e).Log() }

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
