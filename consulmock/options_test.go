package consulmock

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// What is wrong with options is an error for those who take them from a user, and
// a panic for all others.
func TestBadOptions(t *testing.T) {
	secret := ManagementToken("5ecre7-token")
	for want, opts := range map[string][]Option{
		`version "2.0": want 1.21.4 or 1.8.7`:                                           {WithVersion("2.0")},
		`version "": want 1.21.4 or 1.8.7`:                                              {WithVersion(""), WithVersion("1.8.7")},
		"the name of the node is empty":                                                 {WithNode("")},
		`name of the datacenter "": want letters, digits, hyphens and underscores`:      {WithDatacenter("")},
		`name of the datacenter "my dc": want letters, digits, hyphens and underscores`: {WithDatacenter("my DC")},
		`ID of the node "x": want a UUID`:                                               {WithNodeID("x")},
		"query times 0s and 1s: want more than 0":                                       {WithQueryTimes(0, time.Second)},
		"limits of 0 and 5 bytes: want more than 0":                                     {WithKeyLimits(0, 5)},
		"limits of 5 and -1 bytes: want more than 0":                                    {WithKeyLimits(5, -1)},
		"query times 1s and -1s: want more than 0":                                      {WithQueryTimes(time.Second, -time.Second)},
		"rules of token 2: ":                                                            {WithTokens(secret), WithTokens(Token{SecretID: "x", Rules: "nonsense"})},
		"token 1 has no SecretID":                                                       {WithTokens(Token{})},
		"token 2 has the SecretID of one before it":                                     {WithTokens(secret, secret)},
		"token 2 has the AccessorID of one before it":                                   {WithTokens(Token{SecretID: "a", AccessorID: "x"}, Token{SecretID: "b", AccessorID: "x"})},
		"option 2 is nil":                                                               {WithNode("a"), nil},
	} {
		err := CheckOptions(opts...)
		if err == nil || !strings.HasPrefix(err.Error(), "consulmock: "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); err == nil || got != err.Error() {
					t.Errorf("NewServer panics with %s, CheckOptions returns %v", got, err)
				}
			}()
			NewServer(opts...)
		}()
	}
	if err := CheckOptions(WithTokens(secret), WithVersion("1.8.7"), WithNode("a"), WithNode("b")); err != nil {
		t.Error(err)
	}
	// As agents do, capital letters become small ones.
	self, err := New(t, WithNodeID("AAAAAAAA-2222-3333-4444-555555555555"), WithDatacenter("DC_7-x")).Client().Agent().Self(context.Background())
	if err != nil || self.Config.NodeID != "aaaaaaaa-2222-3333-4444-555555555555" || self.Config.Datacenter != "dc_7-x" {
		t.Errorf("got %+v, %v", self, err)
	}
}

// The options show where an agent shows them.
func TestOptions(t *testing.T) {
	ctx := context.Background()
	const id = "11111111-2222-3333-4444-555555555555"
	s := New(t, WithNode("n7"), WithNodeID(id), WithDatacenter("moon"), WithNodeMeta(map[string]string{"rack": "r1"}))
	self, err := s.Client().Agent().Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if c := self.Config; c.NodeName != "n7" || c.NodeID != id || c.Datacenter != "moon" || c.Version != "1.21.4" {
		t.Errorf("self says %+v", c)
	}
	nodes, _, err := s.Client().Catalog().Nodes(ctx, &consul.QueryOptions{NodeMeta: map[string]string{"rack": "r1"}})
	if err != nil || len(nodes) != 1 || nodes[0].ID != id {
		t.Errorf("nodes are %v, %v", nodes, err)
	}
}

// What holds without options, and that of two options the later one counts.
func TestDefaults(t *testing.T) {
	ctx := context.Background()
	for name, want := range map[string]consul.AgentSelfConfig{
		"":  {NodeName: "node1", Datacenter: "dc1", Version: "1.21.4"},
		"b": {NodeName: "b", Datacenter: "dc1", Version: "1.8.7"},
	} {
		var opts []Option
		if name != "" {
			opts = []Option{WithNode("a"), WithNode(name), WithVersion("1.21.4"), WithVersion("1.8.7")}
		}
		s := New(t, opts...)
		self, err := s.Client().Agent().Self(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := self.Config; got.NodeName != want.NodeName || got.Datacenter != want.Datacenter || got.Version != want.Version {
			t.Errorf("got %+v, want %+v", got, want)
		}
		// Access is not controlled, and checks are not run.
		s.AddService(&consul.AgentServiceRegistration{
			Name: "web", Check: &consul.AgentServiceCheck{TCP: "127.0.0.1:1", Interval: time.Millisecond, Status: consul.HealthPassing},
		})
		if s.agent.Checks["service:web"].IsProbed() {
			t.Error("the check is run")
		}
		// There may be more connections than an agent takes from one client.
		dial := s.Transport().(*http.Transport).DialContext
		for range 300 {
			c, err := dial(ctx, "tcp", "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if services, err := s.Client().Agent().Services(ctx, nil); err != nil || len(services) != 1 {
			t.Errorf("got %v, %v", services, err)
		}
	}
}

// The ID of a node follows from its name. An agent that has lost its data gets
// another one, unless an option sets it.
func TestNodeIDs(t *testing.T) {
	const set = "11111111-2222-3333-4444-555555555555"
	id := func(s *Server) string {
		self, err := s.Client().Agent().Self(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return self.Config.NodeID
	}
	a, again, b, fixed := New(t), New(t), New(t, WithNode("b")), New(t, WithNodeID(set))
	first := id(a)
	if first != id(again) || first == id(b) || !uuid.MatchString(first) {
		t.Errorf("got %s, %s and, for another name, %s", first, id(again), id(b))
	}
	for _, s := range []*Server{a, fixed} {
		s.Restart(true)
	}
	if id(a) != first || id(fixed) != set {
		t.Errorf("after a restart: %s and %s", id(a), id(fixed))
	}
	for _, s := range []*Server{a, fixed} {
		s.Restart(false)
	}
	if id(a) == first || id(fixed) != set {
		t.Errorf("after a loss of the data: %s and %s", id(a), id(fixed))
	}
}

// Where access is controlled, what no token allows is refused, or left out. Tokens
// add up.
func TestAccessControl(t *testing.T) {
	ctx := context.Background()
	for _, s := range []*Server{
		New(t, WithACLDefaultDeny()),
		New(t, WithTokens(ManagementToken("one")), WithTokens(ManagementToken("two"))),
	} {
		s.AddService(registration("web")) // needs no token
		hasTokens := len(s.config.agent.Tokens) > 0
		for token, allowed := range map[string]bool{"": false, "one": hasTokens, "two": hasTokens} {
			c := s.Client().WithToken(token)
			if _, err := c.Agent().Self(ctx); (err == nil) != allowed {
				t.Errorf("with token %q: %v", token, err)
			}
		}
		if services, err := s.Client().Agent().Services(ctx, nil); err != nil || len(services) != 0 {
			t.Errorf("without a token: %v, %v", services, err)
		}
	}
}

// Waits are answered by the streaming backend where an agent would, unless it is
// turned off.
func TestStreamingOption(t *testing.T) {
	for want, opts := range map[string][]Option{
		"streaming": {}, "blocking-query": {WithStreaming(false)}, "": {WithVersion("1.8.7"), WithStreaming(true)},
	} {
		s := New(t, opts...)
		s.AddService(registration("web"))
		for _, path := range []string{"service", "connect"} {
			r := ask(t, s, "GET", "/v1/health/"+path+"/web?index=1", "")
			if got := r.Header.Get("X-Consul-Query-Backend"); got != want {
				t.Errorf("%s: got %q, want %q", path, got, want)
			}
		}
	}
}

// A translating agent reports that in every response, and changes no address of its own
// datacenter.
func TestTranslateAddresses(t *testing.T) {
	for _, on := range []bool{false, true} {
		s := New(t, WithTranslateAddresses(on), WithCompactJSON(true))
		r := registration("web")
		r.Address, r.TaggedAddresses = "10.0.0.1", map[string]consul.ServiceAddress{"wan": {Address: "192.0.2.1", Port: 80}}
		s.AddService(r)
		for _, target := range []string{"/v1/health/service/web", "/v1/agent/self", "/v1/agent/service/none", "/v1/catalog/nodes?index=x"} {
			answer := ask(t, s, "GET", target, "")
			if got := answer.Header.Get("X-Consul-Translate-Addresses") == "true"; got != on {
				t.Errorf("%s: says that it translates: %t, want %t", target, got, on)
			}
			if body := text(t, answer); strings.HasSuffix(target, "/web") && !strings.Contains(body, `"Address":"10.0.0.1"`) {
				t.Errorf("%s: %s", target, body)
			}
		}
	}
}
