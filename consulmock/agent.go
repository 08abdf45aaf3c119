package consulmock

import (
	"fmt"
	"net/http"
	"time"

	"github.com/lictor-go/consul"
)

// agent is the local agent with the store of the server that it is.
type agent struct {
	s        *Server
	started  time.Time
	store    *store
	services map[string]*localService
	checks   map[string]*localCheck
}

// localService is a service as the agent holds it.
type localService struct {
	rec serviceRecord
}

func newAgent(s *Server) *agent {
	a := &agent{
		s:        s,
		started:  time.Now(),
		store:    newStore(s.config.version),
		services: make(map[string]*localService),
		checks:   make(map[string]*localCheck),
	}
	c := &s.config
	a.store.index = 13
	n := a.store.ensureNode(nodeRecord{ID: c.nodeID, Node: c.node, Address: "127.0.0.1", Datacenter: c.datacenter, Meta: c.nodeMeta})
	a.store.ensureCheck(n, checkRecord{CheckID: "serfHealth", Name: "Serf Health Status", Status: "passing", Output: "Agent alive and reachable"})
	return a
}

// close stops the timers.
func (a *agent) close() {
	for _, c := range a.checks {
		c.stop()
	}
}

// node returns the agent's node in the store.
func (a *agent) node() *node { return a.store.node(a.s.config.node) }

// registerService answers PUT /v1/agent/service/register.
func registerService(q *request) (any, error) {
	var def consul.AgentServiceRegistration
	if err := q.decode(&def); err != nil {
		return nil, err
	}
	if def.Name == "" {
		return nil, &httpError{http.StatusBadRequest, "Missing service name"}
	}
	if def.ID == "" {
		def.ID = def.Name
	}
	rec := serviceRecord{
		Kind: def.Kind, ID: def.ID, Name: def.Name, Tags: def.Tags, Address: def.Address, Port: def.Port, Meta: def.Meta,
		Weights: consul.AgentWeights{Passing: 1, Warning: 1},
	}
	checks := def.Checks
	if def.Check != nil {
		checks = append(checks, def.Check)
	}
	a := q.a
	a.services[def.ID] = &localService{rec}
	a.store.index++
	a.store.ensureService(a.node(), rec)
	for i, c := range checks {
		id := c.CheckID
		if id == "" {
			id = "service:" + def.ID
			if len(checks) > 1 {
				id = fmt.Sprintf("%s:%d", id, i+1)
			}
		}
		a.addCheck(id, def.ID, c)
	}
	return nil, nil
}

// deregisterService answers PUT /v1/agent/service/deregister/{service_id}.
func deregisterService(q *request) (any, error) {
	a := q.a
	if a.services[q.name] == nil {
		return nil, &httpError{http.StatusNotFound, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", q.name)}
	}
	a.removeService(q.name)
	return nil, nil
}

func (a *agent) removeService(id string) {
	for cid, c := range a.checks {
		if c.rec.ServiceID == id {
			c.stop()
			delete(a.checks, cid)
		}
	}
	delete(a.services, id)
	a.store.index++
	a.store.deleteService(a.node(), id)
}
