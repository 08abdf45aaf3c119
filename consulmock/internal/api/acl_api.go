package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// createPolicy serves PUT /v1/acl/policy.
func createPolicy(q *request) (any, error) {
	var p struct{ ID, Name, Description, Rules string }
	if err := q.aclWrite(&p); err != nil {
		return nil, err
	}
	if _, err := acl.ParseRules(p.Rules); err != nil {
		return nil, fmt.Errorf("Failed to parse ACL rules: %w", err)
	}
	q.a.ACL.Policies[p.Name] = p.Rules
	q.a.Store.Index++
	return struct {
		ID, Name, Description, Rules, Hash string
		CreateIndex, ModifyIndex           uint64
	}{q.policyID(p.Name), p.Name, p.Description, p.Rules, "", q.a.Store.Index, q.a.Store.Index}, nil
}

// aclWrite reads the body of a change of the access control, if the token allows
// it.
func (q *request) aclWrite(body any) error {
	if !q.a.ACL.On {
		return refusal.New(http.StatusUnauthorized, "ACL support disabled")
	}
	if err := q.forward("", false); err != nil {
		return err
	}
	if err := q.authorizeFor(acl.ACLWrite, ""); err != nil {
		return err
	}
	if body == nil {
		return nil
	}
	return definition.PlainBody.Decode(q.v, q.body, body)
}

// policyID returns the ID of the policy of that name, which each agent makes up.
func (q *request) policyID(name string) string { return acl.DeriveID("policy", q.config.Node, name) }

// policyLink names a policy of a token.
type policyLink struct{ ID, Name string }

// createToken serves PUT /v1/acl/token.
func createToken(q *request) (any, error) {
	var t struct {
		AccessorID, SecretID, Description string
		Policies                          []policyLink
		Local                             bool
	}
	if err := q.aclWrite(&t); err != nil {
		return nil, err
	}
	var rules []acl.Rule
	for i, p := range t.Policies {
		text, ok := q.a.ACL.Policies[p.Name]
		if !ok {
			return nil, fmt.Errorf("No such ACL policy with name %q", p.Name)
		}
		more, err := acl.ParseRules(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
		t.Policies[i].ID = q.policyID(p.Name)
	}
	if t.SecretID == "" {
		t.SecretID = acl.DeriveID("secret", t.AccessorID, time.Now().String())
	}
	authz := q.a.ACL.Add(t.SecretID, t.AccessorID, rules)
	q.a.Store.Index++
	return struct {
		AccessorID, SecretID, Description string
		Policies                          []policyLink
		Local                             bool
		CreateTime                        time.Time
		Hash                              string
		CreateIndex, ModifyIndex          uint64
	}{authz.Accessor, t.SecretID, t.Description, t.Policies, t.Local, time.Now().UTC(), "", q.a.Store.Index, q.a.Store.Index}, nil
}

// deleteToken serves DELETE /v1/acl/token/{accessor_id}.
func deleteToken(q *request) (any, error) {
	if err := q.aclWrite(nil); err != nil {
		return nil, err
	}
	if !q.a.ACL.Remove(q.name) {
		return nil, errors.New("ACL not found")
	}
	q.a.Store.Index++
	if q.v == release.V1_21_4 {
		q.a.Store.Notify(state.ACLKey)
	}
	return true, nil
}
