//go:build go1.25

package consul_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T, agent *consulmock.Server, client *consul.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		client := agent.Client()
		t.Cleanup(client.CloseIdleConnections)
		test(t, agent, client)
	})
}

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

// An agent removes from its own node what it does not know. What is put into the
// catalog belongs on a node without an agent.
func TestCatalogRegisterOnAnAgentsNode(t *testing.T) {
	bubble(t, func(t *testing.T, _ *consulmock.Server, client *consul.Client) {
		for _, node := range []string{"node1", "printer"} {
			succeed(t, client.Catalog().Register(ctx, &consul.CatalogRegistration{
				Node: node, Address: "127.0.0.1", Service: &consul.AgentService{Service: "ipp on " + node},
			}))
		}
		time.Sleep(5 * time.Minute)
		services, _, err := client.Catalog().Services(ctx, nil)
		succeed(t, err)
		want(t, "services", keys(services), []string{"consul", "ipp on printer"})
	})
}

// A blocking query ends when the wait is over, and a sixteenth of it later at most,
// with the same index and result.
func TestWaitEnds(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server, client *consul.Client) {
		agent.AddService(web("web-1"))
		for _, wait := range []time.Duration{time.Second, 5 * time.Minute, time.Hour} {
			nodes, meta, err := client.Catalog().Nodes(ctx, nil)
			succeed(t, err)
			again, metaAgain, err := client.Catalog().Nodes(ctx, &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: wait})
			succeed(t, err)
			want(t, "nodes", again, nodes)
			want(t, "index", metaAgain.LastIndex, meta.LastIndex)
			least := min(wait, 10*time.Minute) // the agent's maximum
			if took := metaAgain.RequestTime; took < least || took > least+least/16+time.Second {
				t.Errorf("a wait of %s took %s", wait, took)
			}
		}
	})
}
