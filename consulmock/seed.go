package consulmock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/definition"
)

// AddService registers a service with the agent, as PUT
// /v1/agent/service/register does, whatever tokens are needed. It is not in
// [Server.Requests], and no fault applies. It panics if the agent refuses the
// service.
func (s *Server) AddService(r *consul.AgentServiceRegistration) {
	requireNonNil("AddService", r)
	params := url.Values{}
	if r.ReplaceExistingChecks {
		params.Set("replace-existing-checks", "true")
	}
	s.seed("AddService", "/v1/agent/service/register", "", params, r)
}

// RemoveService deregisters a service of the agent. It panics if there is none of
// that ID.
func (s *Server) RemoveService(serviceID string) {
	s.mu.Lock()
	known := s.agent.Services[serviceID] != nil
	s.mu.Unlock()
	if !known {
		panic(fmt.Sprintf("consulmock: RemoveService: no service %q", serviceID))
	}
	s.seed("RemoveService", "/v1/agent/service/deregister/", serviceID, nil, nil)
}

// AddCheck registers a check with the agent, as PUT /v1/agent/check/register does.
// It panics if the agent refuses the check. For the rest see [Server.AddService].
func (s *Server) AddCheck(r *consul.AgentCheckRegistration) {
	requireNonNil("AddCheck", r)
	s.seed("AddCheck", "/v1/agent/check/register", "", nil, r)
}

// AddNode puts a node, and with it a service and checks, into the catalog, as PUT
// /v1/catalog/register does. It panics if the agent refuses them. For the rest see
// [Server.AddService].
func (s *Server) AddNode(r *consul.CatalogRegistration) {
	requireNonNil("AddNode", r)
	s.seed("AddNode", "/v1/catalog/register", "", nil, r)
}

// RemoveNode takes a node, or a service or a check of it, out of the catalog, as
// PUT /v1/catalog/deregister does.
func (s *Server) RemoveNode(r *consul.CatalogDeregistration) {
	requireNonNil("RemoveNode", r)
	s.seed("RemoveNode", "/v1/catalog/deregister", "", nil, r)
}

// requireNonNil panics if what a method was given is nil.
func requireNonNil[T any](what string, given *T) {
	if given == nil {
		panic(fmt.Sprintf("consulmock: %s: nil %T", what, given))
	}
}

// SetKey writes a key, as PUT /v1/kv/{key} does: with flags of 0, and without ending
// the hold of a session on it. Any name that is not empty will do. It panics if the
// value is too large; see [WithKeyLimits]. For the rest see [Server.AddService].
func (s *Server) SetKey(key string, value []byte) {
	s.seedRaw("SetKey", http.MethodPut, "/v1/kv/", key, nil, bytes.Clone(value))
}

// RemoveKey deletes a key, as DELETE /v1/kv/{key} does. It panics if there is none of
// that name.
func (s *Server) RemoveKey(key string) {
	s.mu.Lock()
	known := s.agent.Store.Key(key) != nil
	s.mu.Unlock()
	if !known {
		panic(fmt.Sprintf("consulmock: RemoveKey: no key %q", key))
	}
	s.seedRaw("RemoveKey", http.MethodDelete, "/v1/kv/", key, nil, nil)
}

// seed sends a PUT with a body in JSON; see seedRaw.
func (s *Server) seed(what, path, name string, params url.Values, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("consulmock: %s: %v", what, err))
	}
	s.seedRaw(what, http.MethodPut, path, name, params, data)
}

// seedRaw sends a request to the API directly, with a token that may do everything.
func (s *Server) seedRaw(what, method, path, name string, params url.Values, body []byte) {
	if err := s.api.Seed(method, path, name, params, body); err != nil {
		panic(fmt.Sprintf("consulmock: %s: %v", what, err))
	}
}

// SetCheckStatus sets the status and output of a check of the agent, whatever
// its kind, as a run of the check or an update of its TTL would. It panics if
// there is no such check, or if status is none of passing, warning and critical.
func (s *Server) SetCheckStatus(checkID string, status consul.HealthStatus, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.agent.Checks[checkID]
	if c == nil {
		panic(fmt.Sprintf("consulmock: SetCheckStatus: no check %q", checkID))
	}
	if !definition.IsStatus(string(status)) {
		panic(fmt.Sprintf("consulmock: SetCheckStatus: status %q: want passing, warning or critical", status))
	}
	s.agent.SetResult(c, string(status), output, c.Rec.Type == "ttl")
}

// AddMember adds a member to the gossip pool that the agent sees, or changes the
// one of that name. It adds no node to the catalog. It panics if the member has no
// name, or that of the agent's node, which is a member already.
func (s *Server) AddMember(m consul.AgentMember) {
	switch m.Name {
	case "":
		panic("consulmock: AddMember: member without a name")
	case s.config.agent.Node:
		panic("consulmock: AddMember: " + m.Name + " is the agent itself")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agent.Members[m.Name] = &agent.Member{
		Name: m.Name, Addr: m.Addr, Port: m.Port, Tags: maps.Clone(m.Tags), Status: int(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur,
	}
}
