package consul_test

import (
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

func TestStatus(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		status := agent.Client().Status()
		leader, err := status.Leader(ctx)
		succeed(t, err)
		want(t, "leader", leader, "127.0.0.1:8300")
		peers, err := status.Peers(ctx)
		succeed(t, err)
		want(t, "peers", peers, []string{"127.0.0.1:8300"})

		// No leader is a response, not an error.
		agent.Inject(consulmock.Fault{Body: `""`})
		leader, err = status.Leader(ctx)
		succeed(t, err)
		want(t, "leader", leader, "")
	})
}

// Agents tell it without a token, and with any.
func TestStatusNeedsNoToken(t *testing.T) {
	agent := consulmock.New(t, consulmock.WithACLDefaultDeny())
	for _, token := range []string{"", "unknown"} {
		_, err := agent.Client().WithToken(token).Status().Leader(ctx)
		succeed(t, err)
	}
}

func TestStatusErrors(t *testing.T) {
	agent := consulmock.New(t)
	agent.Inject(consulmock.Fault{Path: "/v1/status/*", RateLimit: -1, Always: true})
	_, err := agent.Client().Status().Leader(ctx)
	wantError(t, err, consul.ErrRateLimited, "/v1/status/leader: 429")
	_, err = agent.Client().Status().Peers(ctx)
	wantError(t, err, consul.ErrRateLimited, "/v1/status/peers: 429")
}
