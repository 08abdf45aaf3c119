//go:build go1.25

package consul_test

import (
	"testing"
	"testing/synctest"

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
