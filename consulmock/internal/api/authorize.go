package api

import (
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/acl"
)

// tokenText returns the token that a request carries: as a parameter, in its own
// header, or as a bearer.
func (q *request) tokenText() string {
	if q.seeding {
		return q.a.ACL.SeedToken
	}
	if t := q.query.Get("token"); t != "" {
		return t
	}
	if t := strings.TrimSpace(q.r.Header.Get("X-Consul-Token")); t != "" {
		return t
	}
	scheme, t, _ := strings.Cut(strings.TrimSpace(q.r.Header.Get("Authorization")), " ")
	if strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(t)
	}
	return ""
}

// authorize returns what the request's token allows.
func (q *request) authorize() (*acl.Authorizer, error) {
	t := q.tokenText()
	if t == "" {
		t = q.a.ACL.DefaultToken
	}
	return q.a.ACL.Resolve(t)
}

// authorizeFor returns the refusal if the request's token does not allow p.
func (q *request) authorizeFor(p acl.Permission, name string) error {
	authz, err := q.authorize()
	if err != nil {
		return err
	}
	return authz.Require(q.v, p, name)
}

// authorizeLocal is authorize for requests about what the agent itself has.
func (q *request) authorizeLocal() (*acl.Authorizer, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	return q.authorize()
}
