// Package officialclient drives the official Go client over the fake agent, as
// programs that use it do. What it does with keys, sessions and locks it does over a
// real agent as well.
package officialclient

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

func newClient(t *testing.T, s *consulmock.Server, change func(*api.Config)) *api.Client {
	t.Helper()
	return newClientAt(t, strings.TrimPrefix(s.URL(), "http://"), change)
}

func newClientAt(t *testing.T, addr string, change func(*api.Config)) *api.Client {
	t.Helper()
	cfg := api.DefaultConfig()
	cfg.Address, cfg.Transport, cfg.Token = addr, &http.Transport{}, ""
	if change != nil {
		change(cfg)
	}
	c, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cfg.Transport.CloseIdleConnections)
	return c
}

// onEveryVersion runs f against the fake of every release.
func onEveryVersion(t *testing.T, f func(t *testing.T, s *consulmock.Server, c *api.Client)) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run(version, func(t *testing.T) {
			s := consulmock.New(t, consulmock.WithVersion(version))
			f(t, s, newClient(t, s, nil))
		})
	}
}

func register(t *testing.T, c *api.Client, r *api.AgentServiceRegistration) {
	t.Helper()
	if err := c.Agent().ServiceRegister(r); err != nil {
		t.Fatal(err)
	}
}

func webService() *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		ID: "web-1", Name: "web", Port: 8080, Address: "10.0.0.1", Tags: []string{"v1", "green"}, Meta: map[string]string{"env": "prod"},
		TaggedAddresses: map[string]api.ServiceAddress{"lan": {Address: "10.0.0.1", Port: 8080}},
		Weights:         &api.AgentWeights{Passing: 10, Warning: 1},
		Check:           &api.AgentServiceCheck{CheckID: "ttl", TTL: "1h", DeregisterCriticalServiceAfter: "10m"},
	}
}

func TestRegister(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, s *consulmock.Server, c *api.Client) {
		register(t, c, webService())
		services, err := c.Agent().Services()
		if err != nil {
			t.Fatal(err)
		}
		if got := services["web-1"]; got == nil || got.Port != 8080 || got.Meta["env"] != "prod" || got.Weights.Passing != 10 || got.TaggedAddresses["lan"].Port != 8080 {
			t.Errorf("got %+v", got)
		}
		one, _, err := c.Agent().Service("web-1", nil)
		if err != nil || one.ContentHash == "" {
			t.Errorf("got %+v, %v", one, err)
		}
		self, err := c.Agent().Self()
		if err != nil || self["Config"]["NodeName"] != "node1" {
			t.Errorf("got %v, %v", self["Config"], err)
		}
		if name, err := c.Agent().NodeName(); name != "node1" || err != nil {
			t.Errorf("got %q, %v", name, err)
		}
		members, err := c.Agent().Members(false)
		if err != nil || len(members) != 1 || members[0].Status != 1 {
			t.Errorf("got %+v, %v", members, err)
		}
		if err := c.Agent().ServiceDeregister("web-1"); err != nil {
			t.Error(err)
		}
		if services, err := c.Agent().Services(); len(services) > 0 || err != nil {
			t.Errorf("got %v, %v", services, err)
		}
		if err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{}); err == nil || !strings.Contains(err.Error(), "Missing service name") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTTL(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, s *consulmock.Server, c *api.Client) {
		register(t, c, webService())
		for status, update := range map[string]func() error{
			api.HealthPassing:  func() error { return c.Agent().PassTTL("ttl", "fine") },
			api.HealthWarning:  func() error { return c.Agent().WarnTTL("ttl", "fine") },
			api.HealthCritical: func() error { return c.Agent().UpdateTTL("ttl", "fine", api.HealthCritical) },
		} {
			if err := update(); err != nil {
				t.Error(err)
			}
			checks, err := c.Agent().Checks()
			if err != nil || checks["ttl"].Status != status || checks["ttl"].Output != "fine" {
				t.Errorf("want %s, got %+v, %v", status, checks["ttl"], err)
			}
			aggregated, info, err := c.Agent().AgentHealthServiceByID("web-1")
			if err != nil || aggregated != status || info.Service.ID != "web-1" {
				t.Errorf("want %s, got %s, %v", status, aggregated, err)
			}
		}
		if err := c.Agent().PassTTL("none", ""); err == nil {
			t.Error("an unknown check was updated")
		}
		if err := c.Agent().EnableServiceMaintenance("web-1", "why"); err != nil {
			t.Error(err)
		}
		// The client takes every 503 for critical; the instances tell.
		status, instances, err := c.Agent().AgentHealthServiceByName("web")
		if err != nil || status != api.HealthCritical || len(instances) != 1 || instances[0].AggregatedStatus != api.HealthMaint {
			t.Errorf("got %s, %+v, %v", status, instances, err)
		}
	})
}

// A blocking query returns with what another client registers meanwhile.
func TestBlocking(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, s *consulmock.Server, c *api.Client) {
		_, meta, err := c.Health().Service("web", "", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		waits := &consulmock.Observer{}
		s.Inject(consulmock.Fault{Path: "/v1/health/service/web", Observe: waits})
		type answer struct {
			entries []*api.ServiceEntry
			meta    *api.QueryMeta
			err     error
		}
		answers := make(chan answer)
		go func() {
			entries, meta, err := c.Health().Service("web", "v1", false, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
			answers <- answer{entries, meta, err}
		}()
		waits.Wait(1, t.Context().Done())
		register(t, c, webService())
		got := <-answers
		if got.err != nil || len(got.entries) != 1 || got.entries[0].Checks.AggregatedStatus() != api.HealthCritical || got.meta.LastIndex <= meta.LastIndex {
			t.Errorf("got %+v", got)
		}
		// And one whose context ends, with the context's error.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err = c.Health().Service("web", "", false, (&api.QueryOptions{WaitIndex: got.meta.LastIndex}).WithContext(ctx))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// A watch plan reports what is there, and then each change.
func TestWatchPlan(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, s *consulmock.Server, c *api.Client) {
		plan, err := watch.Parse(map[string]any{"type": "service", "service": "web", "passingonly": true})
		if err != nil {
			t.Fatal(err)
		}
		seen := make(chan []string, 10)
		plan.Handler = func(_ uint64, v any) {
			ids := []string{}
			for _, e := range v.([]*api.ServiceEntry) {
				ids = append(ids, e.Service.ID)
			}
			seen <- ids
		}
		ended := make(chan error)
		go func() { ended <- plan.RunWithClientAndHclog(c, nil) }()
		want := func(ids ...string) {
			t.Helper()
			for {
				select {
				case got := <-seen:
					if slices.Equal(got, ids) {
						return
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("no change to %q", ids)
				}
			}
		}
		want()
		register(t, c, webService())
		if err := c.Agent().PassTTL("ttl", ""); err != nil {
			t.Fatal(err)
		}
		want("web-1")
		if err := c.Agent().FailTTL("ttl", ""); err != nil {
			t.Fatal(err)
		}
		want()
		plan.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestCatalog(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, s *consulmock.Server, c *api.Client) {
		register(t, c, webService())
		self, err := c.Agent().Self()
		if err != nil {
			t.Fatal(err)
		}
		old := self["Config"]["Version"] == "1.8.7"
		external := &api.CatalogRegistration{
			Node: "ext1", Address: "10.9.9.9", NodeMeta: map[string]string{"external": "yes"},
			Service: &api.AgentService{ID: "db-1", Service: "db", Port: 5432},
			Check:   &api.AgentCheck{Node: "ext1", CheckID: "c1", ServiceID: "db-1", Status: api.HealthPassing},
		}
		if old {
			// The client says ExposedPort of every check, which real agents of that
			// age refuse as well.
			if _, err := c.Catalog().Register(external, nil); err == nil || !strings.Contains(err.Error(), `unknown field "ExposedPort"`) {
				t.Errorf("got %v", err)
			}
			external.Check = nil
		}
		_, err = c.Catalog().Register(external, nil)
		if err != nil {
			t.Fatal(err)
		}
		services, _, err := c.Catalog().Services(nil)
		if err != nil || len(services) != 3 || len(services["web"]) != 2 {
			t.Errorf("got %v, %v", services, err)
		}
		db, _, err := c.Catalog().Service("db", "", nil)
		if err != nil || len(db) != 1 || db[0].NodeMeta["external"] != "yes" || db[0].ServicePort != 5432 {
			t.Errorf("got %+v, %v", db, err)
		}
		web, _, err := c.Catalog().ServiceMultipleTags("web", []string{"v1", "green"}, nil)
		if err != nil || len(web) != 1 || web[0].ServiceAddress != "10.0.0.1" {
			t.Errorf("got %+v, %v", web, err)
		}
		nodes, _, err := c.Catalog().Nodes(&api.QueryOptions{NodeMeta: map[string]string{"external": "yes"}})
		if err != nil || len(nodes) != 1 || nodes[0].Node != "ext1" {
			t.Errorf("got %+v, %v", nodes, err)
		}
		node, _, err := c.Catalog().Node("ext1", nil)
		if err != nil || node.Services["db-1"] == nil {
			t.Errorf("got %+v, %v", node, err)
		}
		list, _, err := c.Catalog().NodeServiceList("ext1", nil)
		if err != nil || len(list.Services) != 1 {
			t.Errorf("got %+v, %v", list, err)
		}
		checks, _, err := c.Health().State(api.HealthPassing, nil)
		if err != nil || !old && !slices.ContainsFunc(checks, func(h *api.HealthCheck) bool { return h.CheckID == "c1" }) {
			t.Errorf("got %v, %v", checks, err)
		}
		if _, err := c.Catalog().Deregister(&api.CatalogDeregistration{Node: "ext1"}, nil); err != nil {
			t.Error(err)
		}
		if db, _, err := c.Catalog().Service("db", "", nil); len(db) > 0 || err != nil {
			t.Errorf("got %+v, %v", db, err)
		}
		if leader, err := c.Status().Leader(); leader != "127.0.0.1:8300" || err != nil {
			t.Errorf("got %q, %v", leader, err)
		}
		if dcs, err := c.Catalog().Datacenters(); len(dcs) != 1 || dcs[0] != "dc1" || err != nil {
			t.Errorf("got %q, %v", dcs, err)
		}
	})
}

func TestFilters(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, s *consulmock.Server, c *api.Client) {
		register(t, c, webService())
		register(t, c, &api.AgentServiceRegistration{ID: "web-2", Name: "web", Port: 81})
		q := func(filter string) *api.QueryOptions { return &api.QueryOptions{Filter: filter} }
		for filter, want := range map[string]int{
			`Service.Port == 81`: 1, `"v1" in Service.Tags or Service.Meta is empty`: 2, `not Service.Meta.env == prod`: 1, `Checks.Status == critical`: 1,
		} {
			if got, _, err := c.Health().Service("web", "", false, q(filter)); len(got) != want || err != nil {
				t.Errorf("%s: %d instances, %v; want %d", filter, len(got), err, want)
			}
		}
		if got, err := c.Agent().ServicesWithFilter(`Meta.env == "prod"`); len(got) != 1 || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
		if got, err := c.Agent().ChecksWithFilter(`ServiceName == "web"`); len(got) != 1 || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
		_, _, err := c.Catalog().Nodes(q("Bogus == 1"))
		var status api.StatusError
		if !errors.As(err, &status) || status.Code != 500 || status.Body != `Failed to create boolean expression evaluator: Selector "Bogus" is not valid` {
			t.Errorf("got %v", err)
		}
	})
}

func TestTokens(t *testing.T) {
	s := consulmock.New(t, consulmock.WithACLDefaultDeny())
	c := newClient(t, s, func(cfg *api.Config) { cfg.Token = "11111111-1111-1111-1111-111111111111" })
	err := c.Agent().ServiceRegister(webService())
	var status api.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusForbidden {
		t.Errorf("got %v", err)
	}
}

// The client's retries and errors meet what faults make of the agent.
func TestFaults(t *testing.T) {
	s := consulmock.New(t)
	c := newClient(t, s, nil)
	s.Inject(consulmock.Fault{Path: "/v1/health/**", NoLeader: true})
	if _, _, err := c.Health().Service("web", "", false, nil); err == nil || !strings.Contains(err.Error(), "No cluster leader") {
		t.Errorf("got %v", err)
	}
	s.Inject(consulmock.Fault{Path: "/v1/health/**", Index: 3})
	if _, meta, err := c.Health().Service("web", "", false, nil); err != nil || meta.LastIndex != 3 {
		t.Errorf("got %+v, %v", meta, err)
	}
	s.Inject(consulmock.Fault{Method: "PUT", Drop: consulmock.DropAnswer})
	if err := c.Agent().ServiceRegister(webService()); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if services, err := c.Agent().Services(); len(services) != 1 || err != nil {
		t.Errorf("got %v, %v", services, err)
	}
}

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // watch plans log to it
	os.Exit(agenttest.Main(m))
}
