package coordination

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

// Election chooses one leader among those who campaign at a key. Its methods may be called
// concurrently, and each call of Campaign and Run is a candidate of its own.
//
// It is a [Mutex] whose value others read: the official client's Lock and the command
// "consul lock" can be candidates too.
type Election struct{ lock lock }

// ElectionOptions are the options of an election. Nil and the zero ElectionOptions mean
// the defaults.
type ElectionOptions struct {
	// Session is the session of the candidate, and stays. Its client and the election's
	// are of the same datacenter. Nil means one for each lease, which is gone with it;
	// [Election.Run] keeps it over several.
	Session *Session

	// SessionOptions are the options of such a session. With a Session they are an
	// error.
	SessionOptions *SessionOptions

	// Value is what others see of the leader, such as its address.
	Value []byte

	// Logger logs each event; nil logs nothing. OnEvent, if not nil, is called with
	// each event. A session that the election makes reports to both, too, unless the
	// SessionOptions have others.
	Logger  *slog.Logger
	OnEvent func(Event)
}

// NewElection returns the election at a key. It sends nothing; whatever is wrong with the
// parameters is an error of the methods.
func NewElection(c *consul.Client, key string, opts *ElectionOptions) *Election {
	var o ElectionOptions
	if opts != nil {
		o = *opts
	}
	m := NewMutex(c, key, &MutexOptions{o.Session, o.SessionOptions, o.Value, o.Logger, o.OnEvent})
	return &Election{m.lock}
}

// Campaign waits until the caller is the leader, or until ctx ends. It returns either a
// lease or an error, as [Mutex.Lock] does.
func (e *Election) Campaign(ctx context.Context) (*Lease, error) { return e.lock.acquire(ctx, false) }

// stepDownPause is how long Run lets others lead when lead has returned, plus or minus
// 20 %. After a loss it does so only if it has led for less than that.
const stepDownPause = time.Second

// Run campaigns, calls lead as the leader, and campaigns again when lead has returned,
// until ctx ends or lead returns an error. It returns that error, or the one of ctx, or
// what makes it impossible to campaign.
//
// The context of lead ends when the lease is lost or may be, with an [ErrLost] as its
// [context.Cause], and when ctx ends. Lead must then return soon: Run calls it again only
// after that, so that there is one at a time. What it returns after a loss does not count
// if it is the error of its context or the cause. When lead returns nil while it has the
// lease, Run releases it, and lets others lead first. In the end Run releases what it
// has, for which it takes at most 10 s longer.
func (e *Election) Run(ctx context.Context, lead func(ctx context.Context, l *Lease) error) error {
	switch {
	case ctx == nil:
		return errNilContext
	case lead == nil:
		return errors.New("coordination: nil function to lead")
	}
	src := e.lock.source()
	src.keeps = true
	defer func() {
		if src.lock != nil && src.session != nil {
			_ = src.session.Close() // it ends by itself if that fails
		}
	}()
	for {
		l, err := e.lock.acquireWith(ctx, src, false)
		if err != nil {
			if ctx.Err() != nil {
				return ended(ctx, nil)
			}
			return err
		}
		start := time.Now()
		if err := term(ctx, l, lead); err != nil {
			return err
		}
		if !errors.Is(context.Cause(l.Context()), ErrLost) || time.Since(start) < stepDownPause {
			pace.Sleep(ctx, pace.Jittered(stepDownPause, rand.Float64()))
		}
		if ctx.Err() != nil {
			return ended(ctx, nil)
		}
	}
}

// term leads as long as the lease lasts, and returns the error that ends Run.
func term(ctx context.Context, l *Lease, lead func(ctx context.Context, l *Lease) error) error {
	lctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := func() { cancel(context.Cause(l.Context())) }
	defer context.AfterFunc(l.Context(), end)()
	defer func() { // also if lead panics
		rctx, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer stop()
		_ = l.Release(rctx) // what fails is tried again by the session
	}()
	err := lead(lctx, l)
	if l.Context().Err() != nil {
		end() // lead may have seen that before lctx did
	}
	if lctx.Err() != nil && (errors.Is(err, lctx.Err()) || errors.Is(err, context.Cause(lctx))) {
		err = nil
	}
	return err
}

// Leader is who leads. The zero Leader is nobody.
type Leader struct {
	Value   []byte // of the leader's ElectionOptions
	Session string // the ID of the leader's session; empty if nobody leads
	Token   uint64 // of the leader's lease
}

// Leader returns the present leader, or the zero Leader if there is none.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	if err := e.lock.check(ctx); err != nil {
		return Leader{}, err
	}
	l, _, err := e.leader(ctx, nil)
	return l, err
}

func (e *Election) leader(ctx context.Context, q *consul.QueryOptions) (Leader, *consul.QueryMeta, error) {
	stored, meta, err := e.lock.form.read(ctx, q)
	if err != nil || len(stored) == 0 || stored[0].Session == "" {
		return Leader{}, meta, err
	}
	return Leader{stored[0].Value, stored[0].Session, stored[0].ModifyIndex}, meta, nil
}

// Observe yields the present leader, and then each other one, also the zero Leader when
// there is none, until ctx ends or the loop breaks. A leader that follows itself, with
// another token, is another one. If changes follow each other fast, some may be left out.
// A query that fails is yielded as an error; if the loop goes on, the next one is sent
// after a growing random pause. When ctx ends, the sequence ends without an error.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	if err := e.lock.check(ctx); err != nil {
		return watch.Failing[Leader](err)
	}
	loop := &watch.Loop[Leader]{
		Query:   e.leader,
		Options: watch.Options{Name: e.lock.name}.WithDefaults(),
	}
	return loop.Changed(ctx)
}
