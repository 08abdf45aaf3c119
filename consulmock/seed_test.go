package consulmock

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

func registration(name string) *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{Name: name, Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthPassing}}
}

// What is seeded is there for every view, and is no request.
func TestSeeding(t *testing.T) {
	ctx := context.Background()
	s := New(t)
	s.AddService(registration("web"))
	s.AddCheck(&consul.AgentCheckRegistration{Name: "disk", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}})
	s.AddNode(&consul.CatalogRegistration{
		Node: "ext", Address: "10.0.0.1", Service: &consul.AgentService{Service: "web", Port: 90},
		Check: &consul.AgentCheck{Name: "up", Status: consul.HealthPassing},
	})
	s.AddMember(consul.AgentMember{Name: "other", Addr: "10.0.0.2", Status: consul.MemberFailed})
	s.SetCheckStatus("disk", consul.HealthWarning, "nearly full")
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
	c := s.Client()
	entries, _, err := c.Health().Service(ctx, "web", nil)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v; want 2", len(entries), err)
	}
	if got := entries[1].Checks.AggregatedStatus(); got != consul.HealthWarning {
		t.Errorf("node1 is %s, want warning", got)
	}
	members, err := c.Agent().Members(ctx, consul.MembersOptions{})
	if err != nil || len(members) != 2 {
		t.Errorf("%d members, %v; want 2", len(members), err)
	}
	s.RemoveNode(&consul.CatalogDeregistration{Node: "ext"})
	s.RemoveService("web")
	if entries, _, err = c.Health().Service(ctx, "web", nil); err != nil || len(entries) != 0 {
		t.Errorf("%d entries, %v; want none", len(entries), err)
	}
	dump := s.Dump()
	for _, want := range []string{"check disk (ttl) warning: \"nearly full\"", "node node1", "GET /v1/health/service/web: 200"} {
		if !strings.Contains(dump, want) {
			t.Errorf("Dump does not say %q:\n%s", want, dump)
		}
	}
}

// A key can be seeded whatever its name, also while access is controlled. Dump shows
// the beginning of long values.
func TestSeedingKeys(t *testing.T) {
	ctx := context.Background()
	s := New(t, WithTokens(ManagementToken("root")), WithKeyLimits(1000, 2000))
	value := []byte(strings.Repeat("long ", 200))
	for _, key := range []string{"app/x", "/lead//ing", "..", "a\x00b", " ", "\xff"} {
		s.SetKey(key, value)
	}
	copy(value, "changed")
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
	pairs, _, err := s.Client().WithToken("root").KV().List(ctx, "", nil)
	if err != nil || len(pairs) != 6 || !strings.HasPrefix(string(pairs[0].Value), "long ") {
		t.Fatalf("%v, %v", pairs, err)
	}
	s.RemoveKey("..")
	s.SetKey("app/x", []byte("short"))
	dump := s.Dump()
	for _, want := range []string{"keys\n", "  app/x = \"short\" (index 25)\n", `  "a\x00b" = "long long`, `long "... (1000 bytes) (index 22)`} {
		if !strings.Contains(dump, want) {
			t.Errorf("Dump does not say %q:\n%s", want, dump)
		}
	}
	if strings.Contains(dump, "  .. = ") {
		t.Errorf("the key is still there:\n%s", dump)
	}
}

// Mistakes of a test are panics that say what is wrong.
func TestSeedingPanics(t *testing.T) {
	s := New(t)
	for want, f := range map[string]func(){
		"AddService: Missing service name": func() { s.AddService(&consul.AgentServiceRegistration{}) },
		`RemoveService: no service "x"`:    func() { s.RemoveService("x") },
		`AddCheck: ServiceID "x" does not exist`: func() {
			s.AddCheck(&consul.AgentCheckRegistration{Name: "c", ServiceID: "x", AgentServiceCheck: consul.AgentServiceCheck{TTL: 1}})
		},
		"AddNode: Must provide node": func() { s.AddNode(&consul.CatalogRegistration{}) },
		`RemoveKey: no key "x"`:      func() { s.RemoveKey("x") },
		"SetKey: Missing key name":   func() { s.SetKey("", nil) },
		"SetKey: Request body(524289 bytes) too large, max size: 524288 bytes. See https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size.": func() { s.SetKey("x", make([]byte, 512<<10+1)) },
		`SetCheckStatus: no check "x"`:                                                     func() { s.SetCheckStatus("x", consul.HealthPassing, "") },
		`SetCheckStatus: status "good": want passing, warning or critical`:                 func() { s.AddService(registration("known")); s.SetCheckStatus("service:known", "good", "") },
		"AddMember: member without a name":                                                 func() { s.AddMember(consul.AgentMember{}) },
		"AddMember: node1 is the agent itself":                                             func() { s.AddMember(consul.AgentMember{Name: "node1"}) },
		"AddService: nil *consul.AgentServiceRegistration":                                 func() { s.AddService(nil) },
		"AddCheck: nil *consul.AgentCheckRegistration":                                     func() { s.AddCheck(nil) },
		"AddNode: nil *consul.CatalogRegistration":                                         func() { s.AddNode(nil) },
		"RemoveNode: nil *consul.CatalogDeregistration":                                    func() { s.RemoveNode(nil) },
		"New: nil testing.TB; for programs that are not tests there is NewServer":          func() { New(nil) },
		"Replay: nil testing.TB; for programs that are not tests there is NewReplayServer": func() { Replay(nil, "x.har") },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != "consulmock: "+want {
					t.Errorf("got %s, want %s", got, want)
				}
			}()
			f()
		}()
	}
}

// No fault keeps a test from seeding, and checks are replaced where its comment promises it.
func TestSeedingMeetsNoFaults(t *testing.T) {
	s := New(t)
	seen := &Observer{}
	s.Inject(Fault{Always: true, Status: 500, Observe: seen})
	r := registration("web")
	s.AddService(r)
	r.Check.CheckID = "other"
	s.AddService(r)
	if n := len(s.agent.Checks); n != 2 {
		t.Errorf("%d checks, want both", n)
	}
	r.ReplaceExistingChecks = true
	s.AddService(r)
	s.SetCheckStatus("other", consul.HealthWarning, "hm")
	if n := len(s.agent.Checks); n != 1 || seen.Count() != 0 {
		t.Errorf("%d checks, %d requests; want the last one and none", n, seen.Count())
	}
}

// A node may be taken out of the catalog in part.
func TestRemoveNodeInPart(t *testing.T) {
	ctx := context.Background()
	s := New(t)
	s.AddNode(&consul.CatalogRegistration{
		Node: "ext", Address: "10.0.0.1", Service: &consul.AgentService{ID: "web-1", Service: "web"},
		Checks: consul.HealthChecks{{Node: "ext", CheckID: "node"}, {Node: "ext", CheckID: "web", ServiceID: "web-1"}},
	})
	count := func(services, checks, nodes int) {
		t.Helper()
		c := s.Client()
		instances, _, err := c.Catalog().Service(ctx, "web", nil)
		if err != nil || len(instances) != services {
			t.Errorf("%d instances, %v; want %d", len(instances), err, services)
		}
		of, _, err := c.Health().Node(ctx, "ext", nil)
		if err != nil || len(of) != checks {
			t.Errorf("%d checks, %v; want %d", len(of), err, checks)
		}
		all, _, err := c.Catalog().Nodes(ctx, nil)
		if err != nil || len(all) != nodes {
			t.Errorf("%d nodes, %v; want %d", len(all), err, nodes)
		}
	}
	count(1, 2, 2)
	s.RemoveNode(&consul.CatalogDeregistration{Node: "ext", CheckID: "node"})
	count(1, 1, 2)
	s.RemoveNode(&consul.CatalogDeregistration{Node: "ext", ServiceID: "web-1"})
	count(0, 0, 2)
	s.RemoveNode(&consul.CatalogDeregistration{Node: "ext"})
	count(0, 0, 1)
	s.RemoveNode(&consul.CatalogDeregistration{Node: "ext"}) // as an agent, it does not mind
}

// Any check takes the status that a test sets.
func TestSetCheckStatus(t *testing.T) {
	s := New(t)
	s.AddService(registration("web"))
	for id, check := range map[string]consul.AgentServiceCheck{
		"ttl": {TTL: time.Hour}, "http": {HTTP: "http://127.0.0.1:1", Interval: time.Hour}, "tcp": {TCP: "127.0.0.1:1", Interval: time.Hour},
		"udp": {UDP: "127.0.0.1:1", Interval: time.Hour}, "alias": {AliasService: "web"},
	} {
		s.AddCheck(&consul.AgentCheckRegistration{ID: id, Name: id, AgentServiceCheck: check})
		for _, status := range []consul.HealthStatus{consul.HealthWarning, consul.HealthCritical, consul.HealthPassing} {
			s.SetCheckStatus(id, status, "set")
			checks, err := s.Client().Agent().Checks(context.Background(), nil)
			if err != nil || checks[id].Status != status || checks[id].Output != "set" {
				t.Errorf("%s: %+v, %v; want %s", id, checks[id], err, status)
			}
			state, _, err := s.Client().Health().State(context.Background(), status, nil)
			if err != nil || !slices.ContainsFunc(state, func(c *consul.HealthCheck) bool { return c.CheckID == id }) {
				t.Errorf("%s: the catalog does not have it as %s: %v", id, status, err)
			}
		}
	}
}

// A member is added to the list, or changed in it, and is nowhere else.
func TestAddMember(t *testing.T) {
	ctx := context.Background()
	s := New(t)
	for _, m := range []consul.AgentMember{
		{Name: "other", Addr: "10.0.0.2", Port: 8301, Status: consul.MemberAlive},
		{Name: "other", Addr: "10.0.0.3", Port: 8301, Status: consul.MemberFailed},
	} {
		s.AddMember(m)
		members, err := s.Client().Agent().Members(ctx, consul.MembersOptions{})
		if err != nil || len(members) != 2 || members[1].Addr != m.Addr || members[1].Status != m.Status {
			t.Errorf("got %+v, %v", members, err)
		}
	}
	if nodes, _, err := s.Client().Catalog().Nodes(ctx, nil); err != nil || len(nodes) != 1 {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
}
