package consulmock

import (
	"errors"
	"reflect"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// ensureNode inserts or changes a node.
func (st *store) ensureNode(rec nodeRecord) *node {
	key := strings.ToLower(rec.Node)
	n := st.nodes[key]
	var before map[string]string
	if n == nil {
		n = &node{services: make(map[string]*service), checks: make(map[string]*check), own: make(map[string]*check)}
		st.nodes[key] = n
		if rec.CreateIndex == 0 {
			rec.CreateIndex = st.index
		}
	} else {
		rec.CreateIndex, rec.ModifyIndex = n.CreateIndex, n.ModifyIndex
		if reflect.DeepEqual(rec, *n.nodeRecord) {
			return n
		}
		before = n.nodeRecord.keys()
	}
	rec.ModifyIndex = st.index
	n.nodeRecord = &rec
	st.touch(nodesTable, oneNode+key)
	st.recordChanged(before, rec.keys())
	st.touchServicesOf(n)
	return n
}

// ensureService inserts or changes a service of a node.
func (st *store) ensureService(n *node, rec serviceRecord) *service {
	key := strings.ToLower(rec.ID)
	s := n.services[key]
	var before map[string]string
	if s == nil {
		s = &service{node: n, checks: make(map[string]*check)}
		n.services[key] = s
		rec.CreateIndex = st.index
	} else {
		rec.CreateIndex, rec.ModifyIndex = s.CreateIndex, s.ModifyIndex
		if reflect.DeepEqual(rec, *s.serviceRecord) {
			return s
		}
		st.rename(s, rec.Name)
		before = s.serviceRecord.keys(n.Node)
	}
	rec.ModifyIndex = st.index
	s.serviceRecord = &rec
	addTo(st.byName, rec.Name, s)
	if mesh := rec.meshName(); mesh != "" {
		addTo(st.byMesh, mesh, s)
	}
	st.touch(servicesTable)
	st.touchService(s)
	st.touchNode(n)
	st.recordChanged(before, rec.keys(n.Node))
	return s
}

func addTo(m map[string]map[*service]struct{}, name string, s *service) {
	name = strings.ToLower(name)
	if m[name] == nil {
		m[name] = make(map[*service]struct{})
	}
	m[name][s] = struct{}{}
}

// rename takes a service out of the instances of its name, if its next name is
// another one. That is no removal: the index of the name stays, and nobody learns
// of it by that of a missing service. Only the streaming backend has an event.
func (st *store) rename(s *service, next string) {
	st.removeMeshName(s)
	if strings.EqualFold(s.Name, next) {
		return
	}
	st.removeName(s)
	st.stream(oneService + strings.ToLower(s.Name))
}

// unname takes a service that is removed out of the instances of its name, and
// moves the indexes of those that are left.
func (st *store) unname(s *service) {
	st.removeMeshName(s)
	name := strings.ToLower(s.Name)
	st.touch(oneService + name)
	st.removeName(s)
	if len(st.byName[name]) == 0 {
		delete(st.indexes, oneService+name)
		st.touch(lastExtinction)
	}
}

func (st *store) removeName(s *service) {
	name := strings.ToLower(s.Name)
	delete(st.byName[name], s)
	if len(st.byName[name]) == 0 {
		delete(st.byName, name)
	}
}

func (st *store) removeMeshName(s *service) {
	mesh := strings.ToLower(s.meshName())
	if mesh == "" {
		return
	}
	st.touch(meshService + mesh)
	delete(st.byMesh[mesh], s)
	if len(st.byMesh[mesh]) == 0 {
		delete(st.byMesh, mesh)
	}
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
	var before map[string]string
	rec.CreateIndex, rec.ModifyIndex = st.index, st.index
	if old != nil {
		rec.CreateIndex, rec.ModifyIndex = old.CreateIndex, old.ModifyIndex
		if reflect.DeepEqual(rec, *old.checkRecord) {
			if st.version == release.V1_8_7 { // writes it again all the same
				st.touch(checksTable)
				st.recordChanged(nil, rec.keys())
			}
			return nil
		}
		rec.ModifyIndex = st.index
		n.unlink(key, old)
		before = old.checkRecord.keys()
	}
	c := &check{&rec}
	n.checks[key] = c
	if of != nil {
		of.checks[key] = c
		st.touchService(of)
	} else {
		n.own[key] = c
		st.touchServicesOf(n)
	}
	st.touch(checksTable)
	st.recordChanged(before, rec.keys())
	return nil
}

// deleteCheck removes a check, if it is there.
func (st *store) deleteCheck(n *node, id string) {
	key := strings.ToLower(id)
	c := n.checks[key]
	if c == nil {
		return
	}
	if s := n.unlink(key, c); s != nil {
		st.touchService(s)
	} else {
		st.touchServicesOf(n)
		st.touch(servicesTable)
	}
	st.touch(checksTable)
	st.recordChanged(c.checkRecord.keys(), nil)
}

// unlink takes a check off a node, and returns the service that it was of.
func (n *node) unlink(key string, c *check) *service {
	delete(n.checks, key)
	delete(n.own, key)
	s := n.services[strings.ToLower(c.ServiceID)]
	if c.ServiceID == "" || s == nil {
		return nil
	}
	delete(s.checks, key)
	return s
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
	st.touch(checksTable, servicesTable)
	st.touchNode(n)
	st.unname(s)
	st.recordChanged(s.serviceRecord.keys(n.Node), nil)
}

// deleteNode removes a node with everything on it, if it is there.
func (st *store) deleteNode(name string) {
	key := strings.ToLower(name)
	n := st.nodes[key]
	if n == nil {
		return
	}
	for _, s := range sorted(n.services) {
		st.deleteService(n, s.ID)
	}
	for _, c := range sorted(n.checks) {
		st.deleteCheck(n, c.CheckID)
	}
	delete(st.nodes, key)
	delete(st.indexes, oneNode+key)
	st.touch(nodesTable, nodesGone)
	st.notify(oneNode + key)
	st.recordChanged(n.nodeRecord.keys(), nil)
}
