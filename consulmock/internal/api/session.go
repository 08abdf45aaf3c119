package api

import (
	"fmt"
	"net/http"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// createSession serves PUT /v1/session/create.
func createSession(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	s, err := definition.NewSession(q.v, q.config.Node, q.sizedBody())
	if err != nil {
		return nil, err
	}
	if err := q.forward(q.query.Get("dc"), false); err != nil {
		return nil, err
	}
	if err := q.authorizeFor(acl.SessionWrite, s.Node); err != nil {
		return nil, err
	}
	if err := definition.ValidateSession(s, q.api.config.MinSessionTTL); err != nil {
		return nil, err
	}
	if err := q.a.CreateSession(s); err != nil {
		if q.v == release.V1_21_4 {
			err = fmt.Errorf("apply failed: %w", err)
		}
		return nil, err
	}
	return struct{ ID string }{s.ID}, nil
}

// renewSession serves PUT /v1/session/renew/{id}.
func renewSession(q *request) (any, error) {
	o, err := q.readOptions()
	if err != nil {
		return nil, err
	}
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	s, err := q.sessionToWrite(o.consistency == "stale")
	if err != nil {
		return nil, err
	}
	if s == nil {
		if err := q.a.Store.CheckSessionID(q.name); err != nil {
			return nil, err
		}
		return nil, refusal.New(http.StatusNotFound, fmt.Sprintf("Session id '%s' not found", q.name))
	}
	q.a.RenewSession(s)
	return []*state.Session{s}, nil
}

// destroySession serves PUT /v1/session/destroy/{id}.
func destroySession(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	s, err := q.sessionToWrite(false)
	if err != nil {
		return nil, err
	}
	if s != nil {
		q.a.DestroySession(s)
		return true, nil
	}
	if q.v == release.V1_8_7 { // it is in the servers' log all the same
		q.a.Store.Index++
	}
	return true, q.a.Store.CheckSessionID(q.name)
}

// sessionToWrite returns the session that the path names, if the token may change it,
// or nil if there is none. The request is forwarded first.
func (q *request) sessionToWrite(stale bool) (*state.Session, error) {
	if q.name == "" {
		return nil, refusal.BadRequest("Missing session")
	}
	if err := q.forward(q.query.Get("dc"), stale); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	s := q.a.Store.Session(q.name)
	if s == nil {
		return nil, nil
	}
	return s, authz.Require(q.v, acl.SessionWrite, s.Node)
}

// sessionInfo serves GET /v1/session/info/{id}.
func sessionInfo(q *request) (any, error) {
	st := q.a.Store
	malformed := st.CheckSessionID(q.name)
	r := q.sessions(func() []string { return []string{st.SessionWatch(q.name)} }, func() ([]*state.Session, error) {
		if s := st.Session(q.name); s != nil {
			return []*state.Session{s}, nil
		}
		return nil, malformed
	})
	r.missing = "Missing session"
	r.absent = func() bool { return st.Session(q.name) == nil }
	if malformed != nil {
		r.keys = nil // nobody waits for it
	}
	return q.perform(r)
}

// listSessions serves GET /v1/session/list.
func listSessions(q *request) (any, error) {
	return q.perform(q.sessions(func() []string { return []string{state.SessionsTable} }, func() ([]*state.Session, error) {
		return state.Sorted(q.a.Store.Sessions), nil
	}))
}

// nodeSessions serves GET /v1/session/node/{node}.
func nodeSessions(q *request) (any, error) {
	r := q.sessions(func() []string { return []string{state.RecordWatch(state.SessionsByNode, q.name)} }, func() ([]*state.Session, error) {
		return q.a.Store.SessionsOf(q.name), nil
	})
	r.missing = "Missing node name"
	return q.perform(r)
}

// sessions returns the query for some sessions.
func (q *request) sessions(keys func() []string, find func() ([]*state.Session, error)) query {
	return query{
		noFilter: true, plain: true, keys: keys,
		index: func() uint64 { return q.a.Store.Indexes[state.SessionsTable] },
		result: func(authz *acl.Authorizer, keep predicate) (any, bool, error) {
			found, err := find()
			if err != nil {
				return nil, false, err
			}
			allowed := func(s *state.Session) bool { return authz.Allows(acl.SessionRead, s.Node) }
			return collectAny(found, allowed, func(s *state.Session) *state.Session { return s }, keep)
		},
	}
}
