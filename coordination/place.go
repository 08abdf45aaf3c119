package coordination

import (
	"context"
	"errors"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
)

// place is a key of a session: what one lease at a time may have.
type place struct {
	busy     chan struct{} // closed when the key is free again; nil if it is free
	lease    *Lease        // nil if there is none
	isTidied bool          // tidy has claimed the key, for a short time

	// stray is set if the servers may have the session as the holder of the key
	// although there is no lease: a release failed, an acquisition had no response,
	// or the lease was lost. Until the time given, a request may still arrive.
	stray form
	until time.Time
}

// claim waits until nobody else in the session uses the key, and claims it.
func (s *Session) claim(ctx context.Context, key string) error {
	for {
		busy := s.tryClaim(key)
		if busy == nil {
			return nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// tryClaim claims a key, or returns what is closed when it is free.
func (s *Session) tryClaim(key string) (busy <-chan struct{}) {
	s.mu.Lock()
	defer s.unlock()
	return s.take(key)
}

// reclaim claims a key whose lease has ended, and reports whether it has. It has not if
// there is another lease, or a call that acquires one: they release the key. It waits
// for tidy, which may fail.
func (s *Session) reclaim(ctx context.Context, key string) (bool, error) {
	for {
		s.mu.Lock()
		busy := s.take(key)
		wait := busy != nil && s.places[key].isTidied
		s.unlock()
		if !wait {
			return busy == nil, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// take is tryClaim. s.mu must be held.
func (s *Session) take(key string) (busy <-chan struct{}) {
	p := s.places[key]
	if p == nil {
		p = new(place)
		s.places[key] = p
	}
	if p.busy != nil {
		return p.busy
	}
	p.busy = make(chan struct{})
	return nil
}

// unclaim frees a claimed key for others in the session.
func (s *Session) unclaim(key string) {
	s.mu.Lock()
	defer s.unlock()
	s.free(key)
}

// free is unclaim. s.mu must be held.
func (s *Session) free(key string) {
	p := s.places[key]
	close(p.busy)
	p.busy, p.lease, p.isTidied = nil, nil, false
	if p.stray == nil {
		delete(s.places, key)
	}
}

// markStray notes that the servers may have the session as the holder of a claimed key.
// isUnderWay means that a request may still make it so.
func (s *Session) markStray(f form, isUnderWay bool) {
	s.mu.Lock()
	defer s.unlock()
	p := s.places[f.key(s.id)]
	p.stray = f
	if isUnderWay {
		p.until = time.Now().Add(2 * s.opts.TTL)
	}
}

// isStray reports whether there may be something to release at a key.
func (s *Session) isStray(key string) bool {
	s.mu.Lock()
	defer s.unlock()
	p := s.places[key]
	return p != nil && p.stray != nil
}

// strays returns what may have to be released.
func (s *Session) strays() (list []form) {
	s.mu.Lock()
	defer s.unlock()
	for _, p := range s.places {
		if p.stray != nil {
			list = append(list, p.stray)
		}
	}
	return list
}

// settle waits until nobody uses a key of the ended session, and its goroutine has
// ended.
func (s *Session) settle(ctx context.Context) error {
	waits := []<-chan struct{}{s.done}
	s.mu.Lock()
	for _, p := range s.places {
		if p.busy != nil {
			waits = append(waits, p.busy)
		}
	}
	s.unlock()
	for _, wait := range waits {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sweep releases what the session holds without a lease, so that nobody waits for a
// holder that does not exist. It takes little time, because the next renewal waits for
// it: what is left is tried again after that.
func (s *Session) sweep() {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.callTimeout()/5)
	defer cancel()
	for _, f := range s.strays() {
		s.tidy(ctx, f)
	}
}

// tidy releases what the session holds without a lease, unless somebody else in the
// session uses the key: who does takes care.
func (s *Session) tidy(ctx context.Context, f form) {
	key := f.key(s.id)
	s.mu.Lock()
	busy := s.take(key)
	if busy == nil {
		s.places[key].isTidied = true
	}
	s.unlock()
	if busy != nil {
		return
	}
	defer s.unclaim(key)
	if s.isStray(key) {
		_ = s.release(ctx, f) // what fails is tried again after the next renewal
	}
}

// errChanged means that what was read has changed before the write that depends on it.
var errChanged = errors.New("what is stored has changed meanwhile")

// hasChanged reports whether a transaction was refused because what it depends on has
// changed.
func hasChanged(err error) bool {
	var refused *consul.TxnError
	return errors.As(err, &refused) && (errors.Is(err, consul.ErrStaleIndex) || errors.Is(err, consul.ErrNotFound))
}

// release gives up what the session holds, if it does, until that has succeeded or ctx
// ends. The key must be claimed, or the session ended.
func (s *Session) release(ctx context.Context, f form) error {
	key := f.key(s.id)
	err := s.retry(ctx, key, func(ctx context.Context) error {
		stored, _, err := f.read(ctx, &consul.QueryOptions{RequireConsistent: true})
		if err != nil {
			return err
		}
		ops := f.release(stored, s.id)
		if len(ops) == 0 {
			return nil
		}
		resp, err := f.client().Txn().Apply(ctx, ops, nil)
		switch {
		case err == nil && len(resp.Results) == 0:
			return errors.New("the response to the transaction has no results")
		case errors.Is(err, consul.ErrUnknownSession):
			return nil
		case hasChanged(err):
			pace.Sleep(ctx, spread())
			return errChanged
		}
		return err
	})
	if err == nil {
		s.mu.Lock()
		defer s.unlock()
		if p := s.places[key]; p != nil && !time.Now().Before(p.until) {
			p.stray = nil
		}
	}
	return err
}
