package coordination

import "context"

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
