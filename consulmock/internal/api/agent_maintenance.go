package api

import (
	"net/http"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// serviceMaintenance serves PUT /v1/agent/service/maintenance/{service_id}.
func serviceMaintenance(q *request) (any, error) {
	if q.name == "" {
		return nil, refusal.BadRequest("Missing service ID")
	}
	on, err := q.readEnable()
	if err != nil {
		return nil, err
	}
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	s := q.a.Services[q.name]
	if s == nil {
		return nil, q.unknownService(http.StatusNotFound)
	}
	if err := authz.RequireLocal(q.v, acl.ServiceWrite, s.Rec.Name); err != nil {
		return nil, err
	}
	q.a.SetMaintenance(on, state.CheckRecord{
		CheckID: agent.ServiceMaintenancePrefix + q.name, Name: "Service Maintenance Mode", ServiceID: q.name,
		Notes: maintenanceReason(q.query.Get("reason"), "service"),
	}, q.tokenText())
	return nil, nil
}

// nodeMaintenance serves PUT /v1/agent/maintenance.
func nodeMaintenance(q *request) (any, error) {
	on, err := q.readEnable()
	if err != nil {
		return nil, err
	}
	if err := q.authorizeFor(acl.NodeWrite, q.config.Node); err != nil {
		return nil, err
	}
	q.a.SetMaintenance(on, state.CheckRecord{
		CheckID: agent.NodeMaintenanceID, Name: "Node Maintenance Mode",
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
