package filter

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

func filterEntry() *consul.ServiceEntry {
	return &consul.ServiceEntry{
		Node: &consul.Node{Node: "node1", Meta: map[string]string{"rack": "a 1"}},
		Service: &consul.AgentService{
			ID: "web-1", Service: "web", Tags: []string{"v1", "green"}, Port: 80,
			Meta:            map[string]string{"env": "prod"},
			TaggedAddresses: map[string]consul.ServiceAddress{"lan": {Address: "10.0.0.1", Port: 8080}},
			Weights:         consul.AgentWeights{Passing: 2, Warning: 1},
			Proxy:           json.RawMessage(`{"Mode":"direct","Upstreams":[{"DestinationName":"db","LocalBindPort":9}]}`),
			Connect:         &consul.AgentServiceConnect{Native: true},
		},
		Checks: consul.HealthChecks{
			{CheckID: "a", Status: consul.HealthPassing, ServiceTags: []string{"v1"}, Interval: 10 * time.Second},
			{CheckID: "b", Status: consul.HealthCritical},
		},
	}
}

func TestFilter(t *testing.T) {
	tests := []struct {
		expression string
		want       bool
	}{
		{`Service.Service == "web"`, true},
		{`Service.Service == web`, true},
		{"Service.Service == `web`", true},
		{`Service.Service!="web"`, false},
		{`Service.Port == 80`, true},
		{`Service.Port == "0x50"`, true},
		{`Service.Port != 80`, false},
		{`Service.Weights.Passing == 2`, true},
		{`Service.EnableTagOverride == false`, true},
		{`Service.EnableTagOverride == "T"`, false},
		{`"green" in Service.Tags`, true},
		{`green in Service.Tags`, true},
		{`"red" not in Service.Tags`, true},
		{`Service.Tags contains v1`, true},
		{`Service.Tags not contains v1`, false},
		{`Service.Tags is empty`, false},
		{`Service.Tags is not empty`, true},
		{`"env" in Service.Meta`, true},
		{`Service.Meta.env == prod`, true},
		{`Service.Meta["env"] == prod`, true},
		{`Node.Meta["rack"] == "a 1"`, true},
		{`Service.Meta.env matches "^p"`, true},
		{`Service.Meta.env not matches "^p"`, false},
		{`Service.Meta.env contains "ro"`, true},
		{`"ro" in Service.Meta.env`, true},
		{`Service.Meta.none == ""`, false},
		{`Service.Meta.none != ""`, true},
		{`x in Service.Meta.none`, false},
		{`x not in Service.Meta.none`, true},
		{`Service.Meta.none matches "x"`, true}, // as agents have it
		{`Service.TaggedAddresses.lan.Port == 8080`, true},
		{`Service.TaggedAddresses.wan.Port == 8080`, false},
		{`Checks.Status == critical`, true}, // one is enough
		{`Checks.Status != critical`, true},
		{`not Checks.Status == critical`, false},
		{`Checks is empty`, false},
		{`Checks.ServiceTags contains v1`, true},
		{`Checks.Interval == "10s"`, true},
		{`Checks.Timeout == ""`, true},
		{`Checks.ExposedPort == 0`, true},
		{`Service.Proxy.Mode == direct`, true},
		{`Service.Proxy.Upstreams.LocalBindPort == 9`, true},
		{`Service.Proxy.Upstreams.LocalBindPort == 8`, false},
		{`Service.Proxy.Expose.Checks == false`, true},
		{`Service.Connect.Native == true`, true},
		{`Service.ID == a and Service.ID == b or Service.Port == 80`, true},
		{`Service.ID == a and (Service.ID == b or Service.Port == 80)`, false},
		{`not not not Service.ID == "web-1"`, false},
		{" \t\n(Service.Port == 80)\r\n ", true},
	}
	for _, tt := range tests {
		filter, err := Compile(tt.expression, ServiceEntry, release.V1_21_4)
		if err != nil {
			t.Errorf("%s: %v", tt.expression, err)
			continue
		}
		if got, err := filter(filterEntry()); got != tt.want || err != nil {
			t.Errorf("%s: %t, %v; want %t", tt.expression, got, err, tt.want)
		}
	}
}

// The texts are those of agents 1.21.4 and 1.8.7, which are the same.
func TestFilterErrors(t *testing.T) {
	const value = `"-", "0", "\"", "` + "`" + `", [ \t\r\n], [1-9] or [a-zA-Z]`
	tests := []struct{ expression, want string }{
		{`Service ==`, `1:11 (10): no match found, expected: ` + value},
		{` `, `1:2 (1): no match found, expected: "(", "-", "0", "\"", "` + "`" + `", "not", [ \t\r\n], [1-9] or [a-zA-Z]`},
		{`ID = "web"`, `1:4 (3): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \t\r\n]`},
		{`web`, `1:4 (3): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]`},
		{`ID == 1 )`, `1:9 (8): no match found, expected: "and", "or", [ \t\r\n] or EOF`},
		{"ID ==\n\n", `3:1 (7): no match found, expected: ` + value},
		{`Bogus == "x"`, `Selector "Bogus" is not valid`},
		{`Meta.a.b == "x"`, `Selector "Meta.a.b" is not valid`},
		{`Weights.None.x == "x"`, `Selector "Weights.None" is not valid`},
		{`Weights == 1`, `Invalid match operator "Equal" for selector "Weights"`},
		{`Meta.env is empty`, `Invalid match operator "Is Empty" for selector "Meta.env"`},
		{`Port matches "8"`, `Invalid match operator "Matches" for selector "Port"`},
		{`Port == "abc"`, `Failed to coerce value "abc" for selector "Port": strconv.ParseInt: parsing "abc": invalid syntax`},
		{`Service matches "("`, "Failed to compile regular expression \"(\": error parsing regexp: missing closing ): `(`"},
		{`Port == 01`, `1:10 (9): rule "number": Invalid number literal`},
		{`(ID == b`, `1:9 (8): rule "grouping": Unmatched parentheses`},
		{`x in 3`, `1:6 (5): rule "match": Invalid selector`},
		{`ID == "a\q"`, `1:7 (6): rule "string": invalid syntax`},
		{`a["b`, "1:5 (4): rule \"string\": Unterminated string literal\n1:3 (2): rule \"index\": Invalid index"},
		{"\xff", `1:1 (0): invalid encoding`},
	}
	for _, tt := range tests {
		_, err := Compile(tt.expression, NodeService, release.V1_21_4)
		if want := ErrorPrefix + tt.want; err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", tt.expression, err, want)
		}
	}
}

func TestFilterOfTargets(t *testing.T) {
	tests := []struct {
		of       Target
		selector string
		modern   bool
		old      bool
	}{
		{AgentService, "SocketPath", true, false},
		{AgentService, "Datacenter", false, false},
		{NodeService, "Proxy.Mode", true, false},
		{NodeService, "Proxy.MeshGateway.Mode", true, true},
		{ServiceEntry, "Port", false, false},
		{ServiceEntry, "Node.Partition", true, false},
		{ServiceEntry, "Service.CreateIndex", false, false},
		{HealthCheck, "Type", true, true},
		{HealthCheck, "Interval", true, false},
		{HealthCheck, "Definition", false, false},
		{CatalogService, "ServiceName", true, true},
		{CatalogService, "Port", false, false},
		{Node, "Node", true, true},
		{Node, "Partition", true, false},
		{Member, "Tags.build", true, true},
	}
	for _, tt := range tests {
		for v, want := range map[release.Version]bool{release.V1_21_4: tt.modern, release.V1_8_7: tt.old} {
			_, err := Compile(tt.selector+` == ""`, tt.of, v)
			if got := err == nil; got != want {
				t.Errorf("target %d, %s, %s: %v", tt.of, v, tt.selector, err)
			}
		}
	}
}

func TestFilterOfMembers(t *testing.T) {
	member := &consul.AgentMember{Name: "node1", Addr: "127.0.0.1", Port: 8301, Status: consul.MemberAlive, Tags: map[string]string{"build": "1.21.4"}}
	for expression, want := range map[string]bool{
		`Status == 1`: true, `Port == 8301`: true, `Tags.build matches "^1[.]"`: true, `127 in Addr`: true, `2 in Addr`: false, `Addr is empty`: false,
	} {
		filter, err := Compile(expression, Member, release.V1_21_4)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := filter(member); got != want || err != nil {
			t.Errorf("%s: %t, %v", expression, got, err)
		}
	}
}

// Agents look at the selectors of a filter of agent/checks only when there is a
// check, and then say less.
func TestFilterOfAgentChecks(t *testing.T) {
	filter, err := Compile("Nope == 1", AgentCheck, release.V1_21_4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filter(&consul.AgentCheck{}); err == nil || err.Error() != `Selector "Nope" is not valid` {
		t.Errorf("got %v", err)
	}
	if _, err := Compile("Nope ==", AgentCheck, release.V1_21_4); err == nil || !strings.HasPrefix(err.Error(), "Failed to create") {
		t.Errorf("got %v", err)
	}
}

func TestFilterThatBreaksAgents(t *testing.T) {
	for _, expression := range []string{`Proxy.Mode == x`, `Connect.Native == true`, `Proxy.TransparentProxy.DialedDirectly != true`} {
		filter, err := Compile(expression, AgentService, release.V1_21_4)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := filter(&consul.AgentService{ID: "web"}); !errors.Is(err, ErrBreaksAgent) {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

// Real agents never end with this one.
func TestFilterNesting(t *testing.T) {
	filter, err := Compile(strings.Repeat("(", 1000)+"ID == a"+strings.Repeat(")", 1000), Node, release.V1_21_4)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := filter(consul.Node{ID: "a"}); !ok || err != nil {
		t.Error(ok, err)
	}
	if _, err := Compile(strings.Repeat("(", 1e6), Node, release.V1_21_4); !errors.Is(err, errTooDeep) {
		t.Errorf("got %v", err)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`Service.Port == 80 and not (Checks.Status != "passing" or "v1" in Service.Tags)`,
		"Node.Meta[`x y`] matches \"^z\"", `a["b" c`, `x not in 3`, `((a is empty`, "\xff\n", `Service.Proxy.Upstreams.LocalBindPort == -1.5`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, of := range []Target{ServiceEntry, NodeService} {
			if filter, err := Compile(s, of, release.V1_21_4); err == nil {
				filter(filterEntry())
				filter(nil)
			}
		}
	})
}
