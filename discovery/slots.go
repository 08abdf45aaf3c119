package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// slots bound the queries of a resolver. Those that wait for changes hold a
// connection nearly all the time; when there are more services than slots for
// them, the others poll now and then without waiting, through slots that are free
// again within milliseconds. So a first query never waits for a slot that
// another one holds for a minute, and heartbeats find connections left.
//
// A datacenter that hangs holds a slot for as long as a query may take. So each
// datacenter polls through slots of its own.
type slots struct {
	waiting chan struct{}
	polling []chan struct{} // one for each datacenter
}

const (
	maxPolling = 16 // of all datacenters together

	// askInterval is the time between two queries about a service that has no
	// slot to wait in, give or take 20 %.
	askInterval = 5 * time.Second
)

// newSlots returns the slots for n queries about so many datacenters. If there
// are not more queries than datacenters, none waits for changes.
func newSlots(n, datacenters int) *slots {
	groups := min(datacenters, n)
	each := max(min(n/8, maxPolling)/groups, 1)
	s := &slots{waiting: make(chan struct{}, n-groups*each)}
	for range groups {
		s.polling = append(s.polling, make(chan struct{}, each))
	}
	return s
}

// gate returns the [gate] of the queries about a datacenter.
func (s *slots) gate(datacenter int) gate {
	polling := s.polling[datacenter%len(s.polling)]
	return func(ctx context.Context, wait bool) (release func(), mayWait bool) {
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
		case polling <- struct{}{}:
			return func() { <-polling }, false
		case <-ctx.Done():
			return nil, false
		}
	}
}
