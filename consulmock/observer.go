package consulmock

import (
	"net/http"
	"slices"
	"sync"
)

// Observer counts the requests to which a fault applied. The zero Observer is ready
// to use, and its methods may be called concurrently.
type Observer struct {
	mu       sync.Mutex
	wake     chan struct{} // closed and replaced at each request; nil if nobody waits
	requests []string
}

// Count returns the number of requests to which the fault has applied.
func (o *Observer) Count() int { return len(o.Requests()) }

// Requests returns the requests to which the fault has applied, each as its method
// and its path with the query, as they were sent.
func (o *Observer) Requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

// Wait returns true as soon as the fault has applied to n requests, or false when
// done is closed before. A nil done waits for ever.
//
//	if !seen.Wait(1, ctx.Done()) { ... }
func (o *Observer) Wait(n int, done <-chan struct{}) bool {
	for {
		o.mu.Lock()
		if len(o.requests) >= n {
			o.mu.Unlock()
			return true
		}
		if o.wake == nil {
			o.wake = make(chan struct{})
		}
		wake := o.wake
		o.mu.Unlock()
		select {
		case <-wake:
		case <-done:
			return false
		}
	}
}

func (o *Observer) note(r *http.Request) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = append(o.requests, r.Method+" "+r.URL.RequestURI())
	if o.wake != nil {
		close(o.wake)
		o.wake = nil
	}
}
