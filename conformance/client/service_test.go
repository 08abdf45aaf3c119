package client

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// fullService is a registration with every field that all agents take.
func fullService() *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{
		ID: "full-1", Name: "full", Tags: []string{"a", "b"}, Port: 8080, Address: "10.0.0.1",
		TaggedAddresses:   map[string]consul.ServiceAddress{"wan": {Address: "192.0.2.1", Port: 80}},
		EnableTagOverride: true,
		Meta:              map[string]string{"version": "1"},
		Weights:           &consul.AgentWeights{Passing: 5, Warning: 2},
		Check:             &consul.AgentServiceCheck{CheckID: "full-ttl", Name: "alive", Notes: "beats", TTL: time.Minute, Status: consul.HealthPassing},
		Checks:            []*consul.AgentServiceCheck{{AliasService: "full-1"}},
		Connect:           &consul.AgentServiceConnect{Native: true},
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), limit(t)

	t.Run("full", func(t *testing.T) {
		register(t, c, fullService())
		services, err := c.Agent().Services(ctx, nil)
		check(t, err)
		s := services["full-1"]
		if s == nil {
			t.Fatalf("services are %v", services)
		}
		want(t, "Service", s.Service, "full")
		want(t, "Tags", s.Tags, []string{"a", "b"})
		want(t, "Port", s.Port, 8080)
		want(t, "Address", s.Address, "10.0.0.1")
		want(t, "TaggedAddresses", s.TaggedAddresses["wan"], consul.ServiceAddress{Address: "192.0.2.1", Port: 80})
		want(t, "EnableTagOverride", s.EnableTagOverride, true)
		want(t, "Meta", s.Meta, map[string]string{"version": "1"})
		want(t, "Weights", s.Weights, consul.AgentWeights{Passing: 5, Warning: 2})
		want(t, "Connect", s.Connect != nil && s.Connect.Native, true)

		one, meta, err := c.Agent().Service(ctx, "full-1", nil)
		check(t, err)
		if one.ContentHash == "" || one.ContentHash != meta.LastContentHash {
			t.Errorf("hash %q, in the header %q", one.ContentHash, meta.LastContentHash)
		}
		checks, err := c.Agent().Checks(ctx, nil)
		check(t, err)
		ttl := checks["full-ttl"]
		if ttl == nil || len(checks) != 2 {
			t.Fatalf("checks are %v", checks)
		}
		want(t, "check's Name", ttl.Name, "alive")
		want(t, "check's Notes", ttl.Notes, "beats")
		want(t, "check's Status", ttl.Status, consul.HealthPassing)
		want(t, "check's ServiceName", ttl.ServiceName, "full")

		filtered, err := c.Agent().Services(ctx, &consul.QueryOptions{Filter: `Meta.version == "2"`})
		check(t, err)
		want(t, "filtered services", len(filtered), 0)
		none, err := c.Agent().Checks(ctx, &consul.QueryOptions{Filter: `Status == "warning"`})
		check(t, err)
		want(t, "filtered checks", len(none), 0)
	})

	t.Run("mesh", func(t *testing.T) {
		register(t, c, &consul.AgentServiceRegistration{Name: "db", Connect: &consul.AgentServiceConnect{SidecarService: json.RawMessage(`{}`)}})
		register(t, c, &consul.AgentServiceRegistration{Kind: "connect-proxy", Name: "db-proxy", Port: 9000,
			Proxy: json.RawMessage(`{"DestinationServiceName":"db"}`)})
		proxy, _, err := c.Agent().Service(ctx, "db-proxy", nil)
		check(t, err)
		want(t, "Kind", proxy.Kind, "connect-proxy")
		if !strings.Contains(string(proxy.Proxy), `"db"`) {
			t.Errorf("Proxy is %s", proxy.Proxy)
		}
		entries, _, err := c.Health().Connect(ctx, "db", nil)
		check(t, err)
		want(t, "instances through the mesh", ids(entries), []string{"db-proxy", "db-sidecar-proxy"})
		instances, _, err := c.Catalog().Connect(ctx, "db", nil)
		check(t, err)
		want(t, "instances through the mesh", len(instances), 2)
	})

	t.Run("new fields", func(t *testing.T) {
		r := &consul.AgentServiceRegistration{Name: "sock", SocketPath: "/run/app.sock", Locality: &consul.Locality{Region: "r", Zone: "z"}}
		if a.Old() {
			wantStatus(t, c.Agent().ServiceRegister(ctx, r), http.StatusBadRequest)
			return
		}
		register(t, c, r)
		s, _, err := c.Agent().Service(ctx, "sock", nil)
		check(t, err)
		want(t, "SocketPath", s.SocketPath, "/run/app.sock")
		want(t, "Locality", s.Locality, &consul.Locality{Region: "r", Zone: "z"})
	})

	t.Run("enterprise", func(t *testing.T) {
		for _, r := range []*consul.AgentServiceRegistration{{Name: "x", Namespace: "team"}, {Name: "x", Partition: "part"}} {
			wantStatus(t, c.Agent().ServiceRegister(ctx, r), http.StatusBadRequest)
		}
	})

	t.Run("replace checks", func(t *testing.T) {
		r := &consul.AgentServiceRegistration{Name: "rep", Checks: []*consul.AgentServiceCheck{
			{CheckID: "one", TTL: time.Minute}, {CheckID: "two", TTL: time.Minute}}}
		register(t, c, r)
		r.Checks = r.Checks[:1]
		for _, replace := range []bool{false, true} {
			r.ReplaceExistingChecks = replace
			check(t, c.Agent().ServiceRegister(ctx, r))
			checks, err := c.Agent().Checks(ctx, nil)
			check(t, err)
			if got := checks["two"] == nil; got != replace {
				t.Errorf("ReplaceExistingChecks %t: checks are %v", replace, checks)
			}
		}
	})

	t.Run("awkward names", func(t *testing.T) {
		for _, id := range []string{"a/b c?d%e", "über#ß", "a+b&c=d;e", "%2F", strings.Repeat("x", 4<<10)} {
			register(t, c, &consul.AgentServiceRegistration{ID: id, Name: "odd", Check: &consul.AgentServiceCheck{CheckID: "check " + id, TTL: time.Minute}})
			s, _, err := c.Agent().Service(ctx, id, nil)
			check(t, err)
			want(t, "ID", s.ID, id)
			check(t, c.Agent().PassTTL(ctx, "check "+id, id))
			h, err := c.Agent().ServiceHealthByID(ctx, id)
			check(t, err)
			want(t, "status", h.AggregatedStatus, consul.HealthPassing)
			want(t, "output", h.Checks[0].Output, id)
			check(t, c.Agent().ServiceDeregister(ctx, id))
		}
	})

	t.Run("refused", func(t *testing.T) {
		err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "x", Address: "0.0.0.0"})
		wantStatus(t, err, http.StatusBadRequest)
		wantError(t, err, nil, "/v1/agent/service/register: 400 Invalid service address")
	})
}

func TestChecks(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{Config: []string{"enable_local_script_checks = true", "enable_script_checks = true"}})
	c, ctx := a.Client(), limit(t)
	status := func(t *testing.T, id string) *consul.AgentCheck {
		t.Helper()
		checks, err := c.Agent().Checks(ctx, nil)
		check(t, err)
		if checks[id] == nil {
			t.Fatalf("no check %q in %v", id, checks)
		}
		return checks[id]
	}

	t.Run("TTL", func(t *testing.T) {
		check(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{ID: "node-ttl", Name: "of the node", Notes: "n",
			AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute}}))
		want(t, "status", status(t, "node-ttl").Status, consul.HealthCritical)
		want(t, "notes", status(t, "node-ttl").Notes, "n")
		check(t, c.Agent().PassTTL(ctx, "node-ttl", "well & good"))
		want(t, "status", status(t, "node-ttl").Status, consul.HealthPassing)
		want(t, "output", status(t, "node-ttl").Output, "well & good")
		check(t, c.Agent().WarnTTL(ctx, "node-ttl", ""))
		want(t, "status", status(t, "node-ttl").Status, consul.HealthWarning)
		want(t, "output", status(t, "node-ttl").Output, "")
		check(t, c.Agent().FailTTL(ctx, "node-ttl", "x"))
		want(t, "status", status(t, "node-ttl").Status, consul.HealthCritical)
		check(t, c.Agent().UpdateTTL(ctx, "node-ttl", consul.HealthPassing, "line 1\nline 2"))
		want(t, "status", status(t, "node-ttl").Status, consul.HealthPassing)
		want(t, "output", status(t, "node-ttl").Output, "line 1\nline 2")
		check(t, c.Agent().CheckDeregister(ctx, "node-ttl"))
		checks, err := c.Agent().Checks(ctx, nil)
		check(t, err)
		want(t, "checks", len(checks), 0)
	})

	t.Run("TTL expires", func(t *testing.T) {
		check(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "short",
			AgentServiceCheck: consul.AgentServiceCheck{TTL: 50 * time.Millisecond, Status: consul.HealthPassing}}))
		eventually(t, "the check is critical", func() bool { return status(t, "short").Status == consul.HealthCritical })
		check(t, c.Agent().CheckDeregister(ctx, "short"))
	})

	register(t, c, &consul.AgentServiceRegistration{Name: "other"})
	for _, k := range kinds(a.Addr) {
		t.Run(k.name, func(t *testing.T) {
			k.check.Name, k.check.CheckID = k.name, "kind-"+k.name
			if k.check.AliasService == "" && k.check.AliasNode == "" {
				k.check.Interval = 50 * time.Millisecond
				k.check.Timeout = time.Second
			}
			err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "probed", Checks: []*consul.AgentServiceCheck{k.check}})
			if k.code != 0 || k.newOnly && a.Old() {
				code := k.code
				if a.Old() {
					code = http.StatusBadRequest
				}
				wantStatus(t, err, code)
				return
			}
			check(t, err)
			eventually(t, "the check says "+k.says, func() bool {
				s := status(t, k.check.CheckID)
				return s.Status == k.status && strings.Contains(s.Output, k.says)
			})
			if k.check.AliasNode == "" {
				check(t, c.Agent().ServiceDeregister(ctx, "probed"))
			}
		})
	}
}

type kind struct {
	name    string
	check   *consul.AgentServiceCheck
	status  consul.HealthStatus
	says    string
	newOnly bool // 1.8 does not know it
	code    int  // it is refused with this status
}

// kinds are checks of every kind that an agent can run on itself.
func kinds(addr string) []kind {
	return []kind{
		{name: "HTTP", check: &consul.AgentServiceCheck{HTTP: "http://" + addr + "/v1/agent/self", Method: "OPTIONS",
			Header: map[string][]string{"X-A": {"b"}}, Body: "x", TLSSkipVerify: true, OutputMaxSize: 100, SuccessBeforePassing: 2, FailuresBeforeCritical: 3},
			status: consul.HealthPassing, says: "200 OK"},
		{name: "HTTP new", check: &consul.AgentServiceCheck{HTTP: "http://" + addr + "/v1/catalog//nodes", DisableRedirects: true, FailuresBeforeWarning: 1, FailuresBeforeCritical: 2, TLSServerName: "x"},
			status: consul.HealthCritical, says: "307", newOnly: true},
		{name: "TCP", check: &consul.AgentServiceCheck{TCP: addr, DeregisterCriticalServiceAfter: time.Hour}, status: consul.HealthPassing, says: "Success"},
		{name: "TCP with TLS", check: &consul.AgentServiceCheck{TCP: addr, TCPUseTLS: true}, status: consul.HealthCritical, says: "tls", newOnly: true},
		{name: "UDP", check: &consul.AgentServiceCheck{UDP: "127.0.0.1:1"}, status: consul.HealthCritical, newOnly: true},
		{name: "GRPC", check: &consul.AgentServiceCheck{GRPC: addr, GRPCUseTLS: true}, status: consul.HealthCritical},
		{name: "H2PING", check: &consul.AgentServiceCheck{H2PING: addr}, status: consul.HealthCritical, newOnly: true},
		{name: "H2PING with TLS", check: &consul.AgentServiceCheck{H2PING: addr, H2PingUseTLS: true}, status: consul.HealthCritical, says: "tls", newOnly: true},
		{name: "OSService", check: &consul.AgentServiceCheck{OSService: "x"}, newOnly: true, code: http.StatusInternalServerError},
		{name: "alias of a service", check: &consul.AgentServiceCheck{AliasService: "other"}, status: consul.HealthPassing},
		{name: "Args", check: &consul.AgentServiceCheck{Args: []string{"sh", "-c", "echo hello; exit 1"}}, status: consul.HealthWarning, says: "hello"},
		{name: "Docker", check: &consul.AgentServiceCheck{DockerContainerID: "none", Shell: "/bin/sh", Args: []string{"true"}}, status: consul.HealthCritical},
		{name: "proxied", check: &consul.AgentServiceCheck{TCP: addr, ProxyHTTP: "x", ProxyGRPC: "y"}, status: consul.HealthPassing},

		// The last one: 1.21.4 waits up to a minute for such a check to stop, and
		// registers nothing meanwhile.
		{name: "alias of a node", check: &consul.AgentServiceCheck{AliasNode: "node1"}, status: consul.HealthPassing},
	}
}

func TestLocalHealth(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), limit(t)
	for _, id := range []string{"web-1", "web-2"} {
		register(t, c, &consul.AgentServiceRegistration{ID: id, Name: "web", Check: &consul.AgentServiceCheck{CheckID: "c-" + id, TTL: time.Minute, Status: consul.HealthPassing}})
	}
	wantHealth := func(byID, byName consul.HealthStatus) {
		t.Helper()
		h, err := c.Agent().ServiceHealthByID(ctx, "web-1")
		check(t, err)
		want(t, "health of web-1", h.AggregatedStatus, byID)
		if h.Service == nil || h.Service.ID != "web-1" {
			t.Errorf("service is %v", h.Service)
		}
		status, instances, err := c.Agent().ServiceHealthByName(ctx, "web")
		check(t, err)
		want(t, "health of web", status, byName)
		want(t, "number of instances", len(instances), 2)
	}
	wantHealth(consul.HealthPassing, consul.HealthPassing)
	check(t, c.Agent().WarnTTL(ctx, "c-web-1", ""))
	wantHealth(consul.HealthWarning, consul.HealthWarning)
	check(t, c.Agent().FailTTL(ctx, "c-web-2", ""))
	wantHealth(consul.HealthWarning, consul.HealthCritical)
	check(t, c.Agent().FailTTL(ctx, "c-web-1", ""))
	wantHealth(consul.HealthCritical, consul.HealthCritical)

	check(t, c.Agent().EnableServiceMaintenance(ctx, "web-1", "a reason"))
	wantHealth(consul.HealthMaintenance, consul.HealthMaintenance)
	checks, err := c.Agent().Checks(ctx, nil)
	check(t, err)
	if m := checks["_service_maintenance:web-1"]; m == nil || m.Notes != "a reason" || m.Type != "maintenance" && !a.Old() {
		t.Errorf("check of the maintenance: %+v", m)
	}
	check(t, c.Agent().DisableServiceMaintenance(ctx, "web-1"))
	check(t, c.Agent().PassTTL(ctx, "c-web-1", ""))
	wantHealth(consul.HealthPassing, consul.HealthCritical)
	check(t, c.Agent().EnableNodeMaintenance(ctx, "all"))
	wantHealth(consul.HealthMaintenance, consul.HealthMaintenance)
	entries, _, err := c.Health().Service(ctx, "web", nil)
	check(t, err)
	for _, e := range entries {
		want(t, "aggregated status", e.Checks.AggregatedStatus(), consul.HealthMaintenance)
	}
	check(t, c.Agent().DisableNodeMaintenance(ctx))
	wantHealth(consul.HealthPassing, consul.HealthCritical)

	_, err = c.Agent().ServiceHealthByID(ctx, "nope")
	wantError(t, err, consul.ErrUnknownService, "nope")
	_, _, err = c.Agent().ServiceHealthByName(ctx, "nope")
	wantError(t, err, consul.ErrUnknownService, "nope")
}
