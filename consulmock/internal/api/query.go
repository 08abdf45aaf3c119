package api

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// collect returns the shapes of the items that the token allows and the filter
// keeps, and whether something was left out because the token does not allow it.
func collect[T, S any](items []T, allowed func(T) bool, shape func(T) S, keep predicate) (list []S, filtered bool, err error) {
	list = []S{}
	for _, item := range items {
		if !allowed(item) {
			filtered = true
			continue
		}
		v := shape(item)
		ok, err := keep(v)
		if err != nil {
			return nil, false, err
		}
		if ok {
			list = append(list, v)
		}
	}
	return list, filtered, nil
}

// collectMap is collect for the values of a map, which keep their keys.
func collectMap[T, S any](items map[string]T, allowed func(T) bool, shape func(T) S, keep predicate) (m map[string]S, filtered bool, err error) {
	m = make(map[string]S)
	for key, item := range items {
		one, out, err := collect([]T{item}, allowed, shape, keep)
		if err != nil {
			return nil, false, err
		}
		filtered = filtered || out
		if len(one) > 0 {
			m[key] = one[0]
		}
	}
	return m, filtered, nil
}

// query is a read of the catalog.
type query struct {
	missing  string        // what is said if there is no name; empty where none is needed
	target   filter.Target // what filter is about
	noFilter bool          // filter is ignored
	cache    bool          // the agent has a cache for it
	stream   string        // the streaming backend's key, empty if it does not serve it
	plain    bool          // its responses do not report their consistency
	bare     bool          // its refusals have no headers of a read
	index    func() uint64
	keys     func() []string // what an agent watches for the response
	// absent reports that what is requested by its name is not there. 1.21.4 then waits
	// until it is, whatever index it has, but a wait that begins ends if the index has moved
	// before. Nil means that the query is for a list.
	absent func() bool
	// keepsLast reports that some changes do not wake who waits. When the time is over,
	// the result is that of the beginning or of the last time it was woken.
	keepsLast bool
	// permit returns why the token may not perform the read at all; nil if it is not
	// about that.
	permit func(*acl.Authorizer) error
	// result returns the response and whether something was left out because the
	// token does not allow it.
	result func(authz *acl.Authorizer, keep predicate) (body any, filtered bool, err error)
}

// perform responds to a query.
func (q *request) perform(r query) (any, error) {
	o, err := q.queryOptions(&r)
	if err != nil {
		return nil, err
	}
	passing, refused := q.passing(r.target)
	if refused != nil && q.v == release.V1_21_4 { // 1.8.7 looks at it in the response of the servers
		return nil, refused
	}
	streaming := r.stream != "" && q.streams(o)
	q.streamed = streaming
	keep, err := q.prepare(&r, o, streaming)
	if err != nil {
		return nil, q.failedQuery(&r, err)
	}
	e := evaluation{query: &r, keep: keep, keepsLast: r.keepsLast && !streaming}
	index, err := q.block(o, &e, streaming)
	if err != nil {
		return nil, q.failedQuery(&r, err)
	}
	if !e.keepsLast || !e.isOver {
		e.run(q)
	}
	if e.err != nil {
		return nil, q.failedQuery(&r, e.err)
	}
	if refused != nil {
		return nil, refused
	}
	if entries, ok := e.body.([]*serviceEntryJSON); ok {
		if passing {
			entries = onlyPassing(entries)
		}
		if streaming {
			streamed(entries)
		}
		e.body = entries
	}
	q.setMeta(o, index, streaming)
	if r.plain {
		q.w.Header().Del("X-Consul-Effective-Consistency")
	}
	q.setFiltered(e.authz, e.filtered)
	if o.cached && r.cache {
		q.setCache()
	}
	return e.body, nil
}

// queryOptions reads and checks the parameters of a query. What only Consul Enterprise
// has is refused first, except by sessions, which look at the other parameters before,
// and by keys, which look for the name as well.
func (q *request) queryOptions(r *query) (o readOptions, err error) {
	refuse := q.refuseEnterprise
	if r.target == filter.Node {
		refuse = q.refusePartition
	}
	read := func() error {
		if o, err = q.readOptions(); err != nil {
			return err
		}
		if q.ofSamenessGroup(r) && q.query.Get("peer") != "" {
			return refusal.BadRequest("peer-name and sameness-group are mutually exclusive")
		}
		return nil
	}
	named := func() error {
		if r.missing != "" && q.name == "" {
			return refusal.BadRequest("%s", r.missing)
		}
		return nil
	}
	order := []func() error{refuse, read, named}
	switch {
	case r.bare:
		order = []func() error{read, named, refuse}
	case r.plain:
		order = []func() error{read, refuse, named}
	}
	for _, check := range order {
		if err := check(); err != nil {
			return o, err
		}
	}
	return o, nil
}

// ofSamenessGroup reports whether a query is for instances of partitions that share a name.
func (q *request) ofSamenessGroup(r *query) bool {
	return q.v == release.V1_21_4 && r.target == filter.ServiceEntry && q.query.Get("sg")+q.query.Get("sameness-group") != ""
}

// streamed changes instances to what the streaming backend makes of them: it orders by
// node and ID with regard to case, and does not tell empty from missing.
func streamed(entries []*serviceEntryJSON) {
	slices.SortStableFunc(entries, func(a, b *serviceEntryJSON) int {
		return cmp.Or(strings.Compare(a.Node.Node, b.Node.Node), strings.Compare(a.Service.ID, b.Service.ID))
	})
	for _, e := range entries {
		node := *e.Node
		node.TaggedAddresses, node.Meta, e.Service.Meta = orNil(node.TaggedAddresses), orNil(node.Meta), orNil(e.Service.Meta)
		e.Node = &node
	}
}

func orNil(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// evaluation is the result of a read at a moment.
type evaluation struct {
	*query
	keep   predicate
	isOver bool // the wait ended without a change

	keepsLast bool

	authz    *acl.Authorizer
	body     any
	filtered bool
	err      error
}

// run reads what there is now.
func (e *evaluation) run(q *request) {
	e.authz, e.err = q.authorize() // each time, since the token may have gone
	if e.err == nil {
		e.body, e.filtered, e.err = e.result(e.authz, e.keep)
	}
}

// prepare returns the filter of a read, or why the servers refuse the read.
func (q *request) prepare(r *query, o readOptions, streaming bool) (keep predicate, err error) {
	if err := q.forward(q.query.Get("dc"), !o.needsLeader(streaming)); err != nil {
		return nil, err
	}
	if q.ofSamenessGroup(r) {
		return nil, errors.New("sameness groups are not supported in consul CE")
	}
	keep = matchAll
	switch {
	case streaming:
		keep, err = q.streamFilter(r.target)
	case !r.noFilter:
		keep, err = q.filter(r.target)
	}
	if err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err == nil && r.permit != nil {
		err = r.permit(authz)
	}
	return keep, err
}

// failedQuery returns the error of a read that the servers refuse, with the
// headers that it has.
func (q *request) failedQuery(r *query, err error) error {
	if r.bare || q.v == release.V1_21_4 && r.target == filter.ServiceEntry {
		return err
	}
	return q.failed(err)
}

// onlyPassing returns the instances whose checks all pass. The last one takes the place of
// one that is left out, as on agents.
func onlyPassing(list []*serviceEntryJSON) []*serviceEntryJSON {
	for i := 0; i < len(list); {
		if list[i].passing() {
			i++
			continue
		}
		last := len(list) - 1
		list[i] = list[last]
		list = list[:last]
	}
	return list
}

// streams reports whether the streaming backend serves a read of instances.
func (q *request) streams(o readOptions) bool {
	return q.v == release.V1_21_4 && q.api.config.Streaming && (o.index > 0 || o.cached) &&
		!q.query.Has("near") && !q.query.Has("merge-central-config")
}

// block waits until the index of a read has passed the one that was requested,
// and returns it. If the time is over before that, it returns the index as it was
// when the agent last looked, as agents do: it may have moved since without
// anything having changed that they watch.
func (q *request) block(o readOptions, e *evaluation, streaming bool) (uint64, error) {
	index, keys, length := e.index, e.keys, jitter(q.length(o.wait))
	if streaming {
		length = q.length(o.wait)
		index = func() uint64 { return q.a.Store.ViewIndex(e.stream, e.index()) }
		keys = func() []string { return []string{state.StreamKey(e.stream), state.ACLKey} }
	}
	seen := index()
	if o.index == 0 || keys == nil {
		return seen, nil
	}
	var err error
	waitsFor, wasAbsent, isLost := o.index, false, false
	e.isOver, err = q.wait(length, func() bool {
		if isLost = q.a.Leaderless && o.needsLeader(streaming); isLost {
			return false
		}
		seen = index()
		if q.v == release.V1_21_4 && e.absent != nil && e.absent() {
			if wasAbsent {
				waitsFor = max(seen, 1)
			}
			wasAbsent = true
		}
		blocked := max(seen, 1) <= waitsFor && q.tokenExists()
		if blocked && e.keepsLast {
			e.run(q)
		}
		return blocked
	}, func() []string { return append(keys(), state.LeaderKey) })
	if isLost {
		err = errNoLeader
	}
	return seen, err
}

// needsLeader reports whether only the leader serves a read: unless it is stale or served
// by the streaming backend, which every server has.
func (o readOptions) needsLeader(streaming bool) bool {
	return o.consistency != "stale" && !streaming
}

// tokenExists reports whether the request's token has not been deleted.
func (q *request) tokenExists() bool {
	_, err := q.authorize()
	return err == nil
}

// collectAny is collect with a list of any kind.
func collectAny[T, S any](items []T, allowed func(T) bool, shape func(T) S, keep predicate) (any, bool, error) {
	list, filtered, err := collect(items, allowed, shape, keep)
	return list, filtered, err
}

// setFiltered reports that something was left out of a response. Agents do not report
// so to requests without a token.
func (q *request) setFiltered(authz *acl.Authorizer, filtered bool) {
	if filtered && q.v == release.V1_21_4 && !authz.Anonymous {
		q.w.Header().Set("X-Consul-Results-Filtered-By-Acls", "true")
	}
}
