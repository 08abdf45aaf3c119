package api

import (
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// healthService serves GET /v1/health/service/{service}.
func healthService(q *request) (any, error) {
	st, name := q.a.Store, strings.ToLower(q.name)
	if q.isOfPeer() {
		return q.perform(q.noInstances(filter.ServiceEntry))
	}
	return q.perform(query{
		missing: "Missing service name", target: filter.ServiceEntry, cache: true, stream: state.ServiceKey(name),
		index:  func() uint64 { return st.ServiceIndex(q.name) },
		keys:   func() []string { return q.instanceKeys(name) },
		result: q.entries(func() []*state.Service { return q.tagged(st.Instances(q.name)) }),

		keepsLast: !q.query.Has("tag"),
	})
}

// instanceKeys are what an agent watches of a service: its index, or the records of
// that name if there are none. If tags are requested, it watches the records, and of
// the nodes and checks only those of the instances that have them.
func (q *request) instanceKeys(name string) []string {
	if len(q.a.Store.ByName[name]) > 0 && !q.query.Has("tag") {
		return []string{state.ServiceKey(name)}
	}
	keys := []string{state.RecordWatch(state.ServicesByName, name)}
	for _, s := range q.tagged(q.a.Store.Instances(name)) {
		keys = append(keys, state.NodeRecordKey(s.Node.Node), state.RecordWatch(state.ChecksByOwner, s.Node.Node, state.Flag(false)),
			state.RecordWatch(state.ChecksByID, s.Node.Node, s.ID))
	}
	return keys
}

// isOfPeer reports whether a read is about instances of another cluster.
func (q *request) isOfPeer() bool { return q.v == release.V1_21_4 && q.query.Get("peer") != "" }

// noInstances is a read of the instances of a service that has none, ever.
func (q *request) noInstances(target filter.Target) query {
	return query{
		missing: "Missing service name", target: target,
		index: func() uint64 { return 1 },
		keys:  func() []string { return nil }, // it waits all the same
		result: func(*acl.Authorizer, predicate) (any, bool, error) {
			return []*serviceEntryJSON{}, false, nil
		},
	}
}

// entries returns the result of a read of instances with their checks.
func (q *request) entries(instances func() []*state.Service) func(*acl.Authorizer, predicate) (any, bool, error) {
	return func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
		return collectAny(q.selected(instances()), authz.AllowsInstance, func(s *state.Service) *serviceEntryJSON { return newServiceEntryJSON(q.v, s) }, keep)
	}
}

// healthConnect serves GET /v1/health/connect/{service}: the instances that take
// part in the mesh themselves, and the proxies of those that do not.
func healthConnect(q *request) (any, error) {
	st := q.a.Store
	if authz, err := q.authorize(); err == nil && q.name != "" && !authz.Allows(acl.ServiceRead, q.name) {
		if q.v == release.V1_21_4 {
			return nil, acl.ErrDenied
		}
		if err := q.refuseEnterprise(); err != nil {
			return nil, err
		}
		o, err := q.readOptions()
		q.failed(nil)
		q.w.Header().Set("X-Consul-Effective-Consistency", o.consistency)
		return []struct{}{}, err
	}
	if q.isOfPeer() {
		return q.perform(q.noInstances(filter.ServiceEntry))
	}
	return q.perform(query{
		missing: "Missing service name", target: filter.ServiceEntry, cache: true, stream: state.MeshKey(q.name),
		index: func() uint64 {
			index, found := uint64(0), false
			for _, s := range st.ConnectInstances(q.name) {
				index, found = max(index, st.ServiceIndex(s.Name)), true
			}
			if !found {
				return st.MissingIndex(q.name, state.NodesTable, state.ServicesTable, state.ChecksTable)
			}
			return index
		},
		keys: func() []string {
			keys := []string{state.RecordWatch(state.ServicesByMesh, q.name)}
			for _, s := range st.ConnectInstances(q.name) {
				keys = append(keys, state.ServiceKey(s.Name))
			}
			return keys
		},
		result: q.entries(func() []*state.Service {
			if q.streamed { // the classic backend ignores tags
				return q.tagged(st.ConnectInstances(q.name))
			}
			return st.ConnectInstances(q.name)
		}),
	})
}

// healthIngress serves GET /v1/health/ingress/{service}. The fake has no
// gateways.
func healthIngress(q *request) (any, error) { return q.perform(q.noInstances(filter.ServiceEntry)) }

// healthNode serves GET /v1/health/node/{node}.
func healthNode(q *request) (any, error) {
	return q.readChecks(checksQuery{missing: "Missing node name", watched: state.RecordWatch(state.ChecksByNode, q.name), find: func() []*state.Check {
		n := q.a.Store.Node(q.name)
		if n == nil {
			return nil
		}
		return state.Sorted(n.Checks)
	}})
}

// healthChecks serves GET /v1/health/checks/{service}.
func healthChecks(q *request) (any, error) {
	name := strings.ToLower(q.name)
	r := checksQuery{missing: "Missing service name", watched: state.RecordWatch(state.ChecksByService, name), find: func() []*state.Check {
		return q.a.Store.ChecksWhere(func(_ *state.Node, c *state.Check) bool {
			return strings.ToLower(c.ServiceName) == name
		})
	}, byMeta: q.query.Has("node-meta")}
	if r.byMeta {
		r.index = func() uint64 {
			return q.a.Store.PresentIndex(q.name, state.NodesTable, state.ServicesTable, state.ChecksTable)
		}
	}
	return q.readChecks(r)
}

// healthState serves GET /v1/health/state/{state}.
func healthState(q *request) (any, error) {
	name := strings.ToLower(q.name)
	isAny := q.name == string(consul.HealthAny)
	r := checksQuery{missing: "Missing check state", watched: q.a.Store.StateWatch(q.name), find: func() []*state.Check {
		return q.a.Store.ChecksWhere(func(_ *state.Node, c *state.Check) bool {
			same := c.Status == q.name || q.v == release.V1_21_4 && strings.ToLower(c.Status) == name
			return same || isAny
		})
	}, byMeta: q.query.Has("node-meta")}
	if isAny {
		r.watched = state.RecordWatch(state.ChecksByNode)
	}
	return q.readChecks(r)
}

// checksQuery is a read of checks.
type checksQuery struct {
	missing string
	watched string        // what an agent watches
	index   func() uint64 // that of the table if nil
	find    func() []*state.Check
	byMeta  bool // of the checks that are found, only those of nodes with the metadata
}

// readChecks performs a read of checks.
func (q *request) readChecks(r checksQuery) (any, error) {
	if r.index == nil {
		r.index = func() uint64 { return q.a.Store.Indexes[state.ChecksTable] }
	}
	return q.perform(query{
		missing: r.missing, target: filter.HealthCheck, index: r.index,
		keys: func() []string {
			keys := []string{r.watched}
			if r.byMeta {
				for _, c := range r.find() {
					keys = append(keys, state.NodeRecordKey(c.Node))
				}
			}
			return keys
		},
		result: func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
			checks := r.find()
			if r.byMeta {
				checks = slices.DeleteFunc(checks, func(c *state.Check) bool { return !q.hasNodeMeta(q.a.Store.Node(c.Node).Meta) })
			}
			allowed := func(c *state.Check) bool {
				return authz.Allows(acl.NodeRead, c.Node) && (c.ServiceName == "" || authz.Allows(acl.ServiceRead, c.ServiceName))
			}
			return collectAny(checks, allowed, func(c *state.Check) *checkJSON { return newCheckJSON(q.v, c.CheckRecord) }, keep)
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
