// Package acl is the access control of the fake: tokens, the rules that they have,
// and what those allow.
package acl

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// Token is a token with what it allows.
type Token struct {
	SecretID   string // what requests carry
	AccessorID string // what refusals name; derived from SecretID if empty
	Rules      string
}

// ManagementRules allow everything.
const ManagementRules = `service_prefix "" { policy = "write" } node_prefix "" { policy = "write" } agent_prefix "" { policy = "write" }
key_prefix "" { policy = "write" } session_prefix "" { policy = "write" } event_prefix "" { policy = "write" }
operator = "write" acl = "write"`

// Permission is something that a token may allow: a kind of resource and what is
// done to it.
type Permission struct {
	resource string
	access   string // read, list or write
}

// The permissions that requests need.
var (
	ServiceRead   = Permission{"service", "read"}
	ServiceWrite  = Permission{"service", "write"}
	NodeRead      = Permission{"node", "read"}
	NodeWrite     = Permission{"node", "write"}
	KeyRead       = Permission{"key", "read"}
	KeyList       = Permission{"key", "list"} // needed for lists only if the server is configured so
	KeyWrite      = Permission{"key", "write"}
	SessionRead   = Permission{"session", "read"}
	SessionWrite  = Permission{"session", "write"}
	EventRead     = Permission{"event", "read"}
	EventWrite    = Permission{"event", "write"}
	AgentRead     = Permission{"agent", "read"}
	AgentWrite    = Permission{"agent", "write"}
	OperatorRead  = Permission{"operator", "read"}
	OperatorWrite = Permission{"operator", "write"}
	ACLWrite      = Permission{"acl", "write"}
)

// Control is the access control of the server.
type Control struct {
	On           bool
	bySecret     map[string]*Authorizer
	byAccessor   map[string]*Authorizer
	Policies     map[string]string // rules by the policy's name
	SeedToken    string            // what the test's own registrations carry
	anonymous    *Authorizer
	AgentToken   *string // what the agent uses for itself; nil allows everything
	DefaultToken string  // what it uses for requests without a token
}

// New returns an access control that knows some tokens. If it is off, it allows
// everything.
func New(on bool, node string, tokens []Token, agentToken *string) *Control {
	a := &Control{
		On:         on,
		bySecret:   make(map[string]*Authorizer),
		byAccessor: make(map[string]*Authorizer),
		Policies:   make(map[string]string),
		anonymous:  &Authorizer{Anonymous: true},
		AgentToken: agentToken,
	}
	if a.On {
		a.SeedToken = DeriveID("seed", node)
		rules, err := ParseRules(ManagementRules)
		if err != nil {
			panic("consulmock: " + err.Error()) // the rules are constant
		}
		a.Add(a.SeedToken, "", rules)
	}
	for _, t := range tokens {
		rules, err := ParseRules(t.Rules)
		if err != nil {
			panic("consulmock: rules of a token: " + err.Error())
		}
		a.Add(t.SecretID, t.AccessorID, rules)
	}
	return a
}

// Add adds a token with its rules, and returns what it allows.
func (a *Control) Add(secret, accessor string, rules []Rule) *Authorizer {
	if accessor == "" {
		accessor = DeriveID("accessor", secret)
	}
	authz := &Authorizer{Accessor: accessor, secret: secret, rules: rules}
	a.bySecret[secret] = authz
	a.byAccessor[accessor] = authz
	return authz
}

// Remove removes the token with that accessor, and reports whether there was one.
func (a *Control) Remove(accessor string) bool {
	z := a.byAccessor[accessor]
	if z == nil {
		return false
	}
	delete(a.bySecret, z.secret)
	delete(a.byAccessor, accessor)
	return true
}

// DeriveID returns a UUID that follows from its arguments.
func DeriveID(parts ...string) string {
	h := sha256.Sum256([]byte("consulmock " + strings.Join(parts, " ")))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// Authorizer decides what a token allows. A nil authorizer allows everything.
type Authorizer struct {
	Anonymous bool
	Accessor  string
	secret    string
	rules     []Rule
}

// policyRanks tells which of several rules for the same name counts: the one that
// denies, else the one that allows most.
var policyRanks = map[string]int{"read": 1, "list": 2, "write": 3, "deny": 4}

// Allows reports whether the token allows p on the resource of that name. An
// exact rule wins over a prefix, and a longer prefix over a shorter one.
func (z *Authorizer) Allows(p Permission, name string) bool {
	if z == nil {
		return true
	}
	best, access := -1, "deny"
	for _, r := range z.rules {
		weight := -1
		switch {
		case r.resource != p.resource:
		case r.isPrefix && strings.HasPrefix(name, r.name):
			weight = len(r.name)
		case !r.isPrefix && r.name == name:
			weight = 1 << 20
		}
		if weight > best || weight == best && weight >= 0 && policyRanks[r.access] > policyRanks[access] {
			best, access = weight, r.access
		}
	}
	return grants(access, p.access)
}

// grants reports whether a rule with an access allows another one.
func grants(access, wanted string) bool {
	return access != "deny" && policyRanks[access] >= policyRanks[wanted]
}

// AllowsCheck reports whether the token allows to read a check.
func (z *Authorizer) AllowsCheck(c *state.CheckRecord) bool {
	if c.ServiceName != "" {
		return z.Allows(ServiceRead, c.ServiceName)
	}
	return z.Allows(NodeRead, c.Node)
}

// Require returns the refusal if the token does not allow p.
func (z *Authorizer) Require(v release.Version, p Permission, name string) error {
	if z.Allows(p, name) {
		return nil
	}
	return z.denied(v, p, name)
}

// denied returns the refusal of p on the resource of that name.
func (z *Authorizer) denied(v release.Version, p Permission, name string) error {
	if v == release.V1_8_7 {
		return ErrDenied
	}
	on := ""
	if name != "" {
		on = fmt.Sprintf(" on %q", name)
	}
	if z.Anonymous {
		return refusal.New(http.StatusForbidden, fmt.Sprintf("Permission denied: anonymous token lacks permission '%s:%s'%s. "+
			"The anonymous token is used implicitly when a request does not specify a token.", p.resource, p.access, on))

	}
	return refusal.New(http.StatusForbidden, fmt.Sprintf("Permission denied: token with AccessorID '%s' lacks permission '%s:%s'%s",
		z.Accessor, p.resource, p.access, on))

}

// RequireLocal is as require, for writes to the agent, where 1.8.7 tells what is
// missing.
func (z *Authorizer) RequireLocal(v release.Version, p Permission, name string) error {
	err := z.Require(v, p, name)
	if err != nil && v == release.V1_8_7 {
		return refusal.New(http.StatusForbidden, fmt.Sprintf("Permission denied: Missing %s:%s on %s", p.resource, p.access, name))
	}
	return err
}

// RequireCheck returns the refusal if the token does not allow to write a check
// of the agent.
func (z *Authorizer) RequireCheck(v release.Version, c *state.CheckRecord, node string) error {
	if c.ServiceName != "" {
		return z.RequireLocal(v, ServiceWrite, c.ServiceName)
	}
	return z.RequireLocal(v, NodeWrite, node)
}

// The refusals of 1.8.7, and of tokens that nobody knows.
var (
	ErrDenied      = refusal.New(http.StatusForbidden, "Permission denied")
	errACLNotFound = refusal.New(http.StatusForbidden, "ACL not found")
)

// Resolve returns what a token allows: everything if there is no access control.
func (a *Control) Resolve(token string) (*Authorizer, error) {
	if !a.On {
		return nil, nil
	}
	if token == "" {
		return a.anonymous, nil
	}
	if z := a.bySecret[token]; z != nil {
		return z, nil
	}
	return nil, errACLNotFound
}

// Own returns what the agent itself is allowed to do.
func (a *Control) Own() *Authorizer {
	if !a.On || a.AgentToken == nil {
		return nil
	}
	token := *a.AgentToken
	if token == "" {
		token = a.DefaultToken
	}
	if authz, err := a.Resolve(token); err == nil {
		return authz
	}
	return a.anonymous
}

// AllowsInstance reports whether the token allows to read an instance.
func (z *Authorizer) AllowsInstance(s *state.Service) bool {
	return z.Allows(NodeRead, s.Node.Node) && z.Allows(ServiceRead, s.Name)
}
