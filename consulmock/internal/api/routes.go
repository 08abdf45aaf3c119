package api

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// New returns the API of the agent that a function returns, which is called with
// the lock held.
func New(c Config, of *agent.Config, lock sync.Locker, agent func() *agent.Agent) *API {
	return &API{config: c, of: of, lock: lock, agent: agent, table: newTable(of.Version)}
}

// newTable returns the routes of a version.
func newTable(v release.Version) table {
	t := make(table, len(Routes))
	for i := range Routes {
		if Routes[i].since <= v {
			t[Routes[i].Path] = &Routes[i]
		}
	}
	return t
}

// Routes is every endpoint that the fake knows, in the order of Consul's own
// documentation.
var Routes = []Route{
	{"GET", "/v1/agent/host", agentHost, release.V1_8_7},
	{"GET", "/v1/agent/members", agentMembers, release.V1_8_7},
	{"GET", "/v1/agent/self", agentSelf, release.V1_8_7},
	{"GET", "/v1/agent/version", agentVersion, release.V1_21_4},
	{"PUT", "/v1/agent/reload", agentReload, release.V1_8_7},
	{"PUT", "/v1/agent/maintenance", nodeMaintenance, release.V1_8_7},
	{"GET", "/v1/agent/metrics", agentMetrics, release.V1_8_7},
	{"GET", "/v1/agent/metrics/stream", agentMetricsStream, release.V1_21_4},
	{"GET", "/v1/agent/monitor", agentMonitor, release.V1_8_7},
	{"PUT", "/v1/agent/join/", agentJoin, release.V1_8_7},
	{"PUT", "/v1/agent/leave", agentLeave, release.V1_8_7},
	{"PUT", "/v1/agent/force-leave/", agentForceLeave, release.V1_8_7},
	{"PUT", "/v1/agent/token/", agentToken, release.V1_8_7},

	{"GET", "/v1/agent/checks", agentChecks, release.V1_8_7},
	{"PUT", "/v1/agent/check/register", registerCheck, release.V1_8_7},
	{"PUT", "/v1/agent/check/deregister/", deregisterCheck, release.V1_8_7},
	{"PUT", "/v1/agent/check/pass/", passCheck, release.V1_8_7},
	{"PUT", "/v1/agent/check/warn/", warnCheck, release.V1_8_7},
	{"PUT", "/v1/agent/check/fail/", failCheck, release.V1_8_7},
	{"PUT", "/v1/agent/check/update/", updateCheck, release.V1_8_7},

	{"GET", "/v1/agent/services", agentServices, release.V1_8_7},
	{"GET", "/v1/agent/service/", agentService, release.V1_8_7},
	{"GET", "/v1/agent/health/service/name/", localHealthByName, release.V1_8_7},
	{"GET", "/v1/agent/health/service/id/", localHealthByID, release.V1_8_7},
	{"PUT", "/v1/agent/service/register", registerService, release.V1_8_7},
	{"PUT", "/v1/agent/service/deregister/", deregisterService, release.V1_8_7},
	{"PUT", "/v1/agent/service/maintenance/", serviceMaintenance, release.V1_8_7},

	{"POST", "/v1/agent/connect/authorize", notModelled, release.V1_8_7},
	{"GET", "/v1/agent/connect/ca/roots", notModelled, release.V1_8_7},
	{"GET", "/v1/agent/connect/ca/leaf/", notModelled, release.V1_8_7},

	{"PUT", "/v1/catalog/register", catalogRegister, release.V1_8_7},
	{"PUT", "/v1/catalog/deregister", catalogDeregister, release.V1_8_7},
	{"GET", "/v1/catalog/datacenters", catalogDatacenters, release.V1_8_7},
	{"GET", "/v1/catalog/nodes", catalogNodes, release.V1_8_7},
	{"GET", "/v1/catalog/services", catalogServices, release.V1_8_7},
	{"GET", "/v1/catalog/service/", catalogService, release.V1_8_7},
	{"GET", "/v1/catalog/connect/", catalogConnect, release.V1_8_7},
	{"GET", "/v1/catalog/node/", catalogNode, release.V1_8_7},
	{"GET", "/v1/catalog/node-services/", catalogNodeServices, release.V1_8_7},
	{"GET", "/v1/catalog/gateway-services/", catalogGatewayServices, release.V1_8_7},

	{"PUT", "/v1/event/fire/", fireEvent, release.V1_8_7},
	{"GET", "/v1/event/list", listEvents, release.V1_8_7},

	{"GET", "/v1/health/node/", healthNode, release.V1_8_7},
	{"GET", "/v1/health/checks/", healthChecks, release.V1_8_7},
	{"GET", "/v1/health/service/", healthService, release.V1_8_7},
	{"GET", "/v1/health/connect/", healthConnect, release.V1_8_7},
	{"GET", "/v1/health/ingress/", healthIngress, release.V1_8_7},
	{"GET", "/v1/health/state/", healthState, release.V1_8_7},

	{"GET,PUT,DELETE", "/v1/kv/", kv, release.V1_8_7},

	{"PUT", "/v1/session/create", createSession, release.V1_8_7},
	{"PUT", "/v1/session/destroy/", destroySession, release.V1_8_7},
	{"GET", "/v1/session/info/", sessionInfo, release.V1_8_7},
	{"GET", "/v1/session/list", listSessions, release.V1_8_7},
	{"GET", "/v1/session/node/", nodeSessions, release.V1_8_7},
	{"PUT", "/v1/session/renew/", renewSession, release.V1_8_7},

	{"PUT", "/v1/txn", txn, release.V1_8_7},

	{"GET", "/v1/status/leader", statusLeader, release.V1_8_7},
	{"GET", "/v1/status/peers", statusPeers, release.V1_8_7},

	{"GET", "/v1/operator/raft/configuration", raftConfiguration, release.V1_8_7},

	// Just enough to make and revoke the tokens of a test.
	{"PUT", "/v1/acl/policy", createPolicy, release.V1_8_7},
	{"PUT", "/v1/acl/token", createToken, release.V1_8_7},
	{"DELETE", "/v1/acl/token/", deleteToken, release.V1_8_7},

	// An agent has these; the fake reports that it has not.
	{"", "/v1/acl/", notModelled, release.V1_8_7},
	{"", "/v1/config", notModelled, release.V1_8_7},
	{"", "/v1/config/", notModelled, release.V1_8_7},
	{"", "/v1/connect/", notModelled, release.V1_8_7},
	{"", "/v1/coordinate/", notModelled, release.V1_8_7},
	{"", "/v1/discovery-chain/", notModelled, release.V1_8_7},
	{"", "/v1/exported-services", notModelled, release.V1_21_4},
	{"", "/v1/imported-services", notModelled, release.V1_21_4},
	{"", "/v1/internal/", notModelled, release.V1_8_7},
	{"", "/v1/operator/", notModelled, release.V1_8_7},
	{"", "/v1/peering", notModelled, release.V1_21_4},
	{"", "/v1/peering/", notModelled, release.V1_21_4},
	{"", "/v1/peerings", notModelled, release.V1_21_4},
	{"", "/v1/query", notModelled, release.V1_8_7},
	{"", "/v1/query/", notModelled, release.V1_8_7},
	{"", "/v1/snapshot", notModelled, release.V1_8_7},
}

// notModelled responds for the endpoints of an agent that the fake has not.
func notModelled(q *request) (any, error) {
	return nil, refusal.New(http.StatusNotImplemented, fmt.Sprintf("consulmock does not model %s %s", q.r.Method, q.r.URL.Path))
}
