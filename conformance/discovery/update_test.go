package discovery

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestUpdate has a real agent refuse a definition, accept another one, and forget
// the checks and the maintenance mode that are not in it.
func TestUpdate(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), context.Background()
	kept := keep(t, c, &consul.AgentServiceCheck{TTL: 2 * time.Second})
	definition := func(checks ...*consul.AgentServiceCheck) *consul.AgentServiceRegistration {
		return &consul.AgentServiceRegistration{Name: "web", ID: "web-1", Address: "127.0.0.1", Port: 81, Checks: checks}
	}
	other := &consul.AgentServiceCheck{CheckID: "other", TTL: 2 * time.Second}
	script := &consul.AgentServiceCheck{Args: []string{"true"}, Interval: time.Second}
	if err := kept.reg.Update(ctx, definition(other, script)); err == nil {
		t.Error("the agent accepted a script")
	}
	for start := time.Now(); time.Since(start) < 5*time.Second; time.Sleep(100 * time.Millisecond) {
		if !passing(c, consul.QueryOptions{}) {
			t.Fatalf("not passing %s after the refusal", time.Since(start))
		}
	}

	if err := c.Agent().EnableServiceMaintenance(ctx, "web-1", ""); err != nil {
		t.Fatal(err)
	}
	if err := kept.reg.Update(ctx, definition(other)); err != nil {
		t.Fatal(err)
	}
	checks, err := c.Agent().Checks(ctx, nil)
	if err != nil || len(checks) != 1 || checks["other"] == nil || checks["other"].Status != consul.HealthPassing {
		t.Errorf("checks %v, error %v", checks, err)
	}

	// A definition without any check leaves none behind, either.
	reg, err := discovery.Register(ctx, c, definition(), &discovery.RegisterOptions{TTL: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	if checks, err = c.Agent().Checks(ctx, nil); err != nil || len(checks) != 0 {
		t.Errorf("checks %v, error %v", checks, err)
	}
}

// TestKindOfCheck changes the kind of the only check of a service, which keeps its ID, in
// a running program and from one program to the next. What the agent has run before is
// over.
func TestKindOfCheck(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), context.Background()
	var runs atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		runs.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	before := &consul.AgentServiceRegistration{Name: "web", ID: "web-1", Check: &consul.AgentServiceCheck{
		HTTP: server.URL, Interval: 200 * time.Millisecond,
	}}
	if err := c.Agent().ServiceRegister(ctx, before); err != nil {
		t.Fatal(err)
	}
	for runs.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	steadilyPassing := func(what string) {
		t.Helper()
		for start := time.Now(); time.Since(start) < 3*time.Second; time.Sleep(100 * time.Millisecond) {
			entries, _, err := c.Health().Service(ctx, "web", nil)
			if err != nil || len(entries) != 1 || entries[0].Checks.AggregatedStatus() != consul.HealthPassing {
				t.Fatalf("%s: %d instances, %v", what, len(entries), err)
			}
		}
	}
	kept := keep(t, c, &consul.AgentServiceCheck{TTL: time.Second})
	after := runs.Load()
	time.Sleep(500 * time.Millisecond) // until the catalog knows
	steadilyPassing("a TTL instead of HTTP")
	if n := runs.Load() - after; n > 1 {
		t.Errorf("the check ran %d times after it was replaced", n)
	}
	tcp := &consul.AgentServiceCheck{TCP: "127.0.0.1:1", Interval: time.Hour, Status: consul.HealthPassing}
	if err := kept.reg.Update(ctx, &consul.AgentServiceRegistration{Name: "web", ID: "web-1", Check: tcp}); err != nil {
		t.Fatal(err)
	}
	steadilyPassing("TCP instead of a TTL")
}
