package discovery

import (
	"context"
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
