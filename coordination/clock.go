package coordination

import "time"

// moment is a reading of both clocks of the system. The monotonic clock stops while
// the machine sleeps, on some systems, and the wall clock can be set: what has run out
// by either of them has run out.
type moment struct {
	mono time.Time // with a monotonic reading
	wall time.Time // without
}

func now() moment {
	t := time.Now()
	return moment{t, t.Round(0)}
}

// since returns how long ago the earlier moment was at m, by the clock that has
// advanced further.
func (m moment) since(earlier moment) time.Duration {
	return max(m.mono.Sub(earlier.mono), m.wall.Sub(earlier.wall))
}

// after reports whether m is later than the other moment, by the monotonic clock.
func (m moment) after(other moment) bool { return m.mono.After(other.mono) }
