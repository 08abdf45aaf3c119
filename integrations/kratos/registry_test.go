package kratos_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
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

// TestDefinition compares what is registered, field by field.
func TestDefinition(t *testing.T) {
	agent, r := newRegistry(t, &kratos.Options{
		Tags: []string{"blue"}, Interval: 3 * time.Second, DeregisterAfter: 2 * time.Minute,
		Checks: []*consul.AgentServiceCheck{{CheckID: "own", HTTP: "http://10.0.0.1:8000/health", Interval: time.Second, Status: consul.HealthPassing}},
	})
	i := hello("1")
	i.Endpoints = append(i.Endpoints, "grpc://[2001:db8::1]:9001?isSecure=true")
	i.Metadata["weight"] = "20"
	if err := r.Register(testContext(t), i); err != nil {
		t.Fatal(err)
	}
	entries, _, err := agent.Client().Health().Service(testContext(t), "helloworld", &consul.QueryOptions{PassingOnly: true})
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d healthy instances, %v; want one at once", len(entries), err)
	}
	s := entries[0].Service
	if s.ID != "1" || s.Address != "10.0.0.1" || s.Port != 9000 || s.Weights.Passing != 20 ||
		!slices.Equal(s.Tags, []string{"version=v1.2.3", "blue"}) || !maps.Equal(s.Meta, i.Metadata) {
		t.Errorf("service %+v", s)
	}
	for key, want := range map[string]consul.ServiceAddress{
		"grpc":   {Address: i.Endpoints[0], Port: 9000},
		"http":   {Address: i.Endpoints[1], Port: 8000},
		"grpc-2": {Address: i.Endpoints[2], Port: 9001},
	} {
		if got := s.TaggedAddresses[key]; got != want {
			t.Errorf("address %s: %+v; want %+v", key, got, want)
		}
	}
	var body struct{ Checks []map[string]any }
	put(t, agent, &body)
	want := []map[string]any{
		{"TCP": "10.0.0.1:9000", "Interval": "3s", "Timeout": "5s", "CheckID": "service:1:1"},
		{"TCP": "10.0.0.1:8000", "Interval": "3s", "Timeout": "5s", "CheckID": "service:1:2"},
		{"TCP": "[2001:db8::1]:9001", "Interval": "3s", "Timeout": "5s", "CheckID": "service:1:3"},
		{"HTTP": "http://10.0.0.1:8000/health", "Interval": "1s", "CheckID": "own"},
		{"TTL": "6s", "CheckID": "service:1", "Status": "passing", "DeregisterCriticalServiceAfter": "2m0s"},
	}
	if len(body.Checks) != len(want) {
		t.Fatalf("%d checks; want %d: %v", len(body.Checks), len(want), body.Checks)
	}
	for n, fields := range want {
		for k, v := range fields {
			if body.Checks[n][k] != v {
				t.Errorf("check %d: %s is %v; want %v", n, k, body.Checks[n][k], v)
			}
		}
	}
}

// TestRoundTrip reads back what was registered.
func TestRoundTrip(t *testing.T) {
	_, r := newRegistry(t, nil)
	i := hello("1")
	if err := r.Register(testContext(t), i); err != nil {
		t.Fatal(err)
	}
	got, err := r.GetService(testContext(t), "helloworld")
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], i) {
		t.Fatalf("GetService: %+v, %v; want %+v", got, err, i)
	}
	// What kratos is given is its own: it sorts endpoints and keeps instances.
	got[0].Endpoints[0], got[0].Metadata["zone"] = "x", "x"
	again, err := r.GetService(testContext(t), "helloworld")
	if err != nil || !reflect.DeepEqual(again[0], i) {
		t.Errorf("GetService again: %+v, %v", again[0], err)
	}
	if err := r.Deregister(testContext(t), i); err != nil {
		t.Fatal(err)
	}
}

func TestOptionsWithoutChecks(t *testing.T) {
	for _, test := range []struct {
		opts   kratos.Options
		checks int
	}{
		{kratos.Options{}, 3},
		{kratos.Options{NoHeartbeat: true}, 2},
		{kratos.Options{NoTCPChecks: true}, 1},
		{kratos.Options{NoTCPChecks: true, NoHeartbeat: true}, 0},
	} {
		agent, r := newRegistry(t, &test.opts)
		if err := r.Register(testContext(t), hello("1")); err != nil {
			t.Fatal(err)
		}
		checks, err := agent.Client().Agent().Checks(testContext(t), nil)
		if err != nil || len(checks) != test.checks {
			t.Errorf("%+v: %d checks, %v; want %d", test.opts, len(checks), err, test.checks)
		}
	}
}

func TestRegisterErrors(t *testing.T) {
	_, r := newRegistry(t, nil)
	for what, i := range map[string]*kratos.Instance{
		"no name":     {ID: "1"},
		"port":        {ID: "1", Name: "x", Endpoints: []string{"http://10.0.0.1"}},
		"want scheme": {ID: "1", Name: "x", Endpoints: []string{"//10.0.0.1:80"}},
		"not a URL":   {ID: "1", Name: "x", Endpoints: []string{"http://a b:80"}},
		"Meta":        {ID: "1", Name: "x", Metadata: map[string]string{"a.b": "c"}}, // the agent's words
		"1 to 65535":  {ID: "1", Name: "x", Endpoints: []string{"http://10.0.0.1:0"}},
	} {
		if err := r.Register(testContext(t), i); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v; want one about %s", err, what)
		}
	}
}

// TestForeignInstances reads services that kratos has not registered.
func TestForeignInstances(t *testing.T) {
	service := &consul.AgentServiceRegistration{
		ID: "1", Name: "web", Address: "2001:db8::1", Port: 80, Tags: []string{"version=1", "x", "version=2"},
		TaggedAddresses: map[string]consul.ServiceAddress{"wan": {Address: "192.0.2.1", Port: 80}, "v4": {Address: "192.0.2.2", Port: 80}},
		Weights:         &consul.AgentWeights{Passing: 5, Warning: 1},
	}
	for _, test := range []struct {
		opts kratos.Options
		want []*kratos.Instance
	}{
		{kratos.Options{}, []*kratos.Instance{{
			ID: "1", Name: "web", Version: "2", Metadata: map[string]string{"weight": "5"}, Endpoints: []string{"http://[2001:db8::1]:80"},
		}}},
		{kratos.Options{DefaultScheme: "grpc"}, []*kratos.Instance{{
			ID: "1", Name: "web", Version: "2", Metadata: map[string]string{"weight": "5"}, Endpoints: []string{"grpc://[2001:db8::1]:80"},
		}}},
		{kratos.Options{Resolve: func(i discovery.Instance) *kratos.Instance {
			return &kratos.Instance{ID: i.ID, Endpoints: []string{"grpc://" + i.TaggedAddresses["v4"].Address}}
		}}, []*kratos.Instance{{ID: "1", Endpoints: []string{"grpc://192.0.2.2"}}}},
		{kratos.Options{Resolve: func(discovery.Instance) *kratos.Instance { return nil }}, []*kratos.Instance{}},
	} {
		agent, r := newRegistry(t, &test.opts)
		agent.AddService(service)
		got, err := r.GetService(testContext(t), "web")
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%+v, %v; want %+v", got, err, test.want)
		}
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

func TestRegisterAgainAndDeregister(t *testing.T) {
	agent, r := newRegistry(t, nil)
	w, err := r.Watch(testContext(t), "helloworld")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	i := hello("1")
	for range 3 { // the same again changes nothing
		if err := r.Register(testContext(t), i); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(t, w); got != "1" {
		t.Fatalf("instances %q", got)
	}
	i.Version = "v2"
	if err := r.Register(testContext(t), i); err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "1" { // never gone in between
		t.Fatalf("instances %q", got)
	}
	if n := countPuts(agent, "register"); n != 2 {
		t.Errorf("%d registrations; want 2", n)
	}
	if err := r.Deregister(testContext(t), i); err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "" {
		t.Fatalf("instances %q; want none", got)
	}
	for range 2 { // what is not registered is deregistered
		if err := r.Deregister(testContext(t), hello("other")); err != nil {
			t.Error(err)
		}
	}
	if n := countPuts(agent, "deregister/1"); n != 1 {
		t.Errorf("%d deregistrations; want 1", n)
	}
	if err := r.Register(testContext(t), i); err != nil { // and once more
		t.Fatal(err)
	}
	if got := next(t, w); got != "1" {
		t.Fatalf("instances %q", got)
	}
}

// TestDatacenters puts two datacenters behind one address, as an agent does that is
// joined with others.
func TestDatacenters(t *testing.T) {
	dcs := map[string]*consulmock.Server{}
	for _, dc := range []string{"dc1", "dc2"} {
		dcs[dc] = consulmock.New(t, consulmock.WithDatacenter(dc))
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/v1/catalog/datacenters" {
			w.Write([]byte(`["dc1","dc2"]`))
			return
		}
		dc := req.URL.Query().Get("dc")
		if dc == "" {
			dc = "dc1"
		}
		dcs[dc].Handler().ServeHTTP(w, req)
	}))
	client, err := consul.NewClient(consul.Config{Address: front.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Close)
	add := func(dc, id string) {
		dcs[dc].AddService(&consul.AgentServiceRegistration{ID: id, Name: "web", Port: 80})
	}
	add("dc1", "one")
	for name, test := range map[string]struct {
		opts kratos.Options
		want string
	}{
		"all":    {kratos.Options{AllDatacenters: true}, "one two"},
		"named":  {kratos.Options{Datacenters: []string{"dc2"}}, "two"},
		"listed": {kratos.Options{Datacenters: []string{"dc1", "dc2"}}, "one two"},
		"own":    {kratos.Options{}, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			r := kratos.New(client, &test.opts)
			t.Cleanup(func() { r.Close() })
			w, err := r.Watch(testContext(t), "web")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			if strings.Contains(test.want, "one") {
				if got := next(t, w); got != "one" {
					t.Errorf("instances %q; want one", got)
				}
			}
			add("dc2", "two")
			defer dcs["dc2"].RemoveService("two")
			if strings.Contains(test.want, "two") {
				if got := next(t, w); got != test.want {
					t.Errorf("instances %q; want %q", got, test.want)
				}
			}
			list, err := r.GetService(testContext(t), "web")
			if err != nil || len(list) != len(strings.Fields(test.want)) {
				t.Errorf("GetService: %v, %v; want %s", list, err, test.want)
			}
			for _, i := range list {
				if want := map[string]string{"one": "dc1", "two": "dc2"}[i.ID]; name != "own" && i.Metadata["dc"] != want {
					t.Errorf("%s is in %q; want %s", i.ID, i.Metadata["dc"], want)
				}
			}
		})
	}
}

func TestClose(t *testing.T) {
	agent, r := newRegistry(t, nil)
	if err := r.Register(testContext(t), hello("1")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.GetService(testContext(t), "helloworld"); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if services, err := agent.Client().Agent().Services(testContext(t), nil); err != nil || len(services) != 0 {
		t.Errorf("services after Close: %v, %v", services, err)
	}
	if _, err := r.GetService(testContext(t), "helloworld"); !errors.Is(err, discovery.ErrClosed) {
		t.Errorf("GetService after Close: %v", err)
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
