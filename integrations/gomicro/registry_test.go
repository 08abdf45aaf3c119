package gomicro

import (
	"testing"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/gomicro/internal/registrytest"
)

func TestRegistry(t *testing.T) {
	adapter := registrytest.Adapter{
		New:        NewRegistry,
		TCPCheck:   TCPCheck,
		Connect:    Connect,
		Datacenter: func(dc string) registry.Option { return QueryOptions(&consul.QueryOptions{Datacenter: dc}) },
	}
	registrytest.OnAgents(t, func(t *testing.T, c *consul.Client, address string) {
		registrytest.Run(t, adapter, c, address)
	})
}
