package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
	"github.com/lictor-go/consul/internal/watch"
)

// heartbeater is the part of a registration that sends requests to the agent.
// Only one goroutine uses it at a time: the caller of Register at first, then its
// own.
type heartbeater struct {
	r        *Registration
	lifetime context.Context // ends during Close

	def     *definition // what shall be registered
	pending bool        // the agent has not accepted def yet
	taken   *definition // what the agent accepted last; nil if nothing yet
	unsure  bool        // the agent did not respond to the last registration that failed

	oldKinds []string // checks that the agent has as another kind, or has had, and has to drop

	nextBeat time.Time
	nextPoll time.Time // only if polls returns true
	due      time.Time // for pace

	calling   *healthCall // whose status was not used yet; nil if there is none
	badStatus bool        // the last status of the health function was none

	trouble trouble
}

// trouble is what went wrong since the last round that succeeded.
type trouble struct {
	failures   int       // rounds that failed
	cause      error     // the first error; nil if there was none
	since      time.Time // when it happened
	lost       bool      // the agent did not know the service or a check
	healFailed bool      // not even right after the last registration
}

// note remembers the first error.
func (t *trouble) note(err error) {
	if t.cause == nil {
		t.cause, t.since = err, time.Now()
	}
}

// round is what a round of requests consists of.
type round struct {
	beat bool // report the status of the TTL checks
	poll bool // read from the agent whether it has everything
}

// outcome is the result of some requests.
type outcome struct {
	checkID string // the check that err is about; empty if it is about the service
	lost    bool   // err means that the agent does not know the service or a check
	err     error
}

// maxHealBackoff bounds the pause before a service is registered again that the
// agent does not know even right after a registration.
const maxHealBackoff = 2 * time.Minute

// run performs rounds until Close.
func (h *heartbeater) run() {
	defer close(h.r.done)
	defer h.endHealth()
	timer := time.NewTimer(h.untilNext())
	defer timer.Stop()
	for {
		woken := false
		select {
		case <-h.r.stop:
			return
		case u := <-h.r.updates:
			u.done <- h.update(u.ctx)
			timer.Reset(h.untilNext())
			continue
		case <-h.r.wake:
			woken = true
		case <-timer.C:
		}
		if !h.keepPace() {
			return
		}
		now := time.Now()
		h.round(h.lifetime, round{
			beat: woken || !now.Before(h.nextBeat),
			poll: h.trouble.failures > 0 || !now.Before(h.nextPoll),
		})
		timer.Reset(h.untilNext())
	}
}

// update performs a round for Update, within its context.
func (h *heartbeater) update(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.lifetime, cancel)()
	err := h.round(ctx, round{beat: true, poll: true})
	if err != nil && h.stopped() {
		return errClosed
	}
	return err
}

// stopped reports whether Close has begun.
func (h *heartbeater) stopped() bool {
	select {
	case <-h.r.stop:
		return true
	default:
		return false
	}
}

// keepPace waits if statuses are set too fast. It returns false after Close.
func (h *heartbeater) keepPace() bool {
	p := pace.Limiter{Interval: 100 * time.Millisecond, Burst: 10}
	if ttl := h.ttl(); ttl > 0 {
		p.Interval = min(p.Interval, ttl/10)
	}
	var delay time.Duration
	h.due, delay = p.Reserve(h.due, time.Now())
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-h.r.stop:
	case <-timer.C:
	}
	return !h.stopped()
}

// current returns the definition that the heartbeats are for: the one that the
// agent has, while it has not accepted the new one.
func (h *heartbeater) current() *definition {
	if h.taken != nil {
		return h.taken
	}
	return h.def
}

// ttl returns the shortest TTL that a check may have at the agent; 0 means that none
// has one. An agent that refuses a definition has already changed the checks that the
// definition has in common with the one before.
func (h *heartbeater) ttl() time.Duration {
	ttl := h.current().ttl
	if h.pending && h.def.ttl > 0 {
		ttl = min(ttl, h.def.ttl)
	}
	return ttl
}

// polls reports whether the agent is polled, since heartbeats would not notice
// what it has lost, or not soon.
func (h *heartbeater) polls() bool {
	d := h.current()
	return d.hasOtherChecks() || d.ttl == 0 || d.ttl/9 > h.r.opts.PollInterval
}

// untilNext returns the time until the next round.
func (h *heartbeater) untilNext() time.Duration {
	next := h.nextBeat
	if h.polls() && (h.nextPoll.Before(next) || len(h.current().ttls) == 0) {
		next = h.nextPoll
	}
	return time.Until(next)
}

// round performs a round and sets the times of what comes next. It returns the
// error of the request that failed, if one did.
func (h *heartbeater) round(ctx context.Context, r round) error {
	h.adopt()
	first := h.taken == nil
	begin := time.Now()
	r.beat = r.beat || h.pending // what is registered is reported, too
	out := h.requests(ctx, r)
	if out.err != nil && ctx.Err() != nil {
		return out.err // the caller has given up, or Close has begun: nothing is wrong
	}
	h.setErr(out.err)
	now := time.Now()
	reg := h.current().reg
	if out.err != nil {
		h.trouble.note(out.err)
		h.trouble.failures++
		pause := h.pause(out.err)
		h.nextBeat, h.nextPoll = now.Add(pause), now.Add(pause)
		if h.taken != nil || h.r.opts.Background { // else Register fails, and nothing is tried again
			h.r.observe.emit(HeartbeatFailedEvent{reg.Name, reg.ID, out.checkID, out.err, h.trouble.failures, pause})
		}
		return out.err
	}
	if t := h.trouble; t.cause != nil && !first {
		reason := HealFailing
		if t.lost {
			reason = HealLost
		}
		h.r.observe.emit(HealedEvent{reg.Name, reg.ID, reason, t.cause, now.Sub(t.since)})
	}
	h.trouble = trouble{}
	h.schedule(begin, r, first)
	return nil
}

// adopt makes the definition of the last Update the one that shall be registered.
func (h *heartbeater) adopt() {
	h.r.mu.Lock()
	wanted := h.r.wanted
	h.r.mu.Unlock()
	if wanted != h.def {
		h.pending = h.pending || !reflect.DeepEqual(wanted, h.def)
		h.def = wanted
	}
}

// setErr sets what Err returns.
func (h *heartbeater) setErr(err error) {
	if h.taken == nil {
		err = notYet(h.r.id, err)
	}
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	h.r.err = err
}

// schedule sets the times of the next heartbeat and the next poll after a round that
// began then and succeeded.
func (h *heartbeater) schedule(begin time.Time, r round, first bool) {
	if ttl := h.ttl(); r.beat && ttl > 0 {
		interval := beatInterval(ttl, rand.Float64())
		if first {
			interval = firstBeat(ttl, rand.Float64())
		}
		h.nextBeat = begin.Add(interval)
	}
	if r.poll {
		h.nextPoll = begin.Add(pace.Jittered(h.r.opts.PollInterval, rand.Float64()))
	}
}

// pause returns how long to wait after a round that failed. The pauses are short
// enough for several rounds in one TTL, even if the agent asks for a longer one,
// unless registering does not help.
func (h *heartbeater) pause(err error) time.Duration {
	ttl := h.ttl()
	interval := h.r.opts.PollInterval
	if ttl > 0 {
		interval = ttl / 3
	}
	b := pace.Backoff{Min: watch.DefaultMinBackoff, Max: min(max(interval, time.Second), watch.DefaultMaxBackoff)}
	if h.trouble.healFailed {
		b.Max = maxHealBackoff
	}
	wait := pace.RetryAfter(err)
	if ttl > 0 {
		wait = min(wait, b.Max/2)
		b.Max -= wait
	}
	return b.Pause(h.trouble.failures, wait, rand.Float64())
}

// callTimeout returns how long one request may take.
func (h *heartbeater) callTimeout() time.Duration {
	if h.taken == nil || h.taken.ttl == 0 {
		return maxCallTimeout
	}
	return callTimeout(h.ttl())
}

// requests sends the requests of one round.
func (h *heartbeater) requests(ctx context.Context, r round) outcome {
	var out outcome
	if !r.beat {
		if out = h.poll(ctx); !out.lost {
			return out
		}
	}
	s, err := h.health(ctx)
	if err != nil {
		return outcome{err: err}
	}
	var refused error
	if h.pending {
		if refused = h.replace(ctx, s); refused == nil {
			h.pending = false
			r.poll = false // the agent has just accepted all of it
		} else if h.taken == nil {
			return outcome{err: refused}
		}
		// The agent still has what it accepted before: that is kept alive.
	}
	if r.beat {
		out = h.report(ctx, s)
		if out.err == nil && r.poll {
			out = h.poll(ctx)
		}
	}
	if out.lost && (refused == nil || !h.unsure) { // else it may have accepted def, with other checks
		out = h.heal(ctx, s, out.err)
	}
	if refused != nil {
		return outcome{err: refused}
	}
	return out
}

// heal registers again what the agent has lost, and reports its status. It does so
// once in a round: if that does not help, something else is wrong, or somebody
// else is at work, and there is a growing pause before the next attempt.
func (h *heartbeater) heal(ctx context.Context, s ttlStatus, cause error) outcome {
	h.trouble.note(cause)
	h.trouble.lost = true
	if err := h.register(ctx, h.taken, s); err != nil {
		return outcome{err: err}
	}
	out := h.report(ctx, s)
	h.trouble.healFailed = out.lost
	return out
}

// register sends a definition. The agent removes the checks of the service that
// are not in it.
func (h *heartbeater) register(ctx context.Context, d *definition, s ttlStatus) error {
	ctx, cancel := context.WithTimeout(ctx, h.callTimeout())
	defer cancel()
	err := h.r.client.Agent().ServiceRegister(ctx, d.withStatus(s.status))
	if err != nil {
		var status *consul.StatusError
		h.unsure = !errors.As(err, &status)
		return err
	}
	first := h.taken == nil
	h.taken = d
	if first {
		h.setErr(nil)
		h.r.observe.emit(RegisteredEvent{d.reg.Name, d.reg.ID})
	}
	return nil
}

// report sets the TTL checks to the status.
func (h *heartbeater) report(ctx context.Context, s ttlStatus) outcome {
	for _, id := range h.taken.ttls {
		if err := h.reportTo(ctx, id, s); err != nil {
			return outcome{id, errors.Is(err, consul.ErrUnknownCheck), err}
		}
	}
	return outcome{}
}

func (h *heartbeater) reportTo(ctx context.Context, checkID string, s ttlStatus) error {
	ctx, cancel := context.WithTimeout(ctx, h.callTimeout())
	defer cancel()
	return h.r.client.Agent().UpdateTTL(ctx, checkID, s.status, s.note)
}

// poll reads from the agent whether it has the service with all of its checks, if
// that has to be done at all.
func (h *heartbeater) poll(ctx context.Context) outcome {
	if !h.polls() {
		return outcome{}
	}
	ctx, cancel := context.WithTimeout(ctx, h.callTimeout())
	defer cancel()
	health, err := h.r.client.Agent().ServiceHealthByID(ctx, h.r.id)
	if err != nil {
		return outcome{lost: errors.Is(err, consul.ErrUnknownService), err: err}
	}
	for _, id := range h.taken.checks {
		if !slices.ContainsFunc(health.Checks, func(c *consul.HealthCheck) bool { return c != nil && c.CheckID == id }) {
			return outcome{id, true, fmt.Errorf("discovery: the agent has no check %q of service %q any more", id, h.r.id)}
		}
	}
	return outcome{}
}
