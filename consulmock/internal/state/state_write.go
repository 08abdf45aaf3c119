package state

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// EnsureNode inserts or changes a node that RefuseNode does not refuse. If another node has
// the ID, it is renamed: it goes with everything on it, and what there is at the new name
// already stays.
func (st *Store) EnsureNode(rec NodeRecord) *Node {
	key := strings.ToLower(rec.Node)
	n := st.Nodes[key]
	var old *NodeRecord
	switch former := st.RenamedBy(&rec); {
	case former != nil:
		old = former.NodeRecord
		st.DeleteNode(old.Node)
		n = st.Nodes[key] // which may be the one that has gone
	case n != nil:
		old = n.NodeRecord
	}
	rec.CreateIndex = st.Index
	if old != nil {
		rec.CreateIndex = old.CreateIndex
		if !st.Changes(&rec, old) {
			return n
		}
	}
	var before, meta map[string]string
	if n == nil {
		n = &Node{Services: make(map[string]*Service), Checks: make(map[string]*Check), NodeChecks: make(map[string]*Check)}
		st.Nodes[key] = n
	} else {
		before, meta = n.NodeRecord.keys(), n.Meta
	}
	rec.ModifyIndex = st.Index
	n.NodeRecord = &rec
	st.touch(NodesTable, nodeKey(key))
	st.Notify(NodeRecordKey(key))
	st.recordChanged(before, rec.keys())
	st.metaChanged(key, meta, rec.Meta)
	st.touchServicesOf(n)
	return n
}

// Changes reports whether a record of a node is another one than the catalog has.
func (st *Store) Changes(rec, old *NodeRecord) bool {
	same := *rec
	same.Node, same.CreateIndex, same.ModifyIndex = st.sameNode(rec.Node, old.Node), old.CreateIndex, old.ModifyIndex
	return !reflect.DeepEqual(same, *old)
}

// RenamedBy returns the node that a record of a node renames: the one with its ID, if that
// has another name.
func (st *Store) RenamedBy(rec *NodeRecord) *Node {
	n := st.nodeWithID(rec.ID)
	if n == nil || st.sameNode(rec.Node, n.Node) == n.Node {
		return nil
	}
	return n
}

// RefuseNode returns why a record of a node is refused: a node that has its name and another
// ID is alive, as far as the gossip pool knows.
func (st *Store) RefuseNode(rec *NodeRecord) error {
	n, renamed := st.Node(rec.Node), st.RenamedBy(rec) != nil
	if rec.ID == "" || n == nil || n.ID == rec.ID || !renamed && (n.ID == "" || strings.EqualFold(n.ID, rec.ID)) {
		return nil
	}
	if alive := n.Checks[strings.ToLower(SerfCheckID)]; alive == nil || alive.Status == string(consul.HealthCritical) {
		return nil
	}
	who := strconv.Quote(rec.ID)
	if renamed {
		who += " (" + rec.Address + ")"
	}
	return fmt.Errorf("Error while renaming Node ID: %s: Node name %s is reserved by node %s with name %s (%s)", who, rec.Node, n.ID, n.Node, n.Address)
}

// sameNode returns the name of a node for a comparison with the name that it has in
// a record. Case is a change for 1.8.7 only.
func (st *Store) sameNode(name, recorded string) string {
	if st.Version == release.V1_21_4 && strings.EqualFold(name, recorded) {
		return recorded
	}
	return name
}

// EnsureService inserts or changes a service of a node.
func (st *Store) EnsureService(n *Node, rec ServiceRecord) *Service {
	key := strings.ToLower(rec.ID)
	if rec.OnNode == "" {
		rec.OnNode = n.Node
	}
	s := n.Services[key]
	var before map[string]string
	if s == nil {
		s = &Service{Node: n, Checks: make(map[string]*Check)}
		n.Services[key] = s
		rec.CreateIndex = st.Index
	} else {
		rec.CreateIndex, rec.ModifyIndex = s.CreateIndex, s.ModifyIndex
		same := rec
		same.OnNode = st.sameNode(rec.OnNode, s.OnNode)
		if reflect.DeepEqual(same, *s.ServiceRecord) {
			return s
		}
		st.rename(s, rec.Name)
		before = s.ServiceRecord.keys(n.Node)
	}
	rec.ModifyIndex = st.Index
	s.ServiceRecord = &rec
	addTo(st.ByName, rec.Name, s)
	if mesh := rec.meshName(); mesh != "" {
		addTo(st.byMesh, mesh, s)
	}
	st.touch(ServicesTable)
	st.touchService(s)
	st.touchNode(n)
	st.recordChanged(before, rec.keys(n.Node))
	return s
}

func addTo(m map[string]map[*Service]struct{}, name string, s *Service) {
	name = strings.ToLower(name)
	if m[name] == nil {
		m[name] = make(map[*Service]struct{})
	}
	m[name][s] = struct{}{}
}

// rename takes a service out of the instances of its name, if its next name is
// another one. That is no removal: the index of the name stays, and nobody learns
// of it by that of a missing service. Only the streaming backend has an event.
func (st *Store) rename(s *Service, next string) {
	st.removeMeshName(s)
	if strings.EqualFold(s.Name, next) {
		return
	}
	st.removeName(s)
	st.stream(ServiceKey(s.Name))
}

// removeInstance takes a service that is removed out of the instances of its name, and
// moves the indexes of those that are left.
func (st *Store) removeInstance(s *Service) {
	st.removeMeshName(s)
	name := strings.ToLower(s.Name)
	st.touch(ServiceKey(name))
	st.removeName(s)
	if len(st.ByName[name]) == 0 {
		delete(st.Indexes, ServiceKey(name))
		st.touch(lastDeletion)
	}
}

func (st *Store) removeName(s *Service) {
	name := strings.ToLower(s.Name)
	delete(st.ByName[name], s)
	if len(st.ByName[name]) == 0 {
		delete(st.ByName, name)
	}
}

func (st *Store) removeMeshName(s *Service) {
	mesh := strings.ToLower(s.meshName())
	if mesh == "" {
		return
	}
	st.touch(MeshKey(mesh))
	delete(st.byMesh[mesh], s)
	if len(st.byMesh[mesh]) == 0 {
		delete(st.byMesh, mesh)
	}
}

// ErrMissingService is for a check of a service that the node does not have.
var ErrMissingService = errors.New("Missing service registration")

// EnsureCheck inserts or changes a check of a node or of a service of it.
func (st *Store) EnsureCheck(n *Node, rec CheckRecord) error {
	key := strings.ToLower(rec.CheckID)
	if rec.Status == "" {
		rec.Status = string(consul.HealthCritical)
	}
	var of *Service
	if rec.ServiceID != "" {
		if of = n.Services[strings.ToLower(rec.ServiceID)]; of == nil {
			return ErrMissingService
		}
		rec.ServiceName, rec.ServiceTags = of.Name, of.Tags
	}
	if rec.Node == "" {
		rec.Node = n.Node
	}
	if rec.Status == string(consul.HealthCritical) {
		defer st.endSessionsOfCheck(n.Node, rec.CheckID)
	}
	old := n.Checks[key]
	var before map[string]string
	rec.CreateIndex, rec.ModifyIndex = st.Index, st.Index
	if old != nil {
		rec.CreateIndex, rec.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if st.sameCheck(rec, old.CheckRecord) {
			if st.Version == release.V1_8_7 { // writes it again all the same
				old.CheckRecord = &rec
				st.touch(ChecksTable)
				st.recordChanged(nil, rec.keys(st.Version))
			}
			return nil
		}
		rec.ModifyIndex = st.Index
		n.unlink(key, old)
		before = old.CheckRecord.keys(st.Version)
		st.checkMoved(n, old.ServiceID, of)
	}
	c := &Check{&rec}
	n.Checks[key] = c
	if of != nil {
		of.Checks[key] = c
		st.touchService(of)
	} else {
		n.NodeChecks[key] = c
		st.touchServicesOf(n)
	}
	st.touch(ChecksTable)
	st.recordChanged(before, rec.keys(st.Version))
	return nil
}

// checkMoved tells the streaming backend, and nobody else, that a check is not any more one
// of the service, or of all of the node, that it was of.
func (st *Store) checkMoved(n *Node, from string, to *Service) {
	for _, s := range n.Services {
		if s != to && (strings.EqualFold(s.ID, from) || from == "" && to != nil) {
			st.streamService(s)
		}
	}
}

// sameCheck reports whether a check is as it was. How it is run is no part of that.
func (st *Store) sameCheck(rec CheckRecord, old *CheckRecord) bool {
	rec.Node = st.sameNode(rec.Node, old.Node)
	rec.Type, rec.Interval, rec.Timeout, rec.ExposedPort = old.Type, old.Interval, old.Timeout, old.ExposedPort
	return reflect.DeepEqual(rec, *old)
}

// DeleteCheck removes a check, if it is there.
func (st *Store) DeleteCheck(n *Node, id string) {
	key := strings.ToLower(id)
	c := n.Checks[key]
	if c == nil {
		return
	}
	if s := n.unlink(key, c); s != nil {
		st.touchNamed(s, c.ServiceName)
	} else {
		st.touchServicesOf(n)
		st.touch(ServicesTable)
	}
	st.touch(ChecksTable)
	st.recordChanged(c.CheckRecord.keys(st.Version), nil)
	st.endSessionsOfCheck(n.Node, c.CheckID)
}

// unlink takes a check off a node, and returns the service that it was of.
func (n *Node) unlink(key string, c *Check) *Service {
	delete(n.Checks, key)
	delete(n.NodeChecks, key)
	s := n.Services[strings.ToLower(c.ServiceID)]
	if c.ServiceID == "" || s == nil {
		return nil
	}
	delete(s.Checks, key)
	return s
}

// DeleteService removes a service with its checks, if it is there.
func (st *Store) DeleteService(n *Node, id string) {
	key := strings.ToLower(id)
	s := n.Services[key]
	if s == nil {
		return
	}
	for _, c := range s.Checks {
		st.DeleteCheck(n, c.CheckID)
	}
	delete(n.Services, key)
	st.touch(ChecksTable, ServicesTable)
	st.touchNode(n)
	st.removeInstance(s)
	st.recordChanged(s.ServiceRecord.keys(n.Node), nil)
}

// DeleteNode removes a node with everything on it, if it is there.
func (st *Store) DeleteNode(name string) {
	key := strings.ToLower(name)
	n := st.Nodes[key]
	if n == nil {
		return
	}
	for _, s := range Sorted(n.Services) {
		st.DeleteService(n, s.ID)
	}
	for _, c := range Sorted(n.Checks) {
		st.DeleteCheck(n, c.CheckID)
	}
	for _, s := range st.SessionsOf(n.Node) {
		st.EndSession(s)
	}
	delete(st.Nodes, key)
	delete(st.Indexes, nodeKey(key))
	st.touch(NodesTable, lastNodeDeletion)
	st.Notify(nodeKey(key), NodeRecordKey(key))
	st.recordChanged(n.NodeRecord.keys(), nil)
	st.metaChanged(key, n.Meta, nil)
}
