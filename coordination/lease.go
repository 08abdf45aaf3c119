package coordination

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
)

// Lease is a lock that was acquired: a [Mutex], a place in a [Semaphore], or the lead of
// an [Election]. It lasts until Release, unless it is lost before. Its methods may be
// called concurrently.
type Lease struct {
	session *Session
	form    form
	key     string // that the session holds
	token   uint64
	owns    bool // the session is this lease's own, and ends with it
	observe observer

	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the goroutine has ended
	slot   chan struct{} // has an element while Release works

	// Guarded by session.mu.
	confirmed moment // when the last read was sent that found the lease in order
	failure   error  // of the last read; nil if it succeeded
	timer     *time.Timer
	endedAt   time.Time // zero as long as the lease lasts
}

// newLease makes a lease of what the session has acquired by a request sent at a
// moment, and returns nil if it is over already.
func (s *Session) newLease(ctx context.Context, f form, token uint64, sent moment, owns bool, o observer) *Lease {
	l := &Lease{
		session: s, form: f, key: f.key(s.id), token: token, owns: owns, observe: o,
		done: make(chan struct{}), slot: make(chan struct{}, 1), confirmed: sent,
	}
	l.ctx, l.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.mu.Lock()
	defer s.unlock()
	left := l.left(now())
	if left <= 0 || s.ctx.Err() != nil {
		return nil
	}
	p := s.places[l.key]
	p.lease, p.stray, p.until = l, nil, time.Time{}
	l.timer = time.AfterFunc(left, l.expire)
	go l.watch()
	return l
}

// Context returns a context that ends when the lease is lost or may be, or released.
// [context.Cause] returns why: a [*LostError], which is [ErrLost], unless it was
// released. Work that needs the lease is done under this context, or under one that is
// derived from it.
func (l *Lease) Context() context.Context { return l.ctx }

// Token returns the fencing token of the lease: a number that is greater for each later
// lease of the same lock, whoever has it. A resource that refuses requests with a token
// smaller than the greatest it has seen is safe from a former holder that has not
// noticed its loss. It is the ModifyIndex of the acquisition, so it does not grow if
// the servers are restored from a backup.
func (l *Lease) Token() uint64 { return l.token }

// Guard returns operations to put first in a transaction. It is refused, with
// [consul.ErrStaleIndex] or [consul.ErrNotFound], unless the lease still holds when the
// servers carry it out. That is the only write that no former holder can make,
// whatever happens to its process. (Of a semaphore it does not see the list of holders.)
//
//	ops := append(lease.Guard(), consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "state", Value: state}})
//	_, err := client.Txn().Apply(ctx, ops, nil)
func (l *Lease) Guard() []consul.TxnOp {
	return []consul.TxnOp{
		{KV: &consul.KVTxnOp{Verb: consul.KVCheckSession, Key: l.key, Session: l.session.id}},
		// A session can acquire a key again after it has lost it.
		checkIndex(l.key, l.token),
	}
}

// Deadline returns the time at which the lease ends unless the servers confirm it
// before: TTL - Grace after the last renewal of the session, or the last read of the
// key, that succeeded was sent. After the end of the lease it is in the past.
func (l *Lease) Deadline() time.Time {
	l.session.mu.Lock()
	defer l.session.unlock()
	m := now()
	deadline := m.mono.Add(l.left(m))
	if !l.endedAt.IsZero() && l.endedAt.Before(deadline) {
		deadline = l.endedAt
	}
	return deadline
}

// Valid reports whether the lease lasts. It reads the clocks, the monotonic and the
// wall clock, and needs no goroutine to have run: after a process was stopped for
// longer than its leases last, the first call is false. Once false it stays so. The
// context ends at the same time, unless the machine slept and its monotonic clock
// stopped: then it ends with the first call of Valid, or within 2/3 of the TTL.
func (l *Lease) Valid() bool {
	l.session.mu.Lock()
	defer l.session.unlock()
	if l.endedAt.IsZero() && l.left(now()) <= 0 {
		l.lose(l.expired())
	}
	return l.endedAt.IsZero()
}

// Release ends the lease, so that others can acquire the lock at once, and returns when
// the servers have carried that out. A session of the lease's own is destroyed. It tries
// again if requests fail, unless they are refused for good, until ctx ends, but not longer
// than one TTL. If ctx has ended before the call, or ends within a second, it has a second.
//
// After a loss, Release gives back what the servers may still have, which lets others
// acquire the lock sooner. A lease that was released is released without an error. After
// an error another call tries again; without one, others have to wait until the session
// has ended.
func (l *Lease) Release(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	start := time.Now()
	held, err := l.release(ctx, l.session.opts.TTL)
	if left := cleanupTimeout - time.Since(start); err != nil && ctx.Err() != nil && left > 0 {
		var now bool
		now, err = l.release(context.WithoutCancel(ctx), left)
		held = held || now
	}
	if err != nil {
		err = fmt.Errorf("coordination: releasing %q: %w", l.key, bare{err})
	}
	if held {
		l.observe.emit(ReleasedEvent{l.key, l.session.id, l.token, err})
	}
	return err
}

// cleanupTimeout is how long a call may take longer than its context to undo what it
// has done.
const cleanupTimeout = time.Second

// release is Release, once. It reports whether it has ended the lease.
func (l *Lease) release(ctx context.Context, timeout time.Duration) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case l.slot <- struct{}{}:
		defer func() { <-l.slot }()
	case <-ctx.Done(): // another call is at work
		return false, ctx.Err()
	}
	s := l.session
	s.mu.Lock()
	held = l.endedAt.IsZero()
	l.end(errReleased)
	s.unlock()
	select {
	case <-l.done:
	case <-ctx.Done(): // something does not obey its context
	}
	if !held {
		if claimed, err := s.reclaim(ctx, l.key); !claimed {
			return held, err
		}
	}
	switch {
	case l.owns:
		s.unclaim(l.key)
		err = s.close(ctx)
	case s.isStray(l.key) && !s.gone():
		err = s.release(ctx, l.form)
		fallthrough
	default:
		s.unclaim(l.key)
	}
	return held, err
}

// left returns how long the lease is valid at the moment m if nothing confirms it.
// session.mu must be held, here and below.
func (l *Lease) left(m moment) time.Duration {
	return l.session.opts.lifetime() - max(m.since(l.session.renewed), m.since(l.confirmed))
}

// expired returns the cause of a lease that has run out.
func (l *Lease) expired() error {
	err := l.failure
	if l.session.renewed.mono.Before(l.confirmed.mono) || err == nil {
		err = l.session.failure
	}
	return &LostError{LossExpired, l.key, err}
}

// expire is called when the lease may have run out.
func (l *Lease) expire() {
	l.session.mu.Lock()
	defer l.session.unlock()
	if !l.endedAt.IsZero() {
		return
	}
	if left := l.left(now()); left > 0 {
		l.timer.Reset(left)
		return
	}
	l.lose(l.expired())
}

// end ends the lease, except for its claim. The servers may still have it.
func (l *Lease) end(cause error) {
	if !l.endedAt.IsZero() {
		return
	}
	l.endedAt = time.Now()
	l.timer.Stop()
	l.cancel(cause)
	p := l.session.places[l.key]
	p.lease, p.stray = nil, l.form
}

// lose ends the lease because of a loss, or with its session.
func (l *Lease) lose(cause error) {
	if !l.endedAt.IsZero() {
		return
	}
	var lost *LostError
	if errors.As(cause, &lost) && lost.Key == "" {
		lost = &LostError{lost.Reason, l.key, lost.Err}
		cause = lost
	}
	l.end(cause)
	l.session.free(l.key)
	if lost != nil {
		l.session.pending = append(l.session.pending, func() {
			l.observe.emit(LostEvent{l.key, l.session.id, l.token, lost})
		})
	}
	if l.owns {
		l.session.end(errReleased) // nobody else has it, so that it need not be renewed
	}
}

// spacing is the time between two reads of a key in the long run, so that somebody who
// writes to it all the time does not keep those busy who wait for it.
const (
	spacing = 100 * time.Millisecond
	burst   = 10
)

// watch finds out whether the lease is in order, until it ends: by a read that the
// leader responds to, and then a blocking query, which ends when something changes, or
// when it is time for the next read.
func (l *Lease) watch() {
	defer close(l.done)
	var (
		failures     int
		due          time.Time
		delay, pause time.Duration
		limit        = pace.Limiter{Interval: spacing, Burst: burst}
	)
	for {
		due, delay = limit.Reserve(due, time.Now())
		if !pace.Sleep(l.ctx, max(delay, pause)) {
			return
		}
		index, err := l.confirm()
		if err == nil {
			err = l.await(index)
		}
		switch {
		case l.ctx.Err() != nil:
			return
		case err == nil:
			failures, pause = 0, 0
		default:
			if pause = spread(); failures > 0 { // after the first one at once: much may have changed
				pause = l.session.opts.retryPause(rand.Float64())
			}
			failures++
			l.observe.emit(FailedEvent{l.key, l.session.id, err, failures, pause})
		}
	}
}

// confirm reads what is stored, and ends the lease unless it is in order.
func (l *Lease) confirm() (index uint64, err error) {
	s := l.session
	sent := now()
	ctx, cancel := context.WithTimeout(l.ctx, s.opts.callTimeout())
	defer cancel()
	stored, meta, err := l.form.read(ctx, &consul.QueryOptions{RequireConsistent: true})
	s.mu.Lock()
	defer s.unlock()
	l.failure = err
	switch {
	case !l.endedAt.IsZero():
	case l.left(now()) <= 0:
		l.lose(l.expired())
	case err != nil:
		return 0, err
	default:
		if why := l.form.verify(stored, s.id, l.token); why != "" {
			l.lose(&LostError{Reason: why, Key: l.key})
			break
		}
		l.confirmed = sent
		return meta.LastIndex, nil
	}
	return 0, nil
}

// await returns when something has changed after the index, or when it is time to read
// again. What it reads does not count: only the leader's word does.
func (l *Lease) await(index uint64) error {
	if l.ctx.Err() != nil {
		return nil
	}
	o := &l.session.opts
	if index == 0 {
		pace.Sleep(l.ctx, min(o.TTL/3, time.Second))
		return nil
	}
	l.session.mu.Lock()
	left := o.TTL/3 - now().since(l.confirmed) // responses may be slow
	l.session.unlock()
	wait := min(left*16/17, maxWait) // to which agents add a sixteenth
	if wait < time.Millisecond {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, wait+wait/16+o.callTimeout())
	defer cancel()
	_, _, err := l.form.read(ctx, &consul.QueryOptions{WaitIndex: index, WaitTime: wait})
	return err
}
