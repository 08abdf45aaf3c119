package state

import "strings"

// waiter is somebody who waits for changes.
type waiter struct {
	Wake chan struct{} // holds one element after a change
	keys []string
}

// Watch returns a waiter for the keys. It must be given back to unwatch.
func (st *Store) Watch(keys ...string) *waiter {
	w := &waiter{Wake: make(chan struct{}, 1), keys: keys}
	for _, k := range keys {
		if st.waiters[k] == nil {
			st.waiters[k] = make(map[*waiter]struct{})
		}
		st.waiters[k][w] = struct{}{}
		if index, prefix, ok := strings.Cut(k, "\x00"); ok {
			if st.recordWaiters[index] == nil {
				st.recordWaiters[index] = make(map[string]int)
			}
			st.recordWaiters[index][prefix]++
		}
	}
	return w
}

// Unwatch ends a wait.
func (st *Store) Unwatch(w *waiter) {
	for _, k := range w.keys {
		delete(st.waiters[k], w)
		if len(st.waiters[k]) == 0 {
			delete(st.waiters, k)
		}
		if index, prefix, ok := strings.Cut(k, "\x00"); ok {
			if st.recordWaiters[index][prefix]--; st.recordWaiters[index][prefix] == 0 {
				delete(st.recordWaiters[index], prefix)
			}
		}
	}
}

// Notify wakes those who wait for one of the keys.
func (st *Store) Notify(keys ...string) {
	for _, k := range keys {
		for w := range st.waiters[k] {
			select {
			case w.Wake <- struct{}{}:
			default:
			}
		}
	}
}
