package api

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// jitterFraction is the share of a wait that agents add at random at most.
const jitterFraction = 16

// forever is longer than anybody waits, and can be computed with.
const forever = 100 * 365 * 24 * time.Hour

// readOptions are the parameters that every read of the catalog has.
type readOptions struct {
	index       uint64
	wait        time.Duration
	cached      bool
	consistency string
}

// readOptions reads and checks the parameters of a read, in the agent's order.
func (q *request) readOptions() (o readOptions, err error) {
	if err := q.refuseEnterprise(); err != nil {
		return o, err
	}
	if o.consistency, err = q.consistency(); err != nil {
		return o, err
	}
	o.cached = q.query.Has("cached")
	if o.cached && o.consistency == "consistent" {
		return o, refusal.BadRequest("Cannot specify ?cached with ?consistent, conflicting semantics.")
	}
	if err := q.checkCacheControl(); err != nil {
		return o, err
	}
	o.wait, o.index, err = q.waitOptions()
	return o, err
}

// waitOptions reads the parameters of a blocking query.
func (q *request) waitOptions() (wait time.Duration, index uint64, err error) {
	if wait, err = q.duration("wait"); err != nil {
		return 0, 0, err
	}
	if v := q.query.Get("index"); v != "" {
		if index, err = strconv.ParseUint(v, 10, 64); err != nil {
			return 0, 0, refusal.BadRequest("Invalid index")
		}
	}
	return wait, index, nil
}

func (q *request) duration(param string) (time.Duration, error) {
	v := q.query.Get(param)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, refusal.BadRequest("Invalid wait time")
	}
	return d, nil
}

// consistency returns the mode of a read: its parameters count by being there.
func (q *request) consistency() (string, error) {
	stale := q.query.Has("stale")
	if v := q.query.Get("max_stale"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			return "", refusal.BadRequest("Invalid max_stale value %q", v)
		}
		stale = stale || d > 0
	}
	switch consistent := q.query.Has("consistent"); {
	case stale && consistent:
		return "", refusal.BadRequest("Cannot specify ?stale with ?consistent, conflicting semantics.")
	case stale:
		return "stale", nil
	case consistent:
		return "consistent", nil
	}
	return "leader", nil
}

// checkCacheControl refuses what an agent cannot read in the header. What it can
// read changes nothing, because the fake's cache is always fresh.
func (q *request) checkCacheControl() error {
	for _, directive := range strings.Split(strings.ToLower(q.r.Header.Get("Cache-Control")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if name != "max-age" && name != "stale-if-error" {
			continue
		}
		if _, err := strconv.Atoi(value); err != nil {
			return refusal.BadRequest("Invalid Cache-Control header.")
		}
	}
	return nil
}

// refuseEnterprise refuses parameters that only Consul Enterprise has.
func (q *request) refuseEnterprise() error {
	if q.query.Has("ns") {
		return q.badRequest(`Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`)
	}
	if q.r.Header.Get("X-Consul-Namespace") != "" {
		return q.badRequest(`Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature`)
	}
	if q.v == release.V1_21_4 && q.query.Has("partition") {
		return q.badRequest(`Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`)
	}
	if q.v == release.V1_21_4 && q.r.Header.Get("X-Consul-Partition") != "" {
		return q.badRequest(`Invalid header: "X-Consul-Partition" - Partitions are a Consul Enterprise feature`)
	}
	return nil
}

// length returns how long a blocking query waits: what it asks for, or the
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
// whether the time was over. The keys say what may end the wait; they are asked
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

// readHashWait reads the wait of a query with hash, for which the agent's
// defaults do not count.
func (q *request) readHashWait() (time.Duration, error) {
	wait, err := q.duration("wait")
	if err == nil && wait <= 0 {
		wait = 10 * time.Minute
	}
	return jitter(wait), err
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

// setCache sets the headers of an answer from the agent's cache, which has it if
// it was asked for before.
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
