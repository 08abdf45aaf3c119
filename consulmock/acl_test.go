package consulmock

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lictor-go/consul/consulmock/internal/api"
)

func TestTokensWithWrongRules(t *testing.T) {
	defer func() {
		const want = `consulmock: rules of token 1: line 1: unknown rule "servcie"`
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, want) {
			t.Errorf("got %s", p)
		}
	}()
	NewServer(WithTokens(Token{SecretID: "a", Rules: `servcie "web" { policy = "write" }`}))
	t.Error("a token with wrong rules is accepted")
}

// Refusals, and lists that are filtered, without a token and with some.
func TestTokens(t *testing.T) {
	const (
		anonymous = ". The anonymous token is used implicitly when a request does not specify a token."
		web       = "token with AccessorID 'accessor' lacks permission "
	)
	tokens := []Token{ManagementToken("root"), ReadToken("read"), {
		SecretID: "web", AccessorID: "accessor", Rules: `service "web" { policy = "write" } node_prefix "" { policy = "read" }`,
	}}
	for _, test := range []struct {
		token, method, target, body string
		modern, old                 string // how the answer begins
	}{
		{"", "GET", "/v1/agent/self", "", "403 Permission denied: anonymous token lacks permission 'agent:read' on \"node1\"" + anonymous, "403 Permission denied"},
		{"none", "GET", "/v1/agent/self", "", "403 ACL not found", "403 ACL not found"},
		{"none", "GET", "/v1/agent/version", "", "200 ", "404"},
		{"none", "GET", "/v1/status/leader", "", "200 ", "200 "},
		{"web", "GET", "/v1/agent/host", "", "403 Permission denied: " + web + "'operator:read'", "403 Permission denied"},
		{"root", "GET", "/v1/agent/self", "", "200 ", "200 "},
		{"", "GET", "/v1/agent/services", "", "200 {}", "200 {}"},
		{"web", "GET", "/v1/agent/services", "", `200 {"web":`, `200 {"web":`},
		{"read", "GET", "/v1/agent/services", "", `200 {"db":`, `200 {"db":`},
		{"", "GET", "/v1/agent/service/db", "", "403 Permission denied: anonymous token lacks permission 'service:read' on \"db\"" + anonymous, "403 Permission denied"},
		{"", "GET", "/v1/health/service/db", "", "200 []", "200 []"},
		{"", "GET", "/v1/health/connect/db", "", "403 Permission denied", "200 []"},
		{"web", "GET", "/v1/health/service/db", "", "200 []", "200 []"},
		{"read", "GET", "/v1/health/service/db", "", "200 [{", "200 [{"},
		{"web", "PUT", "/v1/agent/service/register", `{"Name":"db"}`, "403 Permission denied: " + web + `'service:write' on "db"`,
			"403 Permission denied: Missing service:write on db"},
		{"web", "PUT", "/v1/agent/service/register", `{"Name":"web","ID":"db"}`, "403 Permission denied: " + web + `'service:write' on "db"`,
			"403 Permission denied: Missing service:write on web"},
		{"web", "PUT", "/v1/agent/service/register", `{"Name":"web"}`, "200", "200"},
		{"web", "PUT", "/v1/agent/service/register", `{}`, "400 Missing service name", "400 Missing service name"},
		{"web", "PUT", "/v1/agent/check/pass/service:db", "", "403 Permission denied: " + web + `'service:write' on "db"`,
			"403 Permission denied: Missing service:write on db"},
		{"web", "PUT", "/v1/agent/check/pass/none", "", `404 Unknown check ID "none"`, `500 Unknown check "none"`},
		{"web", "PUT", "/v1/agent/service/deregister/none", "", `404 Unknown service ID "none"`, `500 Unknown service {"none" {}}`},
		{"web", "PUT", "/v1/agent/maintenance?enable=true", "", "403 Permission denied: " + web + `'node:write' on "node1"`, "403 Permission denied"},
		{"web", "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a"}`, "403 Permission denied: " + web + `'node:write' on "ext"`, "403 Permission denied"},
		{"root", "GET", "/v1/operator/raft/configuration", "", `200 {"Servers":[{"ID":"`, `200 {"Servers":[{"ID":"`},
		{"web", "GET", "/v1/operator/raft/configuration", "", "403 Permission denied: " + web + "'operator:read'", "403 Permission denied"},
		{"root", "PUT", "/v1/agent/token/bogus", `{"Token":"x"}`, `404 Token "bogus" is unknown`, `404 Token "bogus" is unknown`},
	} {
		for version, want := range map[string]string{"1.21.4": test.modern, "1.8.7": test.old} {
			s := NewServer(WithVersion(version), WithCompactJSON(true), WithTokens(tokens...))
			for _, name := range []string{"web", "db"} {
				ask(t, s, "PUT", "/v1/agent/service/register?token=root", `{"Name":"`+name+`","Check":{"TTL":"1h"}}`)
			}
			got := text(t, ask(t, s, test.method, test.target, test.body, "X-Consul-Token: "+test.token))
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q %s %s %s\n got %s\nwant %s", version, test.token, test.method, test.target, test.body, got, want)
			}
			s.Close()
		}
	}
}

// A management token is refused by no endpoint that the server has.
func TestManagementToken(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version), WithTokens(ManagementToken("root")))
		for _, rt := range api.Routes {
			path := rt.Path
			if rt.Method == "" || strings.HasSuffix(path, "/leave") || strings.HasSuffix(path, "/monitor") || strings.HasSuffix(path, "/stream") {
				continue
			}
			for _, method := range strings.Split(rt.Method, ",") {
				r := ask(t, s, method, path+"?token=root", `{"Name":"a","Node":"a","Address":"a","Token":"a"}`)
				if got := text(t, r); r.StatusCode == http.StatusForbidden {
					t.Errorf("%s: %s %s: %s", version, method, path, got)
				}
			}
		}
	}
}

// What the tokens for reading and for services allow, with prefixes that have to be
// quoted too.
func TestReadAndServiceTokens(t *testing.T) {
	const prefix = `we"b\é `
	s := New(t, WithTokens(ManagementToken("root"), ReadToken("read"), ServiceToken("service", prefix)))
	name := prefix + "1"
	body := fmt.Sprintf(`{"Name":%q}`, name)
	for _, test := range []struct {
		token, method, target, body string
		want                        int
	}{
		{"read", "PUT", "/v1/agent/service/register", body, 403},
		{"service", "PUT", "/v1/agent/service/register", body, 200},
		{"service", "PUT", "/v1/agent/service/register", `{"Name":"db"}`, 403},
		{"root", "PUT", "/v1/agent/service/register", `{"Name":"db"}`, 200},
		{"read", "GET", "/v1/agent/service/db", "", 200},
		{"service", "GET", "/v1/agent/service/db", "", 200},
		{"read", "PUT", "/v1/agent/service/deregister/db", "", 403},
		{"service", "PUT", "/v1/agent/service/deregister/db", "", 403},
		{"service", "PUT", "/v1/agent/service/deregister/" + url.PathEscape(name), "", 200},
		{"read", "PUT", "/v1/agent/maintenance?enable=true", "", 403},
		{"service", "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a"}`, 403},
	} {
		if r := ask(t, s, test.method, test.target, test.body, "X-Consul-Token: "+test.token); r.StatusCode != test.want {
			t.Errorf("%s %s %s %s: got %s, want %d", test.token, test.method, test.target, test.body, text(t, r), test.want)
		}
	}
	for _, token := range []string{"read", "service"} {
		if got := text(t, ask(t, s, "GET", "/v1/catalog/nodes?token="+token, "")); !strings.Contains(got, "node1") {
			t.Errorf("%s: got %s", token, got)
		}
	}
}

// With access control and no tokens everything is refused or hidden. The accessor
// that is derived from a secret does not tell it, and is the same each time.
func TestDefaultDeny(t *testing.T) {
	s := New(t, WithCompactJSON(true), WithACLDefaultDeny())
	s.AddService(registration("web"))
	for target, want := range map[string]string{
		"/v1/agent/self": "403", "/v1/agent/services": "200 {}", "/v1/health/service/web": "200 []", "/v1/catalog/nodes": "200 []",
	} {
		if got := text(t, ask(t, s, "GET", target, "")); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
	var said []string
	for range 2 {
		s := New(t, WithTokens(Token{SecretID: "5ecre7-token"}))
		said = append(said, text(t, ask(t, s, "GET", "/v1/agent/self?token=5ecre7-token", "")))
	}
	if said[0] != said[1] || !strings.Contains(said[0], "AccessorID '") || strings.Contains(said[0], "5ecre7") {
		t.Errorf("got %q", said)
	}
}

// Where a request may carry its token, and which one counts.
func TestTokenSources(t *testing.T) {
	s := New(t, WithCompactJSON(true), WithTokens(ManagementToken("root"), Token{SecretID: "none"}))
	ask(t, s, "PUT", "/v1/agent/service/register?token=root", `{"Name":"web"}`)
	for _, test := range []struct {
		query   string
		headers []string
		want    bool
	}{
		{"?token=root", nil, true},
		{"?token=root", []string{"X-Consul-Token: none"}, true},
		{"?token=", []string{"X-Consul-Token: root"}, true},
		{"", []string{"X-Consul-Token: root", "Authorization: Bearer none"}, true},
		{"", []string{"Authorization: bearer root"}, true},
		{"", []string{"Authorization: Basic root"}, false},
		{"", nil, false},
	} {
		got := text(t, ask(t, s, "GET", "/v1/agent/services"+test.query, "", test.headers...))
		if strings.Contains(got, "web") != test.want {
			t.Errorf("%s %v: got %s", test.query, test.headers, got)
		}
	}
}

// The agent says that it has left something out, but not to the anonymous.
func TestFilteredHeader(t *testing.T) {
	s := New(t, WithTokens(ManagementToken("root"), ServiceToken("web", "web"), Token{SecretID: "nothing"}))
	s.AddService(registration("web"))
	for token, want := range map[string]string{"": "", "root": "", "nothing": "true"} {
		r := ask(t, s, "GET", "/v1/health/service/web", "", "X-Consul-Token: "+token)
		if got := r.Header.Get("X-Consul-Results-Filtered-By-Acls"); got != want {
			t.Errorf("%q: filtered %q, want %q", token, got, want)
		}
	}
}

// Services that the token hides leave an empty list behind, other than a node
// without services does, and a node that is hidden.
func TestHiddenServices(t *testing.T) {
	s := New(t, WithCompactJSON(true), WithTokens(ManagementToken("root"), Token{SecretID: "nodes", Rules: `node_prefix "" { policy = "read" }`}))
	ask(t, s, "PUT", "/v1/catalog/register?token=root", `{"Node":"ext","Address":"a","Service":{"Service":"web"}}`)
	ask(t, s, "PUT", "/v1/catalog/register?token=root", `{"Node":"bare","Address":"a"}`)
	for target, want := range map[string]string{
		"/v1/catalog/node-services/ext?token=nodes":                      `"Services":[]}`,
		"/v1/catalog/node-services/ext?token=root":                       `"PeerName":""`,
		"/v1/catalog/node-services/bare?token=nodes":                     `"Services":null}`,
		"/v1/catalog/node-services/ext":                                  `{"Node":null,"Services":null}`,
		"/v1/catalog/node-services/none?token=root":                      `{"Node":null,"Services":null}`,
		"/v1/catalog/node-services/bare?token=root&filter=Service==none": `"Services":[]}`,
	} {
		if got := text(t, ask(t, s, "GET", target, "")); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// Policies and tokens are made and revoked as in a cluster.
func TestTokensByRequest(t *testing.T) {
	s := New(t, WithCompactJSON(true), WithTokens(ManagementToken("root")))
	for _, step := range []struct{ method, target, body, want string }{
		{"PUT", "/v1/acl/policy?token=root", `{"Name":"p","Rules":"service \"web\" { policy = \"write\" }"}`, `200 {"ID":`},
		{"PUT", "/v1/acl/policy?token=root", `{"Name":"p","Rules":"nonsense"}`, "500 Failed to parse ACL rules"},
		{"PUT", "/v1/acl/token?token=root", `{"SecretID":"s","AccessorID":"a","Policies":[{"Name":"p"}]}`, `200 {"AccessorID":"a","SecretID":"s"`},
		{"PUT", "/v1/acl/token?token=root", `{"Policies":[{"Name":"q"}]}`, `500 No such ACL policy with name "q"`},
		{"PUT", "/v1/acl/token?token=s", `{}`, "403 Permission denied"},
		{"PUT", "/v1/agent/service/register?token=s", `{"Name":"web"}`, "200"},
		{"DELETE", "/v1/acl/token/a?token=root", "", "200 true"},
		{"PUT", "/v1/agent/service/register?token=s", `{"Name":"web"}`, "403 ACL not found"},
		{"PUT", "/v1/agent/token/default?token=root", `{"Token":"root"}`, "200"},
		{"GET", "/v1/agent/services", "", `200 {"web":`},
	} {
		if got := text(t, ask(t, s, step.method, step.target, step.body)); !strings.HasPrefix(got, step.want) {
			t.Errorf("%s %s %s: got %s, want %s", step.method, step.target, step.body, got, step.want)
		}
	}
}

// Without a token of its own the agent leaves deregistered services behind in
// 1.21.4. What is written needs the token of the registration.
func TestCatalogNeedsTokens(t *testing.T) {
	for version, want := range map[string]int{"1.21.4": 1, "1.8.7": 0} {
		s := New(t, WithVersion(version), WithAgentToken(""), WithTokens(ManagementToken("root"), ServiceToken("web", "web")))
		ask(t, s, "PUT", "/v1/agent/service/register?token=web", `{"Name":"web","Check":{"TTL":"1h"}}`)
		instances := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.agent.Store.Instances("web"))
		}
		if instances() != 1 {
			t.Errorf("%s: the registration did not arrive", version)
		}
		ask(t, s, "PUT", "/v1/agent/service/deregister/web?token=web", "")
		if got := instances(); got != want {
			t.Errorf("%s: %d instances after the deregistration, want %d", version, got, want)
		}
	}
}

// What a token may register in the catalog depends on what is there: a node may be repeated
// by whoever may not change it, and a check belongs to the name that its service has.
func TestTokensOfRegistrations(t *testing.T) {
	const lacks = "403 Permission denied: token with AccessorID 'accessor' lacks permission "
	tokens := []Token{ManagementToken("root"), {SecretID: "some", AccessorID: "accessor", Rules: `
		service "a" { policy = "write" } service "b" { policy = "read" }
		node "mine" { policy = "write" } node "other" { policy = "read" }`}}
	for _, test := range []struct{ body, modern, old string }{
		{`{"Node":"other","Address":"y"}`, lacks + `'node:write' on "other"`, "403 Permission denied"},
		{`{"Node":"other","Address":"x","Check":{"CheckID":"c"}}`, lacks + `'node:write' on "other"`, "403 Permission denied"},
		{`{"Node":"other","Address":"x","Check":{"CheckID":"c","ServiceID":"a"}}`, "200 true", "200 true"},
		{`{"Node":"new","SkipNodeUpdate":true}`, lacks + `'node:write' on "new"`, "403 Permission denied"},
		{`{"Node":"mine","Address":"y","Check":{"CheckID":"c"}}`, "200 true", "200 true"},
		{`{"Node":"mine","Address":"x","Check":{"CheckID":"c","ServiceID":"a"}}`, "200 true", "200 true"},
		{`{"Node":"mine","Address":"x","Check":{"CheckID":"c","ServiceID":"b"}}`, lacks + `'service:write' on "b"`, "403 Permission denied"},
		{`{"Node":"mine","Address":"x","Service":{"ID":"b","Service":"a"}}`, "403 Permission denied", "403 Permission denied"},
		{`{"Node":"mine","Address":"x","Check":{"CheckID":"c","ServiceID":"none"}}`, "500 Unknown service ID 'none' for check ID 'c'", "500 Unknown service 'none' for check 'c'"},
		{`{"Node":"mine","Address":"x","Check":{"CheckID":"c","Node":"no"}}`, "500 Node 'no' for check 'c' doesn't match register request node 'mine'", "500 Node 'no' for check 'c' doesn't match register request node 'mine'"},
	} {
		for version, want := range map[string]string{"1.21.4": test.modern, "1.8.7": test.old} {
			s := New(t, WithVersion(version), WithACLDefaultDeny(), WithTokens(tokens...))
			for _, node := range []string{`"mine","Address":"x","Service":{"Service":"a"}`, `"mine","Address":"x","Service":{"Service":"b"}`, `"other","Address":"x","Service":{"Service":"a"}`} {
				ask(t, s, "PUT", "/v1/catalog/register?token=root", `{"Node":`+node+"}")
			}
			if got := text(t, ask(t, s, "PUT", "/v1/catalog/register?token=some", test.body)); got != want {
				t.Errorf("%s: %s:\n got %s\nwant %s", version, test.body, got, want)
			}
		}
	}
}
