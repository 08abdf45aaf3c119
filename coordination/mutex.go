package coordination

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/lictor-go/consul"
)

// Mutex is a lock at a key: it has one lease at a time. Its methods may be called
// concurrently, and each call contends for a lease of its own.
//
// It excludes, and is excluded by, the official client's Lock at the same key, and the
// command "consul lock PREFIX", whose key is PREFIX/.lock.
type Mutex struct{ lock lock }

// MutexOptions are the options of a mutex. Nil and the zero MutexOptions mean the
// defaults.
type MutexOptions struct {
	// Session is the session with which the key is acquired, and which stays. Its
	// client and the mutex's are of the same datacenter; their tokens may differ. Nil
	// means that each lease has a session of its own, which is gone with it.
	Session *Session

	// SessionOptions are the options of such a session. With a Session they are an
	// error.
	SessionOptions *SessionOptions

	// Value is written to the key with each acquisition, for others to read.
	Value []byte

	// Logger logs each event; nil logs nothing. OnEvent, if not nil, is called with
	// each event. A session that the mutex makes reports to both, too, unless the
	// SessionOptions have others.
	Logger  *slog.Logger
	OnEvent func(Event)
}

// NewMutex returns the mutex at a key. It sends nothing; whatever is wrong with the
// parameters is an error of Lock and TryLock.
func NewMutex(c *consul.Client, key string, opts *MutexOptions) *Mutex {
	var o MutexOptions
	if opts != nil {
		o = *opts
	}
	f := &mutexForm{c, key, bytes.Clone(o.Value)}
	return &Mutex{newLock(f, key, o.Session, o.SessionOptions, observer{o.Logger, o.OnEvent})}
}

// Lock acquires the mutex, and waits for it as long as others hold it, or until ctx
// ends. It returns either a lease or an error.
//
// A request that fails is sent again, after a growing random pause, unless the agent
// has refused it for good. So with an agent that cannot be reached, Lock waits until it
// can. If ctx ends while an acquisition is under way, Lock undoes what that may have
// done, for which it takes at most a second: nothing stays held.
func (m *Mutex) Lock(ctx context.Context) (*Lease, error) { return m.lock.acquire(ctx, false) }

// TryLock acquires the mutex if it is free, and does not wait: if others hold it the
// error is [ErrHeld], and a [*HeldError] that names them, and during the lock-delay
// after the loss of a session it is [ErrDelayed]. A request that fails is not sent
// again.
func (m *Mutex) TryLock(ctx context.Context) (*Lease, error) { return m.lock.acquire(ctx, true) }

// mutexFlags are the flags of a key that is a mutex.
const mutexFlags = 0x2ddccbc058a50c18

// mutexForm is a mutex: whoever holds the key has the lock.
type mutexForm struct {
	c     *consul.Client
	name  string
	value []byte
}

func (f *mutexForm) client() *consul.Client { return f.c }

func (f *mutexForm) key(string) string { return f.name }

func (f *mutexForm) read(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, *consul.QueryMeta, error) {
	p, meta, err := f.c.KV().Get(ctx, f.name, q)
	if err != nil || p == nil {
		return nil, meta, err
	}
	return []*consul.KVPair{p}, meta, nil
}

func (f *mutexForm) acquire(stored []*consul.KVPair, session string) ([]consul.TxnOp, error) {
	p := find(stored, f.name)
	var ops []consul.TxnOp
	switch {
	case p == nil:
		ops = []consul.TxnOp{f.op(consul.KVCAS, "", nil)} // refused if there is one
	case p.Session != "" && p.Session != session:
		return nil, &HeldError{f.name, []string{p.Session}, p.Value}
	case p.Session != "":
		// The session has lost the lease, or does not know that it has acquired it.
		ops = []consul.TxnOp{checkIndex(f.name, p.ModifyIndex), f.op(consul.KVUnlock, session, nil)}
	case p.Flags != mutexFlags:
		return nil, fmt.Errorf("%w: %q has the flags %#x; want those of a mutex, %#x", ErrConflict, f.name, p.Flags, uint64(mutexFlags))
	default:
		ops = []consul.TxnOp{checkIndex(f.name, p.ModifyIndex)}
	}
	return append(ops, f.op(consul.KVLock, session, f.value)), nil
}

func (f *mutexForm) op(verb consul.KVOp, session string, value []byte) consul.TxnOp {
	return consul.TxnOp{KV: &consul.KVTxnOp{Verb: verb, Key: f.name, Value: value, Flags: mutexFlags, Session: session}}
}

func (f *mutexForm) verify(stored []*consul.KVPair, session string, token uint64) LossReason {
	return verifyKey(find(stored, f.name), session, token)
}

func (f *mutexForm) release(stored []*consul.KVPair, session string) []consul.TxnOp {
	p := find(stored, f.name)
	if p == nil || p.Session != session {
		return nil
	}
	// With the right flags, should somebody have overwritten them.
	return []consul.TxnOp{checkIndex(f.name, p.ModifyIndex), f.op(consul.KVUnlock, session, p.Value)}
}
