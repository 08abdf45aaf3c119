package consulmock

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"
)

// fullSyncInterval is the shortest time between two comparisons of everything
// that the agent has with the catalog; agents add up to as much at random.
const fullSyncInterval = time.Minute

// syncState is what the agent still has to write to the catalog. An agent writes
// each change at once, and compares everything now and then.
type syncState struct {
	services     []string // IDs of what was added or changed, in order
	checks       []string
	goneServices []goneService
	goneChecks   []*localCheck
	full         *time.Timer // until the next comparison
	held         *time.Timer // until changes are written again; nil if they are written at once
}

// goneService is a service that was removed, with the token that it had.
type goneService struct{ id, name, token string }

func (s *syncState) start(a *agent) {
	s.full = a.after(fullSyncInterval+rand.N(fullSyncInterval), func() {
		a.fullSync()
		a.sync.start(a)
	})
}

func (s *syncState) stop() {
	for _, t := range []*time.Timer{s.full, s.held} {
		if t != nil {
			t.Stop()
		}
	}
	s.full, s.held = nil, nil
}

func (s *syncState) service(id string) { s.services = append(s.services, id) }
func (s *syncState) check(id string)   { s.checks = append(s.checks, id) }

func (s *syncState) gone(id string, ls *localService) {
	s.goneServices = append(s.goneServices, goneService{id, ls.rec.Name, ls.token})
}

func (s *syncState) goneCheck(c *localCheck) { s.goneChecks = append(s.goneChecks, c) }

// syncChanges writes to the catalog what has changed: services with their
// changed checks first, each in one write.
func (a *agent) syncChanges() {
	if a.sync.held != nil {
		return
	}
	todo := a.sync
	a.sync = syncState{full: todo.full}
	for _, id := range todo.services {
		if s := a.services[id]; s != nil && !s.inSync {
			a.writeService(s)
		}
	}
	for _, g := range todo.goneServices {
		if a.services[g.id] == nil {
			a.deleteFromCatalog(g)
		}
	}
	for _, id := range todo.checks {
		if c := a.checks[id]; c != nil && !c.inSync {
			a.writeCheck(c)
		}
	}
	for _, c := range todo.goneChecks {
		if a.checks[c.rec.CheckID] == nil {
			a.deleteCheckFromCatalog(c)
		}
	}
	a.catalogChanged()
}

// writeNode writes the agent's own node, if the agent's token allows it.
func (a *agent) writeNode() {
	if !a.acl.own().allows(nodeWrite, a.config.node) {
		return
	}
	a.store.ensureNode(a.nodeRecord())
}

// writeService writes a service, and those of its changed checks that have its
// token. What the catalog refuses is not tried again before the next change.
func (a *agent) writeService(s *localService) {
	s.inSync = true
	var checks []*localCheck
	for _, c := range sorted(s.checks) {
		if !c.inSync && c.token == s.token {
			c.inSync = true
			c.stopDefer()
			checks = append(checks, c)
		}
	}
	if a.catalogDenies(s.token, serviceWrite, s.rec.Name) {
		return
	}
	a.store.index++
	n := a.ensureNode()
	a.store.ensureService(n, a.store.withVirtualIP(s.rec))
	for _, c := range checks {
		a.store.ensureCheck(n, c.rec)
	}
	a.logf("info", "agent: Synced service: service=%s", s.rec.ID)
}

// writeCheck writes a check, and with it the service that it is of.
func (a *agent) writeCheck(c *localCheck) {
	c.inSync = true
	c.stopDefer()
	s := a.services[c.rec.ServiceID]
	if s != nil && a.catalogDenies(c.token, serviceWrite, s.rec.Name) ||
		s == nil && a.catalogDenies(c.token, nodeWrite, a.config.node) {
		return
	}
	a.store.index++
	n := a.ensureNode()
	if s != nil {
		a.store.ensureService(n, a.store.withVirtualIP(s.rec))
	}
	a.store.ensureCheck(n, c.rec)
	a.logf("info", "agent: Synced check: check=%s", c.rec.CheckID)
}

func (a *agent) deleteFromCatalog(g goneService) {
	n := a.node()
	if n == nil || a.catalogDeniesDeregister(g.token, serviceWrite, g.name) {
		return
	}
	a.store.index++
	a.store.deleteService(n, g.id)
	a.logf("info", "agent: Deregistered service: service=%s", g.id)
}

// deleteCheckFromCatalog removes a check, unless it went with its service.
func (a *agent) deleteCheckFromCatalog(c *localCheck) {
	n := a.node()
	if n == nil || c.rec.ServiceID != "" && a.services[c.rec.ServiceID] == nil {
		return
	}
	p, name := nodeWrite, a.config.node
	if c.rec.ServiceName != "" {
		p, name = serviceWrite, c.rec.ServiceName
	}
	if a.catalogDeniesDeregister(c.token, p, name) {
		return
	}
	a.store.index++
	a.store.deleteCheck(n, c.rec.CheckID)
	a.logf("info", "agent: Deregistered check: check=%s", c.rec.CheckID)
}

// fullSync puts right what differs between the agent and its part of the
// catalog.
func (a *agent) fullSync() {
	a.store.index++
	n := a.ensureNode()
	a.writeNode()
	for _, s := range sorted(n.services) {
		if a.services[s.ID] == nil && s.ID != "consul" {
			a.sync.goneServices = append(a.sync.goneServices, goneService{id: s.ID, name: s.Name})
		}
	}
	for _, c := range sorted(n.checks) {
		if a.checks[c.CheckID] == nil && c.CheckID != "serfHealth" {
			a.sync.goneCheck(&localCheck{rec: *c.checkRecord})
		}
	}
	for id, s := range a.services {
		if !n.hasService(a.store.withVirtualIP(s.rec)) {
			s.inSync = false
			a.sync.service(id)
		}
	}
	for id, c := range a.checks {
		if !n.hasCheck(c.rec) {
			c.inSync = false
			a.sync.check(id)
		}
	}
	slices.Sort(a.sync.services)
	slices.Sort(a.sync.checks)
	a.syncChanges()
}

// hasService reports whether the catalog has a service just so.
func (n *node) hasService(rec serviceRecord) bool {
	s := n.services[strings.ToLower(rec.ID)]
	if s == nil {
		return false
	}
	rec.CreateIndex, rec.ModifyIndex = s.CreateIndex, s.ModifyIndex
	return reflect.DeepEqual(rec, *s.serviceRecord)
}

// hasCheck reports whether the catalog has a check just so, but for its output.
func (n *node) hasCheck(rec checkRecord) bool {
	c := n.checks[strings.ToLower(rec.CheckID)]
	return c != nil && c.Status == rec.Status && c.ServiceID == rec.ServiceID && c.Name == rec.Name && c.Notes == rec.Notes
}
