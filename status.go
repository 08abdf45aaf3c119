package consul

import "context"

// Status describes the cluster's servers. Its reads cannot be waited on, and
// agents give them without a token.
type Status struct {
	c *Client
}

// Leader returns the address of the leader as host:port, or an empty string if
// there is none.
//
// GET /v1/status/leader
func (s *Status) Leader(ctx context.Context) (string, error) {
	leader, _, err := get[string](ctx, s.c, at("/v1/status/leader"), nil)
	return leader, err
}

// Peers returns the addresses of the servers as host:port, in no order.
//
// GET /v1/status/peers
func (s *Status) Peers(ctx context.Context) ([]string, error) {
	peers, _, err := get[[]string](ctx, s.c, at("/v1/status/peers"), nil)
	return peers, err
}
