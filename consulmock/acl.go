package consulmock

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// aclToken is a token with what it allows.
type aclToken struct {
	SecretID   string // what requests carry
	AccessorID string // what refusals name; derived from SecretID if empty
	Rules      string
}

// managementRules allow everything.
const managementRules = `service_prefix "" { policy = "write" } node_prefix "" { policy = "write" } agent_prefix "" { policy = "write" }
operator = "write" acl = "write"`

// permission is something that a token may allow: a kind of resource and what is
// done to it.
type permission struct {
	resource string
	access   string // read or write
}

var (
	serviceRead   = permission{"service", "read"}
	serviceWrite  = permission{"service", "write"}
	nodeRead      = permission{"node", "read"}
	nodeWrite     = permission{"node", "write"}
	agentRead     = permission{"agent", "read"}
	agentWrite    = permission{"agent", "write"}
	operatorRead  = permission{"operator", "read"}
	operatorWrite = permission{"operator", "write"}
	aclWrite      = permission{"acl", "write"}
)

// acl is the access control of the server.
type acl struct {
	on           bool
	bySecret     map[string]*authorizer
	byAccessor   map[string]*authorizer
	policies     map[string]string // rules by the policy's name
	seedToken    string            // what the test's own registrations carry
	anonymous    *authorizer
	agentToken   *string // what the agent uses for itself; nil allows everything
	defaultToken string  // what it uses for requests without a token
}

// aclKey is the key of those who wait for changes of tokens.
const aclKey = "acl"

func newACL(on bool, node string, tokens []aclToken, agentToken *string) *acl {
	a := &acl{
		on:           on,
		bySecret:     make(map[string]*authorizer),
		byAccessor:   make(map[string]*authorizer),
		policies:     make(map[string]string),
		anonymous:    &authorizer{anonymous: true},
		agentToken:   agentToken,
		defaultToken: "",
	}
	if a.on {
		a.seedToken = deriveID("seed", node)
		rules, err := parseRules(managementRules)
		if err != nil {
			panic("consulmock: " + err.Error()) // the rules are constant
		}
		a.add(a.seedToken, "", rules)
	}
	for _, t := range tokens {
		rules, err := parseRules(t.Rules)
		if err != nil {
			panic("consulmock: rules of a token: " + err.Error())
		}
		a.add(t.SecretID, t.AccessorID, rules)
	}
	return a
}

func (a *acl) add(secret, accessor string, rules []rule) *authorizer {
	if accessor == "" {
		accessor = deriveID("accessor", secret)
	}
	authz := &authorizer{accessor: accessor, secret: secret, rules: rules}
	a.bySecret[secret] = authz
	a.byAccessor[accessor] = authz
	return authz
}

// deriveID returns a UUID that follows from its arguments.
func deriveID(parts ...string) string {
	h := sha256.Sum256([]byte("consulmock " + strings.Join(parts, " ")))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// authorizer decides what a token allows. A nil authorizer allows everything.
type authorizer struct {
	anonymous bool
	accessor  string
	secret    string
	rules     []rule
}

// policyRanks says which of several rules for the same name counts: the one that
// denies, else the one that allows most.
var policyRanks = map[string]int{"read": 1, "list": 2, "write": 3, "deny": 4}

// allows reports whether the token allows p on the resource of that name. An
// exact rule wins over a prefix, and a longer prefix over a shorter one.
func (z *authorizer) allows(p permission, name string) bool {
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
	return access == "write" || p.access == "read" && access == "read"
}

// allowsCheck reports whether the token allows to read a check.
func (z *authorizer) allowsCheck(c *checkRecord) bool {
	if c.ServiceName != "" {
		return z.allows(serviceRead, c.ServiceName)
	}
	return z.allows(nodeRead, c.Node)
}

// require returns the refusal if the token does not allow p.
func (z *authorizer) require(v release.Version, p permission, name string) error {
	if z.allows(p, name) {
		return nil
	}
	if v == release.V1_8_7 {
		return errDenied
	}
	on := ""
	if p.resource != "operator" && p.resource != "acl" {
		on = fmt.Sprintf(" on %q", name)
	}
	if z.anonymous {
		return &httpError{http.StatusForbidden, fmt.Sprintf("Permission denied: anonymous token lacks permission '%s:%s'%s. "+
			"The anonymous token is used implicitly when a request does not specify a token.", p.resource, p.access, on)}
	}
	return &httpError{http.StatusForbidden, fmt.Sprintf("Permission denied: token with AccessorID '%s' lacks permission '%s:%s'%s",
		z.accessor, p.resource, p.access, on)}
}

// requireLocal is as require, for writes to the agent, where 1.8.7 says what is
// missing.
func (z *authorizer) requireLocal(v release.Version, p permission, name string) error {
	err := z.require(v, p, name)
	if err != nil && v == release.V1_8_7 {
		return &httpError{http.StatusForbidden, fmt.Sprintf("Permission denied: Missing %s:%s on %s", p.resource, p.access, name)}
	}
	return err
}

// requireCheck returns the refusal if the token does not allow to write a check
// of the agent.
func (z *authorizer) requireCheck(v release.Version, c *checkRecord, node string) error {
	if c.ServiceName != "" {
		return z.requireLocal(v, serviceWrite, c.ServiceName)
	}
	return z.requireLocal(v, nodeWrite, node)
}

var (
	errDenied      = &httpError{http.StatusForbidden, "Permission denied"}
	errACLNotFound = &httpError{http.StatusForbidden, "ACL not found"}
)

// tokenText returns the token that a request carries: as a parameter, in its own
// header, or as a bearer.
func (q *request) tokenText() string {
	if q.seeding {
		return q.a.acl.seedToken
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
func (q *request) authorize() (*authorizer, error) {
	t := q.tokenText()
	if t == "" {
		t = q.a.acl.defaultToken
	}
	return q.a.acl.resolve(t)
}

// resolve returns what a token allows: everything if there is no access control.
func (a *acl) resolve(token string) (*authorizer, error) {
	if !a.on {
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

// authorizeFor returns the refusal if the request's token does not allow p.
func (q *request) authorizeFor(p permission, name string) error {
	authz, err := q.authorize()
	if err != nil {
		return err
	}
	return authz.require(q.v, p, name)
}

// setFiltered says that something was left out of an answer. Agents do not say
// so to requests without a token.
func (q *request) setFiltered(authz *authorizer, filtered bool) {
	if filtered && q.v == release.V1_21_4 && !authz.anonymous {
		q.w.Header().Set("X-Consul-Results-Filtered-By-Acls", "true")
	}
}

// vetService returns the refusal if the token may not register a service, or may
// not take over its ID from another one.
func (q *request) vetService(authz *authorizer, id, name string) error {
	if err := authz.requireLocal(q.v, serviceWrite, name); err != nil {
		return err
	}
	old := q.a.services[id]
	if old == nil {
		return nil
	}
	err := authz.requireLocal(q.v, serviceWrite, old.rec.Name)
	if err != nil && q.v == release.V1_8_7 {
		return &httpError{http.StatusForbidden, "Permission denied: Missing service:write on " + name}
	}
	return err
}

// catalogDenies reports whether the catalog refuses a write of the agent that
// carries the token of a registration.
func (a *agent) catalogDenies(token string, p permission, name string) bool {
	if token == "" {
		token = a.acl.defaultToken
	}
	authz, err := a.acl.resolve(token)
	return err != nil || !authz.allows(p, name)
}

// catalogDeniesDeregister reports whether the catalog refuses that the agent
// takes something off its node. 1.21.4 does it with the agent's own token only,
// 1.8.7 with that of the registration first.
func (a *agent) catalogDeniesDeregister(token string, p permission, name string) bool {
	if a.config.version == release.V1_8_7 && token != "" {
		return a.catalogDenies(token, p, name)
	}
	own := a.acl.own()
	return !own.allows(nodeWrite, a.config.node) && !own.allows(p, name)
}

// own returns what the agent itself is allowed to do.
func (a *acl) own() *authorizer {
	if !a.on || a.agentToken == nil {
		return nil
	}
	token := *a.agentToken
	if token == "" {
		token = a.defaultToken
	}
	if authz, err := a.resolve(token); err == nil {
		return authz
	}
	return a.anonymous
}
