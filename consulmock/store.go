package consulmock

import (
	"maps"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// store is the catalog as the servers hold it: nodes with their services and
// checks, and the indexes at which each part last changed. Records are never
// changed once they are in the store but replaced, so that an answer can be
// written while the store goes on.
type store struct {
	version release.Version
	index   uint64            // of the last write
	indexes map[string]uint64 // by the keys below
	waiters map[string]map[*waiter]struct{}
	records map[string]*recordIndex
	nodes   map[string]*node                 // by lower-case name
	byName  map[string]map[*service]struct{} // by lower-case service name
	byMesh  map[string]map[*service]struct{} // by the lower-case name of a service of the mesh

	recordWaiters map[string]map[string]int // how many wait for a prefix in an index

	virtualIPs map[string]int   // by the name of a service of the mesh
	views      map[string]*view // of the streaming backend, by key
}

// The keys of indexes, which are also those of waiters for an index to move.
// Those of single services and nodes end with a name in lower case.
const (
	nodesTable     = "nodes"
	servicesTable  = "services"
	checksTable    = "checks"
	lastExtinction = "service_last_extinction" // of the last instance of some service
	nodesGone      = "node_last_extinction"
	oneService     = "service."
	oneNode        = "node."
	meshService    = "connect."
)

// streamOf begins the keys of waiters for events of the streaming backend; a key of
// a view follows. Those of waiters for records are made by recordWatch.
const streamOf = "stream of "

// node is a node with what is registered on it.
type node struct {
	*nodeRecord
	services map[string]*service // by lower-case ID
	checks   map[string]*check   // by lower-case ID, those of services as well
	own      map[string]*check   // those of no service
}

// service is an instance in its place.
type service struct {
	*serviceRecord
	node   *node
	checks map[string]*check
}

// check is a check in its place.
type check struct {
	*checkRecord
}

type nodeRecord struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64
	ModifyIndex     uint64
}

type serviceRecord struct {
	Kind              string
	ID                string
	Name              string
	Tags              []string
	Address           string
	SocketPath        string
	TaggedAddresses   map[string]consul.ServiceAddress
	Meta              map[string]string
	Port              int
	Weights           consul.AgentWeights
	EnableTagOverride bool
	Proxy             *proxyConfig
	Native            bool
	Locality          *consul.Locality
	CreateIndex       uint64
	ModifyIndex       uint64
}

type checkRecord struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	Definition  *checkDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

func newStore(v release.Version) *store {
	return &store{
		version: v,
		indexes: make(map[string]uint64),
		waiters: make(map[string]map[*waiter]struct{}),
		records: make(map[string]*recordIndex),
		nodes:   make(map[string]*node),
		byName:  make(map[string]map[*service]struct{}),
		byMesh:  make(map[string]map[*service]struct{}),

		recordWaiters: make(map[string]map[string]int),

		virtualIPs: make(map[string]int),
		views:      make(map[string]*view),
	}
}

// waiter is somebody who waits for changes.
type waiter struct {
	wake chan struct{} // holds one element after a change
	keys []string
}

// watch returns a waiter for the keys. It must be given back to unwatch.
func (st *store) watch(keys ...string) *waiter {
	w := &waiter{wake: make(chan struct{}, 1), keys: keys}
	for _, k := range keys {
		if st.waiters[k] == nil {
			st.waiters[k] = make(map[*waiter]struct{})
		}
		st.waiters[k][w] = struct{}{}
		if index, prefix, ok := strings.Cut(k, "\x00"); ok {
			if st.recordWaiters[index] == nil {
				st.recordWaiters[index] = make(map[string]int)
			}
			st.recordWaiters[index][prefix]++
		}
	}
	return w
}

func (st *store) unwatch(w *waiter) {
	for _, k := range w.keys {
		delete(st.waiters[k], w)
		if len(st.waiters[k]) == 0 {
			delete(st.waiters, k)
		}
		if index, prefix, ok := strings.Cut(k, "\x00"); ok {
			if st.recordWaiters[index][prefix]--; st.recordWaiters[index][prefix] == 0 {
				delete(st.recordWaiters[index], prefix)
			}
		}
	}
}

// notify wakes those who wait for one of the keys.
func (st *store) notify(keys ...string) {
	for _, k := range keys {
		for w := range st.waiters[k] {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}

// touch sets indexes to that of the present write and wakes who waits for them.
func (st *store) touch(keys ...string) {
	for _, k := range keys {
		st.indexes[k] = st.index
		st.notify(k)
		st.stream(k)
	}
}

// stream passes an event on to the streaming backend, which has indexes of its
// own.
func (st *store) stream(key string) {
	if v := st.views[key]; v != nil {
		v.index = st.index
	}
	st.notify(streamOf + key)
}

// max returns the highest of the indexes.
func (st *store) max(keys ...string) uint64 {
	var highest uint64
	for _, k := range keys {
		highest = max(highest, st.indexes[k])
	}
	return highest
}

// serviceIndex is the index of a service: its own if it has instances, else
// that of a missing service.
func (st *store) serviceIndex(name string) uint64 {
	name = strings.ToLower(name)
	if len(st.byName[name]) > 0 {
		return st.indexes[oneService+name]
	}
	return st.missingIndex(name, nodesTable, servicesTable, checksTable)
}

// missingIndex is the index of a query for a service that finds no instances:
// that of the last removal of a whole service, else that of the service if it has
// instances, which are then not what the query is for, or had some that are called
// otherwise now, else that of the tables that the query reads.
func (st *store) missingIndex(name string, tables ...string) uint64 {
	if i, ok := st.indexes[lastExtinction]; ok {
		return i
	}
	if i, ok := st.indexes[oneService+strings.ToLower(name)]; ok {
		return i
	}
	return st.max(tables...)
}

// nodeIndex is the index of a node with its services. 1.8.7 does not keep one for
// each node.
func (st *store) nodeIndex(name string) uint64 {
	n := st.findNode(name)
	switch {
	case n == nil && st.version == release.V1_8_7:
		return 0
	case n == nil:
		return st.indexes[nodesGone]
	case st.version == release.V1_8_7:
		return st.max(nodesTable, servicesTable)
	}
	return st.indexes[oneNode+strings.ToLower(n.Node)]
}

// touchNode moves the index of a node because of its services.
func (st *store) touchNode(n *node) {
	if st.version == release.V1_21_4 {
		st.touch(nodesTable, oneNode+strings.ToLower(n.Node))
	}
}

// touchServicesOf moves the index of every service of a node.
func (st *store) touchServicesOf(n *node) {
	for _, s := range n.services {
		st.touchService(s)
	}
}

// touchService moves the index of a service, and of the mesh service that the
// instance belongs to.
func (st *store) touchService(s *service) {
	st.touch(oneService + strings.ToLower(s.Name))
	if mesh := s.meshName(); mesh != "" {
		st.touch(meshService + strings.ToLower(mesh))
	}
}

// node returns the node of that name, or nil.
func (st *store) node(name string) *node { return st.nodes[strings.ToLower(name)] }

// findNode returns the node of that name, or the only one whose ID begins so, or
// nil.
func (st *store) findNode(name string) *node {
	if n := st.node(name); n != nil || len(name) < minIDPrefix {
		return n
	}
	var found *node
	for _, n := range st.nodes {
		if n.ID != "" && strings.HasPrefix(n.ID, strings.ToLower(name)) {
			if found != nil {
				return nil
			}
			found = n
		}
	}
	return found
}

// minIDPrefix is the length from which on a name may be the beginning of an ID.
const minIDPrefix = 2

// instances returns the instances of a service, ordered by node and ID.
func (st *store) instances(name string) []*service {
	return st.sortInstances(st.byName[strings.ToLower(name)])
}

func (st *store) sortInstances(set map[*service]struct{}) []*service {
	return slices.SortedFunc(maps.Keys(set), func(a, b *service) int {
		if a.node == b.node {
			return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID))
		}
		return strings.Compare(strings.ToLower(a.node.Node), strings.ToLower(b.node.Node))
	})
}

// checksWhere returns the checks that a predicate is true of, ordered by node and
// ID.
func (st *store) checksWhere(is func(*node, *check) bool) []*check {
	var list []*check
	for _, n := range sorted(st.nodes) {
		for _, c := range sorted(n.checks) {
			if is(n, c) {
				list = append(list, c)
			}
		}
	}
	return list
}

// sorted returns the values of a map in the order of its keys.
func sorted[V any](m map[string]V) []V {
	list := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
