package consulmock

import (
	"net/http"
	"slices"

	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// catalogDatacenters answers GET /v1/catalog/datacenters.
func catalogDatacenters(q *request) (any, error) {
	list := []string{q.config.datacenter}
	o, err := q.readOptions()
	if err != nil {
		// Agents say both here: what is wrong, and the answer.
		return nil, &httpError{http.StatusBadRequest, err.Error() + string(q.encode(list))}
	}
	if o.cached {
		q.setCache()
	}
	return list, nil
}

// catalogNodes answers GET /v1/catalog/nodes.
func catalogNodes(q *request) (any, error) {
	st := q.a.store
	return q.read(read{
		target: filter.Node,
		index:  func() uint64 { return st.indexes[nodesTable] },
		keys:   func() []string { return []string{recordWatch(nodesByName)} },
		result: func(authz *authorizer, keep predicate) (any, bool, error) {
			nodes := slices.DeleteFunc(sorted(st.nodes), func(n *node) bool { return !q.hasNodeMeta(n.Meta) })
			allowed := func(n *node) bool { return authz.allows(nodeRead, n.Node) }
			return collectAny(nodes, allowed, func(n *node) *nodeJSON { return n.nodeRecord }, keep)
		},
	})
}

// catalogServices answers GET /v1/catalog/services.
func catalogServices(q *request) (any, error) {
	st := q.a.store
	return q.read(read{
		target: filter.CatalogService, cache: true, noFilter: q.v == release.V1_8_7,
		index: func() uint64 {
			if len(q.query["node-meta"]) > 0 {
				return st.max(servicesTable, nodesTable)
			}
			return st.indexes[servicesTable]
		},
		keys: func() []string { return []string{recordWatch(servicesByName)} },
		result: func(authz *authorizer, keep predicate) (any, bool, error) {
			list, filtered := make(map[string][]string), false
			for _, n := range sorted(st.nodes) {
				if !q.hasNodeMeta(n.Meta) {
					continue
				}
				for _, s := range sorted(n.services) {
					if !authz.allows(serviceRead, s.Name) {
						filtered = true
						continue
					}
					if ok, err := keep(newCatalogServiceJSON(q.v, s)); err != nil {
						return nil, false, err
					} else if ok {
						list[s.Name] = addTags(list[s.Name], s.Tags)
					}
				}
			}
			return list, filtered, nil
		},
	})
}

// addTags returns the tags of a service with those of another instance.
func addTags(have, more []string) []string {
	if have == nil {
		have = []string{}
	}
	for _, tag := range more {
		if !slices.Contains(have, tag) {
			have = append(have, tag)
		}
	}
	return have
}

// catalogService answers GET /v1/catalog/service/{service}.
func catalogService(q *request) (any, error) {
	return q.readCatalogService(servicesByName, func() []*service { return q.a.store.instances(q.name) })
}

// catalogConnect answers GET /v1/catalog/connect/{service}.
func catalogConnect(q *request) (any, error) {
	return q.readCatalogService(servicesByMesh, func() []*service { return q.a.store.connectInstances(q.name) })
}

// readCatalogService is a read of the instances that an index has for a name.
func (q *request) readCatalogService(byName string, instances func() []*service) (any, error) {
	st := q.a.store
	return q.read(read{
		missing: "Missing service name", target: filter.CatalogService, cache: true,
		index: func() uint64 {
			if len(instances()) == 0 {
				return st.missingIndex(q.name, nodesTable, servicesTable)
			}
			return st.serviceIndex(q.name)
		},
		keys: func() []string {
			keys := []string{recordWatch(byName, q.name)}
			for _, s := range q.tagged(instances()) {
				keys = append(keys, recordWatch(servicesByName, s.Name), recordWatch(nodesByName, s.node.Node))
			}
			return keys
		},
		result: func(authz *authorizer, keep predicate) (any, bool, error) {
			return collectAny(q.selected(instances()), authz.allowsInstance, func(s *service) *catalogServiceJSON { return newCatalogServiceJSON(q.v, s) }, keep)
		},
	})
}

// catalogNode answers GET /v1/catalog/node/{node}.
func catalogNode(q *request) (any, error) {
	return q.readNode(func(n *node, services []*serviceJSON) any {
		if n == nil {
			return nullBody
		}
		byID := make(map[string]*serviceJSON)
		for _, s := range services {
			byID[s.ID] = s
		}
		return struct {
			Node     *nodeJSON
			Services map[string]*serviceJSON
		}{n.nodeRecord, byID}
	})
}

// catalogNodeServices answers GET /v1/catalog/node-services/{node}.
func catalogNodeServices(q *request) (any, error) {
	return q.readNode(func(n *node, services []*serviceJSON) any {
		var answer struct {
			Node     *nodeJSON
			Services []*serviceJSON
		}
		if n != nil {
			answer.Node = n.nodeRecord
		}
		answer.Services = services
		return answer
	})
}

// nullBody is an answer that is null in JSON; a nil answer has no body.
var nullBody = &answer{}

// readNode is a read of the services of a node. The node may be named by the
// beginning of its ID as well. The list of services is nil if there were none before
// the filter and the token left some out.
func (q *request) readNode(shape func(*node, []*serviceJSON) any) (any, error) {
	st := q.a.store
	return q.read(read{
		missing: "Missing node name", target: filter.NodeService,
		index: func() uint64 { return st.nodeIndex(q.name) },
		keys: func() []string {
			n := st.findNode(q.name)
			if n == nil {
				return []string{recordWatch(nodesByName)}
			}
			return []string{recordWatch(nodesByName, n.Node), recordWatch(servicesByNode, n.Node)}
		},
		result: func(authz *authorizer, keep predicate) (any, bool, error) {
			n := st.findNode(q.name)
			hasFilter := q.query.Get("filter") != ""
			if n == nil && hasFilter && q.v == release.V1_21_4 {
				return shape(nil, []*serviceJSON{}), false, nil
			}
			if n == nil {
				return shape(nil, nil), false, nil
			}
			if !authz.allows(nodeRead, n.Node) {
				return shape(nil, nil), true, nil
			}
			list, filtered, err := collect(sorted(n.services),
				func(s *service) bool { return authz.allows(serviceRead, s.Name) },
				func(s *service) *serviceJSON { return newServiceJSON(q.v, s.serviceRecord) }, keep)
			if err != nil {
				return nil, false, err
			}
			if len(n.services) == 0 && !hasFilter {
				list = nil
			}
			return shape(n, list), filtered, nil
		},
	})
}

// catalogGatewayServices answers GET /v1/catalog/gateway-services/{gateway}. The
// fake has no gateways.
func catalogGatewayServices(q *request) (any, error) {
	return q.read(read{
		missing: "Missing gateway name", target: filter.CatalogService, noFilter: true,
		index: func() uint64 { return 1 },
		keys:  func() []string { return nil }, // it waits all the same
		result: func(*authorizer, predicate) (any, bool, error) {
			if q.v == release.V1_8_7 {
				return nullBody, false, nil
			}
			return []struct{}{}, false, nil
		},
	})
}

// statusLeader answers GET /v1/status/leader.
func statusLeader(q *request) (any, error) {
	return q.status(serverAddress)
}

// statusPeers answers GET /v1/status/peers.
func statusPeers(q *request) (any, error) {
	return q.status([]string{serverAddress})
}

func (q *request) status(v any) (any, error) {
	if _, err := q.readOptions(); err != nil {
		return nil, err
	}
	if dc := q.query.Get("dc"); dc != "" && dc != q.config.datacenter {
		return nil, &httpError{http.StatusInternalServerError, "No path to datacenter"}
	}
	return v, nil
}
