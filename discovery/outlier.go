package discovery

import (
	"slices"
	"sync/atomic"
	"time"
)

// stats are what is known of an instance besides what Consul reports.
type stats struct {
	load     atomic.Int32
	failures atomic.Int32 // in a row
	until    atomic.Int64 // Resolver.clock; left out of picks until then
}

// failed notes a failure of the instance, and returns until when it is excluded. It
// is excluded for the duration first after its first failure.
func (s *stats) failed(now, first time.Duration) (until int64) {
	until = int64(now + exclusion(first, int(s.failures.Add(1))))
	s.until.Store(until)
	return until
}

// succeeded notes that the instance does not fail any more.
func (s *stats) succeeded() {
	if s.failures.Load() > 0 {
		s.failures.Store(0)
		s.until.Store(0)
	}
}

// excluded reports whether the instance has failed a short time ago. now is
// Resolver.clock.
func (s *stats) excluded(now time.Duration) bool { return int64(now) < s.until.Load() }

// maxExclude bounds the time for which a failing instance is left out.
const maxExclude = time.Minute

// exclusion returns for how long an instance is left out after so many failures
// in a row: twice as long after each one.
func exclusion(first time.Duration, failures int) time.Duration {
	d := first
	for i := 1; i < failures && d < maxExclude; i++ {
		d *= 2
	}
	return min(d, max(first, maxExclude))
}

// usable returns the instances to pick from: those that have not failed a short
// time ago and were not tried before, or, if there are none, those that were not
// tried before.
func usable(instances []Instance, tried []instanceKey, now time.Duration) []Instance {
	good := without(instances, func(i *Instance) bool { return i.stats.excluded(now) || isTried(tried, i) })
	if len(good) > 0 {
		return good
	}
	return without(instances, func(i *Instance) bool { return isTried(tried, i) })
}

// without returns the instances that bad is not true of. It copies nothing if
// that is all of them.
func without(instances []Instance, bad func(*Instance) bool) []Instance {
	for i := range instances {
		if !bad(&instances[i]) {
			continue
		}
		rest := append(make([]Instance, 0, len(instances)-1), instances[:i]...)
		for j := i + 1; j < len(instances); j++ {
			if !bad(&instances[j]) {
				rest = append(rest, instances[j])
			}
		}
		return rest
	}
	return instances
}

func isTried(tried []instanceKey, i *Instance) bool {
	return len(tried) > 0 && slices.Contains(tried, i.key())
}
