//go:build go1.25

package consul_test

import (
	"context"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// An update restarts the TTL, also one that reports a failure. After the TTL the
// check is critical.
func TestTTLRestarts(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server, client *consul.Client) {
		a := client.Agent()
		agent.AddService(web("web-1")) // with a TTL of a minute
		status := func() consul.HealthStatus {
			health, err := a.ServiceHealthByID(ctx, "web-1")
			succeed(t, err)
			return health.AggregatedStatus
		}
		for name, update := range map[string]func() error{
			"PassTTL":   func() error { return a.PassTTL(ctx, "service:web-1", "") },
			"WarnTTL":   func() error { return a.WarnTTL(ctx, "service:web-1", "") },
			"UpdateTTL": func() error { return a.UpdateTTL(ctx, "service:web-1", consul.HealthPassing, "") },
		} {
			succeed(t, a.PassTTL(ctx, "service:web-1", ""))
			time.Sleep(59 * time.Second)
			succeed(t, update())
			time.Sleep(59 * time.Second)
			if status() == consul.HealthCritical {
				t.Errorf("%s has not restarted the TTL", name)
			}
			time.Sleep(2 * time.Second)
			want(t, "status after the TTL", status(), consul.HealthCritical)
		}
	})
}

// Agents raise DeregisterCriticalServiceAfter to a minute, and look every 30 s.
func TestDeregisterCriticalServiceAfter(t *testing.T) {
	bubble(t, func(t *testing.T, _ *consulmock.Server, client *consul.Client) {
		r := web("web-1")
		r.Check.DeregisterCriticalServiceAfter = time.Second
		r.Check.Status = consul.HealthCritical
		succeed(t, client.Agent().ServiceRegister(ctx, r))
		time.Sleep(59 * time.Second)
		services, err := client.Agent().Services(ctx, nil)
		succeed(t, err)
		want(t, "services after 59 s", len(services), 1)
		time.Sleep(32 * time.Second)
		services, err = client.Agent().Services(ctx, nil)
		succeed(t, err)
		want(t, "services after 91 s", len(services), 0)
	})
}

// A server takes 11 s to leave, longer than many contexts last, and then is gone.
func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server, client *consul.Client) {
		start := time.Now()
		succeed(t, client.Agent().Leave(ctx))
		want(t, "left after", time.Since(start), 11*time.Second)
		time.Sleep(time.Second)
		if _, err := client.Agent().Self(ctx); err == nil {
			t.Error("the agent is still there")
		}
		agent.Start()
		// It leaves all the same if the context ends first.
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		wantError(t, client.Agent().Leave(within), context.DeadlineExceeded, "/v1/agent/leave: ")
		time.Sleep(10 * time.Second)
		if _, err := client.Agent().Self(ctx); err == nil {
			t.Error("the agent has not left")
		}
	})
}
