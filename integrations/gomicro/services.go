package gomicro

import (
	"maps"
	"reflect"
	"slices"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// servicesOf returns the service as go-micro sees it: one for each version, with
// the nodes that are not critical, in the order in which the agent listed them.
// A version all of whose nodes are critical does not exist.
func servicesOf(name string, instances []discovery.Instance) []*registry.Service {
	var services []*registry.Service
	for _, i := range instances {
		// A query for a mesh service also finds its proxies, and names match
		// without regard to case.
		if i.Service != name || i.Status != consul.HealthPassing && i.Status != consul.HealthWarning {
			continue
		}
		version := decodeVersion(i.Tags)
		service := versionOf(services, version)
		if service == nil {
			service = &registry.Service{Name: name, Version: version, Endpoints: decodeEndpoints(i.Tags)}
			services = append(services, service)
		}
		service.Nodes = addNode(service.Nodes, &registry.Node{
			Id:       i.ID,
			Address:  joinAddress(i.Address, i.Port),
			Metadata: decodeMetadata(i.Tags, i.Meta),
		})
	}
	return services
}

// addNode adds a node unless it is there: one that had to change its agent is
// registered with both for a while. Services that were not registered by
// go-micro often have the same ID on every machine, so the ID alone does not
// tell.
func addNode(nodes []*registry.Node, n *registry.Node) []*registry.Node {
	if slices.ContainsFunc(nodes, func(o *registry.Node) bool { return o.Id == n.Id && o.Address == n.Address }) {
		return nodes
	}
	return append(nodes, n)
}

// Actions of a [registry.Result].
const (
	actionCreate = "create"
	actionUpdate = "update"
	actionDelete = "delete"
)

// changesOf returns what happened to a service between two lists of its
// versions. go-micro's cache adds what it is told to what it has, so nodes that
// are gone are deleted one by one, by their ID, before the rest of their version
// is updated. The results share nothing with the lists.
func changesOf(before, after []*registry.Service) []*registry.Result {
	var results []*registry.Result
	result := func(action string, s *registry.Service) {
		results = append(results, &registry.Result{Action: action, Service: cloneService(s)})
	}
	for _, now := range after {
		was := versionOf(before, now.Version)
		if was == nil {
			result(actionCreate, now)
			continue
		}
		if reflect.DeepEqual(was, now) {
			continue
		}
		if gone := missingNodes(was.Nodes, now.Nodes); len(gone) > 0 {
			s := *was
			s.Nodes = gone
			result(actionDelete, &s)
		}
		result(actionUpdate, now)
	}
	for _, was := range before {
		if versionOf(after, was.Version) == nil {
			result(actionDelete, was)
		}
	}
	return results
}

func versionOf(services []*registry.Service, version string) *registry.Service {
	for _, s := range services {
		if s.Version == version {
			return s
		}
	}
	return nil
}

// cloneService returns a deep copy, which go-micro's CopyService is not: it shares
// the metadata.
func cloneService(s *registry.Service) *registry.Service {
	c := *s
	c.Metadata = maps.Clone(s.Metadata)
	c.Nodes = slices.Clone(s.Nodes)
	for i, n := range c.Nodes {
		node := *n
		node.Metadata = maps.Clone(n.Metadata)
		c.Nodes[i] = &node
	}
	c.Endpoints = slices.Clone(s.Endpoints)
	for i, e := range c.Endpoints {
		endpoint := *e
		endpoint.Metadata = maps.Clone(e.Metadata)
		endpoint.Request, endpoint.Response = cloneValue(e.Request), cloneValue(e.Response)
		c.Endpoints[i] = &endpoint
	}
	return &c
}

func cloneValue(v *registry.Value) *registry.Value {
	if v == nil {
		return nil
	}
	c := *v
	c.Values = slices.Clone(v.Values)
	for i, inner := range c.Values {
		c.Values[i] = cloneValue(inner)
	}
	return &c
}

// missingNodes returns the nodes whose ID is not among those of others.
func missingNodes(nodes, others []*registry.Node) []*registry.Node {
	var missing []*registry.Node
	for _, n := range nodes {
		if !slices.ContainsFunc(others, func(o *registry.Node) bool { return o.Id == n.Id }) {
			missing = append(missing, n)
		}
	}
	return missing
}
