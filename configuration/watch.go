package configuration

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/watch"
)

// Options are the options of this package's functions. Nil and the zero Options mean
// the defaults. A number that is 0 or less means its default.
type Options struct {
	// Query has the options of each query, such as Datacenter, Token or AllowStale.
	// WaitIndex, WaitHash and Previous are set by this package. WaitTime is how long one
	// query waits for a change, 1 minute by default, which bounds how late is noticed
	// what ends no query, such as the deletion of a folder above this one.
	// [consul.Config.WaitTime] is not used.
	//
	// A negative MaxAge or StaleIfError is an error.
	//
	// With AllowStale a response without keys is confirmed by the leader, since a
	// server that has just lost it may have lost the keys, too.
	// Keys that have disappeared are requested from the leader.
	Query consul.QueryOptions

	// Since is a snapshot that the program already has, of the same folder: the first
	// snapshot has the differences from it, and if there are none, it is not yielded
	// before there are some. Its pairs must be in the order of their keys' bytes.
	Since *Snapshot

	// Burst is the number of queries that may follow each other at once, 10 by
	// default, and MinInterval the time between two of them in the long run, 1 second
	// by default. So a folder that never stops changing is seen once a second.
	Burst       int
	MinInterval time.Duration

	// MinBackoff is the longest pause after a first error, 500 ms by default. The
	// longest pause doubles with each further error in a row, up to MaxBackoff, 10
	// seconds by default. A pause is random between nothing and the longest, plus the
	// Retry-After of the response, of which at most 10 minutes count.
	MinBackoff time.Duration
	MaxBackoff time.Duration

	// Logger logs each event; nil logs nothing. Of failures in a row the first one is
	// logged as a warning. A success after them and a change of the folder are at info
	// level, everything else is at debug level. Values are not logged. OnEvent,
	// if not nil, is called with each [ChangedEvent], [WatchErrorEvent],
	// [WatchRecoveredEvent] and [IndexResetEvent].
	Logger  *slog.Logger
	OnEvent func(Event)
}

var (
	errNilClient  = errors.New("configuration: nil client")
	errNilContext = errors.New("configuration: nil context")
)

// folderWatch is a folder to be followed.
type folderWatch struct {
	client  *consul.Client
	folder  string
	opts    Options
	observe observer
}

// newFolderWatch checks what the functions of this package are given.
func newFolderWatch(ctx context.Context, c *consul.Client, prefix string, opts *Options) (*folderWatch, error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case c == nil:
		return nil, errNilClient
	}
	folder, err := folderName(prefix)
	if err != nil {
		return nil, err
	}
	w := &folderWatch{client: c, folder: folder}
	if opts != nil {
		w.opts = *opts
	}
	switch q := &w.opts.Query; {
	case q.MaxAge < 0:
		return nil, fmt.Errorf("configuration: Options.Query.MaxAge is %s; want 0 or more", q.MaxAge)
	case q.StaleIfError < 0:
		return nil, fmt.Errorf("configuration: Options.Query.StaleIfError is %s; want 0 or more", q.StaleIfError)
	}
	if err := checkSince(w.opts.Since, folder); err != nil {
		return nil, err
	}
	w.observe = observer{w.opts.Logger, w.opts.OnEvent}
	return w, nil
}

// checkSince returns what is wrong with a snapshot that the caller has, which may be nil.
func checkSince(s *Snapshot, folder string) error {
	switch {
	case s == nil:
		return nil
	case s.Prefix != folder:
		return fmt.Errorf("configuration: Options.Since is of folder %q; want one of %q", s.Prefix, folder)
	}
	for n, p := range s.Pairs {
		switch {
		case p == nil:
			return fmt.Errorf("configuration: Options.Since: pair %d is nil", n)
		case n > 0 && p.Key <= s.Pairs[n-1].Key:
			return fmt.Errorf("configuration: Options.Since: pair %d has key %q after %q; want the order of their bytes", n, p.Key, s.Pairs[n-1].Key)
		}
	}
	return nil
}

// reader returns a reader that has not read yet.
func (w *folderWatch) reader() *reader {
	return &reader{client: w.client, folder: w.folder, last: w.opts.Since}
}

// run reads the folder again and again, with a reader that has not read yet, until ctx
// ends or yield returns false.
func (w *folderWatch) run(ctx context.Context, r *reader, yield func(watch.Result[*Snapshot]) bool) {
	first := r.last == nil
	loop := &watch.Loop[*Snapshot]{
		Query: r.read,
		Options: watch.Options{
			Name: w.folder, Query: w.opts.Query, Burst: w.opts.Burst, MinInterval: w.opts.MinInterval,
			MinBackoff: w.opts.MinBackoff, MaxBackoff: w.opts.MaxBackoff,
			OnEvent: func(e watch.Event) { w.observe.emit(watchEvent(e)) },
		}.WithDefaults(),
		IsDirect: true,
		Changes: func() func(*Snapshot) bool {
			return func(s *Snapshot) bool {
				changed := first || s.differs()
				first = false
				return changed
			}
		},
	}
	loop.Run(ctx, func(r watch.Result[*Snapshot]) bool {
		if r.Err == nil && !r.Unchanged && r.Value.differs() {
			w.observe.emit(ChangedEvent{
				Watch: w.folder, Datacenter: w.opts.Query.Datacenter,
				Added: r.Value.Added, Changed: r.Value.Changed, Removed: r.Value.Removed, Total: len(r.Value.Pairs),
			})
		}
		return yield(r)
	})
}

// Load reads a folder once, by the rules of [Watch]: one request, and those that find
// out whether missing keys are forbidden ones. Nothing is repeated, and ctx alone
// bounds it. With [Options.Since] the snapshot has the differences from that one.
func Load(ctx context.Context, c *consul.Client, prefix string, opts *Options) (*Snapshot, error) {
	w, err := newFolderWatch(ctx, c, prefix, opts)
	if err != nil {
		return nil, err
	}
	s, _, err := w.reader().read(ctx, withoutWait(&w.opts.Query))
	return s, err
}

// Watch follows a folder of keys: it yields a snapshot of what is in it, and another
// one whenever that has changed, until ctx ends or the loop breaks. The queries run in
// the goroutine of the loop, between two iterations: there is nothing to stop or to
// drain, and a slow loop sees fewer and later snapshots. The sequence can be ranged
// over several times, and each time begins anew.
//
// The prefix is the name of a folder, with or without the slash at its end: "app" are
// the keys below "app/", and not "app2/x". An empty prefix means all keys. Keys that
// end with a slash, which are markers of folders, are left out.
//
// The first snapshot is yielded even if it is empty: a folder without keys, and one
// that does not exist, is a response like any other. Later ones are yielded if a key
// was added or removed, or the value or the flags of one have changed; that somebody
// has locked a key is no change.
//
// Each failed query is yielded at once, as an error with a nil snapshot, and the last
// snapshot remains what is known. If the loop goes on, the watch tries again after a
// growing pause. When the agent responds again, a snapshot is yielded only if it
// differs from the last one before the errors. When ctx ends, the sequence ends
// without an error. If it cannot begin, because of an invalid prefix for instance, it
// yields one error and ends.
//
// Keys that the token may not read are left out of responses, and agents report that
// rarely. So some of the keys that have disappeared are requested by themselves, up to
// ten, and the folder's own name is if there are no keys: if that is refused, the error
// is [consul.ErrPermissionDenied]. A token that has lost its permissions does not empty
// a configuration, and a program without a token does not take its folder for empty.
// With an empty prefix, a store that looks empty is an error only on agents since 1.11,
// and only with a token.
func Watch(ctx context.Context, c *consul.Client, prefix string, opts *Options) iter.Seq2[*Snapshot, error] {
	w, err := newFolderWatch(ctx, c, prefix, opts)
	if err != nil {
		return watch.Failing[*Snapshot](err)
	}
	return func(yield func(*Snapshot, error) bool) {
		w.run(ctx, w.reader(), func(r watch.Result[*Snapshot]) bool { return r.Unchanged || yield(r.Value, r.Err) })
	}
}
