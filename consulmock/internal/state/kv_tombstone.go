package state

import (
	"strings"
	"time"
)

// Servers remember deleted keys for a while, so that the index of a prefix does not
// fall when its keys go.

// tombstone stands for a key that was deleted, or for all those with a prefix.
type tombstone struct {
	index  uint64
	reaped time.Time // when it is forgotten
}

// A tombstone is forgotten by the end of the interval in which its time is over.
const (
	tombstoneTTL  = 15 * time.Minute
	reapIntervals = 30 * time.Second
)

// reapingOf returns when a tombstone that is new or counts as new is forgotten.
func reapingOf(now time.Time) time.Time {
	return now.Add(tombstoneTTL).Truncate(reapIntervals).Add(reapIntervals)
}

// bury remembers that a key, or all those with a prefix, was deleted.
func (st *Store) bury(name string) {
	st.tombstones[name] = tombstone{st.Index, reapingOf(time.Now())}
	st.touch(tombstonesTable)
}

// tombstoneIndex returns the index of the last deletion of a name that begins with a
// prefix, or 0. A deletion of something shorter, which the keys with the prefix were
// part of, does not count.
func (st *Store) tombstoneIndex(prefix string) (index uint64) {
	st.reap()
	for name, t := range st.tombstones {
		if strings.HasPrefix(name, prefix) {
			index = max(index, t.index)
		}
	}
	return index
}

// reap forgets the tombstones whose time is over. Nobody is woken by that.
func (st *Store) reap() {
	now := time.Now()
	for name, t := range st.tombstones {
		if !now.Before(t.reaped) {
			delete(st.tombstones, name)
		}
	}
}

// KeepTombstones begins the time of all tombstones anew, as a new leader does.
func (st *Store) KeepTombstones() {
	for name, t := range st.tombstones {
		st.tombstones[name] = tombstone{t.index, reapingOf(time.Now())}
	}
}
