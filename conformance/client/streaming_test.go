package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestQueriesAreShared has many queries about two services wait at an agent that is
// no server, and counts what waits at the server: a stream for each service from an
// agent that streams; and from one that does not, a query for each service if
// UseCache is set, and else all of them.
func TestQueriesAreShared(t *testing.T) {
	t.Parallel()
	server := agenttest.Start(t, agenttest.Options{Node: "server", Role: agenttest.Server})
	agent := agenttest.Start(t, agenttest.Options{Node: "client", Role: agenttest.Client, Join: []*agenttest.Agent{server}})
	c, metrics := agent.Client(), server.Client()
	names := []string{"web", "db"}
	for _, name := range names {
		register(t, c, &consul.AgentServiceRegistration{Name: name})
	}
	const each = 20
	for _, tt := range []struct {
		useCache, old bool // old agents do not stream
		gauge         string
		most          float64 // 0 for at least all queries
	}{
		{false, false, ".grpc.server.streams", 2},
		{true, true, ".rpc.queries_blocking", 2 + 2}, // the agent has queries of its own
		{false, true, ".rpc.queries_blocking", 0},
	} {
		if tt.old != server.Old() {
			continue
		}
		t.Run(fmt.Sprintf("UseCache %t", tt.useCache), func(t *testing.T) {
			ctx, cancel := context.WithCancel(limit(t))
			var group sync.WaitGroup
			defer group.Wait()
			defer cancel()
			for range each {
				for _, name := range names {
					_, meta, err := c.Health().Service(ctx, name, nil)
					check(t, err)
					waiting, sent := onSent(ctx)
					group.Add(1)
					go func() {
						defer group.Done()
						c.Health().Service(waiting, name, &consul.QueryOptions{WaitIndex: meta.LastIndex, UseCache: tt.useCache})
					}()
					<-sent
				}
			}
			eventually(t, "the server's metrics have the number", func() bool {
				n := gauge(ctx, metrics, tt.gauge)
				if n > 0 {
					t.Logf("agent %s: %d queries about %d services: %.0f at the server", server.Version, each*len(names), len(names), n)
				}
				return n > 0 && n <= tt.most || tt.most == 0 && n >= float64(each*len(names))
			})
		})
	}
}

// gauge returns a metric of an agent, 0 if there is none. Old agents break connections
// while they have no metrics.
func gauge(ctx context.Context, c *consul.Client, suffix string) float64 {
	m, err := c.Agent().Metrics(ctx)
	if err != nil {
		return 0
	}
	for _, g := range m.Gauges {
		if kind := g.Labels["server_type"]; strings.HasSuffix(g.Name, suffix) && (kind == "" || kind == "internal") {
			return g.Value
		}
	}
	return 0
}
