package api

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// jitterFraction is the share of a wait that agents add at random at most.
const jitterFraction = 16

// forever is longer than anybody waits, and can be computed with.
const forever = 100 * 365 * 24 * time.Hour

// length returns how long a blocking query waits: what it requests, or the
// default, within the maximum.
func (q *request) length(wait time.Duration) time.Duration {
	if wait <= 0 {
		wait = q.api.config.DefaultWait
	}
	return min(wait, q.api.config.MaxWait)
}

// jitter adds the agent's random share to a wait.
func jitter(wait time.Duration) time.Duration {
	if wait <= 0 {
		return wait
	}
	wait = min(wait, forever)
	return wait + rand.N(wait/jitterFraction+1)
}

// wait waits as long as blocked reports true, at most for a duration, and reports
// whether the time was over. The keys tell what may end the wait; they are asked
// for again after each wake. The agent's lock is held on entry and on return,
// but not while waiting.
func (q *request) wait(length time.Duration, blocked func() bool, keys func() []string) (over bool, err error) {
	if !blocked() {
		return false, nil
	}
	timeout := time.NewTimer(length)
	defer timeout.Stop()
	for {
		w := q.a.Store.Watch(keys()...)
		q.unlocked(func() {
			select {
			case <-w.Wake:
			case <-timeout.C:
				over = true
			case <-q.r.Context().Done():
				err = errGone
			}
		})
		q.a.Store.Unwatch(w)
		switch {
		case err != nil:
			return false, err
		case over:
			return true, nil
		case !blocked():
			return false, nil
		}
	}
}

// setMeta sets the headers of a read.
func (q *request) setMeta(o readOptions, index uint64, streaming bool) {
	h := q.w.Header()
	h.Set("X-Consul-Index", strconv.FormatUint(max(index, 1), 10))
	h.Set("X-Consul-Knownleader", strconv.FormatBool(!streaming))
	h.Set("X-Consul-Lastcontact", "0")
	h.Set("X-Consul-Effective-Consistency", o.consistency)
	if q.v == release.V1_21_4 {
		h.Set("X-Consul-Query-Backend", "blocking-query")
		if streaming {
			h.Set("X-Consul-Query-Backend", "streaming")
		}
	}
}

// failed sets the headers that agents add to some refusals of a read, and
// returns the error.
func (q *request) failed(err error) error {
	h := q.w.Header()
	h.Set("X-Consul-Index", "1")
	h.Set("X-Consul-Knownleader", "false")
	h.Set("X-Consul-Lastcontact", "0")
	if q.v == release.V1_21_4 {
		h.Set("X-Consul-Query-Backend", "blocking-query")
	}
	return err
}

// setCache sets the headers of a response from the agent's cache, which has it if
// it was requested before.
func (q *request) setCache() {
	key := q.r.URL.Path + "?" + q.query.Get("dc")
	h := q.w.Header()
	if !q.a.Cached[key] {
		q.a.Cached[key] = true
		h.Set("X-Cache", "MISS")
		return
	}
	h.Set("X-Cache", "HIT")
	h.Set("Age", "0")
}
