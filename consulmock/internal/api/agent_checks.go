package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// agentChecks serves GET /v1/agent/checks.
func agentChecks(q *request) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	keep, err := q.filter(filter.AgentCheck)
	if err != nil {
		return nil, err
	}
	list, filtered, err := collectMap(q.a.Checks,
		func(c *agent.Check) bool { return authz.AllowsCheck(&c.Rec) },
		func(c *agent.Check) *checkJSON { return newCheckJSON(q.v, &c.Rec) }, keep)
	if err != nil {
		return nil, err
	}
	q.setFiltered(authz, filtered)
	return list, nil
}

// registerCheck serves PUT /v1/agent/check/register.
func registerCheck(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	var d definition.Check
	if err := definition.CheckBody.Decode(q.v, q.body, &d); err != nil {
		return nil, err
	}
	if d.Name == "" {
		return nil, refusal.BadRequest("Missing check name")
	}
	if d.Status != "" && !definition.IsStatus(d.Status) {
		return nil, refusal.BadRequest("Bad check status")
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := d.Validate(q.v); err != nil {
		return nil, refusal.BadRequest("Invalid check: %v", err)
	}
	if d.ID == "" {
		d.ID = d.Name
	}
	rec := state.CheckRecord{
		CheckID: d.ID, Name: d.Name, Notes: d.Notes, ServiceID: d.OfService(),
		Interval: definition.DurationText(d.Interval.D, "0s"), Timeout: definition.DurationText(d.Timeout.D, "0s"),
	}
	if err := q.authorizeCheck(authz, &rec); err != nil {
		return nil, err
	}
	if err := d.Runnable(q.v); err != nil {
		if old := q.a.Checks[d.ID]; old != nil { // goes with the one that is refused
			q.a.RemoveCheck(old)
			q.a.SyncChanges()
		}
		return nil, err
	}
	q.a.AddCheck(rec, &d.CheckType, q.tokenText())
	q.a.SyncChanges()
	return nil, nil
}

// authorizeCheck looks for the service of a check and for the right to register it.
func (q *request) authorizeCheck(authz *acl.Authorizer, rec *state.CheckRecord) error {
	if rec.ServiceID != "" {
		s := q.a.Services[rec.ServiceID]
		if s == nil {
			status := http.StatusNotFound
			if q.v == release.V1_8_7 {
				status = http.StatusInternalServerError
			}
			return refusal.New(status, fmt.Sprintf("ServiceID %q does not exist", rec.ServiceID))
		}
		rec.ServiceName = s.Rec.Name
	}
	if err := authz.RequireCheck(q.v, rec, q.config.Node); err != nil {
		return err
	}
	if old := q.a.Checks[rec.CheckID]; old != nil {
		return authz.RequireCheck(q.v, &old.Rec, q.config.Node)
	}
	return nil
}

// deregisterCheck serves PUT /v1/agent/check/deregister/{check_id}.
func deregisterCheck(q *request) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	c := q.a.Checks[q.name]
	if c == nil {
		if q.v == release.V1_8_7 && !q.config.DefaultDeny {
			if q.name == "" {
				return nil, errors.New("CheckID missing")
			}
			return nil, nil
		}
		return nil, q.unknownCheck()
	}
	if err := authz.RequireCheck(q.v, &c.Rec, q.config.Node); err != nil {
		return nil, err
	}
	q.a.RemoveCheck(c)
	q.a.SyncChanges()
	return nil, nil
}

// unknownCheck is what the agent reports of a check that it does not have.
func (q *request) unknownCheck() error {
	switch {
	case q.v == release.V1_21_4:
		return refusal.New(http.StatusNotFound, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", q.name))
	case q.config.DefaultDeny:
		return fmt.Errorf("Unknown check %q", q.name)
	}
	return fmt.Errorf("CheckID %q does not have associated TTL", q.name)
}

// passCheck serves PUT /v1/agent/check/pass/{check_id}.
func passCheck(q *request) (any, error) {
	return updateTTL(q, string(consul.HealthPassing), q.query.Get("note"))
}

// warnCheck serves PUT /v1/agent/check/warn/{check_id}.
func warnCheck(q *request) (any, error) {
	return updateTTL(q, string(consul.HealthWarning), q.query.Get("note"))
}

// failCheck serves PUT /v1/agent/check/fail/{check_id}.
func failCheck(q *request) (any, error) {
	return updateTTL(q, string(consul.HealthCritical), q.query.Get("note"))
}

// updateCheck serves PUT /v1/agent/check/update/{check_id}.
func updateCheck(q *request) (any, error) {
	var update struct{ Status, Output string }
	if err := definition.CheckUpdateBody.Decode(q.v, q.body, &update); err != nil {
		return nil, err
	}
	if !definition.IsStatus(update.Status) {
		return nil, refusal.BadRequest("Invalid check status: '%s'", update.Status)
	}
	return updateTTL(q, update.Status, update.Output)
}

func updateTTL(q *request, status, output string) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	c := q.a.Checks[q.name]
	if c == nil {
		return nil, q.unknownCheck()
	}
	if err := authz.RequireCheck(q.v, &c.Rec, q.config.Node); err != nil {
		return nil, err
	}
	if c.TTL == 0 {
		return nil, fmt.Errorf("CheckID %q does not have associated TTL", q.name)
	}
	q.a.SetResult(c, status, output, true)
	return nil, nil
}
