package coordination

import (
	"context"
	"log/slog"
	"time"
)

// Event is something that happened inside this package, for metrics. It is one of
// [AcquiredEvent], [LostEvent], [ReleasedEvent] and [FailedEvent].
//
// The functions called OnEvent in the options are called by the goroutine to which the
// event happened, possibly by several at once. They must not block, panic, or call Release
// or Close: a renewal may be waiting for them, and Release and Close for that goroutine.
type Event interface {
	// log returns how the event reads in a log.
	log() (slog.Level, string, []slog.Attr)
}

// AcquiredEvent reports a new lease.
type AcquiredEvent struct {
	Key     string
	Session string
	Token   uint64
	Took    time.Duration // since the call
}

// LostEvent reports that a lease or a session was lost.
type LostEvent struct {
	Key     string // empty if it was a session
	Session string
	Token   uint64 // 0 if it was a session
	Err     *LostError
}

// ReleasedEvent reports that a lease was released, or could not be in time, with the
// error that Release or Close returns.
type ReleasedEvent struct {
	Key     string
	Session string
	Token   uint64
	Err     error
}

// FailedEvent reports that a request failed and is sent again: one about the session, such
// as a renewal, if Key is empty, else one about the key.
type FailedEvent struct {
	Key      string
	Session  string // empty if there is none yet
	Err      error
	Failures int           // in a row
	RetryIn  time.Duration // until the next try
}

func (e AcquiredEvent) log() (slog.Level, string, []slog.Attr) {
	return slog.LevelInfo, "lease acquired", []slog.Attr{slog.String("key", e.Key), slog.String("session", e.Session),
		slog.Uint64("token", e.Token), slog.Duration("took", e.Took)}
}

func (e LostEvent) log() (slog.Level, string, []slog.Attr) {
	if e.Key == "" {
		return slog.LevelWarn, "session lost", []slog.Attr{slog.String("session", e.Session), slog.Any("cause", e.Err)}
	}
	return slog.LevelWarn, "lease lost", []slog.Attr{slog.String("key", e.Key), slog.String("session", e.Session),
		slog.Uint64("token", e.Token), slog.Any("cause", e.Err)}
}

func (e ReleasedEvent) log() (slog.Level, string, []slog.Attr) {
	attrs := []slog.Attr{slog.String("key", e.Key), slog.String("session", e.Session), slog.Uint64("token", e.Token)}
	if e.Err != nil {
		return slog.LevelError, "lease not released", append(attrs, slog.Any("error", e.Err))
	}
	return slog.LevelInfo, "lease released", attrs
}

func (e FailedEvent) log() (slog.Level, string, []slog.Attr) {
	level := slog.LevelDebug
	if e.Failures <= 1 { // an outage has one warning, at its begin
		level = slog.LevelWarn
	}
	msg := "request failed"
	if e.Key == "" {
		msg = "request about the session failed"
	}
	return level, msg, []slog.Attr{slog.String("key", e.Key), slog.String("session", e.Session), slog.Any("error", e.Err),
		slog.Int("failures", e.Failures), slog.Duration("retry_in", e.RetryIn)}
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
