package client

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestReads looks at what the catalog and the health endpoints say, with every
// option that changes it.
func TestReads(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{Config: []string{`node_meta { rack = "1" }`}})
	c, ctx := a.Client(), limit(t)
	for id, tags := range map[string][]string{"web-1": {"v1", "blue"}, "web-2": {"v2", "blue"}} {
		register(t, c, &consul.AgentServiceRegistration{ID: id, Name: "web", Port: 80, Tags: tags, Meta: map[string]string{"id": id},
			Check: &consul.AgentServiceCheck{CheckID: "c-" + id, TTL: time.Hour}})
	}
	check(t, c.Agent().PassTTL(ctx, "c-web-1", "fine"))
	check(t, c.Catalog().Register(ctx, &consul.CatalogRegistration{
		ID: "11111111-2222-3333-4444-555555555555", Node: "ext", Address: "192.0.2.7", Datacenter: "dc1",
		NodeMeta: map[string]string{"external": "yes"}, TaggedAddresses: map[string]string{"lan": "192.0.2.7"},
		Service: &consul.AgentService{ID: "db-1", Service: "db", Port: 5432},
		Check: &consul.AgentCheck{Node: "ext", CheckID: "reach", Name: "reachable", Status: consul.HealthWarning, ServiceID: "db-1",
			Definition: &consul.HealthCheckDefinition{TCP: "192.0.2.7:5432", Interval: 10 * time.Second}},
		Checks: consul.HealthChecks{{Node: "ext", CheckID: "up", Name: "up", Status: consul.HealthPassing}},
	}))

	t.Run("health", func(t *testing.T) { testHealthReads(t, c) })
	t.Run("catalog", func(t *testing.T) { testCatalogReads(t, a, c) })
	t.Run("options", func(t *testing.T) { testOptions(t, a, c) })
	t.Run("status", func(t *testing.T) {
		leader, err := c.Status().Leader(ctx)
		check(t, err)
		peers, err := c.Status().Peers(ctx)
		check(t, err)
		want(t, "peers", peers, []string{leader})
	})
	t.Run("deregister", func(t *testing.T) {
		exists := func(node string) bool {
			n, _, err := c.Catalog().Node(ctx, node, nil)
			check(t, err)
			return n.Node != nil
		}
		check(t, c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "ext", CheckID: "reach", Datacenter: "dc1"}))
		check(t, c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "ext", ServiceID: "db-1"}))
		db, _, err := c.Catalog().Service(ctx, "db", nil)
		check(t, err)
		want(t, "db", len(db), 0)
		want(t, "ext is there", exists("ext"), true)
		check(t, c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "ext"}))
		want(t, "ext is there", exists("ext"), false)
		err = c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "new", SkipNodeUpdate: true})
		check(t, err)
		want(t, "new is there", exists("new"), true)
		err = c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "no address"})
		wantStatus(t, err, http.StatusInternalServerError)
	})
	t.Run("enterprise", func(t *testing.T) {
		if err := c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "n", Address: "192.0.2.1", Namespace: "x"}); err == nil {
			t.Error("a namespace is accepted")
		}
		err := c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "n", Address: "192.0.2.1", Partition: "x", Locality: &consul.Locality{Region: "r"}})
		if err == nil {
			t.Error("a partition is accepted")
		}
		if err := c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "n", Namespace: "x", Partition: "y"}); err == nil {
			t.Error("a namespace is accepted")
		}
	})
}

func testHealthReads(t *testing.T, c *consul.Client) {
	ctx := limit(t)
	entries, meta, err := c.Health().Service(ctx, "web", nil)
	check(t, err)
	want(t, "instances", ids(entries), []string{"web-1", "web-2"})
	want(t, "known leader", meta.KnownLeader, true)
	want(t, "last contact", meta.LastContact, 0)
	want(t, "effective consistency", meta.EffectiveConsistency, "leader")
	if meta.LastIndex == 0 || meta.RequestTime <= 0 {
		t.Errorf("metadata %+v", meta)
	}
	e := entries[0]
	want(t, "node", e.Node.Node, "node1")
	want(t, "node's meta", e.Node.Meta["rack"], "1")
	want(t, "checks", len(e.Checks), 2)
	want(t, "status", e.Checks.AggregatedStatus(), consul.HealthPassing)
	want(t, "status", entries[1].Checks.AggregatedStatus(), consul.HealthCritical)

	checks, _, err := c.Health().Checks(ctx, "web", nil)
	check(t, err)
	want(t, "checks of web", len(checks), 2)
	checks, _, err = c.Health().Node(ctx, "ext", nil)
	check(t, err)
	want(t, "checks of ext", len(checks), 2)
	reach := checks[0]
	if reach.CheckID != "reach" {
		reach = checks[1]
	}
	if reach.Definition == nil || reach.Definition.TCP != "192.0.2.7:5432" || reach.Definition.Interval != 10*time.Second {
		t.Errorf("definition is %+v", reach.Definition)
	}
	for status, n := range map[consul.HealthStatus]int{consul.HealthAny: 5, consul.HealthPassing: 3, consul.HealthWarning: 1, consul.HealthCritical: 1} {
		checks, _, err = c.Health().State(ctx, status, nil)
		check(t, err)
		want(t, string(status)+" checks", len(checks), n)
	}
	entries, _, err = c.Health().Ingress(ctx, "web", nil)
	check(t, err)
	want(t, "ingress gateways", len(entries), 0)
	entries, _, err = c.Health().Service(ctx, "nope", nil)
	check(t, err)
	want(t, "instances of nope", len(entries), 0)
}

func testCatalogReads(t *testing.T, a *agenttest.Agent, c *consul.Client) {
	ctx := limit(t)
	services, _, err := c.Catalog().Services(ctx, nil)
	check(t, err)
	want(t, "tags of web", len(services["web"]), 3)
	instances, _, err := c.Catalog().Service(ctx, "db", nil)
	check(t, err)
	want(t, "instances of db", len(instances), 1)
	want(t, "address", instances[0].Address, "192.0.2.7")
	want(t, "port", instances[0].ServicePort, 5432)
	want(t, "node's meta", instances[0].NodeMeta, map[string]string{"external": "yes"})
	nodes, _, err := c.Catalog().Nodes(ctx, nil)
	check(t, err)
	want(t, "nodes", len(nodes), 2)
	node, _, err := c.Catalog().Node(ctx, "node1", nil)
	check(t, err)
	want(t, "node's address", node.Node.Address, "127.0.0.1")
	want(t, "services of node1", len(node.Services), 3)
	list, _, err := c.Catalog().NodeServices(ctx, "node1", nil)
	check(t, err)
	want(t, "services of node1", len(list.Services), 3)
	list, _, err = c.Catalog().NodeServices(ctx, "nope", nil)
	check(t, err)
	want(t, "node nope", list.Node, nil)
	dcs, _, err := c.Catalog().Datacenters(ctx, nil)
	check(t, err)
	want(t, "datacenters", dcs, []string{"dc1"})

	check(t, c.Raw().Write(ctx, "/v1/config", json.RawMessage(
		`{"Kind":"terminating-gateway","Name":"out","Services":[{"Name":"web","CAFile":"/ca","SNI":"web.example"}]}`), nil, nil))
	behind, _, err := c.Catalog().GatewayServices(ctx, "out", nil)
	check(t, err)
	if len(behind) != 1 || behind[0].Service.Name != "web" || behind[0].SNI != "web.example" || behind[0].GatewayKind != "terminating-gateway" {
		t.Errorf("behind the gateway: %+v", behind)
	}
}

func testOptions(t *testing.T, a *agenttest.Agent, c *consul.Client) {
	ctx := limit(t)
	service := func(q *consul.QueryOptions) ([]string, *consul.QueryMeta) {
		t.Helper()
		entries, meta, err := c.Health().Service(ctx, "web", q)
		check(t, err)
		return ids(entries), meta
	}
	both, first, second, none := []string{"web-1", "web-2"}, []string{"web-1"}, []string{"web-2"}, []string{}
	for _, o := range []struct {
		what string
		q    consul.QueryOptions
		want []string
	}{
		{"Tags", consul.QueryOptions{Tags: []string{"v1"}}, first},
		{"two Tags", consul.QueryOptions{Tags: []string{"v1", "blue"}}, first},
		{"Tags of two", consul.QueryOptions{Tags: []string{"v1", "v2"}}, none},
		{"PassingOnly", consul.QueryOptions{PassingOnly: true}, first},
		{"Filter", consul.QueryOptions{Filter: `Service.Meta.id == "web-2"`}, second},
		{"NodeMeta", consul.QueryOptions{NodeMeta: map[string]string{"rack": "1"}}, both},
		{"other NodeMeta", consul.QueryOptions{NodeMeta: map[string]string{"rack": "1", "external": "yes"}}, none},
		{"Near", consul.QueryOptions{Near: "_agent"}, both},
		{"Datacenter", consul.QueryOptions{Datacenter: "dc1"}, both},
		{"MergeCentralConfig", consul.QueryOptions{MergeCentralConfig: true}, both},
		{"AllowStale", consul.QueryOptions{AllowStale: true}, both},
		{"RequireConsistent", consul.QueryOptions{RequireConsistent: true}, both},
	} {
		got, _ := service(&o.q)
		want(t, o.what, got, o.want)
	}
	instances, _, err := c.Catalog().Service(ctx, "web", &consul.QueryOptions{Tags: []string{"v2"}})
	check(t, err)
	want(t, "catalog with Tags", len(instances), 1)

	_, meta := service(&consul.QueryOptions{AllowStale: true})
	want(t, "effective consistency", meta.EffectiveConsistency, "stale")
	_, meta = service(&consul.QueryOptions{RequireConsistent: true})
	want(t, "effective consistency", meta.EffectiveConsistency, "consistent")
	_, meta = service(&consul.QueryOptions{UseCache: true})
	want(t, "first from the cache", meta.CacheHit, false)
	_, meta = service(&consul.QueryOptions{UseCache: true, MaxAge: time.Minute, StaleIfError: time.Hour})
	want(t, "second from the cache", meta.CacheHit, true)
	if !a.Old() {
		_, meta = service(nil)
		want(t, "backend", meta.QueryBackend, "blocking-query")
		want(t, "policy", meta.DefaultACLPolicy, "allow")
		got, _ := service(&consul.QueryOptions{Peer: "elsewhere"})
		want(t, "instances of a peer", got, none)
	}
	for what, q := range map[string]*consul.QueryOptions{
		"Datacenter":    {Datacenter: "nope"},
		"Namespace":     {Namespace: "team"},
		"Filter":        {Filter: `Service.Nope == "x"`},
		"both":          {AllowStale: true, RequireConsistent: true},
		"Partition":     {Partition: "part"},
		"SamenessGroup": {SamenessGroup: "group"},
	} {
		_, _, err := c.Health().Service(ctx, "web", q)
		if a.Old() && (what == "Partition" || what == "SamenessGroup") {
			check(t, err)
		} else if err == nil {
			t.Errorf("%s %v: no error", what, q)
		}
	}
	for what, other := range map[string]*consul.Client{
		"datacenter": c.WithDatacenter("nope"), "namespace": c.WithNamespace("team"), "partition": c.WithPartition("part"),
	} {
		_, _, err := other.Catalog().Services(ctx, nil)
		if a.Old() && what == "partition" {
			check(t, err)
		} else if err == nil {
			t.Errorf("%s of the client: no error", what)
		}
	}
	cfg := a.Config()
	cfg.Datacenter, cfg.Namespace, cfg.Partition = "dc1", "team", "part"
	scoped, err := consul.NewClient(cfg)
	check(t, err)
	_, _, err = scoped.Catalog().Services(ctx, nil)
	wantStatus(t, err, http.StatusBadRequest)
}

// TestAddressTranslation asks an agent that translates addresses between
// datacenters, and reports it.
func TestAddressTranslation(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{Config: []string{"translate_wan_addrs = true"}}).Client()
	_, meta, err := c.Catalog().Nodes(limit(t), nil)
	check(t, err)
	want(t, "address translation", meta.AddressTranslationEnabled, true)
}
