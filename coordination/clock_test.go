package coordination

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
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

// A lease that has run out while the machine slept is lost, although no timer has fired
// and the servers still have it: what arrives now does not bring it back.
func TestSleptTooLong(t *testing.T) {
	for name, wake := range map[string]func(l *Lease) error{
		"look":    func(*Lease) error { return nil },
		"renewal": func(l *Lease) error { return l.session.renew(context.Background()) },
		"read":    func(l *Lease) error { _, err := l.confirm(); return err },
		"timer":   func(l *Lease) error { l.expire(); return nil },
	} {
		agent := consulmock.New(t)
		l, err := NewMutex(agent.Client(), "app/lock", nil).Lock(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		s := l.session
		s.mu.Lock()
		s.renewed.wall = s.renewed.wall.Add(-s.opts.lifetime())
		s.unlock()
		if err := wake(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cause := context.Cause(l.Context())
		if l.Valid() || name != "look" && !errors.Is(cause, ErrLost) || l.Context().Err() == nil {
			t.Errorf("%s: valid: %t, cause: %v", name, l.Valid(), cause)
		}
		if err := l.Release(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
