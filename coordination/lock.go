package coordination

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// lock is what Mutex, Semaphore and Election have in common.
type lock struct {
	form    form
	name    string         // the key or prefix, in errors and events
	session *Session       // the caller's; nil if leases have sessions of their own
	options SessionOptions // of the sessions, with defaults
	observe observer
	err     error // what is wrong with the parameters
}

func newLock(f form, name string, s *Session, o *SessionOptions, observe observer) lock {
	k := lock{form: f, name: name, session: s, observe: observe}
	switch {
	case f.client() == nil:
		k.err = errNilClient
	case s != nil && s.client == nil:
		k.err = errors.New("coordination: the Session was not made by NewSession")
	case s != nil && o != nil:
		k.err = errors.New("coordination: both a Session and SessionOptions are given; want one of them")
	case s != nil:
		k.options = s.opts
	default:
		k.options, k.err = o.withDefaults()
		if k.options.Logger == nil && k.options.OnEvent == nil {
			k.options.Logger, k.options.OnEvent = observe.logger, observe.onEvent
		}
	}
	if k.err == nil {
		k.err = checkKey(name)
	}
	return k
}

// checkKey refuses a key that no path can hold: agents would redirect to another one.
func checkKey(key string) error {
	problem := ""
	switch {
	case key == "":
		problem = "it is empty"
	case strings.HasPrefix(key, "/"):
		problem = "it starts with a slash"
	case strings.Contains(key, "//"):
		problem = "it has an empty element"
	case !utf8.ValidString(key):
		problem = "it is not UTF-8"
	case strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }):
		problem = "it has a character that is not printable"
	}
	for _, element := range strings.Split(key, "/") {
		if element == "." || element == ".." {
			problem = "it has an element . or .."
		}
	}
	if problem != "" {
		return fmt.Errorf("coordination: key %q: %s", key, problem)
	}
	return nil
}

// check returns what is wrong with the context or the parameters.
func (k *lock) check(ctx context.Context) error {
	switch {
	case ctx == nil:
		return errNilContext
	case k.form == nil:
		return errors.New("coordination: the lock was not made by NewMutex, NewSemaphore or NewElection")
	}
	return k.err
}

// acquire acquires the lock for a lease with a session of its own, or with the caller's.
func (k *lock) acquire(ctx context.Context, try bool) (*Lease, error) {
	src := k.source()
	l, err := k.acquireWith(ctx, src, try)
	if err != nil && ctx != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		_ = src.close(ctx) // it ends by itself if that fails
	}
	return l, err
}

// acquireWith acquires the lock with a session of the source.
func (k *lock) acquireWith(ctx context.Context, src *source, try bool) (*Lease, error) {
	if err := k.check(ctx); err != nil {
		return nil, err
	}
	a := &attempt{lock: k, src: src, try: try, start: time.Now()}
	l, err := a.run(ctx)
	if l == nil && err == nil {
		err = ended(ctx, a.last)
	}
	if err != nil {
		a.undo(ctx)
		return nil, fmt.Errorf("coordination: acquiring %q: %w", k.name, bare{err})
	}
	k.observe.emit(AcquiredEvent{l.key, l.session.id, l.token, time.Since(a.start)})
	return l, nil
}
