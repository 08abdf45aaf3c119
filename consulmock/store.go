package consulmock

import (
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
)

// store is the catalog as the servers hold it: nodes with their services and
// checks, and the indexes at which each part last changed. Records are never
// changed once they are in the store but replaced, so that an answer can be
// written while the store goes on.
type store struct {
	version version
	index   uint64            // of the last write
	indexes map[string]uint64 // by the keys below
	waiters map[string]map[*waiter]struct{}
	nodes   map[string]*node                 // by lower-case name
	byName  map[string]map[*service]struct{} // by lower-case service name
}

// The keys of indexes. Those of single services and nodes end with a name in
// lower case.
const (
	nodesTable    = "nodes"
	servicesTable = "services"
	checksTable   = "checks"
	extinctions   = "service_last_extinction"
	oneService    = "service."
	oneNode       = "node."
)

// node is a node with what is registered on it.
type node struct {
	*nodeRecord
	services map[string]*service // by lower-case ID
	checks   map[string]*check   // by lower-case ID
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

func newStore(v version) *store {
	return &store{
		version: v,
		indexes: make(map[string]uint64),
		waiters: make(map[string]map[*waiter]struct{}),
		nodes:   make(map[string]*node),
		byName:  make(map[string]map[*service]struct{}),
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
	}
	return w
}

func (st *store) unwatch(w *waiter) {
	for _, k := range w.keys {
		delete(st.waiters[k], w)
		if len(st.waiters[k]) == 0 {
			delete(st.waiters, k)
		}
	}
}

// notify wakes those who wait for a key.
func (st *store) notify(key string) {
	for w := range st.waiters[key] {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// touch sets indexes to that of the present write and wakes who waits for them.
func (st *store) touch(keys ...string) {
	for _, k := range keys {
		st.indexes[k] = st.index
		st.notify(k)
	}
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
// that of the last disappearance of a service, else that of all tables.
func (st *store) serviceIndex(name string, withChecks bool) uint64 {
	if i, ok := st.indexes[oneService+strings.ToLower(name)]; ok {
		return i
	}
	if i, ok := st.indexes[extinctions]; ok {
		return i
	}
	if withChecks {
		return st.max(nodesTable, servicesTable, checksTable)
	}
	return st.max(nodesTable, servicesTable)
}

// touchServicesOf moves the index of every service of a node.
func (st *store) touchServicesOf(n *node) {
	for _, s := range n.services {
		st.touch(oneService + strings.ToLower(s.Name))
	}
}

// ensureNode inserts or changes a node.
func (st *store) ensureNode(rec nodeRecord) *node {
	key := strings.ToLower(rec.Node)
	n := st.nodes[key]
	if n == nil {
		n = &node{services: make(map[string]*service), checks: make(map[string]*check)}
		st.nodes[key] = n
		rec.CreateIndex = st.index
	} else {
		rec.CreateIndex, rec.ModifyIndex = n.CreateIndex, n.ModifyIndex
		if reflect.DeepEqual(rec, *n.nodeRecord) {
			return n
		}
	}
	rec.ModifyIndex = st.index
	n.nodeRecord = &rec
	st.touch(nodesTable, oneNode+key)
	st.touchServicesOf(n)
	return n
}

// ensureService inserts or changes a service of a node.
func (st *store) ensureService(n *node, rec serviceRecord) *service {
	key := strings.ToLower(rec.ID)
	s := n.services[key]
	if s == nil {
		s = &service{node: n, checks: make(map[string]*check)}
		n.services[key] = s
		rec.CreateIndex = st.index
	} else {
		rec.CreateIndex, rec.ModifyIndex = s.CreateIndex, s.ModifyIndex
		if reflect.DeepEqual(rec, *s.serviceRecord) {
			return s
		}
		if !strings.EqualFold(s.Name, rec.Name) {
			st.dropName(s)
		}
	}
	rec.ModifyIndex = st.index
	s.serviceRecord = &rec
	name := strings.ToLower(rec.Name)
	if st.byName[name] == nil {
		st.byName[name] = make(map[*service]struct{})
	}
	st.byName[name][s] = struct{}{}
	st.touch(servicesTable, oneService+name, nodesTable, oneNode+strings.ToLower(n.Node))
	return s
}

// dropName takes a service out of the instances of its name.
func (st *store) dropName(s *service) {
	name := strings.ToLower(s.Name)
	delete(st.byName[name], s)
	if len(st.byName[name]) > 0 {
		st.touch(oneService + name)
		return
	}
	delete(st.byName, name)
	delete(st.indexes, oneService+name)
	st.notify(oneService + name)
	st.touch(extinctions)
}

var errMissingService = errors.New("Missing service registration")

// ensureCheck inserts or changes a check of a node or of a service of it.
func (st *store) ensureCheck(n *node, rec checkRecord) error {
	key := strings.ToLower(rec.CheckID)
	if rec.Status == "" {
		rec.Status = string(consul.HealthCritical)
	}
	var of *service
	if rec.ServiceID != "" {
		if of = n.services[strings.ToLower(rec.ServiceID)]; of == nil {
			return errMissingService
		}
		rec.ServiceName, rec.ServiceTags = of.Name, of.Tags
	}
	rec.Node = n.Node
	old := n.checks[key]
	rec.CreateIndex, rec.ModifyIndex = st.index, st.index
	if old != nil {
		rec.CreateIndex, rec.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if reflect.DeepEqual(rec, *old.checkRecord) {
			return nil
		}
		rec.ModifyIndex = st.index
		if s := n.services[strings.ToLower(old.ServiceID)]; s != nil {
			delete(s.checks, key)
		}
	}
	c := &check{&rec}
	n.checks[key] = c
	if of != nil {
		of.checks[key] = c
		st.touch(oneService + strings.ToLower(of.Name))
	} else {
		st.touchServicesOf(n)
	}
	st.touch(checksTable)
	return nil
}

// deleteCheck removes a check, if it is there.
func (st *store) deleteCheck(n *node, id string) {
	key := strings.ToLower(id)
	c := n.checks[key]
	if c == nil {
		return
	}
	delete(n.checks, key)
	if s := n.services[strings.ToLower(c.ServiceID)]; c.ServiceID != "" && s != nil {
		delete(s.checks, key)
		st.touch(oneService + strings.ToLower(s.Name))
	} else {
		st.touchServicesOf(n)
		st.touch(servicesTable)
	}
	st.touch(checksTable)
}

// deleteService removes a service with its checks, if it is there.
func (st *store) deleteService(n *node, id string) {
	key := strings.ToLower(id)
	s := n.services[key]
	if s == nil {
		return
	}
	for _, c := range s.checks {
		st.deleteCheck(n, c.CheckID)
	}
	delete(n.services, key)
	st.touch(checksTable, servicesTable, nodesTable, oneNode+strings.ToLower(n.Node))
	st.dropName(s)
}

// deleteNode removes a node with everything on it, if it is there.
func (st *store) deleteNode(name string) {
	key := strings.ToLower(name)
	n := st.nodes[key]
	if n == nil {
		return
	}
	for _, s := range n.services {
		st.deleteService(n, s.ID)
	}
	for _, c := range n.checks {
		st.deleteCheck(n, c.CheckID)
	}
	delete(st.nodes, key)
	delete(st.indexes, oneNode+key)
	st.notify(oneNode + key)
	st.touch(nodesTable)
}

// node returns the node of that name, or nil.
func (st *store) node(name string) *node { return st.nodes[strings.ToLower(name)] }

// instances returns the instances of a service, ordered by node and ID.
func (st *store) instances(name string) []*service {
	return slices.SortedFunc(maps.Keys(st.byName[strings.ToLower(name)]), func(a, b *service) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.node.Node), strings.ToLower(b.node.Node)),
			strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID)))
	})
}

// sorted returns the values of a map in the order of its keys.
func sorted[V any](m map[string]V) []V {
	list := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
