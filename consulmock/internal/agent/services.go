package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"reflect"
	"strconv"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// Service is a service as the agent holds it.
type Service struct {
	Rec       state.ServiceRecord
	Checks    map[string]*Check
	token     string
	inSync    bool   // the catalog has it, or has refused it
	sidecarOf string // the ID of the service that this is the sidecar of
	Hash      string // of the definition
}

// AddService adds a service with its checks, or changes it. If the agent refuses to
// run one of the checks, what was there before is changed all the same.
func (a *Agent) AddService(d *definition.Service, token string, replace bool, sidecarOf string) error {
	checks := d.AllChecks()
	var refused error
	for _, c := range checks {
		refused = cmp.Or(refused, c.Runnable(a.Config.Version))
	}
	if refused != nil && a.Config.Version == release.V1_21_4 && state.IsMeshKind(d.Kind) {
		refused = fmt.Errorf("error updating service registration: %w", refused)
	}
	if refused != nil && a.Services[d.ID] == nil {
		// It was there for a moment, and is taken off the catalog, which may have one under
		// the same ID in another case.
		a.sync.gone(d.ID, &Service{Rec: d.Record(), token: token})
		return refused
	}
	if sidecarOf != "" && d.Port == 0 {
		d.Port = a.sidecarPort(d.ID)
	}
	if sidecarOf != "" && len(checks) == 0 {
		checks = defaultSidecarChecks(d)
	}
	s := a.Services[d.ID]
	isNew := s == nil
	if isNew {
		s = &Service{Checks: make(map[string]*Check)}
		a.Services[d.ID] = s
	}
	rec := d.Record()
	s.inSync = s.inSync && reflect.DeepEqual(rec, s.Rec) && a.Config.Version == release.V1_21_4 // 1.8.7 writes it again
	s.Rec, s.token, s.sidecarOf = rec, token, sidecarOf
	a.setHash(s)
	if !s.inSync {
		a.sync.service(d.ID)
	}

	if isNew {
		a.serviceChanged(d.ID)
	}
	stay := a.addChecksOf(d, checks, token, refused == nil)
	if replace && refused == nil {
		for _, c := range a.ChecksOf(d.ID) {
			if !stay[c.Rec.CheckID] {
				a.RemoveCheck(c)
			}
		}
	}
	return refused
}

// addChecksOf adds the checks of a service, or changes them, and returns their IDs. The
// new ones are left out on request. Of several that have one ID the last one counts, but
// a status that was there before stays.
func (a *Agent) addChecksOf(d *definition.Service, checks []*definition.ServiceCheck, token string, withNew bool) map[string]bool {
	stay, fresh := make(map[string]bool), make(map[string]bool)
	for i, c := range checks {
		id := c.CheckID
		if id == "" {
			id = "service:" + d.ID
			if len(checks) > 1 {
				id += ":" + strconv.Itoa(i+1)
			}
		}
		stay[id] = true
		if !withNew && a.Checks[id] == nil {
			a.sync.goneCheck(&Check{Rec: state.CheckRecord{CheckID: id, ServiceID: d.ID, ServiceName: d.Name}, token: token})
			continue
		}
		name := c.Name
		if name == "" {
			name = "Service '" + d.Name + "' check"
		}
		rec := state.CheckRecord{
			CheckID: id, Name: name, Notes: c.Notes, ServiceID: d.ID,
			Interval: definition.DurationText(c.Interval.D, ""), Timeout: definition.DurationText(c.Timeout.D, ""),
		}
		def := c.CheckType
		old := a.Checks[id]
		changed := false
		if fresh[id] {
			status := cmp.Or(c.Status, string(consul.HealthCritical))
			changed = status != old.Rec.Status
			old.Rec.Status = status
		}
		if old != nil {
			def.Status, rec.Output = old.Rec.Status, old.Rec.Output
		}
		fresh[id] = fresh[id] || old == nil
		a.AddCheck(rec, &def, token)
		if changed {
			a.Checks[id].inSync = false
			a.sync.check(id)
		}
	}
	return stay
}

// RemoveService removes a service with its checks and its sidecar.
func (a *Agent) RemoveService(id string) {
	s := a.Services[id]
	delete(a.Services, id) // first, for aliases that are told of its checks
	for _, c := range state.Sorted(s.Checks) {
		a.RemoveCheck(c)
	}
	a.sync.gone(id, s)
	a.Store.Notify(LocalServiceKey(id))
	if side := a.Services[id+definition.SidecarSuffix]; side != nil && side.sidecarOf == id {
		a.RemoveService(id + definition.SidecarSuffix)
	}
	a.serviceChanged(id)
}

// ChecksOf returns the checks of a service, ordered by ID.
func (a *Agent) ChecksOf(serviceID string) []*Check {
	s := a.Services[serviceID]
	if s == nil {
		return nil
	}
	return state.Sorted(s.Checks)
}

// setHash computes the hash of a service as the agent shows it, where what is empty is as
// if it were missing, and wakes those who wait for it to change.
func (a *Agent) setHash(s *Service) {
	shown := s.Rec
	shown.Proxy = shown.Proxy.InAgent(shown.Kind)
	if len(shown.Tags) == 0 {
		shown.Tags = nil
	}
	if len(shown.Meta) == 0 {
		shown.Meta = nil
	}
	if len(shown.TaggedAddresses) == 0 {
		shown.TaggedAddresses = nil
	}
	h := fnv.New64a()
	json.NewEncoder(h).Encode(shown) // which is made of types that encode
	if hash := strconv.FormatUint(h.Sum64(), 16); hash != s.Hash {
		s.Hash = hash
		a.Store.Notify(LocalServiceKey(s.Rec.ID))
	}
}

// LocalServiceKey is the key of waiters for a service of the local agent.
func LocalServiceKey(id string) string { return "local service " + id }
