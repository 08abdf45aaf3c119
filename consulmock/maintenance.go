package consulmock

import (
	"net/http"
	"strconv"

	"github.com/lictor-go/consul"
)

const (
	nodeMaintenanceID        = "_node_maintenance"
	serviceMaintenancePrefix = "_service_maintenance:"
)

// readEnable reads the parameter enable.
func (q *request) readEnable() (bool, error) {
	if !q.query.Has("enable") {
		return false, badRequest("Missing value for enable")
	}
	raw := q.query.Get("enable")
	on, err := strconv.ParseBool(raw)
	if err != nil {
		return false, badRequest("Invalid value for enable: %q", raw)
	}
	return on, nil
}

// serviceMaintenance answers PUT /v1/agent/service/maintenance/{service_id}.
func serviceMaintenance(q *request) (any, error) {
	if q.name == "" {
		return nil, badRequest("Missing service ID")
	}
	on, err := q.readEnable()
	if err != nil {
		return nil, err
	}
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	s := q.a.services[q.name]
	if s == nil {
		return nil, q.unknownService(http.StatusNotFound)
	}
	if err := authz.requireLocal(q.v, serviceWrite, s.rec.Name); err != nil {
		return nil, err
	}
	q.a.setMaintenance(on, checkRecord{
		CheckID: serviceMaintenancePrefix + q.name, Name: "Service Maintenance Mode", ServiceID: q.name,
		Notes: maintenanceReason(q.query.Get("reason"), "service"),
	}, q.tokenText())
	return nil, nil
}

// nodeMaintenance answers PUT /v1/agent/maintenance.
func nodeMaintenance(q *request) (any, error) {
	on, err := q.readEnable()
	if err != nil {
		return nil, err
	}
	if err := q.authorizeFor(nodeWrite, q.config.node); err != nil {
		return nil, err
	}
	q.a.setMaintenance(on, checkRecord{
		CheckID: nodeMaintenanceID, Name: "Node Maintenance Mode",
		Notes: maintenanceReason(q.query.Get("reason"), "node"),
	}, q.tokenText())
	return nil, nil
}

func maintenanceReason(reason, of string) string {
	if reason != "" {
		return reason
	}
	return "Maintenance mode is enabled for this " + of + ", but no reason was provided. This is a default message."
}

// setMaintenance adds or removes the check that maintenance is. What is there
// already stays as it is.
func (a *agent) setMaintenance(on bool, rec checkRecord, token string) {
	old := a.checks[rec.CheckID]
	switch {
	case on && old == nil:
		a.addCheck(rec, &checkType{Status: string(consul.HealthCritical), maintenance: true}, token)
	case !on && old != nil:
		a.removeCheck(old)
	}
	a.syncChanges()
}
