// Package source reads the configuration of kratos programs from a folder of keys in
// Consul. It is what the config sources for kratos v2 and v3 share, which are in
// kratosv2/config and kratosv3/config; it depends on neither.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
)

// KeyValue is a key as kratos has it: Key is relative to the folder, and Format is
// the name of the codec that decodes the Value.
type KeyValue struct {
	Key    string
	Value  []byte
	Format string
}

// Options are the options of a source. Nil, and the zero Options, mean defaults.
type Options struct {
	// Query has the parameters of the queries, such as Datacenter, Token and
	// AllowStale. WaitIndex, WaitHash and Previous have no effect. WaitTime is 1 minute
	// by default.
	Query consul.QueryOptions

	// Timeout is how long Load waits for Consul, 10 seconds if 0 or less: kratos gives
	// it no context.
	Timeout time.Duration

	// Format returns the format of a key, which is relative to the folder. Nil means
	// the extension of its name: yaml for "db/main.yaml", and none for "limit", which
	// kratos takes as text under the key's name.
	Format func(key string) string

	// Logger gets what happens, and nil is silent: the events, and a warning with the
	// names of keys that were deleted, whose values kratos keeps. Values are not
	// logged. OnEvent is called with the events of package configuration, and must not
	// block or call Stop; nil means none.
	Logger  *slog.Logger
	OnEvent func(configuration.Event)
}

const (
	defaultTimeout = 10 * time.Second

	// maxBackoff bounds the pause after failed queries, and with it the time until
	// watchers notice that the agent is back. The agent is local, as a rule.
	maxBackoff = 2 * time.Second
)

// Source reads a folder. Its methods may be called concurrently.
type Source struct {
	client *consul.Client
	prefix string
	opts   Options

	mu     sync.Mutex
	loaded *configuration.Snapshot // by the last Load since the last Watch
	loads  int                     // since the last Watch
}

var (
	errNoPrefix = errors.New("kratos: the prefix is empty; want the name of a folder of keys, such as app/web")
	errNoClient = errors.New("kratos: nil client")
)

// New returns a source of the keys in the folder prefix, with or without a slash at its
// end. It sends nothing. An empty prefix is an error.
func New(c *consul.Client, prefix string, opts *Options) (*Source, error) {
	switch {
	case c == nil:
		return nil, errNoClient
	case prefix == "":
		return nil, errNoPrefix
	}
	s := &Source{client: c, prefix: prefix}
	if opts != nil {
		s.opts = *opts
	}
	// Options print with their token.
	if token := s.opts.Query.Token; token != "" {
		s.client, s.opts.Query.Token = c.WithToken(token), ""
	}
	if s.opts.Timeout <= 0 {
		s.opts.Timeout = defaultTimeout
	}
	if s.opts.Format == nil {
		s.opts.Format = extension
	}
	return s, nil
}

// extension returns the extension of a key's name, without the dot.
func extension(key string) string { return strings.TrimPrefix(path.Ext(key), ".") }

// options returns the options of a watch that begins with what is known already.
func (s *Source) options(since *configuration.Snapshot) *configuration.Options {
	return &configuration.Options{
		Query: s.opts.Query, Since: since, MaxBackoff: maxBackoff, Logger: s.opts.Logger, OnEvent: s.opts.OnEvent,
	}
}

// Load returns the keys of the folder in the order of their bytes, in which kratos
// merges them. It tries again until Timeout, except if the token may not read the
// folder. A folder without keys is an empty list.
func (s *Source) Load() ([]*KeyValue, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
	defer cancel()
	var last error
	for snapshot, err := range configuration.Watch(ctx, s.client, s.prefix, s.options(nil)) {
		if err == nil {
			s.mu.Lock()
			s.loaded = snapshot
			s.loads++
			s.mu.Unlock()
			return s.convert(snapshot), nil
		}
		if last = err; errors.Is(err, consul.ErrPermissionDenied) {
			break
		}
	}
	if last == nil {
		last = fmt.Errorf("no response within %s", s.opts.Timeout)
	}
	return nil, fmt.Errorf("kratos: loading the folder %q: %w", s.prefix, last)
}

// convert returns the pairs of a snapshot as kratos has them. The values are copies,
// which kratos may keep and change.
func (s *Source) convert(snapshot *configuration.Snapshot) []*KeyValue {
	list := make([]*KeyValue, 0, len(snapshot.Pairs))
	for _, p := range snapshot.Pairs {
		list = append(list, &KeyValue{Key: p.Key, Value: append([]byte{}, p.Value...), Format: s.opts.Format(p.Key)})
	}
	return list
}

// Watch returns a watcher of the folder. It begins with what Load has returned since the
// last Watch, if that was called once, so that nothing is lost between the two. Otherwise
// it is not known whose that is, and the first Next returns what there is. Watch does not
// wait for Consul.
func (s *Source) Watch() *Watcher {
	s.mu.Lock()
	var since *configuration.Snapshot
	if s.loads == 1 {
		since = s.loaded
	}
	s.loaded, s.loads = nil, 0
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{ctx: ctx, cancel: cancel, results: make(chan result), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		s.follow(ctx, since, w.results)
	}()
	return w
}

// result is what Next returns.
type result struct {
	list []*KeyValue
	err  error
}

// follow sends each change, and the first of failures in a row, until ctx ends.
func (s *Source) follow(ctx context.Context, since *configuration.Snapshot, results chan<- result) {
	failed := false
	opts := s.options(since)
	onEvent := opts.OnEvent
	opts.OnEvent = func(e configuration.Event) {
		if _, ok := e.(configuration.WatchRecoveredEvent); ok {
			failed = false
		}
		if onEvent != nil {
			onEvent(e)
		}
	}
	for snapshot, err := range configuration.Watch(ctx, s.client, s.prefix, opts) {
		var r result
		if err != nil {
			if failed {
				continue
			}
			failed = true
			r.err = fmt.Errorf("kratos: following the folder %q: %w", s.prefix, err)
		} else {
			s.warn(snapshot)
			r.list = s.convert(snapshot)
		}
		select {
		case results <- r:
		case <-ctx.Done():
			return
		}
	}
}

// warn logs what kratos cannot be told.
func (s *Source) warn(snapshot *configuration.Snapshot) {
	if s.opts.Logger != nil && len(snapshot.Removed) > 0 {
		s.opts.Logger.Warn("keys were deleted, but kratos keeps their values until the program is restarted",
			"folder", snapshot.Prefix, "keys", snapshot.Removed)
	}
}

// Watcher follows a folder.
type Watcher struct {
	ctx     context.Context
	cancel  context.CancelFunc
	results chan result
	done    chan struct{} // closed when the goroutine has ended
}

// Next waits for a change of the folder and returns all of its keys, in the order of
// their bytes: kratos merges what it is given over what it has, so that a part would
// override keys that come later. Of failures in a row the first one is returned, and
// then the watcher goes on by itself. After Stop the error is context.Canceled, at
// which kratos ends its loop.
func (w *Watcher) Next() ([]*KeyValue, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case r := <-w.results:
		return r.list, r.err
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	case <-w.done: // there is nothing that could be followed
		<-w.ctx.Done()
		return nil, w.ctx.Err()
	}
}

// Stop ends the watcher, and calls of Next that wait. It may be called again. The
// error is always nil.
func (w *Watcher) Stop() error {
	w.cancel()
	<-w.done
	return nil
}
