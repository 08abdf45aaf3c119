package consulmock

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
)

// What is registered on a node keeps the case of the node's name.
func TestCaseOfNodes(t *testing.T) {
	s := New(t, WithCompactJSON(true))
	for _, body := range []string{
		`{"Node":"ext","Address":"a","Service":{"Service":"web"},"Check":{"CheckID":"c"}}`,
		`{"Node":"EXT","Address":"b"}`,
		`{"Node":"Ext","SkipNodeUpdate":true,"Check":{"CheckID":"d"}}`,
	} {
		ask(t, s, "PUT", "/v1/catalog/register", body)
	}
	for target, want := range map[string]string{
		"/v1/catalog/nodes?filter=Address==b": `"Node":"EXT"`, "/v1/catalog/service/web": `"Node":"ext"`,
		"/v1/health/node/ext?filter=CheckID==c": `"Node":"ext"`, "/v1/health/node/ext?filter=CheckID==d": `"Node":"Ext"`,
	} {
		if got := text(t, ask(t, s, "GET", target, "")); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// The agent shows the mesh configuration of proxies and gateways, and of no others.
func TestShownProxy(t *testing.T) {
	s := New(t, WithCompactJSON(true))
	for kind, want := range map[string]bool{"": false, "odd": false, "mesh-gateway": true, "ingress-gateway": true} {
		ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"x","Port":1,"Kind":"`+kind+`"}`)
		if got := text(t, ask(t, s, "GET", "/v1/agent/service/x", "")); strings.Contains(got, `"Proxy":{"MeshGateway":{},"Expose":{}}`) != want {
			t.Errorf("%q: got %s", kind, got)
		}
	}
}

// An empty mesh configuration is as good as none.
func TestEmptyProxyIsNoChange(t *testing.T) {
	for target, body := range map[string]string{
		"/v1/agent/service/register": `{"Name":"web"%s}`, "/v1/catalog/register": `{"Node":"ext","Address":"a","Service":{"Service":"web"%s}}`,
	} {
		s := New(t)
		register := func(proxy string) string {
			ask(t, s, "PUT", target, fmt.Sprintf(body, proxy))
			return ask(t, s, "GET", "/v1/health/service/web", "").Header.Get("X-Consul-Index")
		}
		if before, after := register(""), register(`,"Proxy":{}`); before != after {
			t.Errorf("%s: the index moves from %s to %s", target, before, after)
		}
	}
}

// A check that goes moves the index of the name that its service had when the check was
// registered.
func TestIndexOfFormerName(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		ask(t, s, "PUT", "/v1/agent/service/register", `{"ID":"x","Name":"before","Check":{"TTL":"1h"}}`)
		ask(t, s, "PUT", "/v1/agent/service/register?replace-existing-checks", `{"ID":"x","Name":"after"}`)
		index := func(name string) int {
			n, err := strconv.Atoi(ask(t, s, "GET", "/v1/health/service/"+name, "").Header.Get("X-Consul-Index"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if before, after := index("before"), index("after"); before <= after {
			t.Errorf("%s: the index of the former name is %d, of the present one %d", version, before, after)
		}
	}
}

// An instance that is left out because it is not passing is replaced by the last one. The
// streaming backend keeps the order.
func TestOrderOfPassingInstances(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version), WithCompactJSON(true))
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			status := map[string]string{"a": "critical", "e": "critical"}[id]
			ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"x","Service":{"ID":"`+id+`","Service":"web"},"Check":{"CheckID":"`+id+`","ServiceID":"`+id+`","Status":"`+cmp.Or(status, "passing")+`"}}`)
		}
		for query, want := range map[string]string{"?passing": "fbcd", "?passing&filter=Service.ID!=f": "dbc", "?passing&index=1": map[string]string{"1.8.7": "fbcd", "1.21.4": "bcdf"}[version]} {
			var list []struct{ Service struct{ ID string } }
			if err := json.NewDecoder(ask(t, s, "GET", "/v1/health/service/web"+query, "").Body).Decode(&list); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, e := range list {
				got += e.Service.ID
			}
			if got != want {
				t.Errorf("%s: %s: got %s, want %s", version, query, got, want)
			}
		}
	}
}

// A service that is gone, but has a proxy, has the index of what the catalog holds, not that of
// its removal.
func TestIndexOfProxyWithoutService(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		index := func(target string) string { return ask(t, s, "GET", target, "").Header.Get("X-Consul-Index") }
		ask(t, s, "PUT", "/v1/agent/service/register", webRegistration)
		ask(t, s, "PUT", "/v1/agent/service/deregister/web", "")
		gone := index("/v1/catalog/connect/web")
		ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"proxy","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"web"}}}`)
		ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Check":{"CheckID":"c"}}`) // checks do not matter here
		if got, want := index("/v1/catalog/connect/web"), index("/v1/catalog/nodes"); got != want || got == gone {
			t.Errorf("%s: the index is %s, want %s; without a proxy it was %s", version, got, want, gone)
		}
	}
}

// The hash of a local service is of what is shown of it: what is empty or missing is the same,
// and the configuration of a proxy counts for a proxy only.
func TestHashOfWhatIsShown(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		hash := func(rest string) string {
			ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"web"`+rest+`}`)
			return ask(t, s, "GET", "/v1/agent/service/web", "").Header.Get("X-Consul-Contenthash")
		}
		bare := hash("")
		for rest, same := range map[string]bool{
			`,"Meta":{}`: true, `,"Tags":[]`: true, `,"TaggedAddresses":{}`: true, `,"Proxy":{"DestinationServiceName":"db"}`: true,
			`,"Meta":{"a":""}`: false, `,"Tags":[""]`: false, `,"Port":1`: false, `,"Connect":{"Native":true},"Port":2`: false,
		} {
			if got := hash(rest); (got == bare) != same {
				t.Errorf("%s: %s: the hash is %s, without it %s, want the same: %t", version, rest, got, bare, same)
			}
		}
	}
}

// A registration with a check that the agent refuses to run changes what was there
// before, and adds nothing.
func TestRefusedCheckOfService(t *testing.T) {
	s := New(t, WithCompactJSON(true))
	const refused = `{"Name":"web","Port":2,"Check":{"CheckID":"script","Args":["true"],"Interval":"1h"},"Checks":[{"CheckID":"old","TTL":"2h","Notes":"new"},{"CheckID":"new","TTL":"1h"}]}`
	for _, body := range []string{refused, `{"Name":"web","Port":1,"Check":{"CheckID":"old","TTL":"1h"}}`, refused} {
		got := text(t, ask(t, s, "PUT", "/v1/agent/service/register", body))
		if want := map[bool]string{true: "500", false: "200"}[body == refused]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s", body, got)
		}
		got = text(t, ask(t, s, "GET", "/v1/health/service/web", ""))
		if want := map[bool]string{true: `"Port":2`, false: `"Port":1`}[body == refused]; got != "200 []" && !strings.Contains(got, want) {
			t.Errorf("%s: then %s", body, got)
		}
	}
	got := text(t, ask(t, s, "GET", "/v1/agent/checks", ""))
	if !strings.Contains(got, `"Notes":"new"`) || strings.Contains(got, `"CheckID":"new"`) || strings.Contains(got, `"CheckID":"script"`) {
		t.Errorf("checks: %s", got)
	}
}

// How a check is run is no change of it in the catalog. 1.8.7 shows it all the same.
func TestTypeOfCheckIsNoChange(t *testing.T) {
	for version, want := range map[string]string{"1.8.7": `"Type":"b"`, "1.21.4": `"Type":"a"`} {
		s := New(t, WithVersion(version), WithCompactJSON(true))
		register := func(typ string) string {
			ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a","Service":{"Service":"web"},"Check":{"CheckID":"c","Type":"`+typ+`"}}`)
			return ask(t, s, "GET", "/v1/health/service/web", "").Header.Get("X-Consul-Index")
		}
		if before, after := register("a"), register("b"); before != after {
			t.Errorf("%s: the index moves from %s to %s", version, before, after)
		}
		if got := text(t, ask(t, s, "GET", "/v1/health/node/ext", "")); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}

// Nodes that differ in case only are the same for 1.21.4.
func TestCaseOfNodesIsNoChange(t *testing.T) {
	for version, want := range map[string]bool{"1.8.7": true, "1.21.4": false} {
		s := New(t, WithVersion(version))
		register := func(node string) string {
			ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"`+node+`","Address":"a","Service":{"Service":"web"},"Check":{"CheckID":"c"}}`)
			return ask(t, s, "GET", "/v1/health/service/web", "").Header.Get("X-Consul-Index")
		}
		if changed := register("ext") != register("EXT"); changed != want {
			t.Errorf("%s: changed: %t, want %t", version, changed, want)
		}
	}
}

// Reads of the mesh ignore tags, except for those that the streaming backend serves.
func TestTagsOfTheMesh(t *testing.T) {
	for target, want := range map[string]map[string]int{
		"/v1/catalog/connect/web?tag=b":        {"1.8.7": 1, "1.21.4": 1},
		"/v1/health/connect/web?tag=b":         {"1.8.7": 1, "1.21.4": 1},
		"/v1/health/connect/web?tag=b&index=1": {"1.8.7": 1, "1.21.4": 0},
	} {
		for version, want := range want {
			s := New(t, WithVersion(version), WithCompactJSON(true))
			ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a","Service":{"Service":"web","Port":1,"Tags":["a"],"Connect":{"Native":true}}}`)
			var list []any
			if err := json.NewDecoder(ask(t, s, "GET", target, "").Body).Decode(&list); err != nil || len(list) != want {
				t.Errorf("%s: %s: got %v, %v, want %d", version, target, list, err, want)
			}
		}
	}
}

// To the streaming backend metadata of nodes is a filter, which looks for the value in
// what a node has, and does not take every name.
func TestStreamedNodeMeta(t *testing.T) {
	s := New(t, WithCompactJSON(true), WithNodeMeta(map[string]string{"rack": "r12"}))
	for query, want := range map[string]string{
		"node-meta=rack:r12": "200 1", "node-meta=rack:r1": "200 0", "node-meta=rack:r12&index=1": "200 1", "node-meta=rack:r1&index=1": "200 1",
		"node-meta=none&index=1": "200 0", "node-meta=a-b:c": "200 0", "node-meta=a-b:c&index=1": "500 0", "node-meta=&index=1": "500 0",
	} {
		r := ask(t, s, "GET", "/v1/health/service/consul?"+query, "")
		var list []any
		json.NewDecoder(r.Body).Decode(&list) // an error is no list
		if got := fmt.Sprint(r.StatusCode, " ", len(list)); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

// The streaming backend does not tell empty from missing.
func TestStreamedMaps(t *testing.T) {
	s := New(t, WithCompactJSON(true))
	ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a","NodeMeta":{},"TaggedAddresses":{},"Service":{"Service":"web","Meta":{}}}`)
	for target, want := range map[string][]string{
		"/v1/health/service/web":         {`"TaggedAddresses":{},"Meta":{}`, `"Address":"","Meta":{}`},
		"/v1/health/service/web?index=1": {`"TaggedAddresses":null,"Meta":null`, `"Address":"","Meta":null`},
	} {
		got := text(t, ask(t, s, "GET", target, ""))
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: got %s, want %s", target, got, part)
			}
		}
	}
}

// The streaming backend orders instances with regard to case.
func TestOrderOfInstances(t *testing.T) {
	s := New(t, WithCompactJSON(true))
	for _, id := range []string{"b", "A", "C"} {
		ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"ext","Address":"a","Service":{"ID":"`+id+`","Service":"web"}}`)
	}
	for target, want := range map[string]string{"/v1/health/service/web": "A b C", "/v1/health/service/web?index=1": "A C b"} {
		var entries []consul.ServiceEntry
		if err := json.NewDecoder(ask(t, s, "GET", target, "").Body).Decode(&entries); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, e := range entries {
			ids = append(ids, e.Service.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

// The catalog loses what is called as a refused registration in another case.
func TestRefusedServiceInAnotherCase(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version), WithCompactJSON(true))
		ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"WEB"}`)
		ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"Args":["true"],"Interval":"1h"}}`)
		if got := text(t, ask(t, s, "GET", "/v1/health/service/web", "")); got != "200 []" {
			t.Errorf("%s: got %s", version, got)
		}
	}
}

// Reads of instances of a peer find none. Other reads do not know peers.
func TestPeers(t *testing.T) {
	for target, isKnown := range map[string]bool{
		"/v1/catalog/service/consul": true, "/v1/catalog/connect/consul": true, "/v1/health/service/consul": true, "/v1/health/connect/consul": true,
		"/v1/catalog/nodes": false, "/v1/catalog/node/node1": false, "/v1/health/state/any": false,
	} {
		for _, version := range []string{"1.8.7", "1.21.4"} {
			r := ask(t, New(t, WithVersion(version), WithCompactJSON(true)), "GET", target+"?peer=x", "")
			isEmpty := text(t, r) == "200 []" && r.Header.Get("X-Consul-Index") == "1"
			if want := isKnown && version == "1.21.4"; isEmpty != want {
				t.Errorf("%s: %s: empty: %t, want %t", version, target, isEmpty, want)
			}
		}
	}
}

// The agent's own health shows tags as they were registered.
func TestTagsInLocalHealth(t *testing.T) {
	for tags, want := range map[string]string{"null": "null", "[]": "[]", `["a"]`: `["a"]`} {
		s := New(t, WithCompactJSON(true))
		ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"web","Tags":`+tags+`,"Check":{"TTL":"1h"}}`)
		if got := text(t, ask(t, s, "GET", "/v1/agent/health/service/id/web", "")); !strings.Contains(got, `"ServiceTags":`+want+`,`) {
			t.Errorf("%s: got %s", tags, got)
		}
	}
}

// A node that is registered with the ID of another one replaces it: the index of its
// creation is that of the ID, what was on the other node goes, and what is at the name stays.
func TestRenamedNode(t *testing.T) {
	const one, other = "abcdefab-1111-1111-1111-111111111111", "ABCDEFAB-1111-1111-1111-111111111111"
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version), WithCompactJSON(true))
		register := func(node, id, service string) {
			t.Helper()
			body := fmt.Sprintf(`{"Node":%q,"ID":%q,"Address":"a"%s}`, node, id, service)
			if got := text(t, ask(t, s, "PUT", "/v1/catalog/register", body)); got != "200 true" {
				t.Fatalf("%s: %s: got %s", version, body, got)
			}
		}
		register("before", one, `,"Service":{"Service":"goes"}`)
		created := s.agent.Store.Node("before").CreateIndex
		register("after", "", `,"Service":{"Service":"stays"}`)
		register("after", other, "")
		if n := s.agent.Store.Node("after"); s.agent.Store.Node("before") != nil || n.ID != other || n.CreateIndex != created || len(n.Services) != 1 {
			t.Errorf("%s: the node is %+v with %d services, want it created at %d, with 1 service", version, *n.NodeRecord, len(n.Services), created)
		}
		if got := text(t, ask(t, s, "GET", "/v1/catalog/services?filter=ServiceName!=consul", "")); strings.Contains(got, "goes") || !strings.Contains(got, "stays") {
			t.Errorf("%s: services: %s", version, got)
		}

		// 1.8.7 takes another case for another name, and so for another node.
		const check = `{"Node":"AFTER","ID":"` + other + `","Address":"a","Check":{"CheckID":"c","ServiceID":"stays"}}`
		want := map[string]string{"1.8.7": `500 failed inserting check: Missing service registration on node "AFTER"`, "1.21.4": "200 true"}[version]
		if got := text(t, ask(t, s, "PUT", "/v1/catalog/register", check)); got != want {
			t.Errorf("%s: %s: got %s, want %s", version, check, got, want)
		}
		register("After", one, "")
		n := s.agent.Store.Node("after")
		if want := map[string]int{"1.8.7": 0, "1.21.4": 1}[version]; n.Node != "After" || n.CreateIndex != created || len(n.Services) != want {
			t.Errorf("%s: the node is %+v with %d services, want %d", version, *n.NodeRecord, len(n.Services), want)
		}
	}
}

// The name of a node that is alive belongs to its ID.
func TestReservedNode(t *testing.T) {
	const one, two, three = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333"
	reserved := func(id, rest string) string {
		return fmt.Sprintf(`500 failed inserting node: Error while renaming Node ID: "%s"%s: Node name alive is reserved by node %s`, id, rest, one)
	}
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		for _, test := range []struct{ body, want string }{
			{`{"Node":"alive","ID":"` + one + `","Address":"a","Check":{"CheckID":"serfHealth","Status":"passing"}}`, "200 true"},
			{`{"Node":"other","ID":"` + two + `","Address":"a"}`, "200 true"},
			{`{"Node":"alive","ID":"` + two + `","Address":"b"}`, reserved(two, " (b)") + " with name alive (a)"},
			{`{"Node":"alive","ID":"` + three + `","Address":"b"}`, reserved(three, "") + " with name alive (a)"},
			{`{"Node":"alive","ID":"` + three + `","SkipNodeUpdate":true}`, "200 true"},
			{`{"Node":"alive","Address":"a"}`, "200 true"},
			{`{"Node":"alive","ID":"` + two + `","Address":"b","Service":{"Service":"x","Meta":{"?":""}}}`, strings.Replace(reserved(two, " (b)"), one, "", 1) + " with name alive (a)"},
			{`{"Node":"alive","ID":"` + three + `","Address":"b"}`, "200 true"}, // now that it has no ID
			{`{"Node":"alive","ID":"` + three + `","Address":"b","Check":{"CheckID":"serfHealth","Status":"critical"}}`, "200 true"},
			{`{"Node":"alive","ID":"` + two + `","Address":"b"}`, "200 true"}, // now that it is dead
		} {
			if got := text(t, ask(t, s, "PUT", "/v1/catalog/register", test.body)); got != test.want {
				t.Errorf("%s: %s:\n got %s\nwant %s", version, test.body, got, test.want)
			}
		}
		const txn = `[{"Node":{"Verb":"set","Node":{"Node":"node1","ID":"` + one + `","Address":"b"}}}]`
		if got, want := text(t, ask(t, s, "PUT", "/v1/txn", txn)), "Node name node1 is reserved by node "; !strings.HasPrefix(got, "409") || !strings.Contains(got, want) {
			t.Errorf("%s: %s: got %s, want %s", version, txn, got, want)
		}
	}
}

// A name of one character may not be the beginning of an ID, so that reads of a node that
// is missing have no index then.
func TestIndexOfMissingNode(t *testing.T) {
	for version, want := range map[string]map[string]bool{"1.8.7": {"x": false, "xx": false}, "1.21.4": {"x": false, "xx": true}} {
		s := New(t, WithVersion(version))
		ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"xx","Address":"a"}`)
		ask(t, s, "PUT", "/v1/catalog/deregister", `{"Node":"xx"}`)
		for node, want := range want {
			if index := ask(t, s, "GET", "/v1/catalog/node/"+node, "").Header.Get("X-Consul-Index"); (index != "1") != want {
				t.Errorf("%s: %s: the index is %s, want one: %t", version, node, index, want)
			}
		}
	}
}
