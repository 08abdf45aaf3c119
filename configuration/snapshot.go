package configuration

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/lictor-go/consul"
)

// Snapshot is the content of a folder at one moment, and how it differs from the
// snapshot before. What was written in one transaction is in it whole or not at all.
//
// A Snapshot is shared, and so is everything in it: it must not be changed. Pairs that
// have not changed are those of the snapshot before, by pointer.
type Snapshot struct {
	// Prefix is the folder with its slash at the end, empty for all keys. The keys in
	// the rest of the Snapshot are relative to it.
	Prefix string

	// Pairs are all keys in the folder and in the folders inside it, in the order of
	// their bytes. Agents replace what is not valid UTF-8 in keys; of keys that read the
	// same then, there is one.
	Pairs []*consul.KVPair

	// Added, Changed and Removed are the keys that differ from the snapshot before, in
	// the order of their bytes. In a first snapshot all keys are added. A key is
	// changed if its value or its flags are.
	Added, Changed, Removed []string

	// Index is the index of the response.
	Index uint64
}

// Get returns the value of a key, and whether there is one. An empty value is nil.
func (s *Snapshot) Get(key string) ([]byte, bool) {
	if s == nil {
		return nil, false
	}
	i, found := slices.BinarySearchFunc(s.Pairs, key, compareToKey)
	if !found {
		return nil, false
	}
	return s.Pairs[i].Value, true
}

func compareToKey(p *consul.KVPair, key string) int { return cmp.Compare(p.Key, key) }

func compareKeys(a, b *consul.KVPair) int { return cmp.Compare(a.Key, b.Key) }

// differs reports whether something has been added, changed or removed.
func (s *Snapshot) differs() bool { return len(s.Added)+len(s.Changed)+len(s.Removed) > 0 }

// since returns the snapshot with its differences from another one, which may be nil.
func (s *Snapshot) since(before *Snapshot) *Snapshot {
	next := *s
	next.Added, next.Changed, next.Removed = nil, nil, nil
	var old []*consul.KVPair
	if before != nil {
		old = before.Pairs
	}
	match(old, s.Pairs, func(was, is *consul.KVPair) {
		switch {
		case was == nil:
			next.Added = append(next.Added, is.Key)
		case is == nil:
			next.Removed = append(next.Removed, was.Key)
		case !sameContent(was, is):
			next.Changed = append(next.Changed, is.Key)
		}
	})
	// Who appends to them must not write to the memory of others.
	next.Added, next.Changed, next.Removed = slices.Clip(next.Added), slices.Clip(next.Changed), slices.Clip(next.Removed)
	return &next
}

// match calls visit with the pairs of each key of two ordered lists, of which one is
// nil if only the other list has the key.
func match(old, list []*consul.KVPair, visit func(was, is *consul.KVPair)) {
	for len(old) > 0 || len(list) > 0 {
		switch {
		case len(list) == 0 || len(old) > 0 && old[0].Key < list[0].Key:
			visit(old[0], nil)
			old = old[1:]
		case len(old) == 0 || list[0].Key < old[0].Key:
			visit(nil, list[0])
			list = list[1:]
		default:
			visit(old[0], list[0])
			old, list = old[1:], list[1:]
		}
	}
}

// sameContent reports whether two pairs of a key have the same value and flags. Locks
// move the indexes of a pair, which is no change of the configuration.
func sameContent(a, b *consul.KVPair) bool {
	return a == b || a.Flags == b.Flags && bytes.Equal(a.Value, b.Value)
}
