package consulmock

import (
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// healthService answers GET /v1/health/service/{service}.
func healthService(q *request) (any, error) {
	st, name := q.a.store, strings.ToLower(q.name)
	if q.query.Get("peer") != "" && q.v == release.V1_21_4 {
		return q.read(q.noInstances())
	}
	return q.read(read{
		missing: "Missing service name", target: filter.ServiceEntry, cache: true, stream: oneService + name,
		index:  func() uint64 { return st.serviceIndex(q.name) },
		keys:   func() []string { return q.instanceKeys(name) },
		result: q.entries(func() []*service { return st.instances(q.name) }),

		byIndex: !q.query.Has("tag"),
	})
}

// instanceKeys are what an agent watches of a service: its index, or the records of
// that name if there are none. If tags are asked for, it watches the records, and of
// the nodes and checks only those of the instances that have them.
func (q *request) instanceKeys(name string) []string {
	if len(q.a.store.byName[name]) > 0 && !q.query.Has("tag") {
		return []string{oneService + name}
	}
	keys := []string{recordWatch(servicesByName, name)}
	for _, s := range q.tagged(q.a.store.instances(name)) {
		keys = append(keys, recordWatch(nodesByName, s.node.Node), recordWatch(checksByOwner, s.node.Node, whether(false)),
			recordWatch(checksByID, s.node.Node, s.ID))
	}
	return keys
}

// noInstances is a read of the instances of a service that has none, ever.
func (q *request) noInstances() read {
	return read{
		missing: "Missing service name", target: filter.ServiceEntry,
		index: func() uint64 { return 1 },
		keys:  func() []string { return nil }, // it waits all the same
		result: func(*authorizer, predicate) (any, bool, error) {
			return []*serviceEntryJSON{}, false, nil
		},
	}
}

// entries returns the result of a read of instances with their checks.
func (q *request) entries(instances func() []*service) func(*authorizer, predicate) (any, bool, error) {
	return func(authz *authorizer, keep predicate) (any, bool, error) {
		return collectAny(q.selected(instances()), authz.allowsInstance, func(s *service) *serviceEntryJSON { return newServiceEntryJSON(q.v, s) }, keep)
	}
}

// healthConnect answers GET /v1/health/connect/{service}: the instances that take
// part in the mesh themselves, and the proxies of those that do not.
func healthConnect(q *request) (any, error) {
	st := q.a.store
	if authz, err := q.authorize(); err == nil && q.name != "" && !authz.allows(serviceRead, q.name) {
		if q.v == release.V1_21_4 {
			return nil, errDenied
		}
		o, err := q.readOptions()
		q.failed(nil)
		q.w.Header().Set("X-Consul-Effective-Consistency", o.consistency)
		return []struct{}{}, err
	}
	return q.read(read{
		missing: "Missing service name", target: filter.ServiceEntry, cache: true, stream: meshService + strings.ToLower(q.name),
		index: func() uint64 {
			index, found := uint64(0), false
			for _, s := range st.connectInstances(q.name) {
				index, found = max(index, st.serviceIndex(s.Name)), true
			}
			if !found {
				return st.missingIndex(q.name, nodesTable, servicesTable, checksTable)
			}
			return index
		},
		keys: func() []string {
			keys := []string{recordWatch(servicesByMesh, q.name)}
			for _, s := range st.connectInstances(q.name) {
				keys = append(keys, oneService+strings.ToLower(s.Name))
			}
			return keys
		},
		result: q.entries(func() []*service { return st.connectInstances(q.name) }),
	})
}

// healthIngress answers GET /v1/health/ingress/{service}. The fake has no
// gateways.
func healthIngress(q *request) (any, error) { return q.read(q.noInstances()) }

// healthNode answers GET /v1/health/node/{node}.
func healthNode(q *request) (any, error) {
	return q.readChecks(checksRead{missing: "Missing node name", watched: recordWatch(checksByNode, q.name), find: func() []*check {
		n := q.a.store.node(q.name)
		if n == nil {
			return nil
		}
		return sorted(n.checks)
	}})
}

// healthChecks answers GET /v1/health/checks/{service}.
func healthChecks(q *request) (any, error) {
	name := strings.ToLower(q.name)
	r := checksRead{missing: "Missing service name", watched: recordWatch(checksByService, name), find: func() []*check {
		return q.a.store.checksWhere(func(n *node, c *check) bool {
			return strings.ToLower(c.ServiceName) == name && q.hasNodeMeta(n.Meta)
		})
	}}
	if q.query.Has("node-meta") {
		r.index = func() uint64 { return q.a.store.serviceIndex(q.name) }
	}
	return q.readChecks(r)
}

// healthState answers GET /v1/health/state/{state}.
func healthState(q *request) (any, error) {
	name := strings.ToLower(q.name)
	isAny := q.name == string(consul.HealthAny)
	r := checksRead{missing: "Missing check state", watched: recordWatch(checksByState, name), find: func() []*check {
		return q.a.store.checksWhere(func(n *node, c *check) bool {
			same := c.Status == q.name || q.v == release.V1_21_4 && strings.ToLower(c.Status) == name
			return (same || isAny) && q.hasNodeMeta(n.Meta)
		})
	}}
	if isAny {
		r.watched = recordWatch(checksByNode)
	}
	return q.readChecks(r)
}

// checksRead is a read of checks.
type checksRead struct {
	missing string
	watched string        // what an agent watches
	index   func() uint64 // that of the table if nil
	find    func() []*check
}

// readChecks performs a read of checks.
func (q *request) readChecks(r checksRead) (any, error) {
	if r.index == nil {
		r.index = func() uint64 { return q.a.store.indexes[checksTable] }
	}
	return q.read(read{
		missing: r.missing, target: filter.HealthCheck, index: r.index,
		keys: func() []string { return []string{r.watched} },
		result: func(authz *authorizer, keep predicate) (any, bool, error) {
			allowed := func(c *check) bool {
				return authz.allows(nodeRead, c.Node) && (c.ServiceName == "" || authz.allows(serviceRead, c.ServiceName))
			}
			return collectAny(r.find(), allowed, func(c *check) *checkJSON { return newCheckJSON(q.v, c.checkRecord) }, keep)
		},
	})
}

// passing reports whether every check of the instance and of its node passes.
func (e *serviceEntryJSON) passing() bool {
	for _, c := range e.Checks {
		if c.Status != string(consul.HealthPassing) {
			return false
		}
	}
	return true
}
