package agent

import (
	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// The IDs of the checks that maintenance is; that of a service ends with its ID.
const (
	NodeMaintenanceID        = "_node_maintenance"
	ServiceMaintenancePrefix = "_service_maintenance:"
)

// SetMaintenance adds or removes the check that maintenance is. What is there
// already stays as it is.
func (a *Agent) SetMaintenance(on bool, rec state.CheckRecord, token string) {
	old := a.Checks[rec.CheckID]
	switch {
	case on && old == nil:
		a.AddCheck(rec, &definition.CheckType{Status: string(consul.HealthCritical), Maintenance: true}, token)
	case !on && old != nil:
		a.RemoveCheck(old)
	}
	a.SyncChanges()
}
