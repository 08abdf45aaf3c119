package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// endpointTest is one method: what it sends, and that it takes the answer in.
type endpointTest struct {
	name   string
	call   func(ctx context.Context, c *Client) (any, error)
	method string
	path   string
	query  string // encoded
	body   string // JSON; empty for none
	answer string
	want   any // what call returns; nil means nothing
}

var allOptions = &QueryOptions{
	Datacenter: "dc2", Namespace: "ns1", Partition: "p1", Peer: "east", SamenessGroup: "sg1",
	Near: "_agent", Filter: `Meta.k == "v"`, NodeMeta: map[string]string{"rack": "r 1"},
	Tags: []string{"a", "b,c"}, PassingOnly: true, AllowStale: true, RequireConsistent: true,
	UseCache: true, MaxAge: 30 * time.Second, StaleIfError: 2 * time.Minute, MergeCentralConfig: true,
	WaitIndex: 42, WaitHash: "h1", WaitTime: 90 * time.Second, Token: "t1",
}

// allOptionsQuery is what the official client sends for them: without cached, which
// agents refuse beside consistent.
const allOptionsQuery = "consistent=&dc=dc2&filter=Meta.k+%3D%3D+%22v%22&hash=h1&index=42&merge-central-config=" +
	"&near=_agent&node-meta=rack%3Ar+1&ns=ns1&partition=p1&passing=1&peer=east&sameness-group=sg1&stale=&tag=a&tag=b%2Cc&wait=90000ms"

// meta lets a method with metadata be a row: its result is the answer and the
// index.
func meta[T any](answer T, m *QueryMeta, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return []any{answer, m.LastIndex}, nil
}

func only(err error) (any, error) { return nil, err }

var endpointTests = []endpointTest{
	{
		name: "ServiceRegister",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().ServiceRegister(ctx, &AgentServiceRegistration{Name: "web"}))
		},
		method: "PUT", path: "/v1/agent/service/register", body: `{"Name":"web"}`,
	}, {
		name: "ServiceRegister, everything",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().ServiceRegister(ctx, &AgentServiceRegistration{
				Kind: "connect-proxy", ID: "web-1", Name: "web", Tags: []string{"a"}, Port: 80, Address: "10.0.0.1",
				SocketPath: "/s", TaggedAddresses: map[string]ServiceAddress{"lan": {"10.0.0.2", 81}},
				EnableTagOverride: true, Meta: map[string]string{"k": "v"}, Weights: &AgentWeights{2, 1},
				Check:   &AgentServiceCheck{TTL: 90 * time.Second, DeregisterCriticalServiceAfter: time.Hour},
				Checks:  []*AgentServiceCheck{{HTTP: "http://h/", Interval: 1500 * time.Millisecond, Timeout: time.Second}},
				Connect: &AgentServiceConnect{Native: true}, Proxy: json.RawMessage(`{"DestinationServiceName":"x"}`),
				Namespace: "n", Partition: "p", Locality: &Locality{"r", "z"}, ReplaceExistingChecks: true,
			}))
		},
		method: "PUT", path: "/v1/agent/service/register", query: "replace-existing-checks=true",
		body: `{"Kind":"connect-proxy","ID":"web-1","Name":"web","Tags":["a"],"Port":80,"Address":"10.0.0.1","SocketPath":"/s",
			"TaggedAddresses":{"lan":{"Address":"10.0.0.2","Port":81}},"EnableTagOverride":true,"Meta":{"k":"v"},
			"Weights":{"Passing":2,"Warning":1},"Check":{"TTL":"1m30s","DeregisterCriticalServiceAfter":"1h0m0s"},
			"Checks":[{"HTTP":"http://h/","Interval":"1.5s","Timeout":"1s"}],"Connect":{"Native":true},
			"Proxy":{"DestinationServiceName":"x"},"Namespace":"n","Partition":"p","Locality":{"Region":"r","Zone":"z"}}`,
	}, {
		name: "ServiceDeregister",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().ServiceDeregister(ctx, "web-1"))
		},
		method: "PUT", path: "/v1/agent/service/deregister/web-1",
	}, {
		name: "Services",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.Agent().Services(ctx, &QueryOptions{Filter: "Port == 80"})
		},
		method: "GET", path: "/v1/agent/services", query: "filter=Port+%3D%3D+80",
		answer: `{"web-1":{"ID":"web-1","Service":"web"}}`,
		want:   map[string]*AgentService{"web-1": {ID: "web-1", Service: "web"}},
	}, {
		name: "Service",
		call: func(ctx context.Context, c *Client) (any, error) {
			return meta(c.Agent().Service(ctx, "web-1", &QueryOptions{WaitHash: "h", WaitTime: time.Minute}))
		},
		method: "GET", path: "/v1/agent/service/web-1", query: "hash=h&wait=60000ms",
		answer: `{"ID":"web-1","ContentHash":"h2"}`,
		want:   []any{&AgentService{ID: "web-1", ContentHash: "h2"}, uint64(7)},
	}, {
		name: "ServiceHealthByID",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.Agent().ServiceHealthByID(ctx, "web-1")
		},
		method: "GET", path: "/v1/agent/health/service/id/web-1", query: "format=json",
		answer: `{"AggregatedStatus":"passing","Service":{"ID":"web-1"},"Checks":[]}`,
		want:   &AgentServiceHealth{AggregatedStatus: "passing", Service: &AgentService{ID: "web-1"}, Checks: HealthChecks{}},
	}, {
		name: "ServiceHealthByName",
		call: func(ctx context.Context, c *Client) (any, error) {
			status, instances, err := c.Agent().ServiceHealthByName(ctx, "web")
			return []any{status, len(instances)}, err
		},
		method: "GET", path: "/v1/agent/health/service/name/web", query: "format=json",
		answer: `[{"AggregatedStatus":"passing","Service":{"ID":"web"}}]`, want: []any{HealthPassing, 1},
	}, {
		name: "EnableServiceMaintenance",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().EnableServiceMaintenance(ctx, "web-1", "new disk & fan"))
		},
		method: "PUT", path: "/v1/agent/service/maintenance/web-1", query: "enable=true&reason=new+disk+%26+fan",
	}, {
		name: "DisableServiceMaintenance",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().DisableServiceMaintenance(ctx, "web-1"))
		},
		method: "PUT", path: "/v1/agent/service/maintenance/web-1", query: "enable=false",
	}, {
		name: "EnableNodeMaintenance",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().EnableNodeMaintenance(ctx, ""))
		},
		method: "PUT", path: "/v1/agent/maintenance", query: "enable=true&reason=",
	}, {
		name: "DisableNodeMaintenance",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().DisableNodeMaintenance(ctx))
		},
		method: "PUT", path: "/v1/agent/maintenance", query: "enable=false",
	}, {
		name:   "Checks",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Agent().Checks(ctx, nil) },
		method: "GET", path: "/v1/agent/checks",
		answer: `{"c":{"CheckID":"c","Status":"warning","Interval":"10s","Timeout":"","Definition":{}}}`,
		want:   map[string]*AgentCheck{"c": {CheckID: "c", Status: HealthWarning, Interval: 10 * time.Second}},
	}, {
		name: "CheckRegister",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().CheckRegister(ctx, &AgentCheckRegistration{ID: "c", Name: "n", Notes: "o", ServiceID: "web-1",
				AgentServiceCheck: AgentServiceCheck{CheckID: "shadowed", TTL: time.Second, Status: HealthPassing}}))
		},
		method: "PUT", path: "/v1/agent/check/register",
		body: `{"ID":"c","Name":"n","Notes":"o","ServiceID":"web-1","TTL":"1s","Status":"passing"}`,
	}, {
		name: "CheckRegister, embedded names",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().CheckRegister(ctx, &AgentCheckRegistration{
				AgentServiceCheck: AgentServiceCheck{CheckID: "c", Name: "n", Notes: "o", H2PING: "h:1", Interval: time.Minute}}))
		},
		method: "PUT", path: "/v1/agent/check/register",
		body: `{"ID":"c","Name":"n","Notes":"o","H2PING":"h:1","H2PingUseTLS":false,"Interval":"1m0s"}`,
	}, {
		name:   "CheckDeregister",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.Agent().CheckDeregister(ctx, "c")) },
		method: "PUT", path: "/v1/agent/check/deregister/c",
	}, {
		name: "PassTTL",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().PassTTL(ctx, "service:web", ""))
		},
		method: "PUT", path: "/v1/agent/check/pass/service:web", query: "note=",
	}, {
		name:   "WarnTTL",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.Agent().WarnTTL(ctx, "c", "a b")) },
		method: "PUT", path: "/v1/agent/check/warn/c", query: "note=a+b",
	}, {
		name:   "FailTTL",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.Agent().FailTTL(ctx, "c", "ü")) },
		method: "PUT", path: "/v1/agent/check/fail/c", query: "note=%C3%BC",
	}, {
		name: "UpdateTTL",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().UpdateTTL(ctx, "c", HealthWarning, "<out>"))
		},
		method: "PUT", path: "/v1/agent/check/update/c", body: `{"Status":"warning","Output":"<out>"}`,
	}, {
		name:   "Self",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Agent().Self(ctx) },
		method: "GET", path: "/v1/agent/self", answer: `{"Config":{"NodeName":"n","Server":true},"xDS":{"Port":1}}`,
		want: &AgentSelf{Config: AgentSelfConfig{NodeName: "n", Server: true}, XDS: json.RawMessage(`{"Port":1}`)},
	}, {
		name:   "Host",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Agent().Host(ctx) },
		method: "GET", path: "/v1/agent/host", answer: `{"CollectionTime":12}`, want: &AgentHost{CollectionTime: 12},
	}, {
		name:   "Version",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Agent().Version(ctx) },
		method: "GET", path: "/v1/agent/version", answer: `{"HumanVersion":"1.21.4"}`, want: &AgentVersion{HumanVersion: "1.21.4"},
	}, {
		name:   "Metrics",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Agent().Metrics(ctx) },
		method: "GET", path: "/v1/agent/metrics", answer: `{"Gauges":[{"Name":"g","Value":1.5}]}`,
		want: &AgentMetrics{Gauges: []GaugeValue{{Name: "g", Value: 1.5}}},
	}, {
		name: "Members",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.Agent().Members(ctx, MembersOptions{WAN: true, Segment: "s", Filter: "Port == 1"})
		},
		method: "GET", path: "/v1/agent/members", query: "filter=Port+%3D%3D+1&segment=s&wan=1",
		answer: `[{"Name":"n","Status":4}]`, want: []*AgentMember{{Name: "n", Status: MemberFailed}},
	}, {
		name: "Join",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().Join(ctx, "[::1]:8301", JoinOptions{WAN: true}))
		},
		method: "PUT", path: "/v1/agent/join/%5B::1%5D:8301", query: "wan=1",
	}, {
		name:   "Leave",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.Agent().Leave(ctx)) },
		method: "PUT", path: "/v1/agent/leave",
	}, {
		name: "ForceLeave",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Agent().ForceLeave(ctx, "n", ForceLeaveOptions{Prune: true, WAN: true}))
		},
		method: "PUT", path: "/v1/agent/force-leave/n", query: "prune=1&wan=1",
	}, {
		name:   "Reload",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.Agent().Reload(ctx)) },
		method: "PUT", path: "/v1/agent/reload",
	}, {
		name: "Monitor",
		call: func(ctx context.Context, c *Client) (any, error) {
			for line, err := range c.Agent().Monitor(ctx, "debug") {
				return line, err
			}
			return nil, errors.New("nothing was yielded")
		},
		method: "GET", path: "/v1/agent/monitor", query: "loglevel=debug", answer: "line 1\nline 2\n", want: "line 1",
	}, {
		name: "Health.Service",
		call: func(ctx context.Context, c *Client) (any, error) {
			return meta(c.Health().Service(ctx, "web", allOptions))
		},
		method: "GET", path: "/v1/health/service/web", query: allOptionsQuery,
		answer: `[{"Node":{"Node":"n"},"Service":{"ID":"w"},"Checks":[{"CheckID":"c"}]}]`,
		want:   []any{[]*ServiceEntry{{Node: &Node{Node: "n"}, Service: &AgentService{ID: "w"}, Checks: HealthChecks{{CheckID: "c"}}}}, uint64(7)},
	}, {
		name:   "Health.Connect",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Health().Connect(ctx, "web", nil)) },
		method: "GET", path: "/v1/health/connect/web", answer: `[]`, want: []any{[]*ServiceEntry{}, uint64(7)},
	}, {
		name:   "Health.Ingress",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Health().Ingress(ctx, "web", nil)) },
		method: "GET", path: "/v1/health/ingress/web", answer: `[]`, want: []any{[]*ServiceEntry{}, uint64(7)},
	}, {
		name: "Health.Checks",
		call: func(ctx context.Context, c *Client) (any, error) {
			return meta(c.Health().Checks(ctx, "web", allOptions))
		},
		method: "GET", path: "/v1/health/checks/web", query: allOptionsQuery, answer: `[{"CheckID":"c"}]`,
		want: []any{HealthChecks{{CheckID: "c"}}, uint64(7)},
	}, {
		name:   "Health.Node",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Health().Node(ctx, "n1", nil)) },
		method: "GET", path: "/v1/health/node/n1", answer: `[]`, want: []any{HealthChecks{}, uint64(7)},
	}, {
		name:   "Health.State",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Health().State(ctx, HealthAny, nil)) },
		method: "GET", path: "/v1/health/state/any", answer: `[]`, want: []any{HealthChecks{}, uint64(7)},
	}, {
		name:   "Catalog.Services",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Services(ctx, allOptions)) },
		method: "GET", path: "/v1/catalog/services", query: allOptionsQuery, answer: `{"web":["a"]}`,
		want: []any{map[string][]string{"web": {"a"}}, uint64(7)},
	}, {
		name:   "Catalog.Service",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Service(ctx, "web", nil)) },
		method: "GET", path: "/v1/catalog/service/web", answer: `[{"ServiceID":"w"}]`,
		want: []any{[]*CatalogService{{ServiceID: "w"}}, uint64(7)},
	}, {
		name:   "Catalog.Connect",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Connect(ctx, "web", nil)) },
		method: "GET", path: "/v1/catalog/connect/web", answer: `[]`, want: []any{[]*CatalogService{}, uint64(7)},
	}, {
		name:   "Catalog.Nodes",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Nodes(ctx, nil)) },
		method: "GET", path: "/v1/catalog/nodes", answer: `[{"Node":"n"}]`, want: []any{[]*Node{{Node: "n"}}, uint64(7)},
	}, {
		name:   "Catalog.Node",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Node(ctx, "n", nil)) },
		method: "GET", path: "/v1/catalog/node/n", answer: `{"Node":{"Node":"n"},"Services":{"w":{"ID":"w"}}}`,
		want: []any{&CatalogNode{Node: &Node{Node: "n"}, Services: map[string]*AgentService{"w": {ID: "w"}}}, uint64(7)},
	}, {
		name:   "Catalog.Node, unknown",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Node(ctx, "n", nil)) },
		method: "GET", path: "/v1/catalog/node/n", answer: `null`, want: []any{&CatalogNode{}, uint64(7)},
	}, {
		name: "Catalog.NodeServices",
		call: func(ctx context.Context, c *Client) (any, error) {
			return meta(c.Catalog().NodeServices(ctx, "n", nil))
		},
		method: "GET", path: "/v1/catalog/node-services/n", answer: `{"Node":{"Node":"n"},"Services":[{"ID":"w"}]}`,
		want: []any{&CatalogNodeServiceList{Node: &Node{Node: "n"}, Services: []*AgentService{{ID: "w"}}}, uint64(7)},
	}, {
		name:   "Catalog.Datacenters",
		call:   func(ctx context.Context, c *Client) (any, error) { return meta(c.Catalog().Datacenters(ctx, nil)) },
		method: "GET", path: "/v1/catalog/datacenters", answer: `["dc1"]`, want: []any{[]string{"dc1"}, uint64(7)},
	}, {
		name: "Catalog.GatewayServices",
		call: func(ctx context.Context, c *Client) (any, error) {
			return meta(c.Catalog().GatewayServices(ctx, "gw", nil))
		},
		method: "GET", path: "/v1/catalog/gateway-services/gw", answer: `[{"Gateway":{"Name":"gw"},"Port":8443}]`,
		want: []any{[]*GatewayService{{Gateway: ServiceName{Name: "gw"}, Port: 8443}}, uint64(7)},
	}, {
		name: "Catalog.Register",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Catalog().Register(ctx, &CatalogRegistration{
				Node: "ext", Address: "10.0.0.1", NodeMeta: map[string]string{"k": "v"},
				Service: &AgentService{ID: "w", Service: "web", Port: 80, ContentHash: "h", Datacenter: "dc1"},
				Check: &AgentCheck{Node: "ext", CheckID: "c", Name: "n", Status: HealthPassing, ServiceID: "w",
					Definition: &HealthCheckDefinition{TCP: "h:1", Interval: 5 * time.Second}},
				SkipNodeUpdate: true,
			}))
		},
		method: "PUT", path: "/v1/catalog/register", answer: "true",
		body: `{"Node":"ext","Address":"10.0.0.1","NodeMeta":{"k":"v"},"SkipNodeUpdate":true,
			"Service":{"ID":"w","Service":"web","Tags":null,"Meta":null,"Port":80,"Address":"","EnableTagOverride":false},
			"Check":{"Node":"ext","CheckID":"c","Name":"n","Status":"passing","Notes":"","Output":"","ServiceID":"w",
				"ServiceName":"","ServiceTags":null,"Definition":{"TCP":"h:1","Interval":"5s"}}}`,
	}, {
		name: "Catalog.Deregister",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.Catalog().Deregister(ctx, &CatalogDeregistration{Node: "ext", ServiceID: "w"}))
		},
		method: "PUT", path: "/v1/catalog/deregister", answer: "true", body: `{"Node":"ext","ServiceID":"w"}`,
	}, {
		name:   "Status.Leader",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Status().Leader(ctx) },
		method: "GET", path: "/v1/status/leader", answer: `"127.0.0.1:8300"`, want: "127.0.0.1:8300",
	}, {
		name:   "Status.Peers",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Status().Peers(ctx) },
		method: "GET", path: "/v1/status/peers", answer: `["127.0.0.1:8300"]`, want: []string{"127.0.0.1:8300"},
	}, {
		name: "KV.Get",
		call: func(ctx context.Context, c *Client) (any, error) {
			pair, meta, err := c.KV().Get(ctx, "a b/c?d", nil)
			return []any{pair, meta.LastIndex}, err
		},
		method: "GET", path: "/v1/kv/a%20b/c%3Fd", answer: `[{"LockIndex":1,"Key":"a b/c?d","Flags":18446744073709551615,"Value":"aGk=","Session":"s","CreateIndex":2,"ModifyIndex":3}]`,
		want: []any{&KVPair{Key: "a b/c?d", Value: []byte("hi"), Flags: 1<<64 - 1, Session: "s", LockIndex: 1, CreateIndex: 2, ModifyIndex: 3}, uint64(7)},
	}, {
		name: "KV.Value",
		call: func(ctx context.Context, c *Client) (any, error) {
			v, err := c.KV().Value(ctx, "a", &QueryOptions{AllowStale: true})
			return string(v), err
		},
		method: "GET", path: "/v1/kv/a", query: "raw=&stale=", answer: "as it is", want: "as it is",
	}, {
		name: "KV.List",
		call: func(ctx context.Context, c *Client) (any, error) {
			pairs, _, err := c.KV().List(ctx, "", nil)
			return pairs, err
		},
		method: "GET", path: "/v1/kv/", query: "recurse=", answer: `[{"Key":"a","Value":null}]`, want: []*KVPair{{Key: "a"}},
	}, {
		name: "KV.Keys",
		call: func(ctx context.Context, c *Client) (any, error) {
			keys, _, err := c.KV().Keys(ctx, "d/", "/", nil)
			return keys, err
		},
		method: "GET", path: "/v1/kv/d/", query: "keys=&separator=%2F", answer: `["d/a","d/e/"]`, want: []string{"d/a", "d/e/"},
	}, {
		name: "KV.Put",
		call: func(ctx context.Context, c *Client) (any, error) {
			return only(c.KV().Put(ctx, &KVPair{Key: "a", Value: []byte("<v>"), Flags: 5, Session: "not sent", ModifyIndex: 9}, &WriteOptions{Datacenter: "dc2"}))
		},
		method: "PUT", path: "/v1/kv/a", query: "dc=dc2&flags=5", body: "<v>", answer: "true",
	}, {
		name: "KV.CAS",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.KV().CAS(ctx, &KVPair{Key: "a"}, nil)
		},
		method: "PUT", path: "/v1/kv/a", query: "cas=0", answer: "false", want: false,
	}, {
		name: "KV.Acquire",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.KV().Acquire(ctx, &KVPair{Key: "a", Value: []byte("v"), Session: "s"}, nil)
		},
		method: "PUT", path: "/v1/kv/a", query: "acquire=s", body: "v", answer: "true", want: true,
	}, {
		name: "KV.Release",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.KV().Release(ctx, &KVPair{Key: "a", Session: "s"}, nil)
		},
		method: "PUT", path: "/v1/kv/a", query: "release=s", answer: "true", want: true,
	}, {
		name:   "KV.Delete",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.KV().Delete(ctx, "d/", nil)) },
		method: "DELETE", path: "/v1/kv/d/", answer: "true",
	}, {
		name: "KV.DeleteCAS",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.KV().DeleteCAS(ctx, &KVPair{Key: "a", ModifyIndex: 3}, nil)
		},
		method: "DELETE", path: "/v1/kv/a", query: "cas=3", answer: "true", want: true,
	}, {
		name:   "KV.DeleteTree",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.KV().DeleteTree(ctx, "d", nil)) },
		method: "DELETE", path: "/v1/kv/d", query: "recurse=", answer: "true",
	}, {
		name: "Session.Create",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.Session().Create(ctx, &SessionEntry{ID: "not sent", Name: "n", Node: "node1", TTL: 15 * time.Second, LockDelay: NoLockDelay,
				Behavior: SessionDelete, NodeChecks: []string{}, ServiceChecks: []SessionServiceCheck{{ID: "service:web"}}, CreateIndex: 9}, nil)
		},
		method: "PUT", path: "/v1/session/create", answer: `{"ID":"s"}`, want: "s",
		body: `{"Name":"n","Node":"node1","TTL":"15s","LockDelay":"0s","Behavior":"delete","NodeChecks":[],"ServiceChecks":[{"ID":"service:web"}]}`,
	}, {
		name:   "Session.Create, defaults",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Session().Create(ctx, nil, nil) },
		method: "PUT", path: "/v1/session/create", answer: `{"ID":"s"}`, want: "s", body: `{}`,
	}, {
		name:   "Session.Renew",
		call:   func(ctx context.Context, c *Client) (any, error) { return c.Session().Renew(ctx, "s", nil) },
		method: "PUT", path: "/v1/session/renew/s",
		answer: `[{"ID":"s","Node":"n","LockDelay":15000000000,"Behavior":"release","TTL":"10s","NodeChecks":null,"ServiceChecks":null,"CreateIndex":1,"ModifyIndex":2}]`,
		want: &SessionEntry{ID: "s", Node: "n", LockDelay: 15 * time.Second, Behavior: SessionRelease, TTL: 10 * time.Second,
			NodeChecks: []string{}, CreateIndex: 1, ModifyIndex: 2},
	}, {
		name:   "Session.Destroy",
		call:   func(ctx context.Context, c *Client) (any, error) { return only(c.Session().Destroy(ctx, "s", nil)) },
		method: "PUT", path: "/v1/session/destroy/s", answer: "true",
	}, {
		name: "Session.Info",
		call: func(ctx context.Context, c *Client) (any, error) {
			s, meta, err := c.Session().Info(ctx, "s", nil)
			return []any{s, meta.LastIndex}, err
		},
		method: "GET", path: "/v1/session/info/s", answer: `[]`, want: []any{(*SessionEntry)(nil), uint64(7)},
	}, {
		name: "Session.List",
		call: func(ctx context.Context, c *Client) (any, error) {
			s, _, err := c.Session().List(ctx, nil)
			return s, err
		},
		method: "GET", path: "/v1/session/list", answer: `[{"ID":"s","LockDelay":0}]`,
		want: []*SessionEntry{{ID: "s", LockDelay: NoLockDelay, NodeChecks: []string{}}},
	}, {
		name: "Session.Node",
		call: func(ctx context.Context, c *Client) (any, error) {
			s, _, err := c.Session().Node(ctx, "n/1", nil)
			return len(s), err
		},
		method: "GET", path: "/v1/session/node/n%2F1", answer: `[]`, want: 0,
	}, {
		name: "Txn.Apply",
		call: func(ctx context.Context, c *Client) (any, error) {
			resp, err := c.Txn().Apply(ctx, []TxnOp{{KV: &KVTxnOp{Verb: KVSet, Key: "/a", Value: []byte("v")}}}, &QueryOptions{RequireConsistent: true})
			return resp, err
		},
		method: "PUT", path: "/v1/txn", query: "consistent=", body: `[{"KV":{"Verb":"set","Key":"/a","Value":"dg=="}}]`,
		answer: `{"Results":[{"KV":{"Key":"/a","Value":null,"ModifyIndex":3}}],"Errors":null,"Index":1,"LastContact":5,"KnownLeader":true}`,
		want:   &TxnResponse{Results: []TxnResult{{KV: &KVPair{Key: "/a", ModifyIndex: 3}}}, Index: 1, LastContact: 5, KnownLeader: true},
	}, {
		name: "Event.Fire",
		call: func(ctx context.Context, c *Client) (any, error) {
			return c.Event().Fire(ctx, &UserEvent{Name: "a/b", Payload: []byte("p"), NodeFilter: "n", ServiceFilter: "s", TagFilter: "t"}, nil)
		},
		method: "PUT", path: "/v1/event/fire/a%2Fb", query: "node=n&service=s&tag=t", body: "p", answer: `{"ID":"e"}`, want: "e",
	}, {
		name: "Event.List",
		call: func(ctx context.Context, c *Client) (any, error) {
			events, _, err := c.Event().List(ctx, "a", nil)
			return events, err
		},
		method: "GET", path: "/v1/event/list", query: "name=a", answer: `[{"ID":"e","Name":"a","Payload":"cA==","Version":1,"LTime":3}]`,
		want: []*UserEvent{{ID: "e", Name: "a", Payload: []byte("p"), Version: 1, LTime: 3}},
	}, {
		name: "Raw.Query",
		call: func(ctx context.Context, c *Client) (any, error) {
			var out []struct{ Key string }
			m, err := c.Raw().Query(ctx, "/v1/kv/a%20b%2Fc?recurse&separator=%2F", &out, &QueryOptions{WaitIndex: 3})
			return meta(out, m, err)
		},
		method: "GET", path: "/v1/kv/a%20b%2Fc", query: "index=3&recurse=&separator=%2F", answer: `[{"Key":"a"}]`,
		want: []any{[]struct{ Key string }{{"a"}}, uint64(7)},
	}, {
		name: "Raw.Write",
		call: func(ctx context.Context, c *Client) (any, error) {
			var ok bool
			err := c.Raw().Write(ctx, "/v1/kv/a?cas=0", []byte("<raw>"), &ok, &WriteOptions{Datacenter: "dc2", Namespace: "n", Partition: "p"})
			return ok, err
		},
		method: "PUT", path: "/v1/kv/a", query: "cas=0&dc=dc2&ns=n&partition=p", body: "<raw>", answer: "true", want: true,
	}, {
		name: "Raw.Write, JSON",
		call: func(ctx context.Context, c *Client) (any, error) {
			var out []byte
			err := c.Raw().Write(ctx, "/v1/session/create", map[string]string{"TTL": "10s"}, &out, nil)
			return string(out), err
		},
		method: "PUT", path: "/v1/session/create", body: `{"TTL":"10s"}`, answer: `{"ID":"x"}`, want: `{"ID":"x"}`,
	}, {
		name: "Raw.Delete",
		call: func(ctx context.Context, c *Client) (any, error) {
			var out strings.Builder
			err := c.Raw().Delete(ctx, "/v1/kv/a", &out, nil)
			return out.String(), err
		},
		method: "DELETE", path: "/v1/kv/a", answer: "true", want: "true",
	},
}

func TestEndpoints(t *testing.T) {
	for _, tt := range endpointTests {
		t.Run(tt.name, func(t *testing.T) {
			client, asked := newTestAgent(t, Config{}, canned{body: tt.answer, header: map[string]string{"X-Consul-Index": "7"}})
			got, err := tt.call(context.Background(), client)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %s\nwant %s", show(got), show(tt.want))
			}
			if asked.Count != 1 {
				t.Errorf("%d requests, want 1", asked.Count)
			}
			if asked.Method != tt.method || asked.Path != tt.path {
				t.Errorf("asked %s %s, want %s %s", asked.Method, asked.Path, tt.method, tt.path)
			}
			if asked.Count != 1 {
				t.Errorf("%d requests, want 1", asked.Count)
			}
			if q := asked.Query.Encode(); q != tt.query {
				t.Errorf("query\n got %s\nwant %s", q, tt.query)
			}
			if !sameJSON(asked.Body, tt.body) {
				t.Errorf("body\n got %s\nwant %s", asked.Body, tt.body)
			}
			wantType := ""
			if strings.HasPrefix(tt.body, "{") || strings.HasPrefix(tt.body, "[") {
				wantType = "application/json"
			}
			if got := asked.Header.Get("Content-Type"); got != wantType {
				t.Errorf("Content-Type %q, want %q", got, wantType)
			}
		})
	}
}

// TestEndpointComments holds the last line of each method's comment against what
// the method sends.
func TestEndpointComments(t *testing.T) {
	said := map[string]bool{}
	line := regexp.MustCompile(`(?m)^//\n// (GET|PUT|DELETE) (/v1/[^\s?]+)\S*\nfunc `)
	for _, file := range []string{"agent.go", "agent_health.go", "health.go", "catalog.go", "status.go", "kv.go", "session.go", "txn.go", "event.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(src), -1) {
			said[m[1]+" "+m[2]] = true
		}
	}
	for _, tt := range endpointTests {
		if strings.HasPrefix(tt.name, "Raw.") {
			continue
		}
		found := false
		for s := range said {
			pattern := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(s), "[^/]+")
			pattern = regexp.MustCompile(`/kv/.*`).ReplaceAllString(pattern, "/kv/.*") // a key has slashes
			if ok, _ := regexp.MatchString("^"+pattern+"$", tt.method+" "+tt.path); ok {
				found = true
			}
		}
		if !found {
			t.Errorf("%s: no comment ends with %s %s", tt.name, tt.method, tt.path)
		}
	}
}

// TestAwkwardNames passes each name through every endpoint that has one.
func TestAwkwardNames(t *testing.T) {
	ctx := context.Background()
	// Null is not the health of a service, but this is about what is sent.
	sent := func(err error) error {
		if err != nil && strings.Contains(err.Error(), "the response is not the health") {
			return nil
		}
		return err
	}
	calls := map[string]func(c *Client, name string) error{
		"/v1/agent/service/deregister/":  func(c *Client, n string) error { return c.Agent().ServiceDeregister(ctx, n) },
		"/v1/agent/service/":             func(c *Client, n string) error { _, _, err := c.Agent().Service(ctx, n, nil); return err },
		"/v1/agent/health/service/id/":   func(c *Client, n string) error { _, err := c.Agent().ServiceHealthByID(ctx, n); return sent(err) },
		"/v1/agent/health/service/name/": func(c *Client, n string) error { _, _, err := c.Agent().ServiceHealthByName(ctx, n); return sent(err) },
		"/v1/agent/service/maintenance/": func(c *Client, n string) error { return c.Agent().EnableServiceMaintenance(ctx, n, "") },
		"/v1/agent/check/deregister/":    func(c *Client, n string) error { return c.Agent().CheckDeregister(ctx, n) },
		"/v1/agent/check/pass/":          func(c *Client, n string) error { return c.Agent().PassTTL(ctx, n, "") },
		"/v1/agent/check/warn/":          func(c *Client, n string) error { return c.Agent().WarnTTL(ctx, n, "") },
		"/v1/agent/check/fail/":          func(c *Client, n string) error { return c.Agent().FailTTL(ctx, n, "") },
		"/v1/agent/check/update/":        func(c *Client, n string) error { return c.Agent().UpdateTTL(ctx, n, HealthPassing, "") },
		"/v1/agent/join/":                func(c *Client, n string) error { return c.Agent().Join(ctx, n, JoinOptions{}) },
		"/v1/agent/force-leave/":         func(c *Client, n string) error { return c.Agent().ForceLeave(ctx, n, ForceLeaveOptions{}) },
		"/v1/health/service/":            func(c *Client, n string) error { _, _, err := c.Health().Service(ctx, n, nil); return err },
		"/v1/health/connect/":            func(c *Client, n string) error { _, _, err := c.Health().Connect(ctx, n, nil); return err },
		"/v1/health/ingress/":            func(c *Client, n string) error { _, _, err := c.Health().Ingress(ctx, n, nil); return err },
		"/v1/health/checks/":             func(c *Client, n string) error { _, _, err := c.Health().Checks(ctx, n, nil); return err },
		"/v1/health/node/":               func(c *Client, n string) error { _, _, err := c.Health().Node(ctx, n, nil); return err },
		"/v1/health/state/":              func(c *Client, n string) error { _, _, err := c.Health().State(ctx, HealthStatus(n), nil); return err },
		"/v1/catalog/service/":           func(c *Client, n string) error { _, _, err := c.Catalog().Service(ctx, n, nil); return err },
		"/v1/catalog/connect/":           func(c *Client, n string) error { _, _, err := c.Catalog().Connect(ctx, n, nil); return err },
		"/v1/catalog/node/":              func(c *Client, n string) error { _, _, err := c.Catalog().Node(ctx, n, nil); return err },
		"/v1/catalog/node-services/":     func(c *Client, n string) error { _, _, err := c.Catalog().NodeServices(ctx, n, nil); return err },
		"/v1/catalog/gateway-services/":  func(c *Client, n string) error { _, _, err := c.Catalog().GatewayServices(ctx, n, nil); return err },
	}
	client, last := newTestAgent(t, Config{}, canned{body: "null"})
	for prefix, call := range calls {
		for _, name := range []string{
			"web", "a/b c?d%e", "über#ß", "a+b&c=d;e", "100%25", "...", ".hidden", "a//b", "/a/", "\x01\x7f", "日本語", "[::1]:80", "a\\b", strings.Repeat("x", 4096),
		} {
			*last = asked{}
			if err := call(client, name); err != nil {
				t.Errorf("%s%.20q: %v", prefix, name, err)
				continue
			}
			escaped, ok := strings.CutPrefix(last.Path, prefix)
			if got, err := url.PathUnescape(escaped); !ok || err != nil || got != name || strings.ContainsAny(escaped, "/?# ") {
				t.Errorf("%s%.20q arrived as %.60q (%v)", prefix, name, last.Path, err)
			}
		}
		for name, words := range map[string]string{
			"":                                "is empty",
			".":                               "the element . or .. is not allowed",
			"..":                              "the element . or .. is not allowed",
			"x/../../agent/leave":             "the element . or .. is not allowed",
			"../" + strings.Repeat("x", 4096): "…",
		} {
			*last = asked{}
			err := call(client, name)
			wantError(t, err, words)
			if last.Method != "" {
				t.Errorf("%s%.20q was sent", prefix, name)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		}
	}
}

// TestBadArguments gives each method what it must refuse before it sends anything.
func TestBadArguments(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{})
	ctx := context.Background()
	a, cat := client.Agent(), client.Catalog()
	for words, err := range map[string]error{
		"AgentServiceRegistration.Name is empty": a.ServiceRegister(ctx, &AgentServiceRegistration{ID: "x"}),
		"nil AgentServiceRegistration":           a.ServiceRegister(ctx, nil),
		`service ID ".."`:                        a.ServiceRegister(ctx, &AgentServiceRegistration{ID: "..", Name: "x"}),
		`service ID "a/./b"`:                     a.ServiceRegister(ctx, &AgentServiceRegistration{Name: "a/./b"}),
		"AgentCheckRegistration.Name is empty":   a.CheckRegister(ctx, &AgentCheckRegistration{ID: "x"}),
		"nil AgentCheckRegistration":             a.CheckRegister(ctx, nil),
		`check ID ".."`:                          a.CheckRegister(ctx, &AgentCheckRegistration{Name: "x", AgentServiceCheck: AgentServiceCheck{CheckID: ".."}}),
		`status "bogus": want passing`:           a.UpdateTTL(ctx, "c", "bogus", ""),
		"CatalogRegistration.Node is empty":      cat.Register(ctx, &CatalogRegistration{Address: "x"}),
		"nil CatalogRegistration":                cat.Register(ctx, nil),
		"CatalogDeregistration.Node is empty":    cat.Deregister(ctx, &CatalogDeregistration{ServiceID: "x"}),
		"nil CatalogDeregistration":              cat.Deregister(ctx, nil),
	} {
		wantError(t, err, "consul: ", words)
	}
	if asked.Method != "" {
		t.Errorf("%s %s was sent", asked.Method, asked.Path)
	}
}
