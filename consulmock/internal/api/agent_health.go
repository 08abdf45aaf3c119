package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// localHealthJSON is the health of a service of the agent.
type localHealthJSON struct {
	AggregatedStatus string
	Service          *agentServiceJSON
	Checks           []*localHealthCheckJSON
}

// localHealthByID serves GET /v1/agent/health/service/id/{service_id}.
func localHealthByID(q *request) (any, error) {
	if q.name == "" {
		return nil, refusal.New(http.StatusInternalServerError, q.badRequest("Missing serviceID").Error())
	}
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	s := q.a.Services[q.name]
	if s == nil {
		unknown := &answer{status: http.StatusNotFound, reason: "ServiceId " + q.name + " not found"}
		switch {
		case !q.wantsText():
			unknown.body = localHealthJSON{AggregatedStatus: string(consul.HealthCritical)}
		case q.v == release.V1_8_7:
			unknown.body = unknown.reason
		default:
			unknown.text = unknown.reason
		}
		return unknown, nil
	}
	if err := authz.Require(q.v, acl.ServiceRead, s.Rec.Name); err != nil {
		return nil, err
	}
	return q.healthAnswer(localHealth(q.a, s), nil), nil
}

// localHealthByName serves GET /v1/agent/health/service/name/{service}.
func localHealthByName(q *request) (any, error) {
	if q.name == "" {
		return nil, refusal.New(http.StatusInternalServerError, q.badRequest("Missing service Name").Error())
	}
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	if err := q.authorizeFor(acl.ServiceRead, q.name); err != nil {
		return nil, err
	}
	all := []*localHealthJSON{}
	worst := &localHealthJSON{AggregatedStatus: string(consul.HealthPassing)}
	for _, s := range state.Sorted(q.a.Services) {
		if s.Rec.Name != q.name {
			continue
		}
		h := localHealth(q.a, s)
		all = append(all, h)
		if severity(h.AggregatedStatus) > severity(worst.AggregatedStatus) {
			worst = h
		}
	}
	if len(all) == 0 {
		unknown := &answer{status: http.StatusNotFound, reason: "ServiceName " + q.name + " Not Found", body: all}
		if q.wantsText() {
			unknown.text = unknown.reason
		}
		return unknown, nil
	}
	return q.healthAnswer(worst, all), nil
}

// severity orders aggregated statuses from passing to maintenance.
func severity(status string) int {
	return slices.Index([]string{
		string(consul.HealthPassing), string(consul.HealthWarning), string(consul.HealthCritical), string(consul.HealthMaintenance),
	}, status)
}

// healthAnswer returns the response for a health, with all instances as the body if
// there are several.
func (q *request) healthAnswer(h *localHealthJSON, all []*localHealthJSON) *answer {
	a := &answer{status: http.StatusServiceUnavailable, reason: h.AggregatedStatus, body: h}
	switch h.AggregatedStatus {
	case string(consul.HealthPassing):
		a.status = http.StatusOK
	case string(consul.HealthWarning):
		a.status = http.StatusTooManyRequests
	}
	if all != nil {
		a.body = all
	}
	if q.wantsText() {
		a.text = h.AggregatedStatus
	}
	return a
}

// localHealth returns the health of a service from its own checks and those of
// the node.
func localHealth(a *agent.Agent, s *agent.Service) *localHealthJSON {
	v := a.Config.Version
	h := &localHealthJSON{
		AggregatedStatus: string(consul.HealthPassing),
		Service:          newAgentServiceJSON(v, s, a.Config.Datacenter),
		Checks:           []*localHealthCheckJSON{},
	}
	add := func(c *agent.Check) {
		h.Checks = append(h.Checks, newLocalHealthCheckJSON(v, &c.Rec))
		status := c.Rec.Status
		if c.Rec.CheckID == agent.NodeMaintenanceID || strings.HasPrefix(c.Rec.CheckID, agent.ServiceMaintenancePrefix) {
			status = string(consul.HealthMaintenance)
		}
		if severity(status) > severity(h.AggregatedStatus) {
			h.AggregatedStatus = status
		}
	}
	for _, c := range a.ChecksOf(s.Rec.ID) {
		add(c)
	}
	for _, c := range state.Sorted(a.NodeChecks) {
		add(c)
	}
	return h
}
