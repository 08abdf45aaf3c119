package discovery

import (
	"context"
	"errors"
	"time"

	"github.com/lictor-go/consul"
)

// This file decides when things happen. Except for sleep, its functions use
// neither clocks nor sources of randomness: they are given the time, and a random
// number that is at least 0 and less than 1.

// maxDuration is as good as for ever. Options are cut to it, so that sums of them
// and of the time that has passed do not overflow.
const maxDuration = time.Duration(1) << 62 // 146 years

// rateLimiter allows a burst of events and then one in every interval.
type rateLimiter struct {
	interval time.Duration
	burst    int
}

// reserve returns how long the next event has to wait. due is when the event
// would take place if there were no bursts: the caller keeps it between calls,
// starting with the zero time.
func (l rateLimiter) reserve(due, now time.Time) (nextDue time.Time, delay time.Duration) {
	interval := min(l.interval, maxDuration/time.Duration(l.burst)) // the whole burst must not overflow
	if due.Before(now) {
		due = now
	}
	delay = due.Sub(now) - time.Duration(l.burst-1)*interval
	return due.Add(interval), max(0, delay)
}

// backoff computes how long to pause after failures.
type backoff struct {
	min, max time.Duration
}

// maxRetryAfter is how much of a Retry-After counts.
const maxRetryAfter = 10 * time.Minute

// pause returns how long to wait after so many failures in a row, the first of
// which is 1. The pause is random between nothing and a bound that doubles with
// each failure (full jitter), so that clients which failed together do not come
// back together. It comes on top of the Retry-After of the response.
func (b backoff) pause(failures int, retryAfter time.Duration, random float64) time.Duration {
	bound := b.min
	for i := 1; i < failures && bound < b.max; i++ {
		bound *= 2
	}
	bound = min(bound, b.max)
	return min(max(retryAfter, 0), maxRetryAfter) + time.Duration(random*float64(bound))
}

// jittered returns d plus or minus 20 %, at random.
func jittered(d time.Duration, random float64) time.Duration {
	return time.Duration((0.8 + 0.4*random) * float64(d))
}

// beatInterval returns the time from one heartbeat to the next: a third of the
// TTL, give or take a fifth of that. It is at most 0.4 of the TTL, which leaves
// time to try again.
func beatInterval(ttl time.Duration, random float64) time.Duration {
	return jittered(ttl/3, random)
}

// firstBeat returns the time from the registration to the first heartbeat on
// schedule. It spreads registrations of one moment over their whole interval.
func firstBeat(ttl time.Duration, random float64) time.Duration {
	return time.Duration((0.1 + 0.9*random) * float64(ttl/3))
}

// callTimeout returns how long one call about a check may take, so that a call
// which hangs leaves time for another before the TTL is over.
func callTimeout(ttl time.Duration) time.Duration {
	return min(max(ttl/4, minCallTimeout), maxCallTimeout)
}

const (
	minCallTimeout = time.Second
	maxCallTimeout = 10 * time.Second
)

// retryAfter returns the Retry-After of the response that err is about, or 0.
func retryAfter(err error) time.Duration {
	var status *consul.StatusError
	if errors.As(err, &status) {
		return status.RetryAfter
	}
	return 0
}

// sleep waits for d, and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool { return sleepUnless(ctx, d, nil) }

// sleepUnless is sleep that ends when something is sent to wake.
func sleepUnless(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
