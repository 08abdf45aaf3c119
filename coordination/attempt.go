package coordination

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

// attempt is one call that acquires a lock.
type attempt struct {
	lock  *lock
	src   *source
	try   bool // do not wait
	start time.Time

	session  *Session // in which the key is claimed; nil if none
	isUnsure bool     // a request to acquire had no response
	failures int      // in a row
	changes  int      // that came between a read and the request that depended on it
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
	if !a.try {
		return a.wait(ctx)
	}
	stored, err := a.read(ctx, new(consul.QueryOptions))
	if err != nil {
		return nil, err
	}
	return a.contend(ctx, stored, false)
}

// wait acquires the lock when it is free. It returns nothing if ctx has ended.
func (a *attempt) wait(ctx context.Context) (l *Lease, err error) {
	backoff := a.lock.options.backoff()
	loop := &watch.Loop[[]*consul.KVPair]{
		Query: a.query,
		Options: watch.Options{
			Query: consul.QueryOptions{WaitTime: min(a.lock.options.TTL, maxWait)}, MinInterval: spacing, Burst: burst,
			MinBackoff: backoff.Min, MaxBackoff: backoff.Max, OnEvent: a.report,
		}.WithDefaults(),
	}
	hasWaited := false
	loop.Run(ctx, func(r watch.Result[[]*consul.KVPair]) bool {
		if r.Err != nil {
			a.last = r.Err
			if isPermanent(r.Err) {
				err = r.Err
			}
			return err == nil
		}
		l, err = a.contend(ctx, r.Value, hasWaited)
		hasWaited = true
		if errors.Is(err, ErrHeld) {
			err = nil
		}
		return l == nil && err == nil
	})
	return l, err
}

// query is a query of the loop. It ends sooner than the loop would end it.
func (a *attempt) query(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, *consul.QueryMeta, error) {
	timeout := a.lock.options.callTimeout()
	if q.WaitIndex > 0 {
		timeout += q.WaitTime + q.WaitTime/16
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.lock.form.read(ctx, q)
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
		a.isUnsure = true
		token := tokenOf(resp, f.key(s.id))
		if token == 0 {
			return nil, fmt.Errorf("the response to the transaction has no index of %q", f.key(s.id))
		}
		if l := s.newLease(ctx, f, token, sent, a.src.lock != nil && !a.src.keeps, a.lock.observe); l != nil {
			a.isUnsure = false
			a.session = nil // the lease has the claim
			return l, nil
		}
		return nil, errChanged // the response took too long
	case !errors.As(err, &refused):
		a.isUnsure = a.isUnsure || !isPermanent(err)
	case errors.Is(err, consul.ErrUnknownSession):
		err = s.unknown(ctx, f.client(), err)
	}
	return nil, err
}

// unknown returns what it means that the servers that have the key do not know the
// session: it has ended, unless its own servers, which may be others, renew it.
func (s *Session) unknown(ctx context.Context, c *consul.Client, err error) error {
	if c == s.client {
		s.mu.Lock()
		defer s.unlock()
		s.vanish(err)
		return err
	}
	if err := s.renew(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errOtherServers, err)
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
				return nil, &HeldError{Key: a.lock.name, Sessions: []string{s.id}}
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
	pause := spread()
	isGone := errors.Is(err, consul.ErrUnknownSession) || errors.Is(err, ErrLost)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errChanged), hasChanged(err), errors.Is(err, consul.ErrLockHeld):
		// What is read may be old for a while, if no leader has made sure of it.
		if a.changes++; a.changes > maxChanges && a.try {
			return err
		} else if a.changes > maxChanges {
			pause += a.lock.options.backoff().Pause(a.changes-maxChanges, 0, rand.Float64())
		}
	case errors.Is(err, consul.ErrLockDelay):
		if a.try {
			return fmt.Errorf("%w: %w", ErrDelayed, err)
		}
		pause = pace.Jittered(delayPoll, rand.Float64())
	case isGone && a.lock.session != nil && !errors.Is(err, errOtherServers):
		return context.Cause(a.lock.session.ctx)
	case a.try, isPermanent(err) && !isGone, errors.Is(err, errOtherServers), errors.Is(err, ErrConflict), errors.Is(err, ErrHeld):
		return err
	default:
		a.failures++
		a.last = err
		pause = a.lock.options.backoff().Pause(a.failures, pace.RetryAfter(err), rand.Float64())
		a.lock.observe.emit(FailedEvent{a.lock.name, a.id(), err, a.failures, pause})
	}
	pace.Sleep(ctx, pause)
	return nil
}

// maxChanges is how many changes are met at once. Then there are pauses, or TryLock fails.
const maxChanges = 10

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
