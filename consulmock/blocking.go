package consulmock

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// readIndex reads the index and wait parameters of a blocking query.
func (q *request) readIndex() (index uint64, wait time.Duration, err error) {
	if v := q.query.Get("index"); v != "" {
		if index, err = strconv.ParseUint(v, 10, 64); err != nil {
			return 0, 0, &httpError{http.StatusBadRequest, "Invalid index"}
		}
	}
	if v := q.query.Get("wait"); v != "" {
		if wait, err = time.ParseDuration(v); err != nil {
			return 0, 0, &httpError{http.StatusBadRequest, "Invalid wait time"}
		}
	}
	return index, wait, nil
}

// block waits until current returns more than the index that was asked for, if
// one was, and sets the headers of the answer. The keys say what may move it.
// The server's lock is held on entry and on return, but not during the wait.
func (q *request) block(current func() uint64, keys ...string) error {
	index, wait, err := q.readIndex()
	if err != nil {
		return err
	}
	if index > 0 && current() <= index {
		if wait == 0 {
			wait = q.s.config.defaultWait
		}
		wait = min(wait, q.s.config.maxWait)
		wait += rand.N(wait/16 + 1)
		timeout := time.NewTimer(wait)
		defer timeout.Stop()
		w := q.a.store.watch(keys...)
		defer q.a.store.unwatch(w)
		for waiting := true; waiting && current() <= index; {
			q.s.mu.Unlock()
			select {
			case <-w.wake:
			case <-timeout.C:
				waiting = false
			case <-q.r.Context().Done():
				waiting = false
				err = errGone
			}
			q.s.mu.Lock()
		}
	}
	q.setIndex(max(1, current()))
	return err
}

func (q *request) setIndex(index uint64) {
	h := q.w.Header()
	h.Set("X-Consul-Index", strconv.FormatUint(index, 10))
	h.Set("X-Consul-Knownleader", "true")
	h.Set("X-Consul-Lastcontact", "0")
	h.Set("X-Consul-Effective-Consistency", "leader")
	if q.s.config.version == v1_21_4 {
		h.Set("X-Consul-Query-Backend", "blocking-query")
	}
}
