package consulmock

import (
	"net/http"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// localHealthJSON is the health of a service of the agent.
type localHealthJSON struct {
	AggregatedStatus string
	Service          *agentServiceJSON
	Checks           []*localHealthCheckJSON
}

// localHealthByID answers GET /v1/agent/health/service/id/{service_id}.
func localHealthByID(q *request) (any, error) {
	if q.name == "" {
		return nil, &httpError{http.StatusInternalServerError, q.badRequest("Missing serviceID").Error()}
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	s := q.a.services[q.name]
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
	if err := authz.require(q.v, serviceRead, s.rec.Name); err != nil {
		return nil, err
	}
	return q.healthAnswer(localHealth(q.a, s), nil), nil
}

// localHealthByName answers GET /v1/agent/health/service/name/{service}.
func localHealthByName(q *request) (any, error) {
	if q.name == "" {
		return nil, &httpError{http.StatusInternalServerError, q.badRequest("Missing service Name").Error()}
	}
	if err := q.authorizeFor(serviceRead, q.name); err != nil {
		return nil, err
	}
	all := []*localHealthJSON{}
	worst := &localHealthJSON{AggregatedStatus: string(consul.HealthPassing)}
	for _, s := range sorted(q.a.services) {
		if s.rec.Name != q.name {
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

// wantsText reports whether a word is asked for instead of JSON.
func (q *request) wantsText() bool {
	if format := q.query.Get("format"); format != "" {
		return format == "text"
	}
	return strings.HasPrefix(q.r.Header.Get("Accept"), "text/plain")
}

// healthAnswer returns the answer for a health, with all instances as the body if
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
func localHealth(a *agent, s *localService) *localHealthJSON {
	v := a.config.version
	h := &localHealthJSON{
		AggregatedStatus: string(consul.HealthPassing),
		Service:          newAgentServiceJSON(v, s, a.config.datacenter),
		Checks:           []*localHealthCheckJSON{},
	}
	add := func(c *localCheck) {
		h.Checks = append(h.Checks, newLocalHealthCheckJSON(v, &c.rec))
		status := c.rec.Status
		if c.rec.CheckID == nodeMaintenanceID || strings.HasPrefix(c.rec.CheckID, serviceMaintenancePrefix) {
			status = string(consul.HealthMaintenance)
		}
		if severity(status) > severity(h.AggregatedStatus) {
			h.AggregatedStatus = status
		}
	}
	for _, c := range a.checksOf(s.rec.ID) {
		add(c)
	}
	for _, c := range sorted(a.nodeChecks) {
		add(c)
	}
	return h
}

// authorizeLocal is authorize for requests that change the agent.
func (q *request) authorizeLocal() (*authorizer, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	return q.authorize()
}
