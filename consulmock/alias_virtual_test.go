//go:build go1.25

package consulmock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// wantCheck fails the test unless a check of the agent has that status and output.
func wantCheck(t *testing.T, c *consul.Client, id string, status consul.HealthStatus, output string) {
	t.Helper()
	if got := agentCheck(t, c, id); got.Status != status || got.Output != output {
		t.Errorf("%s is %s %q, want %s %q", id, got.Status, got.Output, status, output)
	}
}

func aliasOf(id, node, service string) *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{Name: "holder", Check: &consul.AgentServiceCheck{CheckID: id, AliasNode: node, AliasService: service}}
}

// An alias is critical at first, and its first result is a change of its own, a
// moment later. What a test adds itself is in effect at once.
func TestAliasFirstResult(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			ctx := context.Background()
			s.AddService(ttlService("web", time.Hour))
			must(t, c.Agent().ServiceRegister(ctx, aliasOf("follows", "", "web")))
			wantCheck(t, c, "follows", consul.HealthCritical, "")
			_, meta, err := c.Health().Service(ctx, "holder", nil)
			must(t, err)
			start := time.Now()
			entries, _, err := c.Health().Service(ctx, "holder", &consul.QueryOptions{WaitIndex: meta.LastIndex})
			must(t, err)
			if status := entries[0].Checks.AggregatedStatus(); status != consul.HealthPassing || time.Since(start) > 10*time.Millisecond {
				t.Errorf("%s: %s after %s", version, status, time.Since(start))
			}
			wantCheck(t, c, "follows", consul.HealthPassing, "All checks passing.")
			s.AddService(aliasOf("seeded", "", "web"))
			wantCheck(t, c, "seeded", consul.HealthPassing, "All checks passing.")
		}, consulmock.WithVersion(version))
	}
}

// An alias learns at once that a status has changed, and that its service comes or
// goes; of a new output and of checks of the node it learns within a minute.
func TestAliasRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		s.AddService(aliasOf("follows", "", "web"))
		wantCheck(t, c, "follows", consul.HealthCritical, "Service web could not be found on node ")
		s.AddService(&consul.AgentServiceRegistration{Name: "web"})
		wantCheck(t, c, "follows", consul.HealthPassing, "No checks found.")
		s.AddService(ttlService("web", time.Hour))
		s.SetCheckStatus("service:web", consul.HealthWarning, "hot")
		wantCheck(t, c, "follows", consul.HealthWarning, `Aliased check "Service 'web' check" failing: hot`)
		s.SetCheckStatus("service:web", consul.HealthWarning, "hotter")
		s.AddCheck(&consul.AgentCheckRegistration{Name: "disk", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}})
		wantCheck(t, c, "follows", consul.HealthWarning, `Aliased check "Service 'web' check" failing: hot`)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantCheck(t, c, "follows", consul.HealthCritical, `Aliased check "disk" failing: `)
		s.RemoveService("web")
		wantCheck(t, c, "follows", consul.HealthCritical, "Service web could not be found on node ")
	})
}

// An alias of a node follows the catalog, whoever writes to it.
func TestAliasOfANode(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		check := func(status consul.HealthStatus) {
			t.Helper()
			must(t, c.Catalog().Register(ctx, &consul.CatalogRegistration{
				Node: "ext", Address: "10.0.0.1", Service: &consul.AgentService{Service: "web"},
				Check: &consul.HealthCheck{CheckID: "c", Name: "c", ServiceID: "web", Status: status},
			}))
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		s.AddService(aliasOf("follows", "ext", "web"))
		wantCheck(t, c, "follows", consul.HealthCritical, "Service web could not be found on node ext")
		check(consul.HealthPassing)
		wantCheck(t, c, "follows", consul.HealthPassing, "All checks passing.")
		check(consul.HealthCritical)
		wantCheck(t, c, "follows", consul.HealthCritical, `Aliased check "c" failing: `)
		must(t, c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "ext"}))
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		wantCheck(t, c, "follows", consul.HealthCritical, "Service web could not be found on node ext")
	})
}

// An alias that is a check of the node is one of the checks that it follows.
func TestAliasFollowsItself(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		s.AddService(ttlService("web", time.Hour))
		s.AddCheck(&consul.AgentCheckRegistration{Name: "self", AgentServiceCheck: consul.AgentServiceCheck{AliasService: "web", Status: consul.HealthPassing}})
		wantCheck(t, c, "self", consul.HealthPassing, "All checks passing.")
		s.SetCheckStatus("service:web", consul.HealthCritical, "down")
		s.SetCheckStatus("service:web", consul.HealthPassing, "up")
		wantCheck(t, c, "self", consul.HealthCritical, `Aliased check "self" failing: Aliased check "Service 'web' check" failing: down`)
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		if n := len(agentCheck(t, c, "self").Output); n > 4096 {
			t.Errorf("an output of %d bytes", n)
		}
	})
}

// What runs for a check goes on when it is registered again as one of another kind:
// its TTL can be updated and runs out, and what it followed it follows on.
func TestCheckChangesItsKind(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			ctx := context.Background()
			register := func(check consul.AgentServiceCheck) {
				t.Helper()
				must(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "a", AgentServiceCheck: check}))
			}
			register(consul.AgentServiceCheck{TTL: time.Minute})
			time.Sleep(30 * time.Second)
			register(consul.AgentServiceCheck{TCP: "127.0.0.1:1", Interval: time.Hour})
			must(t, c.Agent().PassTTL(ctx, "a", "fine"))
			wantCheck(t, c, "a", consul.HealthPassing, "fine")
			time.Sleep(30 * time.Second)
			register(consul.AgentServiceCheck{TCP: "127.0.0.1:1", Interval: time.Hour})
			time.Sleep(30 * time.Second)
			synctest.Wait()
			wantCheck(t, c, "a", consul.HealthCritical, "TTL expired (last output before timeout follows): fine")

			must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Hour)))
			register(consul.AgentServiceCheck{AliasService: "web"})
			register(consul.AgentServiceCheck{TTL: time.Hour})
			must(t, c.Agent().WarnTTL(ctx, "a", "so so"))
			must(t, c.Agent().FailTTL(ctx, "service:web", "down"))
			wantCheck(t, c, "a", consul.HealthCritical, `Aliased check "Service 'web' check" failing: down`)

			must(t, c.Agent().CheckDeregister(ctx, "a"))
			must(t, c.Agent().FailTTL(ctx, "service:web", "down again"))
			if err := c.Agent().PassTTL(ctx, "a", ""); err == nil {
				t.Error("a check that is gone was updated")
			}
			// After a restart there is only what the last definition says.
			register(consul.AgentServiceCheck{TTL: time.Minute})
			register(consul.AgentServiceCheck{TCP: "127.0.0.1:1", Interval: time.Hour})
			s.Restart(true)
			if err := c.Agent().PassTTL(ctx, "a", ""); err == nil {
				t.Error("the TTL of an earlier definition was updated")
			}
		}, consulmock.WithVersion(version))
	}
}

// A check that was run is run at its old interval when it has become a TTL check.
func TestProbeKeepsItsInterval(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		check := consul.AgentServiceCheck{HTTP: "unknown://a", Interval: time.Minute}
		must(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "a", AgentServiceCheck: check}))
		must(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "a", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}}))
		for range 3 {
			must(t, c.Agent().PassTTL(ctx, "a", "fine"))
			wantCheck(t, c, "a", consul.HealthPassing, "fine")
			time.Sleep(time.Minute)
			synctest.Wait()
			wantCheck(t, c, "a", consul.HealthCritical, `Get "unknown://a": unsupported protocol scheme "unknown"`)
		}
	}, consulmock.WithProbes(true))
}
