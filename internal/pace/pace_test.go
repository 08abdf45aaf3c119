package pace

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
		limit  Limiter
		events []time.Duration // each after the one before took place
		want   []time.Duration // how long each has to wait
	}{
		{"burst, then steady", Limiter{s, 3}, []time.Duration{0, 0, 0, 0, 0, 0}, []time.Duration{0, 0, 0, s, s, s}},
		{"no burst", Limiter{s, 1}, []time.Duration{0, 0, 0}, []time.Duration{0, s, s}},
		{"as fast as allowed", Limiter{s, 1}, []time.Duration{0, s, s, s}, []time.Duration{0, 0, 0, 0}},
		{"a rest fills the burst again", Limiter{s, 3}, []time.Duration{0, 0, 0, 0, 3 * s, 0, 0, 0}, []time.Duration{0, 0, 0, s, 0, 0, 0, s}},
		{"but no more than that", Limiter{s, 2}, []time.Duration{0, 100 * s, 0, 0}, []time.Duration{0, 0, 0, s}},
		{"a burst without end", Limiter{s, math.MaxInt}, []time.Duration{0, 0, 0, 0}, []time.Duration{0, 0, 0, 0}},
		{"an interval without end", Limiter{math.MaxInt64, 2}, []time.Duration{0, 0, 0}, []time.Duration{0, 0, MaxDuration / 2}},
		{"half a rest", Limiter{s, 2}, []time.Duration{0, 0, s / 2, 0}, []time.Duration{0, 0, s / 2, s}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var due time.Time
			now := now
			for i, rest := range test.events {
				now = now.Add(rest)
				var delay time.Duration
				if due, delay = test.limit.Reserve(due, now); delay != test.want[i] {
					t.Fatalf("event %d waits %s, want %s", i, delay, test.want[i])
				}
				now = now.Add(delay)
			}
		})
	}
}

func TestPause(t *testing.T) {
	const s = time.Second
	b := Backoff{s, 30 * s}
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
		if got := b.Pause(test.failures, test.retryAfter, test.random); got != test.want {
			t.Errorf("pause(%d, %s, %v) = %s, want %s", test.failures, test.retryAfter, test.random, got, test.want)
		}
	}
	for failures := range 100 {
		if got := (Backoff{s, MaxDuration}).Pause(failures, math.MaxInt64, 0.999); got < MaxRetryAfter {
			t.Errorf("without a maximum: %s", got)
		}
	}
	if got := (Backoff{10 * s, s}).Pause(1, 0, 0.5); got != s/2 {
		t.Errorf("with a maximum below the minimum: %s, want 500ms", got)
	}
}

func TestPositive(t *testing.T) {
	for n, want := range map[time.Duration]time.Duration{math.MinInt64: 7, -1: 7, 0: 7, 1: 1, math.MaxInt64: math.MaxInt64} {
		if got := Positive(n, 7); got != want {
			t.Errorf("Positive(%d, 7) = %d, want %d", n, got, want)
		}
	}
}
