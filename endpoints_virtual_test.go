//go:build go1.25

package consul_test

import (
	"context"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

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

// Every read of the health endpoints and of the catalog waits, with one exception.
func TestReadsWait(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server, client *consul.Client) {
		agent.AddService(web("web-1"))
		health, catalog := client.Health(), client.Catalog()
		for name, read := range map[string]func(q *consul.QueryOptions) (*consul.QueryMeta, error){
			"Health.Service":          metaOf(health.Service, "web"),
			"Health.Connect":          metaOf(health.Connect, "web"),
			"Health.Ingress":          metaOf(health.Ingress, "web"),
			"Health.Checks":           metaOf(health.Checks, "web"),
			"Health.Node":             metaOf(health.Node, "node1"),
			"Health.State":            metaOf(health.State, consul.HealthAny),
			"Catalog.Service":         metaOf(catalog.Service, "web"),
			"Catalog.Connect":         metaOf(catalog.Connect, "web"),
			"Catalog.Node":            metaOf(catalog.Node, "node1"),
			"Catalog.NodeServices":    metaOf(catalog.NodeServices, "node1"),
			"Catalog.GatewayServices": metaOf(catalog.GatewayServices, "gw"),
			"Catalog.Nodes": func(q *consul.QueryOptions) (*consul.QueryMeta, error) {
				_, meta, err := catalog.Nodes(ctx, q)
				return meta, err
			},
			"Catalog.Services": func(q *consul.QueryOptions) (*consul.QueryMeta, error) {
				_, meta, err := catalog.Services(ctx, q)
				return meta, err
			},
			"Catalog.Datacenters": func(q *consul.QueryOptions) (*consul.QueryMeta, error) {
				_, meta, err := catalog.Datacenters(ctx, q)
				return meta, err
			},
		} {
			meta, err := read(nil)
			succeed(t, err)
			meta, err = read(&consul.QueryOptions{WaitIndex: max(meta.LastIndex, 1), WaitTime: time.Minute})
			succeed(t, err)
			waits := meta.RequestTime >= time.Minute
			want(t, name+" waits", waits, name != "Catalog.Datacenters")
			want(t, name+" has an index", meta.LastIndex > 0, waits)
			want(t, name+" has a result", meta.Result != nil, true) // a query with an index blocks, by itself
		}

		// The agent's own endpoints ignore what they do not have.
		start := time.Now()
		everything := &consul.QueryOptions{
			WaitIndex: 1 << 40, WaitTime: time.Minute, Datacenter: "dc9", Near: "_agent", Tags: []string{"x"}, PassingOnly: true,
			NodeMeta: map[string]string{"a": "b"}, AllowStale: true, UseCache: true, MaxAge: time.Minute,
		}
		services, err := client.Agent().Services(ctx, everything)
		succeed(t, err)
		want(t, "services", keys(services), []string{"web-1"})
		_, err = client.Agent().Checks(ctx, everything)
		succeed(t, err)
		want(t, "waited", time.Since(start), 0)
	})
}

// metaOf returns a read of something with a name, of which only the metadata count.
func metaOf[N ~string, T any](
	read func(context.Context, N, *consul.QueryOptions) (T, *consul.QueryMeta, error), name N,
) func(*consul.QueryOptions) (*consul.QueryMeta, error) {
	return func(q *consul.QueryOptions) (*consul.QueryMeta, error) {
		_, meta, err := read(ctx, name, q)
		return meta, err
	}
}
