package state

import "time"

// viewIdle is how long the streaming backend remembers a service that nobody
// asks for.
const viewIdle = 20 * time.Minute

// view is what the streaming backend knows of a service: the index of the last
// event about it, or that at which it began to look.
type view struct {
	index uint64
	used  time.Time
}

// ViewIndex returns the index of a service for the streaming backend. That of a
// service without instances stands still, whatever happens to others, and so may
// be lower than the index that other reads see.
func (st *Store) ViewIndex(key string, current uint64) uint64 {
	v := st.views[key]
	now := time.Now()
	if v == nil || now.Sub(v.used) > viewIdle {
		v = &view{index: current}
		st.views[key] = v
	}
	v.used = now
	return v.index
}
