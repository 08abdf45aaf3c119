package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// slots bound the queries of a resolver. Those that wait for changes hold a
// connection nearly all the time; when there are more services than slots for
// them, the others ask now and then without waiting, through slots that are free
// again within milliseconds. So a first question never waits for a slot that
// somebody holds for a minute, and heartbeats find connections left.
type slots struct {
	waiting chan struct{}
	asking  chan struct{}
}

const (
	maxAsking = 16

	// askInterval is the time between two questions about a service that has no
	// slot to wait in, give or take a fifth.
	askInterval = 5 * time.Second
)

func newSlots(n int) *slots {
	asking := min(max(n/8, 1), maxAsking)
	return &slots{
		waiting: make(chan struct{}, max(n-asking, 1)),
		asking:  make(chan struct{}, asking),
	}
}

// pass is a [gate].
func (s *slots) pass(ctx context.Context, wait bool) (release func(), mayWait bool) {
	if wait {
		timer := time.NewTimer(jittered(askInterval, rand.Float64()))
		defer timer.Stop()
		select {
		case s.waiting <- struct{}{}:
			return func() { <-s.waiting }, true
		case <-ctx.Done():
			return nil, false
		case <-timer.C:
		}
	}
	select {
	case s.asking <- struct{}{}:
		return func() { <-s.asking }, false
	case <-ctx.Done():
		return nil, false
	}
}
