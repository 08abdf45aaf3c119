package consulmock

import (
	"net/http"
	"strings"
	"testing"
)

// What the package comment lists as missing responds with 501, and says that it is
// the fake that lacks it.
func TestNotModelled(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		s := New(t, WithVersion(version))
		for _, request := range []string{
			"GET /v1/query", "POST /v1/query", "GET /v1/query/x/execute", "GET /v1/coordinate/nodes",
			"GET /v1/snapshot", "GET /v1/operator/autopilot/configuration", "GET /v1/config/service-defaults", "PUT /v1/config",
			"GET /v1/connect/intentions", "GET /v1/connect/ca/roots", "GET /v1/agent/connect/ca/roots", "GET /v1/agent/connect/ca/leaf/x",
			"POST /v1/agent/connect/authorize", "GET /v1/discovery-chain/x", "GET /v1/internal/ui/services", "GET /v1/acl/tokens",
			"GET /v1/acl/policies", "PUT /v1/acl/bootstrap", "POST /v1/acl/login", "GET /v1/peerings 1.21.4", "POST /v1/peering/token 1.21.4",
			"GET /v1/exported-services 1.21.4", "GET /v1/imported-services 1.21.4",
		} {
			method, path, _ := strings.Cut(request, " ")
			path, only, _ := strings.Cut(path, " ")
			if only != "" && only != version {
				continue
			}
			r := ask(t, s, method, path, "")
			if got := text(t, r); r.StatusCode != http.StatusNotImplemented || !strings.Contains(got, "consulmock does not model "+method+" "+path) {
				t.Errorf("%s: %s: %s", version, request, got)
			}
		}
		for kind, body := range map[string]string{
			"script": `{"Name":"x","Args":["true"],"Interval":"1s"}`, "Docker": `{"Name":"x","DockerContainerID":"c","Args":["true"],"Interval":"1s"}`,
		} {
			if got := text(t, ask(t, s, "PUT", "/v1/agent/check/register", body)); !strings.Contains(got, "Scripts are disabled") {
				t.Errorf("%s: a %s check: %s", version, kind, got)
			}
		}
	}
}
