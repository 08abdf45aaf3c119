package coordination

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lictor-go/consul"
)

// form is how a lock is stored in keys. The two forms are those of the official
// client's Lock and Semaphore, and of the command consul lock.
type form interface {
	// client returns the client for the requests below.
	client() *consul.Client

	// key returns the key that a session holds as long as it has the lock.
	key(session string) string

	// read reads everything that the other methods need.
	read(ctx context.Context, q *consul.QueryOptions) ([]*consul.KVPair, *consul.QueryMeta, error)

	// acquire returns the operations with which a session acquires the lock. They are
	// refused if what was read has changed meanwhile. An error is a [*HeldError] or
	// [ErrConflict]. An empty session finds out whether there would be one.
	acquire(stored []*consul.KVPair, session string) ([]consul.TxnOp, error)

	// verify returns why a session does not have the lock by the acquisition with the
	// token, or nothing if it does.
	verify(stored []*consul.KVPair, session string, token uint64) LossReason

	// release returns the operations with which a session gives up the lock, or
	// nothing if it does not have it. They are refused if what was read has changed
	// meanwhile.
	release(stored []*consul.KVPair, session string) []consul.TxnOp
}

// checkIndex returns the operation that fails unless a key has a ModifyIndex.
func checkIndex(key string, index uint64) consul.TxnOp {
	return consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVCheckIndex, Key: key, Index: index}}
}

// find returns the pair of a key, or nil.
func find(stored []*consul.KVPair, key string) *consul.KVPair {
	for _, p := range stored {
		if p.Key == key {
			return p
		}
	}
	return nil
}

// verifyKey returns why a session does not hold a key since the token.
func verifyKey(p *consul.KVPair, session string, token uint64) LossReason {
	switch {
	case p == nil:
		return LossDeleted
	case p.Session == "":
		return LossSession
	case p.Session != session:
		return LossTaken
	case p.ModifyIndex != token:
		return LossOverwritten
	}
	return ""
}

// spread returns a random pause, for those who have all waited for the same change.
func spread() time.Duration { return rand.N(50 * time.Millisecond) }
