package state

import (
	"fmt"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// performOnKey performs an operation on a key. Its result has the value only if the
// operation is there to read it.
func (st *Store) performOnKey(op *TxnOp) ([]TxnResult, error) {
	p := *op.KV
	switch op.Verb {
	case "set":
		return written(st.SetKey(p))
	case "cas":
		if now := st.CASKey(p, op.Index); now != nil {
			return written(now)
		}
		return nil, stale("set", fmt.Sprintf("key %q", p.Key))
	case "lock":
		now, err := st.LockKey(p)
		if now == nil && err == nil {
			err = fmt.Errorf("failed to lock key %q, lock is already held", p.Key)
		}
		return writtenIf(now, err)
	case "unlock":
		now, err := st.UnlockKey(p)
		if now == nil && err == nil {
			err = fmt.Errorf("failed to unlock key %q, lock isn't held, or is held by another session", p.Key)
		}
		return writtenIf(now, err)
	case "delete":
		st.DeleteKey(p.Key)
		return nil, nil
	case "delete-cas":
		if !st.DeleteKeyCAS(p.Key, op.Index) {
			return nil, stale("delete", fmt.Sprintf("key %q", p.Key))
		}
		return nil, nil
	case "delete-tree":
		st.DeleteKeys(p.Key)
		return nil, nil
	}
	return st.readKeyTxn(op)
}

// readKeyTxn performs an operation that reads or checks a key.
func (st *Store) readKeyTxn(op *TxnOp) ([]TxnResult, error) {
	p, key := st.keys[op.KV.Key], op.KV.Key
	switch op.Verb {
	case "get":
		if p == nil {
			return nil, fmt.Errorf("key %q doesn't exist", key)
		}
		return []TxnResult{{KV: p}}, nil
	case "get-tree":
		var found []TxnResult
		for _, p := range st.KeysWith(key) {
			found = append(found, TxnResult{KV: p})
		}
		return found, nil
	case "check-session":
		switch {
		case p == nil:
			return nil, fmt.Errorf("failed to check session, key %q doesn't exist", key)
		case p.Session != op.KV.Session:
			return nil, fmt.Errorf("failed session check for key %q, current session %q != %q", key, p.Session, op.KV.Session)
		}
		return written(p)
	case "check-index":
		switch {
		case p == nil:
			return nil, fmt.Errorf("failed to check index, key %q doesn't exist", key)
		case p.ModifyIndex != op.Index:
			return nil, fmt.Errorf("failed index check for key %q, current modify index %d != %d", key, p.ModifyIndex, op.Index)
		}
		return written(p)
	case "check-not-exists":
		if p != nil {
			return nil, fmt.Errorf("key %q exists", key)
		}
		return nil, nil
	case "get-or-empty":
		if st.Version == release.V1_8_7 {
			break
		}
		if p == nil { // what the operation says of the key, except for the value
			p = op.KV.withoutValue()
			p.ModifyIndex = op.Index
		}
		return []TxnResult{{KV: p}}, nil
	}
	return nil, fmt.Errorf("unknown KV verb %q", op.Verb)
}

// written is the result of an operation that does not read the value.
func written(p *KVPair) ([]TxnResult, error) { return []TxnResult{{KV: p.withoutValue()}}, nil }

func writtenIf(p *KVPair, err error) ([]TxnResult, error) {
	if err != nil {
		return nil, err
	}
	return written(p)
}
