package consulmock

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// agentServices answers GET /v1/agent/services.
func agentServices(q *request) (any, error) {
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	keep, err := q.filter(filter.AgentService)
	if err != nil {
		return nil, err
	}
	list, filtered, err := collectMap(q.a.services,
		func(s *localService) bool { return authz.allows(serviceRead, s.rec.Name) },
		func(s *localService) *agentServiceJSON { return newAgentServiceJSON(q.v, s, q.config.datacenter) }, keep)
	if err != nil {
		return nil, err
	}
	q.setFiltered(authz, filtered)
	return list, nil
}

// agentService answers GET /v1/agent/service/{service_id}. With the parameter
// hash it waits until the definition has another hash.
func agentService(q *request) (any, error) {
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	wait, err := q.readHashWait()
	if err != nil {
		return nil, err
	}
	read := func() (*localService, error) {
		s := q.a.services[q.name]
		if s == nil {
			return nil, &httpError{http.StatusNotFound, "unknown service ID: " + q.name}
		}
		return s, authz.require(q.v, serviceRead, s.rec.Name)
	}
	s, err := read()
	if hash := q.query.Get("hash"); hash != "" {
		same := func() bool {
			s, err = read()
			return err == nil && s.hash == hash
		}
		keys := func() []string { return []string{localServiceKey + q.name} }
		if _, err := q.wait(wait, same, keys); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	q.w.Header().Set("X-Consul-Contenthash", s.hash)
	v := newAgentServiceJSON(q.v, s, q.config.datacenter)
	v.ContentHash = s.hash
	return v, nil
}

// localServiceKey is the key of the waiters for a service of the agent; it is
// followed by the service's ID.
const localServiceKey = "local service "

// setHash computes the hash of a definition and wakes those who wait for it to
// change.
func (a *agent) setHash(s *localService) {
	h := fnv.New64a()
	json.NewEncoder(h).Encode(s.rec) // which is made of types that encode
	if hash := strconv.FormatUint(h.Sum64(), 16); hash != s.hash {
		s.hash = hash
		a.store.notify(localServiceKey + s.rec.ID)
	}
}

// registerService answers PUT /v1/agent/service/register.
func registerService(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	d, err := decodeService(q.v, q.body)
	if err != nil {
		return nil, err
	}
	if err := d.validate(); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := d.validateRest(q.v); err != nil {
		return nil, err
	}
	if d.ID == "" {
		d.ID = d.Name
	}
	if err := q.vetService(authz, d.ID, d.Name); err != nil {
		return nil, err
	}
	side := d.sidecar()
	if side != nil {
		if err := q.vetService(authz, side.ID, side.Name); err != nil {
			return nil, err
		}
	}
	replace, given := q.query["replace-existing-checks"]
	isReplace := given && (replace[0] == "" || replace[0] == "true")
	if err := q.a.addService(d, q.tokenText(), isReplace, ""); err != nil {
		return nil, err
	}
	if side != nil {
		if err := q.a.addService(side, q.tokenText(), isReplace, d.ID); err != nil {
			return nil, err
		}
	}
	q.a.syncChanges()
	return nil, nil
}

// addService adds a service with its checks, or changes it.
func (a *agent) addService(d *serviceDefinition, token string, replace bool, sidecarOf string) error {
	checks := d.checks()
	for _, c := range checks {
		if err := c.runnable(a.config.version); err != nil {
			return err
		}
	}
	if sidecarOf != "" && d.Port == 0 {
		d.Port = a.sidecarPort(d.ID)
	}
	if sidecarOf != "" && len(checks) == 0 {
		checks = defaultSidecarChecks(d)
	}
	s := a.services[d.ID]
	isNew := s == nil
	if isNew {
		s = &localService{checks: make(map[string]*localCheck)}
		a.services[d.ID] = s
	}
	rec := d.record()
	s.inSync = s.inSync && reflect.DeepEqual(rec, s.rec)
	s.rec, s.token, s.sidecarOf = rec, token, sidecarOf
	a.setHash(s)
	if !s.inSync {
		a.sync.service(d.ID)
	}

	if isNew {
		a.serviceChanged(d.ID)
	}
	stay := make(map[string]bool)
	for i, c := range checks {
		id := c.CheckID
		if id == "" {
			id = "service:" + d.ID
			if len(checks) > 1 {
				id += ":" + strconv.Itoa(i+1)
			}
		}
		stay[id] = true
		name := c.Name
		if name == "" {
			name = "Service '" + d.Name + "' check"
		}
		a.addCheck(checkRecord{
			CheckID: id, Name: name, Notes: c.Notes, ServiceID: d.ID,
			Interval: durationText(c.Interval.d, ""), Timeout: durationText(c.Timeout.d, ""),
		}, &c.checkType, token)
	}
	if replace {
		for _, c := range a.checksOf(d.ID) {
			if !stay[c.rec.CheckID] {
				a.removeCheck(c)
			}
		}
	}
	return nil
}

// durationText writes a duration, and zero as the given text.
func durationText(d time.Duration, zero string) string {
	if d == 0 {
		return zero
	}
	return d.String()
}

// record returns the service that a definition describes, with what the agent
// adds to it.
func (d *serviceDefinition) record() serviceRecord {
	rec := serviceRecord{
		Kind: d.Kind, ID: d.ID, Name: d.Name, Tags: slices.Clone(d.Tags), Address: d.Address, SocketPath: d.SocketPath,
		Meta: maps.Clone(d.Meta), Port: d.Port, Weights: defaultWeights, EnableTagOverride: d.EnableTagOverride, Locality: d.Locality,
		TaggedAddresses: maps.Clone(d.TaggedAddresses),
	}
	if d.Weights != nil {
		rec.Weights = *d.Weights
	}
	if d.Connect != nil {
		rec.Native = d.Connect.Native
	}
	if d.Proxy != nil {
		rec.Proxy = (*proxyConfig)(d.Proxy).withDefaults("service")
	}
	rec.addTaggedAddresses()
	return rec
}

// addTaggedAddresses adds the addresses that agents derive from a numeric one.
func (rec *serviceRecord) addTaggedAddresses() {
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

// checksOf returns the checks of a service, ordered by ID.
func (a *agent) checksOf(serviceID string) []*localCheck {
	s := a.services[serviceID]
	if s == nil {
		return nil
	}
	return sorted(s.checks)
}

// deregisterService answers PUT /v1/agent/service/deregister/{service_id}.
func deregisterService(q *request) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	s := q.a.services[q.name]
	if s == nil {
		return nil, q.unknownService(http.StatusOK)
	}
	if err := authz.requireLocal(q.v, serviceWrite, s.rec.Name); err != nil {
		return nil, err
	}
	q.a.removeService(q.name)
	q.a.syncChanges()
	return nil, nil
}

// removeService removes a service with its checks and its sidecar.
func (a *agent) removeService(id string) {
	s := a.services[id]
	delete(a.services, id) // first, for aliases that are told of its checks
	for _, c := range sorted(s.checks) {
		a.removeCheck(c)
	}
	a.sync.gone(id, s)
	a.store.notify(localServiceKey + id)
	if side := a.services[id+sidecarSuffix]; side != nil && side.sidecarOf == id {
		a.removeService(id + sidecarSuffix)
	}
	a.serviceChanged(id)
}

// unknownService is what the agent says of a service that it does not have. A
// 1.8.7 agent without access control answers 200 where oldStatus says so, which
// is a nil error.
func (q *request) unknownService(oldStatus int) error {
	switch {
	case q.v == release.V1_21_4:
		return &httpError{http.StatusNotFound, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", q.name)}
	case q.config.defaultDeny:
		return fmt.Errorf("Unknown service {%q {}}", q.name)
	case oldStatus != http.StatusOK:
		return &httpError{oldStatus, fmt.Sprintf("No service registered with ID %q", q.name)}
	case q.name == "":
		return fmt.Errorf("ServiceID missing")
	}
	return nil
}
