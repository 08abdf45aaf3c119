//go:build go1.25

package consul_test

import (
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

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
