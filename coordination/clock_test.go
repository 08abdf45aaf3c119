package coordination

import (
	"testing"
	"time"
)

// What has run out by one of the clocks has run out: the monotonic clock may stop while
// the machine sleeps, and the wall clock may be set.
func TestWallClock(t *testing.T) {
	start := now()
	at := func(mono, wall time.Duration) moment { return moment{start.mono.Add(mono), start.wall.Add(wall)} }
	for _, test := range []struct{ mono, wall, want time.Duration }{
		{time.Second, time.Second, time.Second},
		{time.Second, time.Hour, time.Hour},    // slept, or the clock was put forward
		{time.Minute, -time.Hour, time.Minute}, // the clock was put back
		{0, 0, 0},
	} {
		if got := at(test.mono, test.wall).since(start); got != test.want {
			t.Errorf("monotonic %s and wall %s later: %s have passed, want %s", test.mono, test.wall, got, test.want)
		}
	}
	if start.wall.String() == start.mono.String() {
		t.Error("the wall clock's reading has a monotonic one, which would be used instead")
	}
}

// Deadline reads both clocks too: after a sleep during which the monotonic clock stopped
// it is in the past.
func TestDeadlineAfterSleep(t *testing.T) {
	m := now()
	asleep := moment{m.mono, m.wall.Add(-time.Hour)}
	l := &Lease{session: &Session{opts: SessionOptions{TTL: 15 * time.Second, Grace: 3 * time.Second}, renewed: asleep}, confirmed: asleep}
	if d := time.Until(l.Deadline()); d > 0 {
		t.Errorf("the lease ends in %s", d)
	}
}
