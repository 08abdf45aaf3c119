package discovery

import (
	"testing"
	"time"
)

func TestBeats(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, 15 * time.Second, time.Minute, 24 * time.Hour} {
		for random := 0.0; random < 1; random += 0.01 {
			if got := beatInterval(ttl, random); got < ttl/4 || got >= ttl/2 {
				t.Errorf("TTL %s: a beat every %s", ttl, got)
			}
			if got := firstBeat(ttl, random); got <= 0 || got > ttl/3 {
				t.Errorf("TTL %s: first beat after %s", ttl, got)
			}
		}
	}
	if got := beatInterval(minTTL, 0); got < 25*time.Millisecond {
		t.Errorf("heartbeats as often as every %s", got)
	}
	if early, late := firstBeat(time.Minute, 0), firstBeat(time.Minute, 0.999); late-early < 15*time.Second {
		t.Errorf("first beats are spread over %s only", late-early)
	}
	// The last beat as late as can be, then a call that hangs: another one fits.
	for _, ttl := range []time.Duration{4 * time.Second, 10 * time.Second, time.Minute} {
		if left := ttl - beatInterval(ttl, 0.999) - callTimeout(ttl); left < callTimeout(ttl) {
			t.Errorf("TTL %s: %s left after a call that hangs", ttl, left)
		}
	}
	for ttl, want := range map[time.Duration]time.Duration{
		time.Second:      time.Second,
		20 * time.Second: 5 * time.Second,
		time.Hour:        10 * time.Second,
	} {
		if got := callTimeout(ttl); got != want {
			t.Errorf("callTimeout(%s) = %s, want %s", ttl, got, want)
		}
	}
}
