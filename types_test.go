package consul

import (
	"strings"
	"testing"
)

func TestAggregatedStatus(t *testing.T) {
	check := func(id string, s HealthStatus) *HealthCheck { return &HealthCheck{CheckID: id, Status: s} }
	pass, warn, crit := check("a", HealthPassing), check("b", HealthWarning), check("c", HealthCritical)
	node, service := check("_node_maintenance", HealthCritical), check("_service_maintenance:web-1", HealthCritical)
	odd := check("d", "odd")
	for _, tt := range []struct {
		checks HealthChecks
		want   HealthStatus
	}{
		{nil, HealthPassing}, {HealthChecks{nil}, HealthPassing}, {HealthChecks{pass, pass}, HealthPassing},
		{HealthChecks{pass, warn}, HealthWarning}, {HealthChecks{warn, pass}, HealthWarning},
		{HealthChecks{crit, warn}, HealthCritical}, {HealthChecks{warn, crit, pass}, HealthCritical},
		{HealthChecks{odd, warn}, HealthCritical},
		{HealthChecks{crit, node}, HealthMaintenance}, {HealthChecks{service, crit}, HealthMaintenance},
		{HealthChecks{check("_service_maintenance", HealthPassing)}, HealthPassing},
	} {
		if got := tt.checks.AggregatedStatus(); got != tt.want {
			t.Errorf("%s: got %s, want %s", show(tt.checks), got, tt.want)
		}
	}
}

func TestMemberStatus(t *testing.T) {
	var got []string
	for s := MemberNone; s <= MemberFailed+1; s++ {
		got = append(got, s.String())
	}
	if s := strings.Join(got, " "); s != "none alive leaving left failed MemberStatus(5)" {
		t.Error(s)
	}
}
