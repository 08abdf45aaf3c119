package api

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// agentReload serves PUT /v1/agent/reload. An agent then holds what is in its
// files. One in development mode has no files, and so loses everything that was
// registered with it.
func agentReload(q *request) (any, error) {
	if err := q.authorizeFor(acl.AgentWrite, q.config.Node); err != nil {
		return nil, err
	}
	if q.api.config.Compact {
		return nil, nil
	}
	for _, s := range state.Sorted(q.a.Services) {
		if q.a.Services[s.Rec.ID] != nil { // it may have gone with the one that it is the sidecar of
			q.a.RemoveService(s.Rec.ID)
		}
	}
	for _, c := range state.Sorted(q.a.Checks) {
		q.a.RemoveCheck(c)
	}
	q.a.SyncChanges()
	return nil, nil
}

// agentJoin serves PUT /v1/agent/join/{address}. The fake joins nobody but
// itself: everybody else refuses.
func agentJoin(q *request) (any, error) {
	if err := q.authorizeFor(acl.AgentWrite, q.config.Node); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(q.name)
	if err != nil {
		host, port = q.name, strconv.Itoa(agent.SerfLANPort)
	}
	if host == "127.0.0.1" && port == strconv.Itoa(agent.SerfLANPort) {
		return nil, nil
	}
	who := host
	if q.v == release.V1_21_4 {
		who = net.JoinHostPort(host, port)
	}
	return nil, errors.New(definition.MultiError([]string{"Failed to join " + who + ": dial tcp " + net.JoinHostPort(host, port) + ": connect: connection refused"}))
}

// agentForceLeave serves PUT /v1/agent/force-leave/{node}.
func agentForceLeave(q *request) (any, error) {
	if err := q.authorizeFor(acl.OperatorWrite, ""); err != nil {
		return nil, err
	}
	m := q.a.Members[q.name]
	switch {
	case q.name == q.config.Node:
	case m == nil:
		return nil, errors.New("agent: No node found with name '" + q.name + "'")
	case q.query.Has("prune"):
		delete(q.a.Members, q.name)
	default:
		m = ptr(*m)
		m.Status = 3
		q.a.Members[q.name] = m
	}
	return nil, nil
}

// leaveDelay is how long an agent in development mode takes to leave.
const leaveDelay = 11 * time.Second

// agentLeave serves PUT /v1/agent/leave, after which the agent ends.
func agentLeave(q *request) (any, error) {
	if err := q.authorizeFor(acl.AgentWrite, q.config.Node); err != nil {
		return nil, err
	}
	q.unlocked(func() {
		select {
		case <-time.After(leaveDelay):
		case <-q.r.Context().Done():
		}
	})
	// The response is to be sent before the connections are cut.
	time.AfterFunc(100*time.Millisecond, q.run.Stop)
	return nil, nil
}

// agentToken serves PUT /v1/agent/token/{kind}.
func agentToken(q *request) (any, error) {
	if !q.a.ACL.On {
		return nil, refusal.New(http.StatusUnauthorized, "ACL support disabled")
	}
	if err := q.authorizeFor(acl.AgentWrite, q.config.Node); err != nil {
		return nil, err
	}
	var body struct{ Token string }
	if err := definition.PlainBody.Decode(q.v, q.body, &body); err != nil {
		return nil, err
	}
	switch q.name {
	case "default", "acl_token":
		q.a.ACL.DefaultToken = body.Token
	case "agent", "acl_agent_token":
		q.a.ACL.AgentToken = &body.Token
	case "agent_master", "acl_agent_master_token", "agent_recovery", "replication", "acl_replication_token",
		"config_file_service_registration", "dns":
	default:
		return nil, refusal.New(http.StatusNotFound, `Token "`+q.name+`" is unknown`)
	}
	return nil, nil
}
