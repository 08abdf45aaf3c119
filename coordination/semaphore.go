package coordination

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
)

// Semaphore is a lock that has at most so many leases at a time. Its methods may be
// called concurrently, and each call contends for a lease of its own.
//
// It works together with the official client's Semaphore at the same prefix, and with the
// command "consul lock -n=3 PREFIX".
type Semaphore struct{ lock lock }

// SemaphoreOptions are the options of a semaphore. Nil and the zero SemaphoreOptions mean
// the defaults.
type SemaphoreOptions struct {
	// Session is the session of each lease, and stays; it has one lease at a time of
	// each semaphore. Its client and the semaphore's are of the same datacenter. Nil
	// means that each lease has a session of its own, which is gone with it.
	Session *Session

	// SessionOptions are the options of such a session. If their Behavior is empty, the
	// holder's key is deleted with the session. With a Session they are an error.
	SessionOptions *SessionOptions

	// Value is written to the holder's key, for others to read.
	Value []byte

	// Logger logs each event; nil logs nothing. OnEvent, if not nil, is called with
	// each event. A session that the semaphore makes reports to both, too, unless the
	// SessionOptions have others.
	Logger  *slog.Logger
	OnEvent func(Event)
}

// NewSemaphore returns the semaphore below a prefix, which is a folder: "a/b" and "a/b/"
// are the same. All who use it have to give the same limit, 1 or more. It sends nothing;
// whatever is wrong with the parameters is an error of Acquire and TryAcquire.
//
// The lock-delay does not protect a semaphore. Leases that run out do so before their
// place is given to others; but when a session is destroyed, there may be a lease too
// many until its holder has noticed.
func NewSemaphore(c *consul.Client, prefix string, limit int, opts *SemaphoreOptions) *Semaphore {
	var o SemaphoreOptions
	if opts != nil {
		o = *opts
	}
	prefix = trimSlash(prefix)
	if o.Session == nil {
		var so SessionOptions
		if o.SessionOptions != nil {
			so = *o.SessionOptions
		}
		if so.Behavior == "" {
			so.Behavior = consul.SessionDelete
		}
		o.SessionOptions = &so
	}
	f := &semaphoreForm{c, prefix, limit, bytes.Clone(o.Value)}
	s := &Semaphore{newLock(f, prefix, o.Session, o.SessionOptions, observer{o.Logger, o.OnEvent})}
	if limit < 1 && s.lock.err == nil {
		s.lock.err = fmt.Errorf("coordination: semaphore %q: limit is %d; want 1 or more", prefix, limit)
	}
	return s
}

func trimSlash(prefix string) string {
	if strings.HasSuffix(prefix, "//") {
		return prefix // is an error
	}
	return strings.TrimSuffix(prefix, "/")
}

// Acquire acquires a place in the semaphore, and waits for one as long as others have
// all of them, or until ctx ends. It returns either a lease or an error. Failures are
// treated as by [Mutex.Lock]. A semaphore with another limit is [ErrConflict].
func (s *Semaphore) Acquire(ctx context.Context) (*Lease, error) { return s.lock.acquire(ctx, false) }

// TryAcquire acquires a place if there is one, and does not wait: if others have all of
// them the error is [ErrHeld], and a [*HeldError] that names them. A request that fails
// is not sent again.
func (s *Semaphore) TryAcquire(ctx context.Context) (*Lease, error) {
	return s.lock.acquire(ctx, true)
}

// semaphoreFlags are the flags of all keys of a semaphore.
const semaphoreFlags = 0xe0f69a2baa414de0

// semaphoreForm is a semaphore: a session has a place if it is listed in the key .lock
// and holds a key of its own name.
type semaphoreForm struct {
	c      *consul.Client
	prefix string
	limit  int
	value  []byte
}

// holders is the value of the key .lock.
type holders struct {
	Limit   int
	Holders map[string]bool
}

func (f *semaphoreForm) client() *consul.Client { return f.c }

func (f *semaphoreForm) key(session string) string { return f.prefix + "/" + session }

func (f *semaphoreForm) listKey() string { return f.prefix + "/.lock" }

// read reads the folder. What the token may not read is left out of a list, without an
// error, and would look like a place that is free. So if there is no list of holders,
// that key is read by itself, which is refused then.
func (f *semaphoreForm) read(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, *consul.QueryMeta, error) {
	stored, meta, err := f.c.KV().List(ctx, f.prefix+"/", q)
	if err != nil || find(stored, f.listKey()) != nil {
		return stored, meta, err
	}
	p, _, err := f.c.KV().Get(ctx, f.listKey(), &consul.QueryOptions{RequireConsistent: q.RequireConsistent})
	switch {
	case err != nil:
		return nil, nil, err
	case p != nil: // by now
		return f.c.KV().List(ctx, f.prefix+"/", &consul.QueryOptions{RequireConsistent: true})
	}
	return stored, meta, nil
}

// listed returns the sessions that are listed as holders, and the pair of the list,
// which is nil if there is none.
func (f *semaphoreForm) listed(stored []*consul.KVPair) (*consul.KVPair, holders, error) {
	list := find(stored, f.listKey())
	var h holders
	if list == nil {
		return nil, h, nil
	}
	if list.Flags != semaphoreFlags {
		return nil, h, fmt.Errorf("%w: %q has the flags %#x; want those of a semaphore, %#x", ErrConflict, list.Key, list.Flags, uint64(semaphoreFlags))
	}
	if len(list.Value) > 0 {
		if err := json.Unmarshal(list.Value, &h); err != nil {
			return nil, h, fmt.Errorf("%w: %q is no list of holders: %w", ErrConflict, list.Key, err)
		}
	}
	return list, h, nil
}

// alive returns those of the holders whose session holds its key.
func (f *semaphoreForm) alive(stored []*consul.KVPair, listed map[string]bool) map[string]bool {
	live := make(map[string]bool)
	for _, p := range stored {
		if p.Session != "" && listed[p.Session] && p.Key == f.key(p.Session) {
			live[p.Session] = true
		}
	}
	return live
}

func (f *semaphoreForm) acquire(stored []*consul.KVPair, session string) ([]consul.TxnOp, error) {
	list, h, err := f.listed(stored)
	if err != nil {
		return nil, err
	}
	if list != nil && h.Limit != f.limit && h.Limit != 0 {
		return nil, fmt.Errorf("%w: semaphore %q has the limit %d; want %d", ErrConflict, f.prefix, h.Limit, f.limit)
	}
	live := f.alive(stored, h.Holders)
	delete(live, session) // from a lease that was lost
	if len(live) >= f.limit {
		sessions := make([]string, 0, len(live))
		for s := range live {
			sessions = append(sessions, s)
		}
		slices.Sort(sessions)
		return nil, &HeldError{Key: f.prefix, Sessions: sessions}
	}
	live[session] = true
	var ops []consul.TxnOp
	if own := find(stored, f.key(session)); own != nil && own.Session == session {
		ops = append(ops, checkIndex(own.Key, own.ModifyIndex), f.op(consul.KVUnlock, session, nil))
	}
	return append(ops, f.op(consul.KVLock, session, f.value), f.write(list, live)), nil
}

func (f *semaphoreForm) op(verb consul.KVOp, session string, value []byte) consul.TxnOp {
	return consul.TxnOp{KV: &consul.KVTxnOp{Verb: verb, Key: f.key(session), Value: value, Flags: semaphoreFlags, Session: session}}
}

// write returns the operation that writes the list of holders, in place of the one that
// was read.
func (f *semaphoreForm) write(list *consul.KVPair, live map[string]bool) consul.TxnOp {
	value, err := json.Marshal(holders{f.limit, live})
	if err != nil {
		panic(err) // numbers, strings and booleans cannot fail
	}
	op := &consul.KVTxnOp{Verb: consul.KVCAS, Key: f.listKey(), Value: value, Flags: semaphoreFlags}
	if list != nil {
		op.Index = list.ModifyIndex
	}
	return consul.TxnOp{KV: op}
}

func (f *semaphoreForm) verify(stored []*consul.KVPair, session string, token uint64) LossReason {
	if why := verifyKey(find(stored, f.key(session)), session, token); why != "" {
		return why
	}
	list, h, err := f.listed(stored)
	switch {
	case err != nil:
		return LossOverwritten
	case list == nil:
		return LossDeleted
	case !h.Holders[session]:
		return LossTaken
	}
	return ""
}

func (f *semaphoreForm) release(stored []*consul.KVPair, session string) []consul.TxnOp {
	var ops []consul.TxnOp
	if own := find(stored, f.key(session)); own != nil && own.Session == session {
		ops = append(ops, checkIndex(own.Key, own.ModifyIndex),
			consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVDelete, Key: own.Key}})
	}
	if list, h, err := f.listed(stored); err == nil && list != nil && h.Holders[session] {
		live := f.alive(stored, h.Holders)
		delete(live, session)
		write := f.write(list, live)
		write.KV.Value, _ = json.Marshal(holders{h.Limit, live})
		ops = append(ops, write)
	}
	return ops
}
