package consul

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Catalog reads all nodes and services of a datacenter, and registers those that
// have no agent. Its reads, except Datacenters, can be waited on with
// [QueryOptions.WaitIndex]. Names match without regard to case. An unknown name has
// an empty result and is no error.
type Catalog struct {
	c *Client
}

// Services returns the names of all services, each with the tags that its
// instances have.
//
// GET /v1/catalog/services
func (c *Catalog) Services(ctx context.Context, q *QueryOptions) (map[string][]string, *QueryMeta, error) {
	return get[map[string][]string](ctx, c.c, at("/v1/catalog/services"), q)
}

// Service returns the instances of a service, healthy or not.
//
// GET /v1/catalog/service/{service}
func (c *Catalog) Service(ctx context.Context, service string, q *QueryOptions) ([]*CatalogService, *QueryMeta, error) {
	return get[[]*CatalogService](ctx, c.c, named("/v1/catalog/service/", "service", service), q)
}

// Connect returns the instances through which the service can be reached in the
// service mesh, healthy or not.
//
// GET /v1/catalog/connect/{service}
func (c *Catalog) Connect(ctx context.Context, service string, q *QueryOptions) ([]*CatalogService, *QueryMeta, error) {
	return get[[]*CatalogService](ctx, c.c, named("/v1/catalog/connect/", "service", service), q)
}

// Nodes returns all nodes.
//
// GET /v1/catalog/nodes
func (c *Catalog) Nodes(ctx context.Context, q *QueryOptions) ([]*Node, *QueryMeta, error) {
	return get[[]*Node](ctx, c.c, at("/v1/catalog/nodes"), q)
}

// Node returns a node with its services by ID. If there is no such node, the
// Node in the result is nil.
//
// GET /v1/catalog/node/{node}
func (c *Catalog) Node(ctx context.Context, node string, q *QueryOptions) (*CatalogNode, *QueryMeta, error) {
	found, meta, err := get[CatalogNode](ctx, c.c, named("/v1/catalog/node/", "node", node), q)
	if err != nil {
		return nil, meta, err
	}
	return &found, meta, nil
}

// NodeServices returns a node with a list of its services. If there is no such
// node, the Node in the result is nil.
//
// GET /v1/catalog/node-services/{node}
func (c *Catalog) NodeServices(ctx context.Context, node string, q *QueryOptions) (*CatalogNodeServiceList, *QueryMeta, error) {
	found, meta, err := get[CatalogNodeServiceList](ctx, c.c, named("/v1/catalog/node-services/", "node", node), q)
	if err != nil {
		return nil, meta, err
	}
	return &found, meta, nil
}

// GatewayServices returns the services behind a gateway.
//
// GET /v1/catalog/gateway-services/{gateway}
func (c *Catalog) GatewayServices(ctx context.Context, gateway string, q *QueryOptions) ([]*GatewayService, *QueryMeta, error) {
	return get[[]*GatewayService](ctx, c.c, named("/v1/catalog/gateway-services/", "gateway", gateway), q)
}

// Datacenters returns the known datacenters, the nearest first. It cannot be
// waited on.
//
// GET /v1/catalog/datacenters
func (c *Catalog) Datacenters(ctx context.Context, q *QueryOptions) ([]string, *QueryMeta, error) {
	return get[[]string](ctx, c.c, at("/v1/catalog/datacenters"), q)
}

// Register puts a node, and with it a service and checks, into the catalog. It
// is meant for what runs without an agent: an agent removes from its own node
// what it does not know.
//
// PUT /v1/catalog/register
func (c *Catalog) Register(ctx context.Context, r *CatalogRegistration) error {
	switch {
	case r == nil:
		return errors.New("consul: nil CatalogRegistration")
	case r.Node == "":
		return errors.New("consul: CatalogRegistration.Node is empty")
	}
	if i := slices.Index(r.Checks, nil); i >= 0 {
		return fmt.Errorf("consul: CatalogRegistration.Checks[%d] is nil", i)
	}
	return c.c.put(ctx, at("/v1/catalog/register"), nil, r)
}

// Deregister removes a service, a check, or a whole node from the catalog. It is
// no error if there is no such thing.
//
// PUT /v1/catalog/deregister
func (c *Catalog) Deregister(ctx context.Context, d *CatalogDeregistration) error {
	switch {
	case d == nil:
		return errors.New("consul: nil CatalogDeregistration")
	case d.Node == "":
		return errors.New("consul: CatalogDeregistration.Node is empty")
	}
	return c.c.put(ctx, at("/v1/catalog/deregister"), nil, d)
}
