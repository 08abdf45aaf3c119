package registrytest

import (
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

// OnAgents runs a test on the fakes of both versions, and on a real agent if there
// is one. The address is host:port.
func OnAgents(t *testing.T, test func(t *testing.T, c *consul.Client, address string)) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run("fake "+version, func(t *testing.T) {
			fake := consulmock.New(t, consulmock.WithVersion(version))
			c := fake.Client()
			t.Cleanup(c.CloseIdleConnections)
			test(t, c, strings.TrimPrefix(fake.URL(), "http://"))
		})
	}
	t.Run("real agent", func(t *testing.T) {
		a := agenttest.Start(t, agenttest.Options{})
		test(t, a.Client(), a.Addr)
	})
}
