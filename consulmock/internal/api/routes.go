package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// Route is an endpoint: a method, a path, and what answers it. A path that ends
// with a slash is followed by a name.
type Route struct {
	Method string // empty means every method
	Path   string
	answer handler
	since  release.Version
}

// handler answers a request. It is called with the server's lock held, and may
// give it up while it waits. A nil answer is an empty one; an *answer says more
// than a body; everything else is a body in JSON.
type handler func(q *request) (any, error)

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

	{"GET", "/v1/health/node/", healthNode, release.V1_8_7},
	{"GET", "/v1/health/checks/", healthChecks, release.V1_8_7},
	{"GET", "/v1/health/service/", healthService, release.V1_8_7},
	{"GET", "/v1/health/connect/", healthConnect, release.V1_8_7},
	{"GET", "/v1/health/ingress/", healthIngress, release.V1_8_7},
	{"GET", "/v1/health/state/", healthState, release.V1_8_7},

	{"GET", "/v1/status/leader", statusLeader, release.V1_8_7},
	{"GET", "/v1/status/peers", statusPeers, release.V1_8_7},

	{"GET", "/v1/operator/raft/configuration", raftConfiguration, release.V1_8_7},

	// Just enough to make and revoke the tokens of a test.
	{"PUT", "/v1/acl/policy", createPolicy, release.V1_8_7},
	{"PUT", "/v1/acl/token", createToken, release.V1_8_7},
	{"DELETE", "/v1/acl/token/", deleteToken, release.V1_8_7},

	// An agent has these; the fake says that it has not.
	{"", "/v1/acl/", notModelled, release.V1_8_7},
	{"", "/v1/config", notModelled, release.V1_8_7},
	{"", "/v1/config/", notModelled, release.V1_8_7},
	{"", "/v1/connect/", notModelled, release.V1_8_7},
	{"", "/v1/coordinate/", notModelled, release.V1_8_7},
	{"", "/v1/discovery-chain/", notModelled, release.V1_8_7},
	{"", "/v1/event/", notModelled, release.V1_8_7},
	{"", "/v1/exported-services", notModelled, release.V1_21_4},
	{"", "/v1/imported-services", notModelled, release.V1_21_4},
	{"", "/v1/internal/", notModelled, release.V1_8_7},
	{"", "/v1/kv/", notModelled, release.V1_8_7},
	{"", "/v1/operator/", notModelled, release.V1_8_7},
	{"", "/v1/peering", notModelled, release.V1_21_4},
	{"", "/v1/peering/", notModelled, release.V1_21_4},
	{"", "/v1/peerings", notModelled, release.V1_21_4},
	{"", "/v1/query", notModelled, release.V1_8_7},
	{"", "/v1/query/", notModelled, release.V1_8_7},
	{"", "/v1/session/", notModelled, release.V1_8_7},
	{"", "/v1/snapshot", notModelled, release.V1_8_7},
	{"", "/v1/txn", notModelled, release.V1_8_7},
}

// notModelled answers for the endpoints of an agent that the fake has not.
func notModelled(q *request) (any, error) {
	return nil, refusal.New(http.StatusNotImplemented, fmt.Sprintf("consulmock does not model %s %s", q.r.Method, q.r.URL.Path))
}

// table finds routes by their paths.
type table map[string]*Route

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

// find returns the route of a path, and the name that follows the route's path.
// The route with the longest path wins.
func (t table) find(path string) (rt *Route, name string) {
	if rt := t[path]; rt != nil {
		return rt, ""
	}
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		if rt := t[path[:i+1]]; rt != nil {
			return rt, path[i+1:]
		}
	}
	return nil, ""
}

// errGone means that nobody is there to be answered any more, or to answer.
var errGone = errors.New("the client or the agent has gone")

// BadRequest is as the function BadRequest, for the texts that 1.8.7 writes
// something before.
func (q *request) badRequest(format string, args ...any) error {
	if q.v == release.V1_8_7 {
		format = "Bad request: " + format
	}
	return refusal.BadRequest(format, args...)
}

// request is one request on its way through the agent.
type request struct {
	api    *API
	run    agent.Run // in which the request arrived; empty if it is the test's own
	config *agent.Config
	a      *agent.Agent // set once the lock is held
	v      release.Version
	w      http.ResponseWriter
	r      *http.Request
	query  url.Values
	name   string // what follows the path of the route
	body   []byte

	seeding bool // the request is the test's own
}

// Config says how an agent responds to requests.
type Config struct {
	Compact     bool
	Streaming   bool
	Translate   bool
	DefaultWait time.Duration
	MaxWait     time.Duration
}

// API is the HTTP API of an agent.
type API struct {
	config Config
	of     *agent.Config
	lock   sync.Locker         // of the agent
	agent  func() *agent.Agent // returns the present one; the lock must be held
	table  table
}

// New returns the API of the agent that a function returns, which is called with
// the lock held.
func New(c Config, of *agent.Config, lock sync.Locker, agent func() *agent.Agent) *API {
	return &API{config: c, of: of, lock: lock, agent: agent, table: newTable(of.Version)}
}

// Serve finds the endpoint of a request, which arrived in a run of the agent, and
// responds to it.
func (api *API) Serve(run agent.Run, w http.ResponseWriter, r *http.Request) {
	v := api.of.Version
	if strings.ContainsFunc(r.URL.Path, func(c rune) bool { return !unicode.IsPrint(c) }) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if to := api.redirect(r); to != "" {
		status := http.StatusTemporaryRedirect
		if v == release.V1_8_7 {
			status = http.StatusMovedPermanently
		}
		http.Redirect(w, r, to, status)
		return
	}
	rt, name := api.table.find(r.URL.Path)
	if v == release.V1_21_4 && hasEscapedSlash(r.URL, strings.TrimSuffix(r.URL.Path, name)) {
		rt = nil
	}
	switch {
	case rt != nil:
		q := &request{api: api, run: run, config: api.of, v: v, w: w, r: r, name: name}
		q.serve(rt)
	case r.URL.Path == "/":
		http.Redirect(w, r, "/ui/", http.StatusMovedPermanently)
	default:
		notFound(w, r, v)
	}
}

// hasEscapedSlash reports whether one of the slashes of the path's fixed part is
// escaped. Names may have such slashes, but 1.21.4 does not know such a path.
func hasEscapedSlash(u *url.URL, fixed string) bool {
	n := strings.Count(fixed, "/")
	parts := strings.SplitN(u.EscapedPath(), "/", n+1)
	return len(parts) <= n || strings.Contains(strings.ToUpper(strings.Join(parts[:n], "/")), "%2F")
}

// notFound answers for paths that an agent does not have.
func notFound(w http.ResponseWriter, r *http.Request, v release.Version) {
	if v == release.V1_8_7 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	text := "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		text = "Invalid URL path: not a recognized HTTP API endpoint\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	w.Write([]byte(text))
}

// redirect returns where a request with an unclean path is sent, or "". As the
// HTTP servers that the agents are built with do, 1.8.7 cleans the path after
// undoing the escapes, so that a name with %2F%2F is not reached, and 1.21.4
// before.
func (api *API) redirect(r *http.Request) string {
	if r.Method == http.MethodConnect || r.URL.Path == "*" {
		return ""
	}
	have := r.URL.Path
	if api.of.Version == release.V1_21_4 {
		have = r.URL.EscapedPath()
	}
	want := cleanPath(have)
	if api.table[want] == nil && api.table[want+"/"] != nil || want == "/ui" {
		want += "/"
	}
	if want == have {
		return ""
	}
	if api.of.Version == release.V1_21_4 {
		if unescaped, err := url.PathUnescape(want); err == nil {
			want = unescaped
		}
	}
	return (&url.URL{Path: want, RawQuery: r.URL.RawQuery}).String()
}

// cleanPath removes empty, "." and ".." elements, but keeps a final slash.
func cleanPath(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}
