package state

import (
	"bytes"
	"slices"
	"strings"
)

// This file holds the keys: what there is, their indexes, and plain writes of them.
// Each write is done at the index of the store, which the caller has moved. Locks
// are in kv_lock.go, and the deleted ones in kv_tombstone.go.

// KVPair is a key with its value as the servers hold it, in the form in which agents
// return it. Pairs in the store are never changed but replaced.
type KVPair struct {
	LockIndex   uint64
	Key         string
	Flags       uint64
	Value       []byte // nil if it is empty
	Session     string `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

// withoutValue is the pair as transactions return it where they do not read.
func (p *KVPair) withoutValue() *KVPair {
	short := *p
	short.Value = nil
	return &short
}

// equal reports whether writing a pair in the place of another changes anything.
func (p *KVPair) equal(other *KVPair) bool {
	return p.LockIndex == other.LockIndex && p.Flags == other.Flags && p.Session == other.Session && bytes.Equal(p.Value, other.Value)
}

// keysTable is the index of the last change of a key, and keysByName the order of
// the keys.
const (
	keysTable       = "kvs"
	tombstonesTable = "tombstones"
	keysByName      = "keys by name"
)

// keyEnd ends a key in the order of keys, so that no key is the beginning of another
// one.
const keyEnd = "\x00"

// Key returns a key, or nil.
func (st *Store) Key(key string) *KVPair { return st.keys[key] }

// KeysWith returns the keys with a prefix in the order of their bytes.
func (st *Store) KeysWith(prefix string) []*KVPair {
	x := st.records[keysByName]
	if x == nil {
		return nil
	}
	first, end := x.withPrefix(prefix)
	list := make([]*KVPair, 0, end-first)
	for _, key := range x.keys[first:end] {
		list = append(list, st.keys[strings.TrimSuffix(key, keyEnd)])
	}
	return list
}

// KeyIndex is the index of a key: its own, or that of the whole store if there is no
// such key.
func (st *Store) KeyIndex(key string) uint64 {
	if p := st.keys[key]; p != nil {
		return p.ModifyIndex
	}
	return st.MaxIndex(keysTable, tombstonesTable)
}

// PrefixIndex is the index of the keys with a prefix: that of the last change of one
// of them, or of a deletion below the prefix that is remembered; if there is neither,
// or if the prefix is empty, that of the whole store.
func (st *Store) PrefixIndex(prefix string) uint64 {
	var index uint64
	if prefix != "" {
		index = st.tombstoneIndex(prefix)
		for _, p := range st.KeysWith(prefix) {
			index = max(index, p.ModifyIndex)
		}
	}
	if index == 0 {
		return st.MaxIndex(keysTable, tombstonesTable)
	}
	return index
}

// KeyWatch returns the key of waiters for one key.
func KeyWatch(key string) string { return PrefixWatch(key + keyEnd) }

// PrefixWatch returns the key of waiters for the keys with a prefix.
func PrefixWatch(prefix string) string { return keysByName + "\x00" + prefix }

// put writes a pair, and reports it as it is then. Writing what is there already
// changes nothing.
func (st *Store) put(p KVPair) *KVPair {
	if len(p.Value) == 0 {
		p.Value = nil
	}
	p.CreateIndex, p.ModifyIndex = st.Index, st.Index
	if old := st.keys[p.Key]; old != nil {
		if old.equal(&p) {
			return old
		}
		p.CreateIndex = old.CreateIndex
	}
	st.keys[p.Key] = &p
	st.touch(keysTable)
	st.keyChanged(keysByName, p.Key+keyEnd, recordPut)
	return &p
}

// SetKey writes the value and flags of a key. Whoever holds it goes on to hold it,
// but the count of its acquisitions begins again.
func (st *Store) SetKey(p KVPair) *KVPair {
	p.LockIndex, p.Session = 0, ""
	if old := st.keys[p.Key]; old != nil {
		p.Session = old.Session
	}
	return st.put(p)
}

// CASKey is SetKey if the key was last changed at an index, or does not exist if the
// index is 0. It returns nil otherwise.
func (st *Store) CASKey(p KVPair, index uint64) *KVPair {
	var have uint64
	if old := st.keys[p.Key]; old != nil {
		have = old.ModifyIndex
	}
	if have != index {
		return nil
	}
	return st.SetKey(p)
}

// DeleteKey deletes a key, if there is one.
func (st *Store) DeleteKey(key string) {
	if st.keys[key] == nil {
		return
	}
	st.bury(key)
	st.drop(key)
}

// DeleteKeyCAS deletes a key that was last changed at an index, and reports whether
// there is none then.
func (st *Store) DeleteKeyCAS(key string, index uint64) bool {
	if p := st.keys[key]; p != nil && p.ModifyIndex != index {
		return false
	}
	st.DeleteKey(key)
	return true
}

// DeleteKeys deletes the keys with a prefix. One tombstone stands for all of them,
// and none if the whole store is emptied.
func (st *Store) DeleteKeys(prefix string) {
	found := st.KeysWith(prefix)
	if len(found) == 0 {
		return
	}
	if prefix != "" {
		st.bury(prefix)
	}
	for _, p := range slices.Backward(found) {
		st.drop(p.Key)
	}
}

// drop takes a key out of the store.
func (st *Store) drop(key string) {
	delete(st.keys, key)
	st.touch(keysTable)
	st.keyChanged(keysByName, key+keyEnd, recordDeleted)
}
