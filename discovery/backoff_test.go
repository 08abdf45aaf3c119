package discovery

import (
	"math"
	"testing"
	"time"
)

func TestRateLimiter(t *testing.T) {
	const s = time.Second
	now := time.Unix(1000, 0)
	for _, test := range []struct {
		name   string
		limit  rateLimiter
		events []time.Duration // each after the one before took place
		want   []time.Duration // how long each has to wait
	}{
		{"burst, then steady", rateLimiter{s, 3}, []time.Duration{0, 0, 0, 0, 0, 0}, []time.Duration{0, 0, 0, s, s, s}},
		{"no burst", rateLimiter{s, 1}, []time.Duration{0, 0, 0}, []time.Duration{0, s, s}},
		{"as fast as allowed", rateLimiter{s, 1}, []time.Duration{0, s, s, s}, []time.Duration{0, 0, 0, 0}},
		{"a rest fills the burst again", rateLimiter{s, 3}, []time.Duration{0, 0, 0, 0, 3 * s, 0, 0, 0}, []time.Duration{0, 0, 0, s, 0, 0, 0, s}},
		{"but no more than that", rateLimiter{s, 2}, []time.Duration{0, 100 * s, 0, 0}, []time.Duration{0, 0, 0, s}},
		{"a burst without end", rateLimiter{s, math.MaxInt}, []time.Duration{0, 0, 0, 0}, []time.Duration{0, 0, 0, 0}},
		{"an interval without end", rateLimiter{math.MaxInt64, 2}, []time.Duration{0, 0, 0}, []time.Duration{0, 0, maxDuration / 2}},
		{"half a rest", rateLimiter{s, 2}, []time.Duration{0, 0, s / 2, 0}, []time.Duration{0, 0, s / 2, s}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var due time.Time
			now := now
			for i, rest := range test.events {
				now = now.Add(rest)
				var delay time.Duration
				if due, delay = test.limit.reserve(due, now); delay != test.want[i] {
					t.Fatalf("event %d waits %s, want %s", i, delay, test.want[i])
				}
				now = now.Add(delay)
			}
		})
	}
}

func TestPause(t *testing.T) {
	const s = time.Second
	b := backoff{s, 30 * s}
	for _, test := range []struct {
		failures   int
		retryAfter time.Duration
		random     float64
		want       time.Duration
	}{
		{1, 0, 0, 0}, // full jitter: anything from nothing on
		{1, 0, 0.5, s / 2},
		{2, 0, 0.5, s},
		{3, 0, 0.5, 2 * s},
		{5, 0, 0.5, 8 * s},
		{6, 0, 0.5, 15 * s}, // 32 is cut to 30
		{7, 0, 0.5, 15 * s},
		{1 << 30, 0, 0.5, 15 * s}, // and does not overflow
		{1, 7 * s, 0, 7 * s},      // never before the agent wants it
		{1, 7 * s, 0.5, 7*s + s/2},
		{1, -7 * s, 0, 0},
		{1, 100 * time.Hour, 0, 10 * time.Minute}, // but not for ever
	} {
		if got := b.pause(test.failures, test.retryAfter, test.random); got != test.want {
			t.Errorf("pause(%d, %s, %v) = %s, want %s", test.failures, test.retryAfter, test.random, got, test.want)
		}
	}
	for failures := range 100 {
		if got := (backoff{s, maxDuration}).pause(failures, math.MaxInt64, 0.999); got < maxRetryAfter {
			t.Errorf("without a maximum: %s", got)
		}
	}
	if got := (backoff{10 * s, s}).pause(1, 0, 0.5); got != s/2 {
		t.Errorf("with a maximum below the minimum: %s, want 500ms", got)
	}
}

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
