package discovery

import (
	"time"

	"github.com/lictor-go/consul/internal/pace"
)

// beatInterval returns the time from one heartbeat to the next: a third of the
// TTL, give or take a fifth of that. It is at most 0.4 of the TTL, which leaves
// time to try again.
func beatInterval(ttl time.Duration, random float64) time.Duration {
	return pace.Jittered(ttl/3, random)
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
