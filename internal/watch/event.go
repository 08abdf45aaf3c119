package watch

import (
	"log/slog"
	"time"
)

// Event is what happened to a loop: [Failed], [Recovered] or [Reset]. The packages
// that users see have types of their own with the same fields.
type Event interface {
	// Log returns how the event reads in a log.
	Log() (slog.Level, string, []slog.Attr)
}

// Failed reports that a query failed.
type Failed struct {
	Watch      string
	Datacenter string
	Err        error
	Failures   int           // in a row
	RetryIn    time.Duration // until the next query
}

// Recovered reports that a query succeeded after others had failed.
type Recovered struct {
	Watch      string
	Datacenter string
	Failures   int           // in a row
	Took       time.Duration // since the first of them
}

// Reset reports that a response had a lower index than the one before, so that the
// loop started over.
type Reset struct {
	Watch      string
	Datacenter string
	From, To   uint64
}

// FailureLevel returns the level of a failure in a row of so many. An outage has one
// warning, at its begin; its end is logged too.
func FailureLevel(failures int) slog.Level {
	if failures > 1 {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Log implements [Event].
func (e Failed) Log() (slog.Level, string, []slog.Attr) {
	return FailureLevel(e.Failures), "watch failed", []slog.Attr{slog.String("watch", e.Watch), slog.String("datacenter", e.Datacenter),
		slog.Any("error", e.Err), slog.Int("failures", e.Failures), slog.Duration("retry_in", e.RetryIn)}
}

// Log implements [Event].
func (e Recovered) Log() (slog.Level, string, []slog.Attr) {
	return slog.LevelInfo, "watch succeeds again", []slog.Attr{slog.String("watch", e.Watch), slog.String("datacenter", e.Datacenter),
		slog.Int("failures", e.Failures), slog.Duration("took", e.Took)}
}

// Log implements [Event].
func (e Reset) Log() (slog.Level, string, []slog.Attr) {
	return slog.LevelDebug, "index went down", []slog.Attr{slog.String("watch", e.Watch), slog.String("datacenter", e.Datacenter),
		slog.Uint64("from", e.From), slog.Uint64("to", e.To)}
}
