package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"time"

	"github.com/lictor-go/consul"
)

// keeper is the part of a registration that talks to the agent. Only one
// goroutine uses it at a time: the caller of Register at first, then its own.
type keeper struct {
	r *Registration

	registered bool // the agent took a definition once
	changed    bool // it has not taken the present one
	announced  bool // and an event has told so
	nextBeat   time.Time
	nextLook   time.Time // at the agent; only if looks is set
	looks      bool
	pace       pace
	due        time.Time // of pace
	misread    bool      // the last status of the health function was none

	// Since the last round that went well:
	failures int       // rounds
	cause    error     // of the first one
	since    time.Time // the first one
	lost     bool      // the agent did not know the service or a check
	futile   bool      // not even right after the last registration
}

// maxFutileBackoff bounds the pause before a service is registered again that
// the agent does not know even then.
const maxFutileBackoff = 2 * time.Minute

func newKeeper(r *Registration) *keeper {
	k := &keeper{r: r}
	k.adopt(r.def)
	return k
}

// adopt makes def what is kept registered.
func (k *keeper) adopt(def *definition) {
	k.r.def = def
	k.looks = def.hasOtherChecks() || def.ttl == 0 || def.ttl/3 > 3*k.r.opts.PollInterval
	k.pace = pace{100 * time.Millisecond, 10}
	if def.ttl > 0 {
		k.pace.interval = min(k.pace.interval, def.ttl/10)
	}
}

// run repeats rounds of calls until Close.
func (k *keeper) run(ctx context.Context) {
	defer close(k.r.done)
	timer := time.NewTimer(k.untilNext())
	defer timer.Stop()
	for {
		woken := false
		select {
		case <-k.r.stop:
			return
		case u := <-k.r.update:
			u.done <- k.change(ctx, u)
			timer.Reset(k.untilNext())
			continue
		case <-k.r.wake:
			woken = true
		case <-timer.C:
		}
		if !k.keepPace() {
			return
		}
		now := time.Now()
		k.round(ctx, woken || !now.Before(k.nextBeat), k.failures > 0 || !now.Before(k.nextLook))
		timer.Reset(k.untilNext())
	}
}

// change performs a round for Update, within its context.
func (k *keeper) change(ctx context.Context, u update) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(u.ctx, cancel)()
	if !reflect.DeepEqual(u.def, k.r.def) {
		k.adopt(u.def)
		k.changed = true
	}
	err := k.round(ctx, true, true)
	switch {
	case u.ctx.Err() != nil:
		k.nextBeat = time.Now()
		k.nextLook = k.nextBeat
		return u.ctx.Err()
	case ctx.Err() != nil:
		return errClosed
	}
	return err
}

// keepPace waits if statuses are set too fast. It reports false after Close.
func (k *keeper) keepPace() bool {
	var delay time.Duration
	k.due, delay = k.pace.reserve(k.due, time.Now())
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-k.r.stop:
		return false
	case <-timer.C:
	}
	select {
	case <-k.r.stop:
		return false
	default:
		return true
	}
}

// untilNext returns the time until the next round.
func (k *keeper) untilNext() time.Duration {
	next := k.nextBeat
	if k.looks && (k.nextLook.Before(next) || len(k.r.def.ttls) == 0) {
		next = k.nextLook
	}
	return time.Until(next)
}

// round reports the status or looks at the agent, registers the service if that
// shows that it is lost, and sets the times of what comes next. It returns the
// error of the call that failed, if one did.
func (k *keeper) round(ctx context.Context, beat, look bool) error {
	first := !k.registered
	about, err := k.calls(ctx, beat, look && k.looks)
	reg := k.r.def.reg
	if k.registered && !k.announced {
		k.announced = true
		k.r.observe.emit(RegisteredEvent{reg.Name, reg.ID})
	}
	if ctx.Err() != nil && k.registered {
		return err // Close has begun, or the caller has enough: there will be another round
	}
	now := time.Now()
	k.r.mu.Lock()
	k.r.err, k.r.registered = err, k.registered
	k.r.mu.Unlock()
	if err != nil {
		k.failures++
		pause := k.backoff().pause(k.failures, retryAfter(err), rand.Float64())
		k.nextBeat, k.nextLook = now.Add(pause), now.Add(pause)
		if k.registered || k.r.opts.Background { // else Register fails, and nothing is tried again
			k.r.observe.emit(HeartbeatFailedEvent{reg.Name, reg.ID, about, err, k.failures, pause})
		}
		return err
	}
	if k.cause != nil && !first {
		reason := HealFailing
		if k.lost {
			reason = HealLost
		}
		k.r.observe.emit(HealedEvent{reg.Name, reg.ID, reason, k.cause, now.Sub(k.since)})
	}
	k.cause, k.failures, k.lost, k.futile = nil, 0, false, false
	k.schedule(now, beat, look, first)
	return nil
}

// schedule sets the times of the next heartbeat and the next look after a round
// that went well.
func (k *keeper) schedule(now time.Time, beat, look, first bool) {
	if ttl := k.r.def.ttl; beat && ttl > 0 {
		interval := beatInterval(ttl, rand.Float64())
		if first {
			interval = firstBeat(ttl, rand.Float64())
		}
		k.nextBeat = now.Add(interval)
	}
	if look {
		k.nextLook = now.Add(jittered(k.r.opts.PollInterval, rand.Float64()))
	}
}

// backoff returns the pauses after failed rounds. They are short enough for
// several in one TTL, unless registering does not help.
func (k *keeper) backoff() backoff {
	if k.futile {
		return backoff{defaultMinBackoff, maxFutileBackoff}
	}
	interval := k.r.opts.PollInterval
	if ttl := k.r.def.ttl; ttl > 0 {
		interval = ttl / 3
	}
	return backoff{defaultMinBackoff, min(max(interval, time.Second), defaultMaxBackoff)}
}

// note remembers the first error since all was well.
func (k *keeper) note(err error) {
	if k.cause == nil {
		k.cause, k.since = err, time.Now()
	}
}

// calls performs the calls of one round. If one failed, it returns the ID of the
// check that it was about, if it was about one, and the error.
func (k *keeper) calls(ctx context.Context, beat, look bool) (about string, err error) {
	status, note := k.health(ctx)
	if err := ctx.Err(); err != nil { // the function may have taken its time
		k.note(err)
		return "", err
	}
	if !k.registered || k.changed {
		if err := k.register(ctx, status); err != nil {
			k.note(err)
			return "", err
		}
		k.registered, k.changed = true, false
		look = false // the agent has just taken all of it
	}
	about, lost, err := k.report(ctx, beat, look, status, note)
	if err != nil {
		k.note(err)
	}
	if !lost {
		return about, err
	}
	// One registration in a round: if it does not help, something else is wrong,
	// or somebody else is at work, and there is a growing pause before the next.
	k.lost = true
	if err := k.register(ctx, status); err != nil {
		return "", err
	}
	about, k.futile, err = k.report(ctx, true, false, status, note)
	return about, err
}

// health returns the status to be reported.
func (k *keeper) health(ctx context.Context) (consul.HealthStatus, string) {
	k.r.mu.Lock()
	status, note := k.r.status, k.r.note
	k.r.mu.Unlock()
	if k.r.opts.Health == nil || len(k.r.def.ttls) == 0 {
		return status, note
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout(k.r.def.ttl))
	defer cancel()
	asked, why, err := readStatus(k.r.opts.Health(ctx))
	if err != nil && !k.misread {
		k.r.warnOfStatus(err)
	}
	k.misread = err != nil
	switch {
	case asked != status && worse(asked, status) == asked:
		return asked, why
	case asked == status && why != "":
		return status, why
	}
	return status, note
}

// register sends the definition.
func (k *keeper) register(ctx context.Context, status consul.HealthStatus) error {
	ctx, cancel := context.WithTimeout(ctx, maxCallTimeout)
	defer cancel()
	if err := k.r.client.Agent().ServiceRegister(ctx, k.r.def.withStatus(status)); err != nil {
		return err
	}
	if len(k.r.def.checks) == 0 {
		return k.dropChecks(ctx)
	}
	return nil
}

// dropChecks removes the checks that an earlier service of the same ID has left
// behind, which agents do not do for a definition without checks.
func (k *keeper) dropChecks(ctx context.Context) error {
	health, err := k.r.client.Agent().ServiceHealthByID(ctx, k.r.def.reg.ID)
	if err != nil {
		return err
	}
	for _, check := range health.Checks {
		if check.ServiceID != k.r.def.reg.ID || strings.HasPrefix(check.CheckID, "_service_maintenance:") {
			continue
		}
		err := k.r.client.Agent().CheckDeregister(ctx, check.CheckID)
		if err != nil && !errors.Is(err, consul.ErrUnknownCheck) {
			return err
		}
	}
	return nil
}

// report tells the agent the status, and looks whether everything is there. If
// a call failed, it returns the ID of the check that the call was about, if it
// was about one; whether the agent has lost something; and the error.
func (k *keeper) report(ctx context.Context, beat, look bool, status consul.HealthStatus, note string) (about string, lost bool, err error) {
	if beat {
		for _, id := range k.r.def.ttls {
			if err := k.update(ctx, id, status, note); err != nil {
				return id, errors.Is(err, consul.ErrNotFound), err
			}
		}
	}
	if !look {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxCallTimeout)
	defer cancel()
	health, err := k.r.client.Agent().ServiceHealthByID(ctx, k.r.def.reg.ID)
	if err != nil {
		return "", errors.Is(err, consul.ErrUnknownService), err
	}
	has := make(map[string]bool)
	for _, check := range health.Checks {
		has[check.CheckID] = true
	}
	for _, id := range k.r.def.checks {
		if !has[id] {
			return id, true, fmt.Errorf("discovery: the agent has no check %q of service %q any more", id, k.r.def.reg.ID)
		}
	}
	return "", false, nil
}

func (k *keeper) update(ctx context.Context, checkID string, status consul.HealthStatus, note string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout(k.r.def.ttl))
	defer cancel()
	return k.r.client.Agent().UpdateTTL(ctx, checkID, status, note)
}
