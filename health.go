package consul

import "context"

// Health reads the health of nodes and services. Its reads can be waited
// on with [QueryOptions.WaitIndex]. Names match without regard to case, and an
// unknown name has an empty result and is no error.
type Health struct {
	c *Client
}

// Service returns the instances of a service with their nodes and checks, ordered
// by node and ID.
//
// GET /v1/health/service/{service}
func (h *Health) Service(ctx context.Context, service string, q *QueryOptions) ([]*ServiceEntry, *QueryMeta, error) {
	return get[[]*ServiceEntry](ctx, h.c, named("/v1/health/service/", "service", service), q)
}

// Connect returns the instances through which the service can be reached in the
// service mesh: its proxies, and itself where it takes part natively.
//
// GET /v1/health/connect/{service}
func (h *Health) Connect(ctx context.Context, service string, q *QueryOptions) ([]*ServiceEntry, *QueryMeta, error) {
	return get[[]*ServiceEntry](ctx, h.c, named("/v1/health/connect/", "service", service), q)
}

// Ingress returns the instances of the ingress gateways for the service.
//
// GET /v1/health/ingress/{service}
func (h *Health) Ingress(ctx context.Context, service string, q *QueryOptions) ([]*ServiceEntry, *QueryMeta, error) {
	return get[[]*ServiceEntry](ctx, h.c, named("/v1/health/ingress/", "service", service), q)
}

// Checks returns the checks of all instances of a service.
//
// GET /v1/health/checks/{service}
func (h *Health) Checks(ctx context.Context, service string, q *QueryOptions) (HealthChecks, *QueryMeta, error) {
	return get[HealthChecks](ctx, h.c, named("/v1/health/checks/", "service", service), q)
}

// Node returns the checks of a node and of the services on it.
//
// GET /v1/health/node/{node}
func (h *Health) Node(ctx context.Context, node string, q *QueryOptions) (HealthChecks, *QueryMeta, error) {
	return get[HealthChecks](ctx, h.c, named("/v1/health/node/", "node", node), q)
}

// State returns all checks that have the status, or all checks if it is
// HealthAny.
//
// GET /v1/health/state/{state}
func (h *Health) State(ctx context.Context, status HealthStatus, q *QueryOptions) (HealthChecks, *QueryMeta, error) {
	return get[HealthChecks](ctx, h.c, named("/v1/health/state/", "status", string(status)), q)
}
