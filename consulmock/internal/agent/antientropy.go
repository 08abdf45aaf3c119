package agent

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// FullSyncInterval is the shortest time between two comparisons of everything
// that the agent has with the catalog; agents add up to as much at random.
const FullSyncInterval = time.Minute

// syncState is what the agent still has to write to the catalog. An agent writes
// each change at once, and compares everything now and then.
type syncState struct {
	services     []string // IDs of what was added or changed, in order
	checks       []string
	goneServices []goneService
	goneChecks   []*Check
	full         *time.Timer // until the next comparison
	held         *time.Timer // until changes are written again; nil if they are written at once
}

// goneService is a service that was removed, with the token that it had.
type goneService struct{ id, name, token string }

func (s *syncState) start(a *Agent) {
	s.full = a.after(FullSyncInterval+rand.N(FullSyncInterval), func() {
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

func (s *syncState) check(id string) { s.checks = append(s.checks, id) }

func (s *syncState) gone(id string, ls *Service) {
	s.goneServices = append(s.goneServices, goneService{id, ls.Rec.Name, ls.token})
}

func (s *syncState) goneCheck(c *Check) { s.goneChecks = append(s.goneChecks, c) }

// SyncChanges writes to the catalog what has changed: services with their
// changed checks first, each in one write.
func (a *Agent) SyncChanges() {
	if a.sync.held != nil {
		return
	}
	todo := a.sync
	a.sync = syncState{full: todo.full}
	for _, id := range todo.services {
		if s := a.Services[id]; s != nil && !s.inSync {
			a.writeService(s)
		}
	}
	for _, g := range todo.goneServices {
		if a.Services[g.id] == nil {
			a.deleteFromCatalog(g)
		}
	}
	for _, id := range todo.checks {
		if c := a.Checks[id]; c != nil && !c.inSync {
			a.writeCheck(c)
		}
	}
	for _, c := range todo.goneChecks {
		if a.Checks[c.Rec.CheckID] == nil {
			a.deleteCheckFromCatalog(c)
		}
	}
	a.CatalogChanged()
}

// writeNode writes the agent's own node, if the agent's token allows it.
func (a *Agent) writeNode() {
	if !a.ACL.Own().Allows(acl.NodeWrite, a.Config.Node) {
		return
	}
	rec := a.NodeRecord()
	if a.Store.RefuseNode(&rec) == nil {
		a.Store.EnsureNode(rec)
	}
}

// writeService writes a service, and those of its changed checks that have its
// token. What the catalog refuses is not tried again before the next change.
func (a *Agent) writeService(s *Service) {
	s.inSync = true
	var checks []*Check
	for _, c := range state.Sorted(s.Checks) {
		if !c.inSync && c.token == s.token {
			c.inSync = true
			c.stopDefer()
			checks = append(checks, c)
		}
	}
	if a.catalogDenies(s.token, acl.ServiceWrite, s.Rec.Name) {
		return
	}
	a.Store.Index++
	n := a.ensureNode()
	a.Store.EnsureService(n, a.Store.WithVirtualIP(s.Rec))
	for _, c := range checks {
		a.Store.EnsureCheck(n, c.Rec)
	}
	a.logf("info", "agent: Synced service: service=%s", s.Rec.ID)
}

// writeCheck writes a check, and with it the service that it is of.
func (a *Agent) writeCheck(c *Check) {
	c.inSync = true
	c.stopDefer()
	s := a.Services[c.Rec.ServiceID]
	if s != nil && a.catalogDenies(c.token, acl.ServiceWrite, s.Rec.Name) ||
		s == nil && a.catalogDenies(c.token, acl.NodeWrite, a.Config.Node) {
		return
	}
	a.Store.Index++
	n := a.ensureNode()
	if s != nil {
		a.Store.EnsureService(n, a.Store.WithVirtualIP(s.Rec))
	}
	a.Store.EnsureCheck(n, c.Rec)
	a.logf("info", "agent: Synced check: check=%s", c.Rec.CheckID)
}

func (a *Agent) deleteFromCatalog(g goneService) {
	n := a.node()
	if n == nil || a.catalogDeniesDeregister(g.token, acl.ServiceWrite, g.name) {
		return
	}
	a.Store.Index++
	a.Store.DeleteService(n, g.id)
	a.logf("info", "agent: Deregistered service: service=%s", g.id)
}

// deleteCheckFromCatalog removes a check, unless it went with its service.
func (a *Agent) deleteCheckFromCatalog(c *Check) {
	n := a.node()
	if n == nil || c.Rec.ServiceID != "" && a.Services[c.Rec.ServiceID] == nil {
		return
	}
	p, name := acl.NodeWrite, a.Config.Node
	if c.Rec.ServiceName != "" {
		p, name = acl.ServiceWrite, c.Rec.ServiceName
	}
	if a.catalogDeniesDeregister(c.token, p, name) {
		return
	}
	a.Store.Index++
	a.Store.DeleteCheck(n, c.Rec.CheckID)
	a.logf("info", "agent: Deregistered check: check=%s", c.Rec.CheckID)
}

// fullSync puts right what differs between the agent and its part of the
// catalog.
func (a *Agent) fullSync() {
	a.Store.Index++
	n := a.ensureNode()
	a.writeNode()
	for _, s := range state.Sorted(n.Services) {
		if a.Services[s.ID] == nil && s.ID != "consul" {
			a.sync.goneServices = append(a.sync.goneServices, goneService{id: s.ID, name: s.Name})
		}
	}
	for _, c := range state.Sorted(n.Checks) {
		if a.Checks[c.CheckID] == nil && c.CheckID != state.SerfCheckID {
			a.sync.goneCheck(&Check{Rec: *c.CheckRecord})
		}
	}
	for id, s := range a.Services {
		if inCatalog := n.Services[strings.ToLower(id)]; inCatalog != nil && s.Rec.EnableTagOverride {
			s.Rec.Tags = inCatalog.Tags
			a.setHash(s)
		}
		if !catalogHasService(n, a.Store.WithVirtualIP(s.Rec)) {
			s.inSync = false
			a.sync.service(id)
		}
	}
	for id, c := range a.Checks {
		if !catalogHasCheck(n, c.Rec) {
			c.inSync = false
			a.sync.check(id)
		}
	}
	slices.Sort(a.sync.services)
	slices.Sort(a.sync.checks)
	a.SyncChanges()
}

// catalogHasService reports whether the catalog has a service just so.
func catalogHasService(n *state.Node, rec state.ServiceRecord) bool {
	s := n.Services[strings.ToLower(rec.ID)]
	if s == nil {
		return false
	}
	rec.OnNode, rec.CreateIndex, rec.ModifyIndex = s.OnNode, s.CreateIndex, s.ModifyIndex
	return reflect.DeepEqual(rec, *s.ServiceRecord)
}

// catalogHasCheck reports whether the catalog has a check just so, except for its output.
func catalogHasCheck(n *state.Node, rec state.CheckRecord) bool {
	c := n.Checks[strings.ToLower(rec.CheckID)]
	return c != nil && c.Status == rec.Status && c.ServiceID == rec.ServiceID && c.Name == rec.Name && c.Notes == rec.Notes
}

// catalogDenies reports whether the catalog refuses a write of the agent that
// carries the token of a registration.
func (a *Agent) catalogDenies(token string, p acl.Permission, name string) bool {
	if token == "" {
		token = a.ACL.DefaultToken
	}
	authz, err := a.ACL.Resolve(token)
	return err != nil || !authz.Allows(p, name)
}

// catalogDeniesDeregister reports whether the catalog refuses that the agent
// takes something off its node. 1.21.4 does it with the agent's own token only,
// 1.8.7 with that of the registration first.
func (a *Agent) catalogDeniesDeregister(token string, p acl.Permission, name string) bool {
	if a.Config.Version == release.V1_8_7 && token != "" {
		return a.catalogDenies(token, p, name)
	}
	own := a.ACL.Own()
	return !own.Allows(acl.NodeWrite, a.Config.Node) && !own.Allows(p, name)
}
