package consulmock

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// createPolicy answers PUT /v1/acl/policy.
func createPolicy(q *request) (any, error) {
	var p struct{ ID, Name, Description, Rules string }
	if err := q.aclWrite(&p); err != nil {
		return nil, err
	}
	if _, err := parseRules(p.Rules); err != nil {
		return nil, fmt.Errorf("Failed to parse ACL rules: %w", err)
	}
	q.a.acl.policies[p.Name] = p.Rules
	q.a.store.index++
	return struct {
		ID, Name, Description, Rules, Hash string
		CreateIndex, ModifyIndex           uint64
	}{deriveID("policy", p.Name), p.Name, p.Description, p.Rules, "", q.a.store.index, q.a.store.index}, nil
}

// aclWrite reads the body of a change of the access control, if the token allows
// it.
func (q *request) aclWrite(body any) error {
	if !q.a.acl.on {
		return &httpError{http.StatusUnauthorized, "ACL support disabled"}
	}
	if err := q.authorizeFor(aclWrite, ""); err != nil {
		return err
	}
	if body == nil {
		return nil
	}
	return plainBody.decode(q.v, q.body, body)
}

// policyLink names a policy of a token.
type policyLink struct{ ID, Name string }

// createToken answers PUT /v1/acl/token.
func createToken(q *request) (any, error) {
	var t struct {
		AccessorID, SecretID, Description string
		Policies                          []policyLink
		Local                             bool
	}
	if err := q.aclWrite(&t); err != nil {
		return nil, err
	}
	var rules []rule
	for i, p := range t.Policies {
		text, ok := q.a.acl.policies[p.Name]
		if !ok {
			return nil, fmt.Errorf("No such ACL policy with name %q", p.Name)
		}
		more, err := parseRules(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
		t.Policies[i].ID = deriveID("policy", p.Name)
	}
	if t.SecretID == "" {
		t.SecretID = deriveID("secret", t.AccessorID, time.Now().String())
	}
	authz := q.a.acl.add(t.SecretID, t.AccessorID, rules)
	q.a.store.index++
	return struct {
		AccessorID, SecretID, Description string
		Policies                          []policyLink
		Local                             bool
		CreateTime                        time.Time
		Hash                              string
		CreateIndex, ModifyIndex          uint64
	}{authz.accessor, t.SecretID, t.Description, t.Policies, t.Local, time.Now().UTC(), "", q.a.store.index, q.a.store.index}, nil
}

// deleteToken answers DELETE /v1/acl/token/{accessor_id}.
func deleteToken(q *request) (any, error) {
	if err := q.aclWrite(nil); err != nil {
		return nil, err
	}
	authz := q.a.acl.byAccessor[q.name]
	if authz == nil {
		return nil, errors.New("ACL not found")
	}
	delete(q.a.acl.bySecret, authz.secret)
	delete(q.a.acl.byAccessor, authz.accessor)
	q.a.store.index++
	if q.v == release.V1_21_4 {
		q.a.store.notify(aclKey)
	}
	return true, nil
}
