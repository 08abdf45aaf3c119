package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestQueriesThatWakeOnAnyChange tells whether one small query could stand for many
// that wait. It makes changes one by one while several such queries wait, and logs
// which of them were woken, and how many bytes that took. It checks that no change of
// a service, a check or a node goes unnoticed by all of them.
//
//	go test ./client -v -run TestQueriesThatWakeOnAnyChange
func TestQueriesThatWakeOnAnyChange(t *testing.T) {
	t.Parallel()
	agent := agenttest.Start(t, agenttest.Options{})
	c := agent.Client()
	for i := range 3 { // others, so that the responses are not empty by chance
		register(t, c, &consul.AgentServiceRegistration{Name: fmt.Sprint("other-", i), Check: &consul.AgentServiceCheck{TTL: time.Hour}})
	}
	register(t, c, &consul.AgentServiceRegistration{Name: "bare"})
	register(t, c, &consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{CheckID: "web", TTL: time.Hour, Status: consul.HealthPassing}})
	addNode(t, c, "127.0.0.3")

	none := url.QueryEscape(`CheckID == "none"`)
	queries := []struct{ name, path string }{
		{"checks of any status", "/v1/health/state/any?filter=" + none},
		{"names of services", "/v1/catalog/services?"},
		{"nodes", "/v1/catalog/nodes?filter=" + url.QueryEscape(`Node == "none"`)},
		{"health of a missing service", "/v1/health/service/none?"},
		{"the same, not streamed", "/v1/health/service/none?near=_agent"},
		{"instances of a missing service", "/v1/catalog/service/none?"},
	}
	table := "change"
	for _, q := range queries {
		table += " | " + q.name
	}
	counts, bytes := make([]int, len(queries)), make([]int, len(queries))
	for _, change := range anyChanges(t, c) {
		row, woken := change.name, 0
		for i, r := range wokenBy(t, agent.Addr, queries, change.make) {
			row += " | " + map[bool]string{true: "yes", false: "-"}[r.woken]
			if r.woken {
				counts[i]++
				bytes[i] += r.bytes
				woken++
			}
		}
		table += "\n" + row
		if change.wanted && woken == 0 {
			t.Errorf("%s: no query is woken", change.name)
		}
	}
	table += "\nbytes of a response"
	for i, n := range bytes {
		table += fmt.Sprint(" | ", n/max(counts[i], 1))
	}
	t.Logf("agent %s\n%s", agent.Version, table)
}

// addNode registers a node that has no agent, with an instance of the service
// remote.
func addNode(t *testing.T, c *consul.Client, address string) {
	t.Helper()
	err := c.Catalog().Register(limit(t), &consul.CatalogRegistration{
		Node: "remote", Address: address, Service: &consul.AgentService{Service: "remote", Port: 80},
	})
	check(t, err)
}

// anyChange is a change, and whether those who follow all services want to know.
type anyChange struct {
	name   string
	wanted bool
	make   func(ctx context.Context) error
}

// anyChanges are the changes of a datacenter, and what is none.
func anyChanges(t *testing.T, c *consul.Client) []anyChange {
	status := func(s consul.HealthStatus, output string) func(context.Context) error {
		return func(ctx context.Context) error { return c.Agent().UpdateTTL(ctx, "web", s, output) }
	}
	put := func(r consul.AgentServiceRegistration) func(context.Context) error {
		return func(ctx context.Context) error { return c.Agent().ServiceRegister(ctx, &r) }
	}
	remove := func(id string) func(context.Context) error {
		return func(ctx context.Context) error { return c.Agent().ServiceDeregister(ctx, id) }
	}
	return []anyChange{
		{"a check fails", true, status(consul.HealthCritical, "")},
		{"a check passes again", true, status(consul.HealthPassing, "")},
		{"tags, of a service with a check", true, put(consul.AgentServiceRegistration{Name: "web", Tags: []string{"v2"},
			Check: &consul.AgentServiceCheck{CheckID: "web", TTL: time.Hour, Status: consul.HealthPassing}})},
		{"tags, without a check", true, put(consul.AgentServiceRegistration{Name: "bare", Tags: []string{"v2"}})},
		{"port, without a check", true, put(consul.AgentServiceRegistration{Name: "bare", Tags: []string{"v2"}, Port: 81})},
		{"another instance, with a check", true, put(consul.AgentServiceRegistration{Name: "web", ID: "web-2", Check: &consul.AgentServiceCheck{TTL: time.Hour}})},
		{"another instance, without a check", true, put(consul.AgentServiceRegistration{Name: "bare", ID: "bare-2"})},
		{"an instance with a check goes", true, remove("web-2")},
		{"an instance without a check goes", true, remove("bare-2")},
		{"a new service, with a check", true, put(consul.AgentServiceRegistration{Name: "new", Check: &consul.AgentServiceCheck{TTL: time.Hour}})},
		{"the service goes", true, remove("new")},
		{"maintenance of the node", true, func(ctx context.Context) error { return c.Agent().EnableNodeMaintenance(ctx, "test") }},
		{"end of it", true, func(ctx context.Context) error { return c.Agent().DisableNodeMaintenance(ctx) }},
		{"another address of a node", true, func(context.Context) error { addNode(t, c, "127.0.0.4"); return nil }},
		{"a node goes", true, func(ctx context.Context) error {
			return c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "remote"})
		}},
		{"a heartbeat", false, status(consul.HealthPassing, "")},
		{"a heartbeat with a note", false, status(consul.HealthPassing, "all is well")},
		{"a key", false, func(ctx context.Context) error {
			return c.Raw().Write(ctx, "/v1/kv/key", []byte("value"), nil, nil)
		}},
		{"nothing", false, func(context.Context) error { return nil }},
	}
}

// waited is the end of a query: whether it was woken, and the bytes of its response,
// headers included.
type waited struct {
	woken bool
	bytes int
}

// wokenBy makes a change while queries wait.
func wokenBy(t *testing.T, addr string, queries []struct{ name, path string }, change func(context.Context) error) []waited {
	t.Helper()
	results := make([]waited, len(queries))
	var sent, done sync.WaitGroup
	for i, q := range queries {
		before, _ := indexAt(t, limit(t), addr, q.path)
		ctx, written := onSent(limit(t))
		sent.Add(1)
		done.Add(1)
		go func() {
			<-written
			sent.Done()
		}()
		go func() {
			defer done.Done()
			after, size := indexAt(t, ctx, addr, fmt.Sprint(q.path, "&wait=1s&index=", before))
			results[i] = waited{after > before, size}
		}()
	}
	sent.Wait()
	check(t, change(limit(t)))
	done.Wait()
	return results
}

// indexAt returns the index of a response, and its bytes.
func indexAt(t *testing.T, ctx context.Context, addr, path string) (index uint64, size int) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Error(err)
		return 0, 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, 0
	}
	defer resp.Body.Close()
	all, err := httputil.DumpResponse(resp, true)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", path, resp.Status, err)
	}
	index, err = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return index, len(all)
}
