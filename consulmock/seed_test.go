package consulmock

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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

// The options show where an agent shows them.
func TestOptions(t *testing.T) {
	ctx := context.Background()
	const id = "11111111-2222-3333-4444-555555555555"
	s := New(t, WithNode("n7"), WithNodeID(id), WithDatacenter("moon"), WithNodeMeta(map[string]string{"rack": "r1"}))
	self, err := s.Client().Agent().Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c := self.Config; c.NodeName != "n7" || c.NodeID != id || c.Datacenter != "moon" || c.Version != "1.21.4" {
		t.Errorf("self says %+v", c)
	}
	nodes, _, err := s.Client().Catalog().Nodes(ctx, &consul.QueryOptions{NodeMeta: map[string]string{"rack": "r1"}})
	if err != nil || len(nodes) != 1 || nodes[0].ID != id {
		t.Errorf("nodes are %v, %v", nodes, err)
	}
}

// A server of the network, a server of memory and a handler are one.
func TestWaysToReachIt(t *testing.T) {
	s := New(t)
	s.AddService(registration("web"))
	outer := httptest.NewServer(s.Handler())
	defer outer.Close()
	for name, cfg := range map[string]consul.Config{
		"URL": {Address: s.URL()}, "Transport": {Transport: s.Transport()}, "Handler": {Address: outer.URL},
	} {
		c, err := consul.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		services, err := c.Agent().Services(context.Background(), nil)
		if err != nil || services["web"] == nil {
			t.Errorf("%s: %v, %v", name, services, err)
		}
		c.CloseIdleConnections()
	}
	before := s.URL()
	s.Restart(true)
	if s.URL() != before {
		t.Errorf("the address has changed from %s to %s", before, s.URL())
	}
}

// Checks are run where that is asked for.
func TestProbes(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/warn" {
			w.WriteHeader(http.StatusTooManyRequests)
		}
		fmt.Fprintf(w, "%s %s", r.Method, r.Header.Get("X-Test"))
	}))
	defer target.Close()
	s := New(t, WithProbes(true))
	const interval = 5 * time.Millisecond
	for id, check := range map[string]*consul.AgentServiceCheck{
		"http": {HTTP: target.URL, Method: "POST", Header: map[string][]string{"X-Test": {"here"}}},
		"warn": {HTTP: target.URL + "/warn"},
		"tcp":  {TCP: strings.TrimPrefix(target.URL, "http://")},
	} {
		check.CheckID, check.Interval = id, interval
		s.AddService(&consul.AgentServiceRegistration{Name: id, Check: check})
	}
	want := map[string]string{
		"http": "passing HTTP POST " + target.URL + ": 200 OK Output: POST here",
		"warn": "warning HTTP GET " + target.URL + "/warn: 429 Too Many Requests Output: GET ",
		"tcp":  "passing TCP connect " + strings.TrimPrefix(target.URL, "http://") + ": Success",
	}
	// The checks are critical until they have run.
	q := &consul.QueryOptions{WaitTime: 10 * time.Second}
	for {
		checks, meta, err := s.Client().Health().State(context.Background(), consul.HealthAny, q)
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for _, c := range checks {
			if c.CheckID == "serfHealth" || c.Status == consul.HealthCritical {
				continue
			}
			ran++
			if got := string(c.Status) + " " + c.Output; got != want[c.CheckID] {
				t.Errorf("%s: got %q, want %q", c.CheckID, got, want[c.CheckID])
			}
		}
		if ran == len(want) {
			return
		}
		q.WaitIndex = meta.LastIndex
	}
}

// Close ends the requests that wait on the handler, whoever serves it.
func TestCloseEndsHandler(t *testing.T) {
	for name, fault := range map[string]Fault{
		"query": {Path: "/none"}, "hang": {Hang: make(chan struct{})}, "latency": {Latency: time.Hour}, "endless": {Endless: true, Body: "{}"},
	} {
		s := NewServer()
		outer := httptest.NewServer(s.Handler())
		s.Inject(fault)
		done := make(chan error)
		go func() {
			resp, err := http.Get(outer.URL + "/v1/catalog/services?index=1000000")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			done <- err
		}()
		for len(s.log.open()) == 0 {
			runtime.Gosched()
		}
		s.Close()
		if err := <-done; err == nil {
			t.Errorf("%s: the request was answered, want it dropped", name)
		}
		outer.Close()
	}
}
