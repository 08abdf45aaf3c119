package kratos_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
)

// patience bounds waits, most of which last milliseconds.
const patience = time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newRegistry returns a registry on a fake agent, closed when the test ends.
func newRegistry(t *testing.T, opts *kratos.Options) (*consulmock.Server, *kratos.Registry) {
	agent := consulmock.New(t)
	r := kratos.New(agent.Client(), opts)
	t.Cleanup(func() { r.Close() })
	return agent, r
}

func hello(id string) *kratos.Instance {
	return &kratos.Instance{
		ID: id, Name: "helloworld", Version: "v1.2.3",
		Metadata:  map[string]string{"zone": "a"},
		Endpoints: []string{"grpc://10.0.0.1:9000?isSecure=false", "http://10.0.0.1:8000?isSecure=false"},
	}
}

// next returns the IDs of the next list.
func next(t *testing.T, w *kratos.Watcher) string {
	t.Helper()
	type result struct {
		list []*kratos.Instance
		err  error
	}
	got := make(chan result, 1)
	go func() {
		list, err := w.Next()
		got <- result{list, err}
	}()
	select {
	case r := <-got:
		if r.err != nil {
			t.Fatal(r.err)
		}
		ids := []string{}
		for _, i := range r.list {
			ids = append(ids, i.ID)
		}
		return strings.Join(ids, " ")
	case <-time.After(patience):
		t.Fatal("Next has returned nothing")
		return ""
	}
}

// TestGetServiceErrors tells an unknown service from an agent that is away.
func TestGetServiceErrors(t *testing.T) {
	agent, r := newRegistry(t, &kratos.Options{Timeout: 200 * time.Millisecond})
	if list, err := r.GetService(testContext(t), "nobody"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("unknown service: %v, %v; want an empty list", list, err)
	}
	agent.Stop()
	if _, err := r.GetService(testContext(t), "other"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("without an agent: %v; want the reason", err)
	}
}

// TestQueryOption looks for instances with a tag only.
func TestQueryOption(t *testing.T) {
	agent, r := newRegistry(t, &kratos.Options{Query: consul.QueryOptions{Tags: []string{"blue"}}})
	agent.AddService(&consul.AgentServiceRegistration{ID: "1", Name: "web", Port: 80, Tags: []string{"blue"}})
	agent.AddService(&consul.AgentServiceRegistration{ID: "2", Name: "web", Port: 80})
	if list, err := r.GetService(testContext(t), "web"); err != nil || len(list) != 1 || list[0].ID != "1" {
		t.Errorf("%v, %v; want the instance with the tag", list, err)
	}
}

func countPuts(agent *consulmock.Server, path string) int {
	n := 0
	for _, r := range agent.Requests() {
		if r.Method == http.MethodPut && r.Path == "/v1/agent/service/"+path {
			n++
		}
	}
	return n
}

// wantError checks that there is an error with all these words in it.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v; want one with %q", err, word)
		}
	}
}

// TestNil leaves out what is needed, and gets an error that says what.
func TestNil(t *testing.T) {
	var none context.Context
	ctx := testContext(t)
	_, good := newRegistry(t, nil)
	for name, bad := range map[string]*kratos.Registry{
		"one datacenter":  kratos.New(nil, nil),
		"all datacenters": kratos.New(nil, &kratos.Options{AllDatacenters: true}),
	} {
		defer bad.Close()
		_, err := bad.GetService(ctx, "web")
		_, err2 := bad.Watch(ctx, "web")
		for _, err := range []error{err, err2, bad.Register(ctx, hello("1")), bad.Deregister(ctx, hello("1"))} {
			if err == nil || err.Error() != "kratos: nil client" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	_, err := good.GetService(none, "web")
	wantError(t, err, "nil context")
	_, err = good.Watch(none, "web")
	wantError(t, err, "nil context")
	wantError(t, good.Register(none, hello("1")), "nil context")
	wantError(t, good.Deregister(none, hello("1")), "nil context")
	wantError(t, good.Register(ctx, nil), "nil instance")
	wantError(t, good.Deregister(ctx, nil), "nil instance")
	_, err = good.GetService(ctx, "")
	wantError(t, err, "no name")
	_, err = good.Watch(ctx, "")
	wantError(t, err, "no name")
}

// TestOptionsAreCopied changes options after New.
func TestOptionsAreCopied(t *testing.T) {
	c := newCluster(t, "dc2")
	for _, dc := range []string{"dc1", "dc2"} {
		c.servers[dc].AddService(&consul.AgentServiceRegistration{ID: dc, Name: "web", Port: 80, Tags: []string{"blue"}})
	}
	opts := &kratos.Options{
		Tags:        []string{"blue"},
		Checks:      []*consul.AgentServiceCheck{nil, {TTL: time.Minute}},
		Datacenters: []string{"dc1", "dc2"},
		Query:       consul.QueryOptions{Tags: []string{"blue"}, NodeMeta: map[string]string{}},
	}
	r := c.registry(t, opts)
	if n := len(c.local.Requests()); n != 0 {
		t.Errorf("New has sent %d requests", n)
	}
	opts.Tags[0], opts.Datacenters[1], opts.Query.Tags[0], opts.Query.NodeMeta["a"] = "red", "dc9", "red", "b"
	opts.Checks[1].TTL = 1
	if list, err := r.GetService(testContext(t), "web"); err != nil || len(list) != 2 {
		t.Errorf("%v, %v; want two instances", list, err)
	}
	if err := r.Register(testContext(t), hello("1")); err != nil {
		t.Fatal(err)
	}
	var body struct{ Tags []string }
	if put(t, c.local, &body); !slices.Equal(body.Tags, []string{"version=v1.2.3", "blue"}) {
		t.Errorf("tags %q", body.Tags)
	}
}

// TestQueryOptionsOfTheRegistry have no effect: it looks for passing instances only,
// and waits for changes.
func TestQueryOptionsOfTheRegistry(t *testing.T) {
	agent, r := newRegistry(t, &kratos.Options{Query: consul.QueryOptions{WaitIndex: 1_000_000, WaitHash: "x", WaitTime: time.Minute}})
	agent.AddService(&consul.AgentServiceRegistration{ID: "1", Name: "web", Port: 80})
	agent.AddService(&consul.AgentServiceRegistration{ID: "2", Name: "web", Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Hour}})
	if list, err := r.GetService(testContext(t), "web"); err != nil || len(list) != 1 || list[0].ID != "1" {
		t.Errorf("%v, %v; want the passing instance", list, err)
	}
}
