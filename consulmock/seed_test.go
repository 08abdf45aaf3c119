package consulmock

import (
	"context"
	"fmt"
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

// Mistakes of a test are panics that say what is wrong.
func TestSeedingPanics(t *testing.T) {
	s := New(t)
	for want, f := range map[string]func(){
		"AddService: Missing service name": func() { s.AddService(&consul.AgentServiceRegistration{}) },
		`RemoveService: no service "x"`:    func() { s.RemoveService("x") },
		`AddCheck: ServiceID "x" does not exist`: func() {
			s.AddCheck(&consul.AgentCheckRegistration{Name: "c", ServiceID: "x", AgentServiceCheck: consul.AgentServiceCheck{TTL: 1}})
		},
		"AddNode: Must provide node":                                                       func() { s.AddNode(&consul.CatalogRegistration{}) },
		`SetCheckStatus: no check "x"`:                                                     func() { s.SetCheckStatus("x", consul.HealthPassing, "") },
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
