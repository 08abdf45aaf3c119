package coordination

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
)

// Session is a session of Consul that is kept alive until Close. Any number of locks
// may share it: they are then lost together, and renewed by one request. Its methods
// may be called concurrently.
//
// Within one session a key has one lease at a time, as everywhere: a second Lock of the
// same key waits for the first lease to end.
type Session struct {
	client  *consul.Client
	id      string
	opts    SessionOptions // with defaults
	observe observer

	ctx    context.Context // ends with the session
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the goroutine has ended
	slot   chan struct{} // has an element while close works

	mu      sync.Mutex // taken by lock, given back by unlock
	pending []func()   // events to be reported by unlock
	renewed moment     // when the last successful renewal was sent
	failure error      // of the last renewal; nil if it succeeded
	expiry  *time.Timer
	places  map[string]*place
	isGone  bool // the servers do not have the session any more
}

// NewSession creates a session and keeps it alive until Close. ctx bounds the creation
// only.
//
// The session is renewed every third of its TTL, less up to 20 %. A renewal that fails
// is sent again after a short random pause, whatever the error, unless the servers
// respond that the session has ended.
func NewSession(ctx context.Context, c *consul.Client, opts *SessionOptions) (*Session, error) {
	switch {
	case ctx == nil:
		return nil, errNilContext
	case c == nil:
		return nil, errNilClient
	}
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return startSession(ctx, c, o)
}

// startSession is NewSession with options that are in order.
func startSession(ctx context.Context, c *consul.Client, o SessionOptions) (*Session, error) {
	sent := now()
	id, err := c.Session().Create(ctx, o.definition(), nil)
	if err != nil {
		return nil, fmt.Errorf("coordination: creating a session: %w", err)
	}
	s := &Session{
		client:  c,
		id:      id,
		opts:    o,
		observe: observer{o.Logger, o.OnEvent},
		done:    make(chan struct{}),
		slot:    make(chan struct{}, 1),
		renewed: sent,
		places:  make(map[string]*place),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.expiry = time.AfterFunc(s.left(now(), 2*o.TTL), s.expire)
	s.mu.Unlock()
	go s.run()
	return s, nil
}

// ID returns the ID of the session.
func (s *Session) ID() string { return s.id }

// Context returns a context that ends with the session: when Close is called, when the
// servers respond that the session has ended, or when it has not been renewed for so
// long that it may have, which is twice its TTL. [context.Cause] returns why; it is
// [ErrLost] unless Close was called. The leases that the session holds end with it, or
// earlier.
func (s *Session) Context() context.Context { return s.ctx }

// Close releases what the session holds, so that others can acquire it at once, and
// destroys the session. It tries again if requests fail, and returns within 5 s. If the
// release is refused for good, the session is destroyed all the same: others can acquire
// what it held after the lock-delay. After an error the session ends at the latest when
// twice its TTL is over; another call tries again.
func (s *Session) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.close(ctx)
}

const closeTimeout = 5 * time.Second

// close is Close within ctx.
func (s *Session) close(ctx context.Context) error {
	s.mu.Lock()
	var released []*Lease
	for _, p := range s.places {
		if p.lease != nil {
			released = append(released, p.lease)
		}
	}
	s.end(errClosed)
	s.unlock()
	err := s.destroy(ctx)
	for _, l := range released {
		l.observe.emit(ReleasedEvent{l.key, s.id, l.token, err})
	}
	return err
}

// destroy releases what the ended session holds, and destroys it.
func (s *Session) destroy(ctx context.Context) error {
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	case <-ctx.Done():
		return s.notClosed(ctx.Err())
	}
	// Requests that are under way end now. What they have done is to be undone.
	if err := s.settle(ctx); err != nil {
		return s.notClosed(err)
	}
	if s.gone() {
		return nil
	}
	var refused error
	for _, f := range s.strays() {
		err := s.release(ctx, f)
		switch {
		case isPermanent(err):
			refused = err // the end of the session frees the key, after the lock-delay
		case err != nil:
			return s.notClosed(err)
		}
	}
	err := s.retry(ctx, "", func(ctx context.Context) error { return s.client.Session().Destroy(ctx, s.id, nil) })
	if err != nil {
		return s.notClosed(err)
	}
	s.mu.Lock()
	s.isGone = true
	s.unlock()
	if refused != nil {
		return fmt.Errorf("coordination: session %s is destroyed, but its keys were not released: %w", s.id, refused)
	}
	return nil
}

func (s *Session) notClosed(err error) error {
	return fmt.Errorf("coordination: closing session %s: %w", s.id, err)
}

func (s *Session) gone() bool {
	s.mu.Lock()
	defer s.unlock()
	return s.isGone
}

// run renews the session until it ends, and releases what it holds without a lease.
func (s *Session) run() {
	defer close(s.done)
	pause := s.untilRenewal()
	for failures := 0; pace.Sleep(s.ctx, pause); {
		err := s.renew(s.ctx)
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil:
			failures++
			pause = s.opts.retryPause(rand.Float64())
			s.observe.emit(FailedEvent{Session: s.id, Err: err, Failures: failures, RetryIn: pause})
		default:
			failures = 0
			s.sweep()
			pause = s.untilRenewal()
		}
	}
}

// untilRenewal returns the time until the next renewal is due.
func (s *Session) untilRenewal() time.Duration {
	s.mu.Lock()
	defer s.unlock()
	return time.Until(s.renewed.mono.Add(s.opts.renewInterval(rand.Float64())))
}

// renew renews the session once. What has expired before the response stays lost.
func (s *Session) renew(ctx context.Context) error {
	sent := now()
	ctx, cancel := context.WithTimeout(ctx, s.opts.callTimeout())
	defer cancel()
	_, err := s.client.Session().Renew(ctx, s.id, nil)
	s.mu.Lock()
	defer s.unlock()
	s.failure = err
	switch {
	case err == nil:
		s.expireNow()
		if sent.after(s.renewed) && s.ctx.Err() == nil {
			s.renewed = sent
		}
	case errors.Is(err, consul.ErrUnknownSession):
		s.vanish(err)
	}
	return err
}

// vanish ends the session because of an error that tells that there is none. s.mu must
// be held.
func (s *Session) vanish(err error) {
	s.isGone = true
	s.end(&LostError{Reason: LossSession, Err: err})
}

// left returns how much is left, at the moment m, of a time that began with the last
// renewal. s.mu must be held.
func (s *Session) left(m moment, d time.Duration) time.Duration { return d - m.since(s.renewed) }

// isOverdue reports whether the session should have been renewed by now.
func (s *Session) isOverdue() bool {
	s.mu.Lock()
	defer s.unlock()
	return now().since(s.renewed) > s.opts.TTL/3
}

// expire is called when the session may have ended because it was not renewed.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.expireNow()
	if s.ctx.Err() == nil {
		s.expiry.Reset(s.left(now(), 2*s.opts.TTL))
	}
}

// expireNow ends what has expired, whether or not its timer has noticed. s.mu must be
// held, here and below.
func (s *Session) expireNow() {
	m := now()
	for _, p := range s.places {
		if l := p.lease; l != nil && l.left(m) <= 0 {
			l.lose(l.expired())
		}
	}
	if s.left(m, 2*s.opts.TTL) <= 0 {
		s.end(&LostError{Reason: LossExpired, Err: s.failure})
	}
}

// end ends the session, and all its leases, on this side.
func (s *Session) end(cause error) {
	if s.ctx.Err() != nil {
		return
	}
	var lost *LostError
	if errors.As(cause, &lost) {
		s.report(LostEvent{Session: s.id, Err: lost})
	}
	s.cancel(cause)
	s.expiry.Stop()
	for _, p := range s.places {
		if p.lease != nil {
			p.lease.lose(cause)
		}
	}
}

// report makes unlock report an event.
func (s *Session) report(e Event) { s.pending = append(s.pending, func() { s.observe.emit(e) }) }

// unlock unlocks s.mu, and then reports what has happened meanwhile: what is called
// then may call the methods of leases.
func (s *Session) unlock() {
	events := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, report := range events {
		report()
	}
}

// retry repeats a request until it succeeds, or fails for good, or ctx ends. Each may
// take callTimeout. key is for events.
func (s *Session) retry(ctx context.Context, key string, request func(context.Context) error) error {
	var last error
	for failures := 1; ; failures++ {
		rctx, cancel := context.WithTimeout(ctx, s.opts.callTimeout())
		err := request(rctx)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ended(ctx, last)
		case errors.Is(err, errChanged):
			continue
		case isPermanent(err):
			return err
		}
		last = err
		pause := s.opts.retryPause(rand.Float64())
		s.observe.emit(FailedEvent{key, s.id, err, failures, pause})
		if !pace.Sleep(ctx, pause) {
			return ended(ctx, last)
		}
	}
}
