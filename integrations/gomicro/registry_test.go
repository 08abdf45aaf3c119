package gomicro

import (
	"net/url"
	"testing"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/conformance/agent"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro/internal/registrytest"
)

// TestRegistry runs on the fakes of both versions, and on a real agent if there
// is one.
func TestRegistry(t *testing.T) {
	adapter := registrytest.Adapter{
		New:        NewRegistry,
		TCPCheck:   TCPCheck,
		Connect:    Connect,
		Datacenter: func(dc string) registry.Option { return QueryOptions(&consul.QueryOptions{Datacenter: dc}) },
	}
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run("fake "+version, func(t *testing.T) {
			fake := consulmock.New(t, consulmock.WithVersion(version))
			u, err := url.Parse(fake.URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(fake.Client().CloseIdleConnections)
			registrytest.Run(t, adapter, fake.Client(), u.Host)
		})
	}
	t.Run("real agent", func(t *testing.T) {
		a := agent.Start(t, agent.Options{})
		registrytest.Run(t, adapter, a.Client(), a.Addr)
	})
}
