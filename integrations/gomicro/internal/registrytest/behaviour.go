package registrytest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
)

func testEverythingArrives(t *T) {
	r := t.registry()
	s := t.service("1.2.3", "1", "10.0.0.1:8080")
	s.Nodes[0].Metadata = map[string]string{"protocol": "mucp", "zone": "ä"}
	s.Endpoints = []*registry.Endpoint{{
		Name:     "Greeter.Hello",
		Request:  &registry.Value{Name: "Request", Type: "Request", Values: []*registry.Value{{Name: "name", Type: "string"}}},
		Response: &registry.Value{Name: "Response", Type: "Response"},
		Metadata: map[string]string{"stream": "false"},
	}}
	t.register(r, s, registry.RegisterTTL(time.Minute))
	services, err := r.GetService(s.Name)
	t.check(err)
	if want := []*registry.Service{s}; !reflect.DeepEqual(services, want) {
		got, _ := json.Marshal(services)
		wanted, _ := json.Marshal(want)
		t.Errorf("got %s, want %s", got, wanted)
	}
	e := t.entry(s.Name)
	if e.Checks.AggregatedStatus() != consul.HealthPassing || !hasCheck(e, "service:"+s.Nodes[0].Id) || e.Service.Meta["protocol"] != "mucp" {
		got, _ := json.Marshal(e)
		t.Errorf("the agent has %s", got)
	}
	list, err := r.ListServices()
	t.check(err)
	if !slices.ContainsFunc(list, func(l *registry.Service) bool { return l.Name == s.Name }) {
		t.Errorf("ListServices does not list it")
	}
	if r.String() != "consul" {
		t.Errorf("String is %q", r.String())
	}
}

func hasCheck(e *consul.ServiceEntry, id string) bool {
	return slices.ContainsFunc(e.Checks, func(c *consul.HealthCheck) bool { return c.CheckID == id })
}

// Plugin v1.2.1 has nil and no error.
func testUnknownService(t *T) {
	services, err := t.registry().GetService("go.micro.nobody")
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("got %v, error %v", services, err)
	}
}

// Plugin v1.2.1 has a service without nodes where nothing is left.
func testCriticalNodes(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(r, s, registry.RegisterTTL(time.Minute))
	id := "service:" + s.Nodes[0].Id
	t.check(t.client.Agent().WarnTTL(t.ctx(), id, ""))
	if services, err := r.GetService(s.Name); err != nil || len(services) != 1 || len(services[0].Nodes) != 1 {
		t.Errorf("with a warning: %v, error %v", services, err)
	}
	t.check(t.client.Agent().FailTTL(t.ctx(), id, ""))
	if services, err := r.GetService(s.Name); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("with a failing check: %v, error %v", services, err)
	}
	t.check(t.client.Agent().PassTTL(t.ctx(), id, ""))
	t.check(t.client.Agent().EnableServiceMaintenance(t.ctx(), s.Nodes[0].Id, ""))
	if services, err := r.GetService(s.Name); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("in maintenance: %v, error %v", services, err)
	}
}

// Plugin v1.2.1 panics at the tags "t" and "e" (index out of range), and loses the
// endpoints behind "env" and the metadata behind "traefik.enable=true".
func testForeignTags(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	s.Endpoints = []*registry.Endpoint{{Name: "Greeter.Hello", Metadata: map[string]string{}}}
	t.register(r, s)
	e := t.entry(s.Name)
	t.check(t.client.Agent().ServiceRegister(t.ctx(), &consul.AgentServiceRegistration{
		ID: e.Service.ID, Name: s.Name, Address: e.Service.Address, Port: e.Service.Port,
		Tags: append([]string{"env", "traefik.enable=true", "v", "t", "e"}, e.Service.Tags...),
	}))
	services, err := r.GetService(s.Name)
	t.check(err)
	if !reflect.DeepEqual(services, []*registry.Service{s}) {
		got, _ := json.Marshal(services)
		t.Errorf("got %s", got)
	}
}

func testRefresh(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(r, s, registry.RegisterTTL(time.Minute))
	first := t.entry(s.Name).Service.ModifyIndex
	for range 3 {
		t.check(r.Register(s, registry.RegisterTTL(time.Minute)))
	}
	if again := t.entry(s.Name).Service.ModifyIndex; again != first {
		t.Errorf("refreshing changed the service: index %d, then %d", first, again)
	}

	// The agent has lost it.
	t.check(t.client.Agent().ServiceDeregister(t.ctx(), s.Nodes[0].Id))
	t.check(r.Register(s, registry.RegisterTTL(time.Minute)))
	if status := t.entry(s.Name).Checks.AggregatedStatus(); status != consul.HealthPassing {
		t.Errorf("after the loss it is %s", status)
	}

	// Something about it has changed.
	s.Nodes[0].Address = "10.0.0.2:81"
	t.check(r.Register(s, registry.RegisterTTL(time.Minute)))
	if e := t.entry(s.Name); e.Service.Address != "10.0.0.2" || e.Service.Port != 81 {
		t.Errorf("the address is still %s:%d", e.Service.Address, e.Service.Port)
	}
}

// Plugin v1.2.1 creates services without nodes: it registers them critical, and
// passes them afterwards.
func testChanges(t *T) {
	r := t.registry()
	one, two := t.service("1", "1", "10.0.0.1:80"), t.service("1", "2", "10.0.0.2:80")
	w := t.watch(r, registry.WatchService(one.Name))
	t.register(r, one, registry.RegisterTTL(time.Minute))
	w.want("create", one)
	t.register(t.registry(), two, registry.RegisterTTL(time.Minute))
	w.want("update", two)
	t.check(t.client.Agent().FailTTL(t.ctx(), "service:"+two.Nodes[0].Id, ""))
	w.want("delete", two)
	t.check(t.client.Agent().PassTTL(t.ctx(), "service:"+two.Nodes[0].Id, ""))
	w.want("update", two)
	one.Nodes[0].Address = "10.0.0.3:80"
	t.check(r.Register(one, registry.RegisterTTL(time.Minute)))
	if n := w.want("update", one); n.Address != "10.0.0.3:80" {
		t.Errorf("the new address is %s", n.Address)
	}
	t.check(r.Deregister(one))
	w.want("delete", one)
	t.check(t.client.Agent().EnableServiceMaintenance(t.ctx(), two.Nodes[0].Id, ""))
	w.want("delete", two)
}

func testVersions(t *T) {
	one, two := t.service("1", "1", "10.0.0.1:80"), t.service("2", "2", "10.0.0.2:80")
	r, other := t.registry(), t.registry()
	t.register(r, one, registry.RegisterTTL(time.Minute))
	w := t.watch(r, registry.WatchService(one.Name))
	w.want("create", one)
	t.register(other, two, registry.RegisterTTL(time.Minute))
	w.want("create", two)
	services, err := r.GetService(one.Name)
	t.check(err)
	if len(services) != 2 {
		t.Errorf("%d versions, want 2", len(services))
	}
	t.check(r.Deregister(one))
	w.want("delete", one)
}

func testWatchUnknown(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	w := t.watch(r, registry.WatchService(s.Name))
	t.register(r, s)
	w.want("create", s)
}

// Plugin v1.2.1 has an error for what is gone already, with modern agents.
func testDeregister(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(r, s, registry.RegisterTTL(time.Minute))
	// go-micro passes a service without metadata.
	t.check(r.Deregister(&registry.Service{Name: s.Name, Nodes: []*registry.Node{{Id: s.Nodes[0].Id, Address: s.Nodes[0].Address}}}))
	if services, err := r.GetService(s.Name); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("got %v, error %v", services, err)
	}
	if err := r.Deregister(s); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if err := t.registry().Deregister(&registry.Service{Name: s.Name}); err == nil {
		t.Error("no error without a node")
	}
	if err := t.registry().Register(&registry.Service{Name: s.Name}); err == nil {
		t.Error("no error without a node")
	}
}

// What is left of the checks of an earlier process would expire and take the
// service down. Plugin v1.2.1 leaves service:ID:1 and service:ID:2 in place.
func testOldChecks(t *T) {
	s := t.service("1", "1", "10.0.0.1:80")
	t.check(t.client.Agent().ServiceRegister(t.ctx(), &consul.AgentServiceRegistration{
		ID: s.Nodes[0].Id, Name: s.Name, Checks: []*consul.AgentServiceCheck{{TTL: time.Minute}, {TTL: time.Minute}},
	}))
	t.register(t.registry(), s, registry.RegisterTTL(time.Minute))
	if e := t.entry(s.Name); e.Checks.AggregatedStatus() != consul.HealthPassing {
		t.Errorf("it is %s", e.Checks.AggregatedStatus())
	}
}
