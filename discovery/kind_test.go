//go:build go1.25

package discovery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestRegisterReplacesKinds registers over checks that are of another kind, which an agent
// would not stop for that alone: a TTL would end later on.
func TestRegisterReplacesKinds(t *testing.T) {
	withTTL := func(r *consul.AgentServiceRegistration) {
		r.Check = &consul.AgentServiceCheck{TTL: ttl, Status: consul.HealthPassing}
	}
	for _, test := range []struct {
		name     string
		fault    consulmock.Fault
		requests string
	}{
		{"all is well", consulmock.Fault{Path: "/none"}, "list register drop register"},
		{"the agent does not list checks", consulmock.Fault{Path: "/v1/agent/checks", Always: true, Status: 403}, "list register"},
		{"the agent does not respond in time", consulmock.Fault{Path: "/v1/agent/checks", Latency: 11 * time.Second},
			"list list register drop register"},
		{"the agent does not drop the check at once", consulmock.Fault{Path: "/v1/agent/check/deregister/*", NoLeader: true},
			"list register drop poll list register drop register"},
		{"the agent refuses to register it again", consulmock.Fault{Path: "/v1/agent/service/register", Skip: 1, NoLeader: true},
			"list register drop register poll register list register drop register"},
	} {
		for _, version := range []string{"1.21.4", "1.8.7"} {
			t.Run(test.name+", "+version, func(t *testing.T) {
				bubble(t, func(t *testing.T, agent *fakeAgent) {
					agent.add("web", "web-1", withTTL)
					agent.add("web2", "web-2", withTTL)
					agent.wire.paths = nil // nobody else uses it yet
					agent.Inject(test.fault)
					agent.register(webHTTP(), &discovery.RegisterOptions{Background: true, PollInterval: time.Hour})
					time.Sleep(30 * time.Second)
					names := strings.NewReplacer(
						"GET /v1/agent/checks", "list", registerPath, "register",
						"PUT /v1/agent/check/deregister/service:web-1", "drop", "GET /v1/agent/health/service/id/web-1", "poll",
					)
					agent.wire.mu.Lock()
					requests := strings.Join(agent.wire.paths, " ")
					agent.wire.mu.Unlock()
					want(t, "requests", names.Replace(requests), test.requests)
					time.Sleep(time.Minute)
					if strings.Contains(test.requests, "drop") {
						want(t, "health", agent.health(), "passing")
					}
				}, consulmock.WithVersion(version))
			})
		}
	}
}
