package api

import (
	"fmt"
	"net/http"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// agentServices serves GET /v1/agent/services.
func agentServices(q *request) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	keep, err := q.filter(filter.AgentService)
	if err != nil {
		return nil, err
	}
	list, filtered, err := collectMap(q.a.Services,
		func(s *agent.Service) bool { return authz.Allows(acl.ServiceRead, s.Rec.Name) },
		func(s *agent.Service) *agentServiceJSON { return newAgentServiceJSON(q.v, s, q.config.Datacenter) }, keep)
	if err != nil {
		return nil, err
	}
	q.setFiltered(authz, filtered)
	return list, nil
}

// agentService serves GET /v1/agent/service/{service_id}. With the parameter
// hash it waits until the definition has another hash.
func agentService(q *request) (any, error) {
	wait, err := q.readHashWait()
	if err != nil {
		return nil, err
	}
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	read := func() (*agent.Service, error) {
		s := q.a.Services[q.name]
		if s == nil {
			return nil, refusal.New(http.StatusNotFound, "unknown service ID: "+q.name)
		}
		return s, authz.Require(q.v, acl.ServiceRead, s.Rec.Name)
	}
	s, err := read()
	if hash := q.query.Get("hash"); hash != "" {
		same := func() bool {
			s, err = read()
			return err == nil && s.Hash == hash
		}
		keys := func() []string { return []string{agent.LocalServiceKey(q.name)} }
		if _, err := q.wait(jitter(wait), same, keys); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	q.w.Header().Set("X-Consul-Contenthash", s.Hash)
	v := newAgentServiceJSON(q.v, s, q.config.Datacenter)
	v.ContentHash = s.Hash
	return v, nil
}

// registerService serves PUT /v1/agent/service/register.
func registerService(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	d, err := definition.DecodeService(q.v, q.body)
	if err != nil {
		return nil, err
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := d.ValidateRest(q.v); err != nil {
		return nil, err
	}
	if d.ID == "" {
		d.ID = d.Name
	}
	if err := q.authorizeService(authz, d.ID, d.Name); err != nil {
		return nil, err
	}
	side := d.Sidecar()
	if side != nil {
		if err := q.authorizeService(authz, side.ID, side.Name); err != nil {
			return nil, err
		}
	}
	replace, given := q.query["replace-existing-checks"]
	isReplace := given && (replace[0] == "" || replace[0] == "true")
	defer q.a.SyncChanges() // some of it may be there even if it is refused
	if err := q.a.AddService(d, q.tokenText(), isReplace, ""); err != nil {
		return nil, err
	}
	if side != nil {
		if err := q.a.AddService(side, q.tokenText(), isReplace, d.ID); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// authorizeService returns the refusal if the token may not register a service, or may
// not take over its ID from another one.
func (q *request) authorizeService(authz *acl.Authorizer, id, name string) error {
	if err := authz.RequireLocal(q.v, acl.ServiceWrite, name); err != nil {
		return err
	}
	old := q.a.Services[id]
	if old == nil {
		return nil
	}
	err := authz.RequireLocal(q.v, acl.ServiceWrite, old.Rec.Name)
	if err != nil && q.v == release.V1_8_7 {
		return refusal.New(http.StatusForbidden, "Permission denied: Missing service:write on "+name)
	}
	return err
}

// deregisterService serves PUT /v1/agent/service/deregister/{service_id}.
func deregisterService(q *request) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	s := q.a.Services[q.name]
	if s == nil {
		return nil, q.unknownService(http.StatusOK)
	}
	if err := authz.RequireLocal(q.v, acl.ServiceWrite, s.Rec.Name); err != nil {
		return nil, err
	}
	q.a.RemoveService(q.name)
	q.a.SyncChanges()
	return nil, nil
}

// unknownService is what the agent reports of a service that it does not have. A
// 1.8.7 agent without access control responds with 200 where oldStatus reports it, which
// is a nil error.
func (q *request) unknownService(oldStatus int) error {
	switch {
	case q.v == release.V1_21_4:
		return refusal.New(http.StatusNotFound, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", q.name))
	case q.config.DefaultDeny:
		return fmt.Errorf("Unknown service {%q {}}", q.name)
	case oldStatus != http.StatusOK:
		return refusal.New(oldStatus, fmt.Sprintf("No service registered with ID %q", q.name))
	case q.name == "":
		return fmt.Errorf("ServiceID missing")
	}
	return nil
}
