package api

import (
	"net/http"
	"slices"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// catalogDatacenters serves GET /v1/catalog/datacenters.
func catalogDatacenters(q *request) (any, error) {
	list := []string{q.config.Datacenter}
	o, err := q.cacheOptions()
	if err != nil {
		// Agents return both here: what is wrong, and the response.
		return nil, refusal.New(http.StatusBadRequest, err.Error()+string(q.encode(list)))
	}
	if o.cached {
		q.setCache()
	}
	return list, nil
}

// catalogNodes serves GET /v1/catalog/nodes.
func catalogNodes(q *request) (any, error) {
	st := q.a.Store
	return q.perform(query{
		target: filter.Node,
		index:  func() uint64 { return st.Indexes[state.NodesTable] },
		keys: func() []string {
			if q.query.Has("node-meta") {
				return q.metaKeys()
			}
			return []string{state.RecordWatch(state.NodesByName)}
		},
		result: func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
			nodes := slices.DeleteFunc(state.Sorted(st.Nodes), func(n *state.Node) bool { return !q.hasNodeMeta(n.Meta) })
			allowed := func(n *state.Node) bool { return authz.Allows(acl.NodeRead, n.Node) }
			return collectAny(nodes, allowed, func(n *state.Node) *nodeJSON { return n.NodeRecord }, keep)
		},
	})
}

// catalogServices serves GET /v1/catalog/services.
func catalogServices(q *request) (any, error) {
	st := q.a.Store
	return q.perform(query{
		target: filter.CatalogService, cache: true, noFilter: q.v == release.V1_8_7,
		index: func() uint64 {
			if len(q.query["node-meta"]) > 0 {
				return st.MaxIndex(state.ServicesTable, state.NodesTable)
			}
			return st.Indexes[state.ServicesTable]
		},
		keys: func() []string {
			if !q.query.Has("node-meta") {
				return []string{state.RecordWatch(state.ServicesByName)}
			}
			keys := q.metaKeys()
			for _, n := range st.Nodes {
				if q.hasNodeMeta(n.Meta) {
					keys = append(keys, state.RecordWatch(state.ServicesByNode, n.Node))
				}
			}
			return keys
		},
		result: func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
			list, filtered := make(map[string][]string), false
			for _, n := range state.Sorted(st.Nodes) {
				if !q.hasNodeMeta(n.Meta) {
					continue
				}
				for _, s := range state.Sorted(n.Services) {
					if !authz.Allows(acl.ServiceRead, s.Name) {
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

// catalogService serves GET /v1/catalog/service/{service}.
func catalogService(q *request) (any, error) {
	return q.readCatalogService(state.ServicesByName, func() []*state.Service { return q.a.Store.Instances(q.name) }, q.tagged)
}

// catalogConnect serves GET /v1/catalog/connect/{service}.
func catalogConnect(q *request) (any, error) {
	all := func(list []*state.Service) []*state.Service { return list } // it ignores tags
	return q.readCatalogService(state.ServicesByMesh, func() []*state.Service { return q.a.Store.ConnectInstances(q.name) }, all)
}

// readCatalogService is a read of those of the instances that an index has for a name
// that tagged returns.
func (q *request) readCatalogService(byName string, instances func() []*state.Service, tagged func([]*state.Service) []*state.Service) (any, error) {
	if q.isOfPeer() {
		return q.perform(q.noInstances(filter.CatalogService))
	}
	st := q.a.Store
	return q.perform(query{
		missing: "Missing service name", target: filter.CatalogService, cache: true,
		index: func() uint64 {
			if len(instances()) == 0 {
				return st.MissingIndex(q.name, state.NodesTable, state.ServicesTable)
			}
			return st.PresentIndex(q.name, state.NodesTable, state.ServicesTable)
		},
		keys: func() []string {
			keys := []string{state.RecordWatch(byName, q.name)}
			for _, s := range tagged(instances()) {
				keys = append(keys, state.RecordWatch(state.ServicesByName, s.Name), state.NodeRecordKey(s.Node.Node))
			}
			return keys
		},
		result: func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
			return collectAny(q.selected(tagged(instances())), authz.AllowsInstance, func(s *state.Service) *catalogServiceJSON { return newCatalogServiceJSON(q.v, s) }, keep)
		},
	})
}

// catalogNode serves GET /v1/catalog/node/{node}.
func catalogNode(q *request) (any, error) {
	return q.readNode(func(n *state.Node, services []*serviceJSON) any {
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
		}{n.NodeRecord, byID}
	})
}

// catalogNodeServices serves GET /v1/catalog/node-services/{node}.
func catalogNodeServices(q *request) (any, error) {
	var answer struct {
		Node     *nodeJSON
		Services []*serviceJSON
	}
	return q.readNode(func(n *state.Node, services []*serviceJSON) any {
		switch {
		case n != nil:
			answer.Node, answer.Services = n.NodeRecord, services
		case q.v == release.V1_21_4: // 1.8.7 leaves a node that goes during a wait in the response
			answer.Node, answer.Services = nil, services
		}
		return answer
	})
}

// nullBody is a response that is null in JSON; a nil response has no body.
var nullBody = &answer{}

// readNode is a read of the services of a node. The node may be named by the
// beginning of its ID as well. The list of services is nil if there were none before
// the filter and the token left some out.
func (q *request) readNode(shape func(*state.Node, []*serviceJSON) any) (any, error) {
	st := q.a.Store
	return q.perform(query{
		missing: "Missing node name", target: filter.NodeService, keepsLast: q.v == release.V1_8_7,
		index: func() uint64 { return st.NodeIndex(q.name) },
		keys: func() []string {
			n := st.FindNode(q.name)
			if n == nil {
				return []string{state.RecordWatch(state.NodesByName, q.name)}
			}
			return []string{state.NodeRecordKey(n.Node), state.RecordWatch(state.ServicesByNode, n.Node)}
		},
		result: func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
			n := st.FindNode(q.name)
			hasFilter := q.query.Get("filter") != ""
			if n == nil && hasFilter && q.v == release.V1_21_4 {
				return shape(nil, []*serviceJSON{}), false, nil
			}
			if n == nil {
				return shape(nil, nil), false, nil
			}
			if !authz.Allows(acl.NodeRead, n.Node) {
				return shape(nil, nil), true, nil
			}
			list, filtered, err := collect(state.Sorted(n.Services),
				func(s *state.Service) bool { return authz.Allows(acl.ServiceRead, s.Name) },
				func(s *state.Service) *serviceJSON { return newServiceJSON(q.v, s.ServiceRecord) }, keep)
			if err != nil {
				return nil, false, err
			}
			if len(n.Services) == 0 && !hasFilter {
				list = nil
			}
			return shape(n, list), filtered, nil
		},
	})
}

// catalogGatewayServices serves GET /v1/catalog/gateway-services/{gateway}. The
// fake has no gateways.
func catalogGatewayServices(q *request) (any, error) {
	return q.perform(query{
		missing: "Missing gateway name", target: filter.CatalogService, noFilter: true,
		index: func() uint64 { return 1 },
		keys:  func() []string { return nil }, // it waits all the same
		result: func(*acl.Authorizer, predicate) (any, bool, error) {
			if q.v == release.V1_8_7 {
				return nullBody, false, nil
			}
			return []struct{}{}, false, nil
		},
	})
}
