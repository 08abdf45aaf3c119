package differential

import (
	"testing"

	"github.com/lictor-go/consul/conformance/scenario"
)

// TestWhy knows what is listed, and nothing beside it.
func TestWhy(t *testing.T) {
	d := scenario.Difference{Method: "GET", Target: "/v1/agent/health/service/name/web?format=text", Field: "body", First: `"critical"`, Then: `"maintenance"`}
	if why("1.21.4", d) == "" || why("1.8.7", d) == "" {
		t.Errorf("%+v is not known", d)
	}
	for _, other := range []scenario.Difference{
		{Method: d.Method, Target: d.Target, Field: "status", Then: d.Then},
		{Method: d.Method, Target: d.Target, Field: d.Field, Then: `"passing"`},
		{Method: d.Method, Target: "/v1/agent/health/service/id/web?format=text", Field: d.Field, Then: d.Then},
	} {
		if reason := why("1.21.4", other); reason != "" {
			t.Errorf("%+v is known: %s", other, reason)
		}
	}
}
