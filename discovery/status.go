package discovery

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/lictor-go/consul"
)

// ttlStatus is what is reported for the TTL checks of a service.
type ttlStatus struct {
	status consul.HealthStatus
	note   string
}

// checkStatus returns an error if TTL checks cannot have the status.
func checkStatus(status consul.HealthStatus) error {
	if status != reportable(status) {
		return fmt.Errorf("status %q: want passing, warning or critical", status)
	}
	return nil
}

// readStatus returns what a status and its note are reported as, and an error if
// TTL checks cannot have the status.
func readStatus(status consul.HealthStatus, note string) (ttlStatus, error) {
	err := checkStatus(status)
	if err == nil {
		return ttlStatus{status, note}, nil
	}
	if note != "" {
		note = ": " + note
	}
	return ttlStatus{consul.HealthCritical, err.Error() + note}, err
}

// reportable returns a status that TTL checks can have.
func reportable(status consul.HealthStatus) consul.HealthStatus {
	switch status {
	case consul.HealthPassing, consul.HealthWarning:
		return status
	}
	return consul.HealthCritical
}

// worse returns the worse of two statuses.
func worse(a, b consul.HealthStatus) consul.HealthStatus {
	a, b = reportable(a), reportable(b)
	if a == consul.HealthCritical || b == consul.HealthPassing {
		return a
	}
	return b
}

// healthCall is a call of the health function, in a goroutine of its own: the
// function may not obey its context, and nothing else shall hang with it.
type healthCall struct {
	done   chan struct{} // closed when the function has returned
	status consul.HealthStatus
	note   string
}

func callHealth(ctx context.Context, timeout time.Duration, health func(context.Context) (consul.HealthStatus, string)) *healthCall {
	c := &healthCall{done: make(chan struct{})}
	go func() {
		defer close(c.done) // also if the function ends the goroutine
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		c.status, c.note = health(ctx)
	}()
	return c
}

// health returns the status to be reported.
func (h *heartbeater) health(ctx context.Context) (ttlStatus, error) {
	h.r.mu.Lock()
	set := h.r.set
	h.r.mu.Unlock()
	if h.r.opts.Health == nil || len(h.def.ttls) == 0 && len(h.current().ttls) == 0 {
		return set, nil
	}
	if err := h.awaitHealth(ctx); err != nil {
		return ttlStatus{}, err
	}
	got, err := readStatus(h.calling.status, h.calling.note)
	h.calling = nil
	if err != nil && !h.badStatus {
		h.r.warnOfStatus(err)
	}
	h.badStatus = err != nil
	switch {
	case got.status != set.status && worse(got.status, set.status) == got.status,
		got.status == set.status && got.note != "":
		return got, nil
	}
	return set, nil
}

// awaitHealth calls the health function, unless an earlier call has not been used
// yet, and waits until the call has ended: for twice the time that the function
// has, so that one which ends with its context is in time.
func (h *heartbeater) awaitHealth(ctx context.Context) error {
	timeout := callTimeout(cmp.Or(h.current().ttl, h.def.ttl))
	if h.calling == nil {
		h.calling = callHealth(h.lifetime, timeout, h.r.opts.Health)
	}
	timer := time.NewTimer(2 * timeout)
	defer timer.Stop()
	select {
	case <-h.calling.done:
		return ctx.Err() // the function may have taken its time
	case <-timer.C:
		return fmt.Errorf("discovery: RegisterOptions.Health has not returned within %s", 2*timeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endHealth waits until the health function has returned: what it uses may be
// closed after the registration. Close does not wait for ever.
func (h *heartbeater) endHealth() {
	if h.calling != nil {
		<-h.calling.done
	}
}
