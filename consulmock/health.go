package consulmock

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lictor-go/consul"
)

// read is a read of the catalog.
type read struct {
	missing  string       // what is said if there is no name; empty where none is needed
	target   filterTarget // what filter is about
	noFilter bool         // filter is ignored
	cache    bool         // the agent has a cache for it
	stream   string       // the streaming backend's key, empty if it does not answer
	index    func() uint64
	keys     func() []string // what an agent watches for the answer
	// result returns the answer and whether something was left out because the
	// token does not allow it.
	result func(authz *authorizer, keep func(any) (bool, error)) (body any, filtered bool, err error)
}

// read performs a read.
func (q *request) read(r read) (any, error) {
	o, err := q.readOptions()
	if err != nil {
		return nil, err
	}
	if r.missing != "" && q.name == "" {
		return nil, badRequest("%s", r.missing)
	}
	passing, err := q.passing(r.target)
	if err != nil {
		return nil, err
	}
	failed := q.failed
	if q.v == v1_21_4 && r.target == ofServiceEntry {
		failed = func(err error) error { return err }
	}
	if dc := q.query.Get("dc"); dc != "" && dc != q.s.config.datacenter {
		return nil, failed(fmt.Errorf("No path to datacenter"))
	}
	if q.v == v1_21_4 && q.query.Get("sg") != "" && r.target == ofServiceEntry {
		return nil, failed(fmt.Errorf("sameness groups are not supported in consul CE"))
	}
	keep, err := func(any) (bool, error) { return true, nil }, error(nil)
	if !r.noFilter {
		if keep, err = q.filter(r.target); err != nil {
			return nil, failed(err)
		}
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, failed(err)
	}
	streaming := r.stream != "" && q.streams(o)
	index, err := q.block(o, &r, streaming)
	if err != nil {
		return nil, err
	}
	if authz, err = q.authorize(); err != nil { // the token may be gone
		return nil, failed(err)
	}
	if r.target == ofServiceEntry {
		all := keep
		keep = func(v any) (bool, error) {
			if passing && !v.(*serviceEntryJSON).passing() {
				return false, nil
			}
			return all(v)
		}
	}
	body, filtered, err := r.result(authz, keep)
	if err != nil {
		return nil, failed(err)
	}
	q.setMeta(o, index, streaming)
	q.setFiltered(authz, filtered)
	if o.cached && r.cache {
		q.setCache()
	}
	return body, nil
}

// streams reports whether the streaming backend answers a read of instances.
func (q *request) streams(o readOptions) bool {
	return q.v == v1_21_4 && q.s.config.streaming && (o.index > 0 || o.cached) &&
		!q.query.Has("near") && !q.query.Has("merge-central-config")
}

// block waits until the index of a read has passed the one that was asked for,
// and returns it. If the time is over before that, it returns the index as it was
// when the agent last looked, as agents do: it may have moved since without
// anything having changed that they watch.
func (q *request) block(o readOptions, r *read, streaming bool) (uint64, error) {
	index, keys, length := r.index, r.keys, jitter(q.length(o.wait))
	if streaming {
		length = q.length(o.wait)
		index = func() uint64 { return q.a.store.viewIndex(r.stream, r.index()) }
		keys = func() []string { return []string{r.stream, aclKey} }
	}
	seen := index()
	if o.index == 0 || keys == nil {
		return seen, nil
	}
	_, err := q.wait(length, func() bool {
		seen = index()
		return max(seen, 1) <= o.index && q.tokenExists()
	}, keys)
	return seen, err
}

// tokenExists reports whether the request's token has not been deleted.
func (q *request) tokenExists() bool {
	_, err := q.authorize()
	return err == nil
}

// passing reads the parameter of that name.
func (q *request) passing(target filterTarget) (bool, error) {
	if target != ofServiceEntry || !q.query.Has("passing") {
		return false, nil
	}
	v := q.query.Get("passing")
	if v == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, badRequest("Invalid value for ?passing")
	}
	return on, nil
}

// filter returns the predicate of the parameter filter.
func (q *request) filter(of filterTarget) (func(v any) (bool, error), error) {
	expression := q.query.Get("filter")
	if expression == "" {
		return func(any) (bool, error) { return true, nil }, nil
	}
	return compileFilter(expression, of, q.v)
}

// hasTags reports whether a list has all the tags that a query asks for.
func (q *request) hasTags(have []string) bool {
	for _, want := range q.query["tag"] {
		if !slices.ContainsFunc(have, func(tag string) bool { return strings.EqualFold(tag, want) }) {
			return false
		}
	}
	return true
}

// hasNodeMeta reports whether a node has all the metadata that a query asks for.
func (q *request) hasNodeMeta(meta map[string]string) bool {
	for _, want := range q.query["node-meta"] {
		k, v, _ := strings.Cut(want, ":")
		if have, ok := meta[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// healthService answers GET /v1/health/service/{service}.
func healthService(q *request) (any, error) {
	st, name := q.a.store, strings.ToLower(q.name)
	if q.query.Get("peer") != "" && q.v == v1_21_4 {
		return q.read(q.noInstances())
	}
	return q.read(read{
		missing: "Missing service name", target: ofServiceEntry, cache: true, stream: oneService + name,
		index:  func() uint64 { return st.serviceIndex(q.name) },
		keys:   func() []string { return q.instanceKeys(name) },
		result: q.entries(func() []*service { return st.instances(q.name) }),
	})
}

// instanceKeys are what an agent watches of a service: its index, or all
// services if there are no instances.
func (q *request) instanceKeys(name string) []string {
	if len(q.a.store.byName[name]) > 0 {
		return []string{oneService + name}
	}
	return []string{serviceRecords}
}

// noInstances is a read of the instances of a service that has none, ever.
func (q *request) noInstances() read {
	return read{
		missing: "Missing service name", target: ofServiceEntry,
		index: func() uint64 { return 1 },
		result: func(*authorizer, func(any) (bool, error)) (any, bool, error) {
			return []*serviceEntryJSON{}, false, nil
		},
	}
}

// entries returns the result of a read of instances with their checks.
func (q *request) entries(instances func() []*service) func(*authorizer, func(any) (bool, error)) (any, bool, error) {
	return func(authz *authorizer, keep func(any) (bool, error)) (any, bool, error) {
		list, filtered := []*serviceEntryJSON{}, false
		for _, s := range instances() {
			if !q.hasTags(s.Tags) || !q.hasNodeMeta(s.node.Meta) {
				continue
			}
			if !authz.allows(nodeRead, s.node.Node) || !authz.allows(serviceRead, s.Name) {
				filtered = true
				continue
			}
			e := q.v.entryJSON(s)
			if ok, err := keep(e); err != nil {
				return nil, false, err
			} else if ok {
				list = append(list, e)
			}
		}
		return list, filtered, nil
	}
}

// healthConnect answers GET /v1/health/connect/{service}: the instances that take
// part in the mesh themselves, and the proxies of those that do not.
func healthConnect(q *request) (any, error) {
	st := q.a.store
	if authz, err := q.authorize(); err == nil && q.name != "" && !authz.allows(serviceRead, q.name) {
		if q.v == v1_21_4 {
			return nil, errDenied
		}
		o, err := q.readOptions()
		q.failed(nil)
		q.w.Header().Set("X-Consul-Effective-Consistency", o.consistency)
		return []struct{}{}, err
	}
	return q.read(read{
		missing: "Missing service name", target: ofServiceEntry, cache: true, stream: meshService + strings.ToLower(q.name),
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
			keys := []string{meshRecords}
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
	name := strings.ToLower(q.name)
	return q.readChecks(checksRead{missing: "Missing node name", watched: checksOnNode + name, around: checkRecords, find: func() []*check {
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
	r := checksRead{missing: "Missing service name", watched: checksOfService + name, around: serviceCheckAny, find: func() []*check {
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
	r := checksRead{missing: "Missing check state", watched: checksInState + name, around: checkRecords, find: func() []*check {
		return q.a.store.checksWhere(func(n *node, c *check) bool {
			same := c.Status == q.name || q.v == v1_21_4 && strings.ToLower(c.Status) == name
			return (same || isAny) && q.hasNodeMeta(n.Meta)
		})
	}}
	if isAny {
		r.watched = checkRecords
	}
	return q.readChecks(r)
}

// checksRead is a read of checks.
type checksRead struct {
	missing string
	watched string        // what an agent watches if it finds some
	around  string        // what it watches if it finds none
	index   func() uint64 // that of the table if nil
	find    func() []*check
}

// readChecks performs a read of checks.
func (q *request) readChecks(r checksRead) (any, error) {
	if r.index == nil {
		r.index = func() uint64 { return q.a.store.indexes[checksTable] }
	}
	return q.read(read{
		missing: r.missing, target: ofHealthCheck, index: r.index,
		keys: func() []string {
			if len(r.find()) > 0 {
				return []string{r.watched}
			}
			return []string{r.around}
		},
		result: func(authz *authorizer, keep func(any) (bool, error)) (any, bool, error) {
			list, filtered := []*checkJSON{}, false
			for _, c := range r.find() {
				if !authz.allows(nodeRead, c.Node) || c.ServiceName != "" && !authz.allows(serviceRead, c.ServiceName) {
					filtered = true
					continue
				}
				v := q.v.checkJSON(c.checkRecord)
				if ok, err := keep(v); err != nil {
					return nil, false, err
				} else if ok {
					list = append(list, v)
				}
			}
			return list, filtered, nil
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
