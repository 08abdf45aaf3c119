package consulmock

import (
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
