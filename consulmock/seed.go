package consulmock

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/lictor-go/consul"
)

// AddService registers a service with the agent, as PUT
// /v1/agent/service/register does, whatever tokens are needed. It is not in
// [Server.Requests], and no fault applies. It panics if the agent refuses the
// service.
func (s *Server) AddService(r *consul.AgentServiceRegistration) {
	needs("AddService", r)
	params := url.Values{}
	if r.ReplaceExistingChecks {
		params.Set("replace-existing-checks", "true")
	}
	s.seed("AddService", registerService, "", params, r)
}

// RemoveService deregisters a service of the agent. It panics if there is none of
// that ID.
func (s *Server) RemoveService(serviceID string) {
	s.mu.Lock()
	known := s.agent.services[serviceID] != nil
	s.mu.Unlock()
	if !known {
		panic(fmt.Sprintf("consulmock: RemoveService: no service %q", serviceID))
	}
	s.seed("RemoveService", deregisterService, serviceID, nil, nil)
}

// AddCheck registers a check with the agent, as PUT /v1/agent/check/register does.
// It panics if the agent refuses the check. For the rest see [Server.AddService].
func (s *Server) AddCheck(r *consul.AgentCheckRegistration) {
	needs("AddCheck", r)
	s.seed("AddCheck", registerCheck, "", nil, r)
}

// AddNode puts a node, and with it a service and checks, into the catalog, as PUT
// /v1/catalog/register does. It panics if the agent refuses them. For the rest see
// [Server.AddService].
func (s *Server) AddNode(r *consul.CatalogRegistration) {
	needs("AddNode", r)
	s.seed("AddNode", catalogRegister, "", nil, r)
}

// RemoveNode takes a node, or a service or a check of it, out of the catalog, as
// PUT /v1/catalog/deregister does.
func (s *Server) RemoveNode(r *consul.CatalogDeregistration) {
	needs("RemoveNode", r)
	s.seed("RemoveNode", catalogDeregister, "", nil, r)
}

// needs panics if what a method was given is nil.
func needs[T any](what string, given *T) {
	if given == nil {
		panic(fmt.Sprintf("consulmock: %s: nil %T", what, given))
	}
}

// seed sends a request to a handler directly, with a token that may do
// everything.
func (s *Server) seed(what string, answer handler, name string, params url.Values, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("consulmock: %s: %v", what, err))
	}
	q := &request{
		s: s, v: s.config.version, w: httptest.NewRecorder(), r: &http.Request{Method: http.MethodPut, URL: &url.URL{}, Header: http.Header{}},
		query: params, name: name, body: data, seeding: true,
	}
	_, err = q.locked(func(q *request) (any, error) {
		defer q.a.updateDueAliases() // so that it is in effect when the method returns
		return answer(q)
	})
	if err != nil {
		panic(fmt.Sprintf("consulmock: %s: %v", what, err))
	}
}

// SetCheckStatus sets the status and output of a check of the agent, whatever
// its kind, as a run of the check or an update of its TTL would. It panics if
// there is no such check, or if status is none of passing, warning and critical.
func (s *Server) SetCheckStatus(checkID string, status consul.HealthStatus, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.agent.checks[checkID]
	if c == nil {
		panic(fmt.Sprintf("consulmock: SetCheckStatus: no check %q", checkID))
	}
	if !isStatus(string(status)) {
		panic(fmt.Sprintf("consulmock: SetCheckStatus: status %q: want passing, warning or critical", status))
	}
	c.setStatus(string(status), c.limit(output))
	if c.rec.Type == "ttl" {
		c.updated = time.Now()
		c.startTTL(c.rec.Output)
	}
	s.agent.syncChanges()
}

// AddMember adds a member to the gossip pool that the agent sees, or changes the
// one of that name. It adds no node to the catalog.
func (s *Server) AddMember(m consul.AgentMember) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agent.members[m.Name] = &memberJSON{
		Name: m.Name, Addr: m.Addr, Port: m.Port, Tags: maps.Clone(m.Tags), Status: int(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur,
	}
}
