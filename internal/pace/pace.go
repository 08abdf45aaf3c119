// Package pace decides when requests are sent that are repeated: how many may follow
// each other, how long to pause after failures, and how to keep programs from doing
// the same at the same moment. Except for the sleeps, its functions use neither clocks
// nor sources of randomness: they are given the time, and a random number that is at
// least 0 and less than 1.
package pace

import (
	"context"
	"errors"
	"time"

	"github.com/lictor-go/consul"
)

// MaxDuration is as good as for ever. Options are cut to it, so that sums of them
// and of the time that has passed do not overflow.
const MaxDuration = time.Duration(1) << 62 // 146 years

// Limiter allows a burst of events and then one in every interval.
type Limiter struct {
	Interval time.Duration
	Burst    int
}

// Reserve returns how long the next event has to wait. due is when the event
// would take place if there were no bursts: the caller keeps it between calls,
// starting with the zero time.
func (l Limiter) Reserve(due, now time.Time) (nextDue time.Time, delay time.Duration) {
	interval := min(l.Interval, MaxDuration/time.Duration(l.Burst)) // the whole burst must not overflow
	if due.Before(now) {
		due = now
	}
	delay = due.Sub(now) - time.Duration(l.Burst-1)*interval
	return due.Add(interval), max(0, delay)
}

// Backoff computes how long to pause after failures.
type Backoff struct {
	Min, Max time.Duration
}

// MaxRetryAfter is how much of a Retry-After counts.
const MaxRetryAfter = 10 * time.Minute

// Pause returns how long to wait after so many failures in a row, the first of
// which is 1. The pause is random between nothing and a bound that doubles with
// each failure (full jitter), so that clients which failed together do not come
// back together. It comes on top of the Retry-After of the response.
func (b Backoff) Pause(failures int, retryAfter time.Duration, random float64) time.Duration {
	bound := b.Min
	for i := 1; i < failures && bound < b.Max; i++ {
		bound *= 2
	}
	bound = min(bound, b.Max)
	return min(max(retryAfter, 0), MaxRetryAfter) + time.Duration(random*float64(bound))
}

// Jittered returns d plus or minus 20 %, at random.
func Jittered(d time.Duration, random float64) time.Duration {
	return time.Duration((0.8 + 0.4*random) * float64(d))
}

// RetryAfter returns the Retry-After of the response that err is about, or 0.
func RetryAfter(err error) time.Duration {
	var status *consul.StatusError
	if errors.As(err, &status) {
		return status.RetryAfter
	}
	return 0
}

// IsRefusal reports whether the agent will refuse a request however often it is sent,
// as far as err tells.
func IsRefusal(err error) bool {
	var status *consul.StatusError
	return errors.As(err, &status) && status.Code/100 == 4 &&
		!errors.Is(err, consul.ErrRateLimited) && status.Code != 408
}

// Sleep waits for d, and reports whether ctx has not ended meanwhile.
func Sleep(ctx context.Context, d time.Duration) bool { return SleepUnless(ctx, d, nil) }

// SleepUnless is Sleep that ends when something is sent to wake.
func SleepUnless(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
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

// Positive returns n, or the other number if n is 0 or less.
func Positive[N int | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}
