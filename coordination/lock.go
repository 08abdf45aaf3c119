package coordination

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
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
	case strings.HasPrefix(key, "/"), strings.HasSuffix(key, "/"):
		problem = "it starts or ends with a slash"
	case strings.Contains(key, "//"):
		problem = "it has an empty element"
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

// source is where the session of a lease comes from.
type source struct {
	session *Session
	lock    *lock // which makes one; nil if the session is the caller's
	keeps   bool  // the session stays when a lease ends, although it was made here
}

func (k *lock) source() *source {
	if k.session != nil {
		return &source{session: k.session}
	}
	return &source{lock: k}
}

// get returns a session that has not ended, or why there is none.
func (src *source) get(ctx context.Context) (*Session, error) {
	if s := src.session; s != nil {
		return s, context.Cause(s.ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, src.lock.options.callTimeout())
	defer cancel()
	s, err := startSession(ctx, src.lock.form.client(), src.lock.options)
	if err == nil {
		src.session = s
	}
	return s, err
}

// discard makes room for another session when one that was made here has ended. The
// servers may still have it as the holder.
func (src *source) discard(ctx context.Context) error {
	s := src.session
	if src.lock == nil || s == nil || s.ctx.Err() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.callTimeout())
	defer cancel()
	err := s.close(ctx)
	if err == nil {
		src.session = nil
	}
	return err
}

// close closes a session that was made here.
func (src *source) close(ctx context.Context) error {
	if src.lock == nil || src.session == nil {
		return nil
	}
	return src.session.close(ctx)
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
	if ctx == nil {
		return nil, errNilContext
	}
	if k.err != nil {
		return nil, k.err
	}
	a := &attempt{lock: k, src: src, try: try, start: time.Now()}
	l, err := a.run(ctx)
	if l == nil && err == nil {
		err = ended(ctx, a.last)
	}
	if err != nil {
		a.undo(ctx)
		return nil, fmt.Errorf("coordination: acquiring %q: %w", k.name, err)
	}
	k.observe.emit(AcquiredEvent{l.key, l.session.id, l.token, time.Since(a.start)})
	return l, nil
}

// attempt is one call that acquires a lock.
type attempt struct {
	lock  *lock
	src   *source
	try   bool // do not wait
	start time.Time

	session  *Session // in which the key is claimed; nil if none
	isUnsure bool     // a request to acquire had no response
	failures int      // in a row
	last     error    // of the last request that failed
}

// run acquires the lock. It returns nothing if ctx has ended.
func (a *attempt) run(ctx context.Context) (l *Lease, err error) {
	if s := a.lock.session; s != nil {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
		defer func() {
			if l == nil && err == nil && s.ctx.Err() != nil {
				err = context.Cause(s.ctx)
			}
		}()
	}
	if a.try {
		stored, err := a.read(ctx, new(consul.QueryOptions))
		if err != nil {
			return nil, err
		}
		return a.contend(ctx, stored, false)
	}
	wait := a.lock.options.TTL
	loop := &watch.Loop[[]*consul.KVPair]{
		Options: watch.Options{
			Query: consul.QueryOptions{WaitTime: wait}, MinInterval: spacing, Burst: burst,
			MinBackoff: a.lock.options.TTL / 15, MaxBackoff: a.lock.options.TTL / 3, OnEvent: a.report,
		}.WithDefaults(),
		Query: func(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, *consul.QueryMeta, error) {
			timeout := a.lock.options.callTimeout()
			if q.WaitIndex > 0 {
				timeout += wait + wait/16
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			q.Previous = nil
			return a.lock.form.read(ctx, q)
		},
	}
	waited := false
	loop.Run(ctx, func(r watch.Result[[]*consul.KVPair]) bool {
		if err = r.Err; err != nil {
			a.last = err
			if isPermanent(err) {
				return false
			}
			err = nil
			return true
		}
		l, err = a.contend(ctx, r.Value, waited)
		waited = true
		if held := (*HeldError)(nil); errors.As(err, &held) {
			err = nil
			return true
		}
		return l == nil && err == nil && ctx.Err() == nil
	})
	return l, err
}

// report passes on that a read of the loop failed.
func (a *attempt) report(e watch.Event) {
	if e, ok := e.(watch.Failed); ok {
		a.lock.observe.emit(FailedEvent{a.lock.name, a.id(), e.Err, e.Failures, e.RetryIn})
	}
}

func (a *attempt) read(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, error) {
	ctx, cancel := context.WithTimeout(ctx, a.lock.options.callTimeout())
	defer cancel()
	stored, _, err := a.lock.form.read(ctx, q)
	return stored, err
}

// id returns the ID of the session, or nothing if there is none yet.
func (a *attempt) id() string {
	if s := a.src.session; s != nil && s.ctx.Err() == nil {
		return s.id
	}
	return ""
}

// contend acquires the lock if what was read shows that it is free, however often that
// takes. It returns a [*HeldError] if it is not, and nothing if ctx has ended.
// hasWaited means that others may have waited for the same change.
func (a *attempt) contend(ctx context.Context, stored []*consul.KVPair, hasWaited bool) (*Lease, error) {
	reread := false
	for ctx.Err() == nil {
		if err := a.discard(ctx); err != nil {
			if err := a.failed(ctx, err); err != nil {
				return nil, err
			}
			reread = true
			continue
		}
		if reread {
			var err error
			if stored, err = a.read(ctx, new(consul.QueryOptions)); err != nil {
				if err := a.failed(ctx, err); err != nil {
					return nil, err
				}
				continue
			}
		}
		if _, err := a.lock.form.acquire(stored, a.id()); err != nil {
			return nil, err
		}
		if hasWaited { // of those who wait, few are to find it free
			hasWaited, reread = false, true
			pace.Sleep(ctx, spread())
			continue
		}
		reread = true
		l, err := a.once(ctx, stored)
		if err == nil {
			return l, nil
		}
		if err := a.failed(ctx, err); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// discard makes room for another session if the last one has ended.
func (a *attempt) discard(ctx context.Context) error {
	if a.session != nil && a.session.ctx.Err() != nil {
		a.unclaim()
	}
	return a.src.discard(ctx)
}

// once sends one request to acquire the lock, after those that prepare it.
func (a *attempt) once(ctx context.Context, stored []*consul.KVPair) (*Lease, error) {
	s, err := a.prepare(ctx)
	if err != nil {
		return nil, err
	}
	f := a.lock.form
	ops, err := f.acquire(stored, s.id)
	if err != nil {
		return nil, err
	}
	sent := now()
	rctx, cancel := context.WithTimeout(ctx, a.lock.options.callTimeout())
	defer cancel()
	resp, err := f.client().Txn().Apply(rctx, ops, nil)
	var refused *consul.TxnError
	switch {
	case err == nil:
		token := tokenOf(resp, f.key(s.id))
		if l := s.newLease(ctx, f, token, sent, a.src.lock != nil && !a.src.keeps, a.lock.observe); l != nil {
			a.isUnsure = false
			a.session = nil // the lease has the claim
			return l, nil
		}
		a.isUnsure = true
		return nil, errChanged // the response took too long
	case !errors.As(err, &refused):
		a.isUnsure = a.isUnsure || !isPermanent(err)
	case errors.Is(err, consul.ErrUnknownSession):
		s.lost(err)
	}
	return nil, err
}

// tokenOf returns the ModifyIndex of an acquisition.
func tokenOf(resp *consul.TxnResponse, key string) (token uint64) {
	for _, r := range resp.Results {
		if r.KV != nil && r.KV.Key == key {
			token = max(token, r.KV.ModifyIndex)
		}
	}
	return token
}

// prepare returns a session that was renewed lately, and in which the key is claimed.
func (a *attempt) prepare(ctx context.Context) (*Session, error) {
	s, err := a.src.get(ctx)
	if err != nil {
		return nil, err
	}
	if a.session == nil {
		key := a.lock.form.key(s.id)
		if a.try {
			if s.tryClaim(key) != nil {
				return nil, &HeldError{Key: key, Sessions: []string{s.id}}
			}
		} else if err := s.claim(ctx, key); err != nil {
			return nil, err
		}
		a.session = s
	}
	if s.isOverdue() { // a lease would be short
		if err := s.renew(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// failed decides what becomes of a call after an error: it returns the error of the
// call, or nothing after a pause if it is to go on.
func (a *attempt) failed(ctx context.Context, err error) error {
	var lost *LostError
	pause := spread()
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errChanged), hasChanged(err), errors.Is(err, consul.ErrLockHeld):
		a.failures = 0
	case errors.Is(err, consul.ErrUnknownSession), errors.As(err, &lost):
		if a.lock.session != nil {
			return context.Cause(a.lock.session.ctx)
		}
	case errors.Is(err, consul.ErrLockDelay):
		if a.try {
			return fmt.Errorf("%w: %w", ErrDelayed, err)
		}
		pause = pace.Jittered(delayPoll, rand.Float64())
	case a.try, isPermanent(err), errors.Is(err, ErrConflict), errors.Is(err, ErrHeld):
		return err
	default:
		a.failures++
		a.last = err
		backoff := pace.Backoff{Min: a.lock.options.TTL / 15, Max: a.lock.options.TTL / 3}
		pause = backoff.Pause(a.failures, pace.RetryAfter(err), rand.Float64())
		a.lock.observe.emit(FailedEvent{a.lock.name, a.id(), err, a.failures, pause})
	}
	pace.Sleep(ctx, pause)
	return nil
}

// delayPoll is the time between two attempts during a lock-delay, plus or minus 20 %.
// Its end wakes nobody. Servers refuse such attempts without writing anything.
const delayPoll = time.Second

// undo takes back what the call may have done. A session that was made for it is closed
// by the caller.
func (a *attempt) undo(ctx context.Context) {
	s := a.unclaim()
	if s == nil || a.lock.session == nil || s.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	s.tidy(ctx, a.lock.form) // the session tries again
}

// unclaim gives up the claim of the call, and returns the session that it had it in. The
// servers may still have that as the holder.
func (a *attempt) unclaim() *Session {
	s := a.session
	if s == nil {
		return nil
	}
	if a.isUnsure {
		s.markStray(a.lock.form, true)
	}
	s.unclaim(a.lock.form.key(s.id))
	a.session, a.isUnsure = nil, false
	return s
}
