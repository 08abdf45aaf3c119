package api

import (
	"fmt"
	"net/http"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// putKey writes a key: as it is, if its index is right, or as a lock.
func (q *request) putKey() (any, error) {
	if err := q.checkWriteOptions(); err != nil {
		return nil, err
	}
	if q.name == "" {
		return nil, refusal.BadRequest(missingKeyName)
	}
	if err := q.conflictingFlags("cas", "acquire", "release"); err != nil {
		return nil, err
	}
	flags, err := number(q.query, "flags")
	if err != nil {
		return nil, err
	}
	index, err := number(q.query, "cas")
	if err != nil {
		return nil, err
	}
	if err := q.limitBody(q.api.config.MaxValue, "kv_max_value_size"); err != nil {
		return nil, err
	}
	p := state.KVPair{Key: q.name, Flags: flags, Value: q.body}
	return q.writeKey(q.requireKeyWrite, func(st *state.Store) (any, error) {
		switch {
		case q.query.Has("cas"):
			return st.CASKey(p, index) != nil, nil
		case q.query.Has("acquire"):
			p.Session = q.query.Get("acquire")
			return q.lockKey(st.LockKey, p)
		case q.query.Has("release"):
			p.Session = q.query.Get("release")
			return q.lockKey(st.UnlockKey, p)
		}
		st.SetKey(p)
		return true, nil
	})
}

// checkWriteOptions refuses the parameters of a write of keys as if it were a read.
func (q *request) checkWriteOptions() error {
	if _, err := q.readOptions(); err != nil {
		return err
	}
	return q.refuseEnterprise()
}

// lockKey acquires or releases a key, and puts an error in the agent's words.
func (q *request) lockKey(change func(state.KVPair) (*state.KVPair, error), p state.KVPair) (any, error) {
	now, err := change(p)
	if err != nil && q.v == release.V1_21_4 {
		err = fmt.Errorf("raft apply failed: %w", err)
	}
	return now != nil, err
}

// deleteKey deletes a key, or all those with a prefix.
func (q *request) deleteKey() (any, error) {
	if err := q.checkWriteOptions(); err != nil {
		return nil, err
	}
	if err := q.conflictingFlags("recurse", "cas"); err != nil {
		return nil, err
	}
	if q.query.Has("recurse") {
		requireTree := func(authz *acl.Authorizer) error { return authz.RequireTree(q.v, q.name) }
		return q.writeKey(requireTree, func(st *state.Store) (any, error) {
			st.DeleteKeys(q.name)
			return true, nil
		})
	}
	if q.name == "" {
		return nil, refusal.BadRequest(missingKeyName)
	}
	index, err := number(q.query, "cas")
	if err != nil {
		return nil, err
	}
	return q.writeKey(q.requireKeyWrite, func(st *state.Store) (any, error) {
		if q.query.Has("cas") {
			return st.DeleteKeyCAS(q.name, index), nil
		}
		st.DeleteKey(q.name)
		return true, nil
	})
}

func (q *request) requireKeyWrite(authz *acl.Authorizer) error {
	return authz.Require(q.v, acl.KeyWrite, q.name)
}

// writeKey performs a write of the store if the token allows it. Also one that changes
// nothing, or fails, is in the log of the servers, and so moves its index; only a key
// in its lock-delay is refused before.
func (q *request) writeKey(permit func(*acl.Authorizer) error, write func(*state.Store) (any, error)) (any, error) {
	if err := q.forward(q.query.Get("dc"), false); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := permit(authz); err != nil {
		return nil, err
	}
	if q.r.Method == http.MethodPut && q.query.Has("acquire") && q.a.Store.LockDelayed(q.name) {
		return false, nil
	}
	q.a.Store.Index++
	return write(q.a.Store)
}

// closesAfter is the length of a body that agents do not read to its end if they have
// refused the request: they close the connection instead.
const closesAfter = 256 << 10

// limitBody refuses a body that is too large. A body in chunks has no length.
func (q *request) limitBody(most int64, setting string) error {
	n := q.r.ContentLength
	if n <= most {
		return nil
	}
	if n > closesAfter {
		q.w.Header().Set("Connection", "close")
	}
	return refusal.New(http.StatusRequestEntityTooLarge,
		fmt.Sprintf("Request body(%d bytes) too large, max size: %d bytes. See %s.", n, most, q.documentation(setting)))
}

// documentation returns where agents say that a setting is described.
func (q *request) documentation(setting string) string {
	if q.v == release.V1_8_7 {
		return "https://www.consul.io/docs/agent/options.html#" + setting
	}
	return "https://developer.hashicorp.com/docs/agent/config/config-files#" + setting
}
