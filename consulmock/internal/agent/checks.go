package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// The limits and times of checks.
const (
	DefaultMaxOutput = 4096            // bytes of output
	OutputInterval   = 5 * time.Minute // between two writes of a check's output alone, about
	ReapInterval     = 30 * time.Second
	MinReapAfter     = time.Minute
	maxReapAfter     = 100 * 365 * 24 * time.Hour // can be computed with
)

// Check is a check as the agent holds it.
type Check struct {
	a         *Agent
	Rec       state.CheckRecord
	def       definition.CheckType
	token     string
	inSync    bool               // the catalog has it, or has refused it
	ttl       *time.Timer        // runs until the TTL is over
	deferred  *time.Timer        // runs until the output is written
	reap      *time.Timer        // runs until the service is deregistered
	alias     *time.Timer        // runs until the next result of the alias
	stopProbe context.CancelFunc // nil if the server does not run the check
	updated   time.Time          // by a client, for a TTL check
	maxOutput int

	// These stay when the check is registered again as one of another kind.
	TTL     time.Duration         // the TTL that runs; 0 if there is none
	follows *definition.CheckType // the definition of the alias that it is; nil if it is none

	aliasDue   bool   // the alias has a result in a moment
	aliasIndex uint64 // of the catalog, when the alias was last told of a change
	failures   int    // runs in a row
	successes  int
}

// stop stops everything that the check does by itself.
func (c *Check) stop() {
	for _, t := range []*time.Timer{c.ttl, c.deferred, c.reap, c.alias} {
		if t != nil {
			t.Stop()
		}
	}
	c.ttl, c.deferred, c.reap, c.alias = nil, nil, nil, nil
	if c.stopProbe != nil {
		c.stopProbe()
		c.stopProbe = nil
	}
}

// IsProbed reports whether the agent runs the check.
func (c *Check) IsProbed() bool { return c.stopProbe != nil }

func (c *Check) stopReap() {
	if c.reap != nil {
		c.reap.Stop()
		c.reap = nil
	}
}

func (c *Check) stopDefer() {
	if c.deferred != nil {
		c.deferred.Stop()
		c.deferred = nil
	}
}

// current reports whether the check is still the agent's, for timers that have
// fired before they were stopped. The lock must be held.
func (c *Check) current() bool { return c.a.Checks[c.Rec.CheckID] == c }

// after runs f with the lock held after d, if the check is still there.
func (c *Check) after(d time.Duration, f func()) *time.Timer {
	var t *time.Timer
	t = c.a.after(d, func() {
		if c.current() && (t == c.ttl || t == c.deferred || t == c.reap || t == c.alias) {
			f()
		}
	})
	return t
}

// AddCheck adds a check, or replaces the definition of the one with its ID, whose
// status and output stay. So does what runs for it, except if it is of the kind
// that the check is of now: a TTL can still be updated, and runs out, when the check
// has become an HTTP check. The service of the check must exist.
func (a *Agent) AddCheck(rec state.CheckRecord, def *definition.CheckType, token string) {
	rec.Node = a.Config.Node
	rec.Type = def.Kind()
	if def.Maintenance {
		rec.Type = "maintenance"
	}
	rec.Status = string(consul.HealthCritical)
	if def.Status != "" {
		rec.Status = def.Status
	}
	if s := a.Services[rec.ServiceID]; s != nil {
		rec.ServiceName, rec.ServiceTags = s.Rec.Name, s.Rec.Tags
	}
	c := a.Checks[rec.CheckID]
	if c == nil {
		c = &Check{a: a}
	} else {
		c.stopDefer()
		c.stopReap()
		// A 1.8.7 agent writes a check again even if it is the same, and 1.21.4 if it is
		// defined with another status or output than it has. If it is the same, 1.21.4 takes
		// it for written, even if it is not yet.
		c.inSync = a.Config.Version == release.V1_21_4 && reflect.DeepEqual(rec, c.Rec)
		rec.Status, rec.Output = c.Rec.Status, c.Rec.Output
		c.failures, c.successes = 0, 0
		a.unlink(c)
	}
	c.Rec, c.def, c.token, c.maxOutput = rec, *def, token, def.OutputMaxSize
	if c.maxOutput == 0 {
		c.maxOutput = DefaultMaxOutput
	}
	if def.IsAlias() {
		c.follows = def
	}
	a.link(c)
	if !c.inSync {
		a.sync.check(rec.CheckID)
	}
	switch {
	case rec.Type == "ttl":
		c.restartTTL()
	case def.IsAlias():
		c.updateAliasSoon()
	case a.Config.Probes:
		c.startProbe()
	}
	c.watchCritical()
	a.checkChanged(c)
}

// startProbe starts to run a check, instead of what was run for it before, if it is
// of a kind that the server runs.
func (c *Check) startProbe() {
	stop := startProbe(c)
	if stop == nil {
		return
	}
	if c.stopProbe != nil {
		c.stopProbe()
	}
	c.stopProbe = stop
}

// link puts a check where it belongs, and unlink takes it away.
func (a *Agent) link(c *Check) {
	a.Checks[c.Rec.CheckID] = c
	if s := a.Services[c.Rec.ServiceID]; s != nil {
		s.Checks[c.Rec.CheckID] = c
	} else {
		a.NodeChecks[c.Rec.CheckID] = c
	}
	if c.follows != nil {
		a.aliases[c] = struct{}{}
	}
}

func (a *Agent) unlink(c *Check) {
	delete(a.Checks, c.Rec.CheckID)
	delete(a.NodeChecks, c.Rec.CheckID)
	delete(a.aliases, c)
	if s := a.Services[c.Rec.ServiceID]; s != nil {
		delete(s.Checks, c.Rec.CheckID)
	}
}

// resume starts a check again after the agent has ended: with the status of the
// last update if its TTL has not passed since, else critical.
func (c *Check) resume() {
	c.stop() // what the test's own calls have started meanwhile
	isTTL := c.Rec.Type == "ttl"
	if !c.def.Maintenance && !(isTTL && !c.updated.IsZero() && time.Since(c.updated) < c.def.TTL.D) {
		c.Rec.Status, c.Rec.Output = string(consul.HealthCritical), ""
	}
	c.TTL = 0
	if !c.def.IsAlias() {
		c.follows = nil
		delete(c.a.aliases, c)
	}
	if isTTL {
		c.restartTTL()
	} else if c.a.Config.Probes {
		c.startProbe()
	}
	c.watchCritical()
}

// RemoveCheck removes a check.
func (a *Agent) RemoveCheck(c *Check) {
	c.stop()
	a.unlink(c)
	a.sync.goneCheck(c)
	a.checkChanged(c)
}

// setStatus notes the result of a run or of an update. A new output alone is
// written to the catalog much later.
func (c *Check) setStatus(status, output string) {
	if c.Rec.Status == status && c.Rec.Output == output {
		return
	}
	changed := c.Rec.Status != status
	c.Rec.Status, c.Rec.Output = status, output
	c.watchCritical()
	if changed {
		c.inSync = false
		c.a.sync.check(c.Rec.CheckID)
		c.a.checkChanged(c)
	} else if c.deferred == nil {
		c.deferred = c.after(OutputInterval/2+rand.N(OutputInterval), func() {
			c.deferred, c.inSync = nil, false
			c.a.sync.check(c.Rec.CheckID)
			c.a.SyncChanges()
		})
	}
}

// watchCritical starts or stops the time after which a critical check takes its
// service with it. Agents look every 30 seconds, and give every check a minute
// at least.
func (c *Check) watchCritical() {
	after := c.def.DeregisterAfter()
	if after <= 0 || c.Rec.ServiceID == "" {
		return
	}
	if c.Rec.Status != string(consul.HealthCritical) {
		c.stopReap()
		return
	}
	if c.reap != nil {
		return
	}
	now := time.Now()
	due := now.Add(min(max(after, MinReapAfter), maxReapAfter)).Sub(c.a.Started)
	sweep := (due/ReapInterval + 1) * ReapInterval
	c.reap = c.after(c.a.Started.Add(sweep).Sub(now), func() {
		c.a.RemoveService(c.Rec.ServiceID)
		c.a.SyncChanges()
	})
}

// limit cuts an output that is too long.
func (c *Check) limit(output string) string {
	if len(output) <= c.maxOutput {
		return output
	}
	return fmt.Sprintf("%s ... (captured %d of %d bytes)", output[:c.maxOutput], c.maxOutput, len(output))
}

// restartTTL starts the TTL of the check's definition, which was registered just
// now.
func (c *Check) restartTTL() {
	c.TTL = c.def.TTL.D
	c.startTTL("")
}

// startTTL starts the time of a TTL check anew. When it is over the check turns
// critical. The text then tells the output of the last update, if there was one
// since the check was registered.
func (c *Check) startTTL(last string) {
	if c.ttl != nil {
		c.ttl.Stop()
	}
	c.ttl = c.after(c.TTL, func() {
		output := "TTL expired"
		if last != "" {
			output = "TTL expired (last output before timeout follows): " + last
		}
		c.a.logf("warn", "agent: Check missed TTL, is now critical: check=%s", c.Rec.CheckID)
		c.setStatus(string(consul.HealthCritical), output)
		c.a.SyncChanges()
	})
}

// SetResult notes a result that a client has sent, whatever runs the check. An
// update of the TTL restarts it.
func (a *Agent) SetResult(c *Check, status, output string, isUpdate bool) {
	c.setStatus(status, c.limit(output))
	if isUpdate {
		c.updated = time.Now()
		c.startTTL(c.Rec.Output)
	}
	a.SyncChanges()
}
