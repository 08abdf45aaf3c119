package state

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// viewIdle is how long the streaming backend remembers a service that nobody
// asks for.
const viewIdle = 20 * time.Minute

// view is what the streaming backend knows of a service: the index of the last
// event about it, or that at which it began to look.
type view struct {
	index uint64
	used  time.Time
}

// ViewIndex returns the index of a service for the streaming backend. That of a
// service without instances stands still, whatever happens to others, and so may
// be lower than the index that other reads see.
func (st *Store) ViewIndex(key string, current uint64) uint64 {
	v := st.views[key]
	now := time.Now()
	if v == nil || now.Sub(v.used) > viewIdle {
		v = &view{index: current}
		st.views[key] = v
	}
	v.used = now
	return v.index
}

// AddTaggedAddresses adds the addresses that agents derive from a numeric one.
func (rec *ServiceRecord) AddTaggedAddresses() {
	addr, err := netip.ParseAddr(rec.Address)
	if err != nil {
		return
	}
	suffix := "_ipv6"
	if addr.Unmap().Is4() {
		suffix = "_ipv4"
	}
	if rec.TaggedAddresses == nil {
		rec.TaggedAddresses = make(map[string]consul.ServiceAddress)
	}
	for _, name := range []string{"lan" + suffix, "wan" + suffix} {
		if _, ok := rec.TaggedAddresses[name]; !ok {
			rec.TaggedAddresses[name] = consul.ServiceAddress{Address: rec.Address, Port: rec.Port}
		}
	}
}

// Store is the catalog as the servers hold it: nodes with their services and
// checks, and the indexes at which each part last changed. Records are never
// changed once they are in the store but replaced, so that an answer can be
// written while the store goes on.
type Store struct {
	Version release.Version
	Index   uint64            // of the last write
	Indexes map[string]uint64 // by the keys below
	waiters map[string]map[*waiter]struct{}
	records map[string]*recordIndex
	Nodes   map[string]*Node                 // by lower-case name
	ByName  map[string]map[*Service]struct{} // by lower-case service name
	byMesh  map[string]map[*Service]struct{} // by the lower-case name of a service of the mesh

	recordWaiters map[string]map[string]int // how many wait for a prefix in an index

	virtualIPs map[string]int   // by the name of a service of the mesh
	views      map[string]*view // of the streaming backend, by key
}

// The keys of indexes, which are also those of waiters for an index to move.
const (
	NodesTable       = "nodes"
	ServicesTable    = "services"
	ChecksTable      = "checks"
	lastDeletion     = "service_last_extinction" // of the last instance of some service
	lastNodeDeletion = "node_last_extinction"
)

// StreamKey is the key of waiters for events of the streaming backend, about what
// another key stands for. Those of waiters for records are made by RecordWatch.
func StreamKey(of string) string { return "stream of " + of }

// ServiceKey is the key of a service.
func ServiceKey(name string) string { return "service." + strings.ToLower(name) }

// nodeKey is the key of a node with its services.
func nodeKey(name string) string { return "node." + strings.ToLower(name) }

// MeshKey is the key of a service of the mesh.
func MeshKey(name string) string { return "connect." + strings.ToLower(name) }

// ACLKey is the key of waiters for changes of tokens.
const ACLKey = "acl"

// Node is a node with what is registered on it.
type Node struct {
	*NodeRecord
	Services   map[string]*Service // by lower-case ID
	Checks     map[string]*Check   // by lower-case ID, those of services as well
	NodeChecks map[string]*Check   // those of no service
}

// Service is an instance in its place.
type Service struct {
	*ServiceRecord
	Node   *Node
	Checks map[string]*Check
}

// Check is a check in its place.
type Check struct {
	*CheckRecord
}

type NodeRecord struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64
	ModifyIndex     uint64
}

type ServiceRecord struct {
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
	Proxy             *ProxyConfig
	Native            bool
	Locality          *consul.Locality
	CreateIndex       uint64
	ModifyIndex       uint64
}

type CheckRecord struct {
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
	Definition  *CheckDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

func NewStore(v release.Version) *Store {
	return &Store{
		Version: v,
		Indexes: make(map[string]uint64),
		waiters: make(map[string]map[*waiter]struct{}),
		records: make(map[string]*recordIndex),
		Nodes:   make(map[string]*Node),
		ByName:  make(map[string]map[*Service]struct{}),
		byMesh:  make(map[string]map[*Service]struct{}),

		recordWaiters: make(map[string]map[string]int),

		virtualIPs: make(map[string]int),
		views:      make(map[string]*view),
	}
}

// waiter is somebody who waits for changes.
type waiter struct {
	Wake chan struct{} // holds one element after a change
	keys []string
}

// Watch returns a waiter for the keys. It must be given back to unwatch.
func (st *Store) Watch(keys ...string) *waiter {
	w := &waiter{Wake: make(chan struct{}, 1), keys: keys}
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

func (st *Store) Unwatch(w *waiter) {
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

// Notify wakes those who wait for one of the keys.
func (st *Store) Notify(keys ...string) {
	for _, k := range keys {
		for w := range st.waiters[k] {
			select {
			case w.Wake <- struct{}{}:
			default:
			}
		}
	}
}

// touch sets indexes to that of the present write and wakes who waits for them.
func (st *Store) touch(keys ...string) {
	for _, k := range keys {
		st.Indexes[k] = st.Index
		st.Notify(k)
		st.stream(k)
	}
}

// stream passes an event on to the streaming backend, which has indexes of its
// own.
func (st *Store) stream(key string) {
	if v := st.views[key]; v != nil {
		v.index = st.Index
	}
	st.Notify(StreamKey(key))
}

// MaxIndex returns the highest of the indexes.
func (st *Store) MaxIndex(keys ...string) uint64 {
	var highest uint64
	for _, k := range keys {
		highest = max(highest, st.Indexes[k])
	}
	return highest
}

// ServiceIndex is the index of a service: its own if it has instances, else
// that of a missing service.
func (st *Store) ServiceIndex(name string) uint64 {
	name = strings.ToLower(name)
	if len(st.ByName[name]) > 0 {
		return st.Indexes[ServiceKey(name)]
	}
	return st.MissingIndex(name, NodesTable, ServicesTable, ChecksTable)
}

// MissingIndex is the index of a query for a service that finds no instances:
// that of the last removal of a whole service, else that of the service if it has
// instances, which are then not what the query is for, or had some that are called
// otherwise now, else that of the tables that the query reads.
func (st *Store) MissingIndex(name string, tables ...string) uint64 {
	if i, ok := st.Indexes[lastDeletion]; ok {
		return i
	}
	if i, ok := st.Indexes[ServiceKey(name)]; ok {
		return i
	}
	return st.MaxIndex(tables...)
}

// NodeIndex is the index of a node with its services. 1.8.7 does not keep one for
// each node.
func (st *Store) NodeIndex(name string) uint64 {
	n := st.FindNode(name)
	switch {
	case n == nil && st.Version == release.V1_8_7:
		return 0
	case n == nil:
		return st.Indexes[lastNodeDeletion]
	case st.Version == release.V1_8_7:
		return st.MaxIndex(NodesTable, ServicesTable)
	}
	return st.Indexes[nodeKey(n.Node)]
}

// touchNode moves the index of a node because of its services.
func (st *Store) touchNode(n *Node) {
	if st.Version == release.V1_21_4 {
		st.touch(NodesTable, nodeKey(n.Node))
	}
}

// touchServicesOf moves the index of every service of a node.
func (st *Store) touchServicesOf(n *Node) {
	for _, s := range n.Services {
		st.touchService(s)
	}
}

// touchService moves the index of a service, and of the mesh service that the
// instance belongs to.
func (st *Store) touchService(s *Service) {
	st.touch(ServiceKey(s.Name))
	if mesh := s.meshName(); mesh != "" {
		st.touch(MeshKey(mesh))
	}
}

// Node returns the node of that name, or nil.
func (st *Store) Node(name string) *Node { return st.Nodes[strings.ToLower(name)] }

// FindNode returns the node of that name, or the only one whose ID begins so, or
// nil.
func (st *Store) FindNode(name string) *Node {
	if n := st.Node(name); n != nil || len(name) < minIDPrefix {
		return n
	}
	var found *Node
	for _, n := range st.Nodes {
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

// Instances returns the instances of a service, ordered by node and ID.
func (st *Store) Instances(name string) []*Service {
	return st.sortInstances(st.ByName[strings.ToLower(name)])
}

func (st *Store) sortInstances(set map[*Service]struct{}) []*Service {
	return slices.SortedFunc(maps.Keys(set), func(a, b *Service) int {
		if a.Node == b.Node {
			return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID))
		}
		return strings.Compare(strings.ToLower(a.Node.Node), strings.ToLower(b.Node.Node))
	})
}

// ChecksWhere returns the checks that a predicate is true of, ordered by node and
// ID.
func (st *Store) ChecksWhere(is func(*Node, *Check) bool) []*Check {
	var list []*Check
	for _, n := range Sorted(st.Nodes) {
		for _, c := range Sorted(n.Checks) {
			if is(n, c) {
				list = append(list, c)
			}
		}
	}
	return list
}

// Sorted returns the values of a map in the order of its keys.
func Sorted[V any](m map[string]V) []V {
	list := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}
