package consul_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// TestStubsOfTheOfficialClient is for tests that others have written for the
// official client: a server that knows the URLs which that one sends, letter by
// letter, and nothing else.
func TestStubsOfTheOfficialClient(t *testing.T) {
	stub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := ""
		switch r.URL.String() {
		case "/v1/agent/self":
			body = `{"Config":{"Datacenter":"test-dc"}}`
		case "/v1/catalog/services?wait=120000ms",
			"/v1/catalog/services?node-meta=rack_name%3A2304&stale=&wait=120000ms",
			"/v1/catalog/services?index=1&node-meta=rack_name%3A2304&stale=&wait=120000ms",
			"/v1/catalog/services?dc=test-dc&filter=NodeMeta.rack_name+%3D%3D+%222304%22&stale=&wait=120000ms":
			body = `{"test":["tag1"],"other":[]}`
		case "/v1/catalog/services?ns=team&partition=east&wait=120000ms":
			body = `{"test":[]}`
		case "/v1/catalog/service/test?wait=120000ms",
			"/v1/catalog/service/test?dc=test-dc&stale=&tag=tag1&tag=tag2":
			body = `[{"ServiceID":"test-1"}]`
		case "/v1/health/service/test?node-meta=rack_name%3A2304&stale=&wait=120000ms",
			"/v1/health/service/test?index=7&passing=1&tag=tag1&wait=300000ms",
			"/v1/health/service/test?cached=&merge-central-config=&near=_agent",
			"/v1/health/service/test?consistent=&peer=east":
			body = `[{"Service":{"ID":"test-1"}}]`
		default:
			t.Errorf("the stub does not know %s", r.URL)
			w.WriteHeader(http.StatusBadRequest)
		}
		w.Header().Set("X-Consul-Index", "1")
		io.WriteString(w, body)
	}))
	defer stub.Close()
	client, err := consul.NewClient(consul.Config{Address: stub.URL})
	succeed(t, err)
	defer client.CloseIdleConnections()

	self, err := client.Agent().Self(ctx)
	succeed(t, err)
	dc := self.Config.Datacenter
	const wait = 2 * time.Minute
	rack := map[string]string{"rack_name": "2304"}
	for _, q := range []*consul.QueryOptions{
		{WaitTime: wait},
		{WaitTime: wait, AllowStale: true, NodeMeta: rack},
		{WaitTime: wait, AllowStale: true, NodeMeta: rack, WaitIndex: 1},
		{WaitTime: wait, AllowStale: true, Datacenter: dc, Filter: `NodeMeta.rack_name == "2304"`},
		{WaitTime: wait, Namespace: "team", Partition: "east"},
	} {
		services, meta, err := client.Catalog().Services(ctx, q)
		succeed(t, err)
		if len(services) == 0 || meta.LastIndex != 1 {
			t.Errorf("got %v, %+v", services, meta)
		}
	}
	for _, q := range []*consul.QueryOptions{
		{WaitTime: wait},
		{AllowStale: true, Datacenter: dc, Tags: []string{"tag1", "", "tag2"}},
	} {
		instances, _, err := client.Catalog().Service(ctx, "test", q)
		succeed(t, err)
		want(t, "instances", instances[0].ServiceID, "test-1")
	}
	for _, q := range []*consul.QueryOptions{
		{WaitTime: wait, AllowStale: true, NodeMeta: rack},
		{WaitIndex: 7, WaitTime: 5 * time.Minute, PassingOnly: true, Tags: []string{"tag1"}},
		{UseCache: true, MergeCentralConfig: true, Near: "_agent"},
		{RequireConsistent: true, UseCache: true, Peer: "east"},
	} {
		instances, _, err := client.Health().Service(ctx, "test", q)
		succeed(t, err)
		want(t, "instances", fmt.Sprint(ids(instances)), "[test-1]")
	}
}
