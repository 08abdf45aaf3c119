// Package state is the catalog as the servers hold it: tables of nodes, services and
// checks, the indexes of their changes, and who waits for one.
package state

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// Store is the catalog as the servers hold it: nodes with their services and
// checks, and the indexes at which each part last changed. Records are never
// changed once they are in the store but replaced, so that a response can be
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

	Sessions     map[string]*Session // by lower-case ID
	SessionEnded func(*Session)      // is told of every session that has ended

	recordWaiters map[string]map[string]int // how many wait for a prefix in an index

	keys       map[string]*KVPair
	tombstones map[string]tombstone // of deleted keys, by the name that was deleted
	lockDelays map[string]time.Time // until when a key cannot be acquired

	virtualIPs map[string]int   // by the name of a service of the mesh
	views      map[string]*view // of the streaming backend, by key
}

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

// NewStore returns an empty catalog.
func NewStore(v release.Version) *Store {
	return &Store{
		Version: v,
		Indexes: make(map[string]uint64),
		waiters: make(map[string]map[*waiter]struct{}),
		records: make(map[string]*recordIndex),
		Nodes:   make(map[string]*Node),
		ByName:  make(map[string]map[*Service]struct{}),
		byMesh:  make(map[string]map[*Service]struct{}),

		Sessions:     make(map[string]*Session),
		SessionEnded: func(*Session) {},

		recordWaiters: make(map[string]map[string]int),

		keys:       make(map[string]*KVPair),
		tombstones: make(map[string]tombstone),
		lockDelays: make(map[string]time.Time),

		virtualIPs: make(map[string]int),
		views:      make(map[string]*view),
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

// PresentIndex is the index of a service for queries that find something, or that do
// not look whether they do: its own if it has instances, else that of the tables that the
// query reads.
func (st *Store) PresentIndex(name string, tables ...string) uint64 {
	if i, ok := st.Indexes[ServiceKey(name)]; ok {
		return i
	}
	return st.MaxIndex(tables...)
}

// MissingIndex is the index of a query for a service that finds no instances:
// that of the last removal of a whole service, else that of the service if it has
// instances, which are then not what the query is for, or had some that are called
// otherwise now, else that of the tables that the query reads.
func (st *Store) MissingIndex(name string, tables ...string) uint64 {
	if i, ok := st.Indexes[lastDeletion]; ok {
		return i
	}
	return st.PresentIndex(name, tables...)
}

// NodeIndex is the index of a node with its services. 1.8.7 does not keep one for
// each node, and what is too short for the beginning of an ID has none while the node
// is missing.
func (st *Store) NodeIndex(name string) uint64 {
	n := st.FindNode(name)
	switch {
	case n == nil && (st.Version == release.V1_8_7 || len(name) < minIDPrefix):
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

// touchNamed is touchService for a service that a check knows by a name which may be a
// former one: then that name's index moves.
func (st *Store) touchNamed(s *Service, name string) {
	if strings.EqualFold(name, s.Name) {
		st.touchService(s)
		return
	}
	st.Indexes[ServiceKey(name)] = st.Index
	st.Notify(ServiceKey(name))
	st.stream(ServiceKey(s.Name))
	if mesh := s.meshName(); mesh != "" {
		st.touch(MeshKey(mesh))
	}
}

// streamService passes an event about a service on to the streaming backend.
func (st *Store) streamService(s *Service) {
	st.stream(ServiceKey(s.Name))
	if mesh := s.meshName(); mesh != "" {
		st.stream(MeshKey(mesh))
	}
}

// Node returns the node of that name, or nil.
func (st *Store) Node(name string) *Node { return st.Nodes[strings.ToLower(name)] }

// Service returns the service of that ID, with the same case, or nil. So does it for a
// node that is nil.
func (n *Node) Service(id string) *Service {
	if n == nil {
		return nil
	}
	if s := n.Services[strings.ToLower(id)]; s != nil && s.ID == id {
		return s
	}
	return nil
}

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
