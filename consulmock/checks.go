package consulmock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

const (
	defaultMaxOutput = 4096
	outputInterval   = 5 * time.Minute // between two writes of a check's output alone, about
	reapInterval     = 30 * time.Second
	minReapAfter     = time.Minute
	maxReapAfter     = 100 * 365 * 24 * time.Hour // can be computed with
)

// localCheck is a check as the agent holds it.
type localCheck struct {
	a         *agent
	rec       checkRecord
	def       checkType
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
	runsOut time.Duration // the TTL that runs; 0 if there is none
	follows *checkType    // the definition of the alias that it is; nil if it is none

	aliasDue   bool   // the alias has a result in a moment
	aliasIndex uint64 // of the catalog, when the alias was last told of a change
	failures   int    // runs in a row
	successes  int
}

// stop stops everything that the check does by itself.
func (c *localCheck) stop() {
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

func (c *localCheck) stopReap() {
	if c.reap != nil {
		c.reap.Stop()
		c.reap = nil
	}
}

func (c *localCheck) stopDefer() {
	if c.deferred != nil {
		c.deferred.Stop()
		c.deferred = nil
	}
}

// current reports whether the check is still the agent's, for timers that have
// fired before they were stopped. The lock must be held.
func (c *localCheck) current() bool { return c.a.checks[c.rec.CheckID] == c }

// after runs f with the lock held after d, if the check is still there.
func (c *localCheck) after(d time.Duration, f func()) *time.Timer {
	var t *time.Timer
	t = c.a.after(d, func() {
		if c.current() && (t == c.ttl || t == c.deferred || t == c.reap || t == c.alias) {
			f()
		}
	})
	return t
}

// agentChecks answers GET /v1/agent/checks.
func agentChecks(q *request) (any, error) {
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	keep, err := q.filter(filter.AgentCheck)
	if err != nil {
		return nil, err
	}
	list, filtered, err := collectMap(q.a.checks,
		func(c *localCheck) bool { return authz.allowsCheck(&c.rec) },
		func(c *localCheck) *checkJSON { return newCheckJSON(q.v, &c.rec) }, keep)
	if err != nil {
		return nil, err
	}
	q.setFiltered(authz, filtered)
	return list, nil
}

// registerCheck answers PUT /v1/agent/check/register.
func registerCheck(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	var d checkDefinitionBody
	if err := checkBody.decode(q.v, q.body, &d); err != nil {
		return nil, err
	}
	if d.Name == "" {
		return nil, badRequest("Missing check name")
	}
	if d.Status != "" && !isStatus(d.Status) {
		return nil, badRequest("Bad check status")
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := d.validate(q.v); err != nil {
		return nil, badRequest("Invalid check: %v", err)
	}
	if d.ID == "" {
		d.ID = d.Name
	}
	rec := checkRecord{
		CheckID: d.ID, Name: d.Name, Notes: d.Notes, ServiceID: d.serviceID(),
		Interval: durationText(d.Interval.d, "0s"), Timeout: durationText(d.Timeout.d, "0s"),
	}
	if err := q.vetCheck(authz, &rec); err != nil {
		return nil, err
	}
	if err := d.runnable(q.v); err != nil {
		return nil, err
	}
	q.a.addCheck(rec, &d.checkType, q.tokenText())
	q.a.syncChanges()
	return nil, nil
}

// vetCheck looks for the service of a check and for the right to register it.
func (q *request) vetCheck(authz *authorizer, rec *checkRecord) error {
	if rec.ServiceID != "" {
		s := q.a.services[rec.ServiceID]
		if s == nil {
			status := http.StatusNotFound
			if q.v == release.V1_8_7 {
				status = http.StatusInternalServerError
			}
			return &httpError{status, fmt.Sprintf("ServiceID %q does not exist", rec.ServiceID)}
		}
		rec.ServiceName = s.rec.Name
	}
	if err := authz.requireCheck(q.v, rec, q.config.node); err != nil {
		return err
	}
	if old := q.a.checks[rec.CheckID]; old != nil {
		return authz.requireCheck(q.v, &old.rec, q.config.node)
	}
	return nil
}

// runnable says why the agent does not run a check that is valid in itself.
func (c *checkType) runnable(v release.Version) error {
	if c.isScript() {
		return errors.New("Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
	}
	if c.OSService != "" {
		return errors.New("not implemented")
	}
	return nil
}

// addCheck adds a check, or replaces the definition of the one with its ID, whose
// status and output stay. So does what runs for it, except if it is of the kind
// that the check is of now: a TTL can still be updated, and runs out, when the check
// has become an HTTP check. The service of the check must exist.
func (a *agent) addCheck(rec checkRecord, def *checkType, token string) {
	rec.Node = a.config.node
	rec.Type = def.kind()
	if def.maintenance {
		rec.Type = "maintenance"
	}
	rec.Status = string(consul.HealthCritical)
	if def.Status != "" {
		rec.Status = def.Status
	}
	if s := a.services[rec.ServiceID]; s != nil {
		rec.ServiceName, rec.ServiceTags = s.rec.Name, s.rec.Tags
	}
	c := a.checks[rec.CheckID]
	if c == nil {
		c = &localCheck{a: a}
	} else {
		c.stopDefer()
		c.stopReap()
		rec.Status, rec.Output = c.rec.Status, c.rec.Output
		// A 1.8.7 agent writes a check again even if it is the same.
		c.inSync = c.inSync && a.config.version == release.V1_21_4 && reflect.DeepEqual(rec, c.rec)
		c.failures, c.successes = 0, 0
		a.unlink(c)
	}
	c.rec, c.def, c.token, c.maxOutput = rec, *def, token, def.OutputMaxSize
	if c.maxOutput == 0 {
		c.maxOutput = defaultMaxOutput
	}
	if def.isAlias() {
		c.follows = def
	}
	a.link(c)
	if !c.inSync {
		a.sync.check(rec.CheckID)
	}
	switch {
	case rec.Type == "ttl":
		c.restartTTL()
	case def.isAlias():
		c.updateAliasSoon()
	case a.config.probes:
		c.startProbe()
	}
	c.watchCritical()
	a.checkChanged(c)
}

// startProbe starts to run a check, instead of what was run for it before, if it is
// of a kind that the server runs.
func (c *localCheck) startProbe() {
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
func (a *agent) link(c *localCheck) {
	a.checks[c.rec.CheckID] = c
	if s := a.services[c.rec.ServiceID]; s != nil {
		s.checks[c.rec.CheckID] = c
	} else {
		a.nodeChecks[c.rec.CheckID] = c
	}
	if c.follows != nil {
		a.aliases[c] = struct{}{}
	}
}

func (a *agent) unlink(c *localCheck) {
	delete(a.checks, c.rec.CheckID)
	delete(a.nodeChecks, c.rec.CheckID)
	delete(a.aliases, c)
	if s := a.services[c.rec.ServiceID]; s != nil {
		delete(s.checks, c.rec.CheckID)
	}
}

// resume starts a check again after the agent has ended: with the status of the
// last update if its TTL has not passed since, else critical.
func (c *localCheck) resume() {
	c.stop() // what the test's own calls have started meanwhile
	isTTL := c.rec.Type == "ttl"
	if !c.def.maintenance && !(isTTL && !c.updated.IsZero() && time.Since(c.updated) < c.def.TTL.d) {
		c.rec.Status, c.rec.Output = string(consul.HealthCritical), ""
	}
	c.runsOut = 0
	if !c.def.isAlias() {
		c.follows = nil
		delete(c.a.aliases, c)
	}
	if isTTL {
		c.restartTTL()
	} else if c.a.config.probes {
		c.startProbe()
	}
	c.watchCritical()
}

// removeCheck removes a check.
func (a *agent) removeCheck(c *localCheck) {
	c.stop()
	a.unlink(c)
	a.sync.goneCheck(c)
	a.checkChanged(c)
}

// setStatus notes the result of a run or of an update. A new output alone is
// written to the catalog much later.
func (c *localCheck) setStatus(status, output string) {
	if c.rec.Status == status && c.rec.Output == output {
		return
	}
	changed := c.rec.Status != status
	c.rec.Status, c.rec.Output = status, output
	c.watchCritical()
	if changed {
		c.inSync = false
		c.a.sync.check(c.rec.CheckID)
		c.a.checkChanged(c)
	} else if c.deferred == nil {
		c.deferred = c.after(outputInterval/2+rand.N(outputInterval), func() {
			c.deferred, c.inSync = nil, false
			c.a.sync.check(c.rec.CheckID)
			c.a.syncChanges()
		})
	}
}

// watchCritical starts or stops the time after which a critical check takes its
// service with it. Agents look every 30 seconds, and give every check a minute
// at least.
func (c *localCheck) watchCritical() {
	after := c.def.reapAfter()
	if after <= 0 || c.rec.ServiceID == "" {
		return
	}
	if c.rec.Status != string(consul.HealthCritical) {
		c.stopReap()
		return
	}
	if c.reap != nil {
		return
	}
	now := time.Now()
	due := now.Add(min(max(after, minReapAfter), maxReapAfter)).Sub(c.a.started)
	sweep := (due/reapInterval + 1) * reapInterval
	c.reap = c.after(c.a.started.Add(sweep).Sub(now), func() {
		c.a.removeService(c.rec.ServiceID)
		c.a.syncChanges()
	})
}

// limit cuts an output that is too long.
func (c *localCheck) limit(output string) string {
	if len(output) <= c.maxOutput {
		return output
	}
	return fmt.Sprintf("%s ... (captured %d of %d bytes)", output[:c.maxOutput], c.maxOutput, len(output))
}

// deregisterCheck answers PUT /v1/agent/check/deregister/{check_id}.
func deregisterCheck(q *request) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	c := q.a.checks[q.name]
	if c == nil {
		if q.v == release.V1_8_7 && !q.config.defaultDeny {
			if q.name == "" {
				return nil, errors.New("CheckID missing")
			}
			return nil, nil
		}
		return nil, q.unknownCheck()
	}
	if err := authz.requireCheck(q.v, &c.rec, q.config.node); err != nil {
		return nil, err
	}
	q.a.removeCheck(c)
	q.a.syncChanges()
	return nil, nil
}

// unknownCheck is what the agent says of a check that it does not have.
func (q *request) unknownCheck() error {
	switch {
	case q.v == release.V1_21_4:
		return &httpError{http.StatusNotFound, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", q.name)}
	case q.config.defaultDeny:
		return fmt.Errorf("Unknown check %q", q.name)
	}
	return fmt.Errorf("CheckID %q does not have associated TTL", q.name)
}
