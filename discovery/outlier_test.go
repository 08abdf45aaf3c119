package discovery

import (
	"testing"
	"time"
)

func TestUsable(t *testing.T) {
	const now = time.Hour
	list := weighted(1, 1, 1)
	ids := func(list []Instance) string {
		s := ""
		for _, i := range list {
			s += i.ID[1:]
		}
		return s
	}
	fail := func(n int) { list[n].stats.until.Store(int64(now + time.Second)) }
	k := func(n int) instanceKey { return list[n].key() }
	check := func(want string, tried ...instanceKey) {
		t.Helper()
		if got := ids(usable(list, tried, now)); got != want {
			t.Errorf("usable: %q, want %q", got, want)
		}
	}
	check("012")
	check("02", k(1))
	check("", k(0), k(1), k(2))
	fail(0)
	check("12")
	check("2", k(1))
	check("0", k(1), k(2)) // failing, but there is no other
	fail(1)
	fail(2)
	check("012") // all failing: all are used
	check("12", k(0))
	if got := ids(usable(list, nil, now+time.Second)); got != "012" {
		t.Errorf("after the time: %q", got)
	}
	if got := ids(list); got != "012" {
		t.Errorf("the list itself is now %q", got)
	}
}

func TestExclusion(t *testing.T) {
	const s = time.Second
	for failures, want := range map[int]time.Duration{1: 5 * s, 2: 10 * s, 3: 20 * s, 4: 40 * s, 5: 60 * s, 1 << 30: 60 * s} {
		if got := exclusion(5*s, failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
	if got := exclusion(time.Hour, 3); got != time.Hour {
		t.Errorf("exclusion(1h, 3) = %s, want 1h", got)
	}
}
