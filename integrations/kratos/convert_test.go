package kratos_test

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/kratos"
)

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

// TestDefaults compares what is registered without options.
func TestDefaults(t *testing.T) {
	agent, r := newRegistry(t, nil)
	if err := r.Register(testContext(t), hello("1")); err != nil {
		t.Fatal(err)
	}
	var body struct{ Checks []map[string]any }
	put(t, agent, &body)
	if len(body.Checks) != 3 {
		t.Fatalf("checks %v; want 3", body.Checks)
	}
	for n, check := range body.Checks {
		want := map[string]any{"Interval": "10s", "Timeout": "5s", "TTL": nil}
		if n == 2 {
			want = map[string]any{"Interval": nil, "Timeout": nil, "TTL": "20s"}
		}
		want["DeregisterCriticalServiceAfter"], want["Status"] = "10m0s", "passing"
		for k, v := range want {
			if check[k] != v {
				t.Errorf("check %d: %s is %v; want %v", n, k, check[k], v)
			}
		}
	}
}

// TestLongInterval registers a TTL of two intervals, or the longest that there is.
func TestLongInterval(t *testing.T) {
	agent, r := newRegistry(t, &kratos.Options{Interval: math.MaxInt64})
	if err := r.Register(testContext(t), hello("1")); err != nil {
		t.Fatal(err)
	}
	var body struct{ Checks []struct{ TTL string } }
	put(t, agent, &body)
	if got, err := time.ParseDuration(body.Checks[2].TTL); err != nil || got < math.MaxInt64-1 {
		t.Errorf("TTL %q, %v", body.Checks[2].TTL, err)
	}
}

// TestWeight converts weights of instances to the metadata, and back.
func TestWeight(t *testing.T) {
	for _, test := range []struct{ weight, want string }{
		{"7", "7"}, {"65535", "65535"},
		{"0", ""}, {"65536", ""}, {"-1", ""}, {"1.5", ""}, {"heavy", ""}, {"", ""},
	} {
		agent, r := newRegistry(t, nil)
		i := hello("1")
		i.Metadata["weight"] = test.weight
		if err := r.Register(testContext(t), i); err != nil {
			t.Fatal(err)
		}
		var body struct{ Weights *consul.AgentWeights }
		put(t, agent, &body)
		got := ""
		if body.Weights != nil {
			got = strconv.Itoa(body.Weights.Passing)
		}
		if got != test.want {
			t.Errorf("weight %q: %q in Consul; want %q", test.weight, got, test.want)
		}
		list, err := r.GetService(testContext(t), "helloworld")
		if err != nil || len(list) != 1 || list[0].Metadata["weight"] != test.weight {
			t.Errorf("weight %q: read %+v, %v", test.weight, list, err)
		}
	}
}

// TestConvert calls it as a Resolve function may: also with nil options, and with an
// instance that it must not change.
func TestConvert(t *testing.T) {
	var none *kratos.Options
	i := discovery.Instance{ID: "1", Service: "web", Address: "10.0.0.1", Port: 80, Weight: 3, Meta: map[string]string{"weight": "2"}}
	k := none.Convert(i)
	want := &kratos.Instance{ID: "1", Name: "web", Metadata: map[string]string{"weight": "2"}, Endpoints: []string{"http://10.0.0.1:80"}}
	if !reflect.DeepEqual(k, want) {
		t.Errorf("%+v; want %+v", k, want)
	}
	k.Metadata["a"] = "b"
	if len(i.Meta) != 1 {
		t.Errorf("the metadata are shared: %v", i.Meta)
	}
	if k := none.Convert(discovery.Instance{SocketPath: "/run/web"}); len(k.Endpoints) != 0 {
		t.Errorf("without a port: endpoints %q", k.Endpoints)
	}
}

// TestResolveChangesItsArgument has functions that change what they are given, keep
// it, and return the same instance every time.
func TestResolveChangesItsArgument(t *testing.T) {
	always := &kratos.Instance{ID: "always"}
	for _, resolve := range []func(discovery.Instance) *kratos.Instance{
		func(i discovery.Instance) *kratos.Instance {
			i.Tags[0], i.Meta["zone"] = "x", "x"
			clear(i.TaggedAddresses)
			return &kratos.Instance{ID: i.ID, Metadata: i.Meta}
		},
		func(discovery.Instance) *kratos.Instance { return always },
	} {
		for _, dcs := range [][]string{nil, {"dc1"}} {
			agent, writer := newRegistry(t, nil)
			if err := writer.Register(testContext(t), hello("1")); err != nil {
				t.Fatal(err)
			}
			r := kratos.New(agent.Client(), &kratos.Options{Datacenters: dcs, Resolve: func(i discovery.Instance) *kratos.Instance {
				if i.Meta["zone"] != "a" || len(i.TaggedAddresses) == 0 {
					t.Errorf("instance %+v; want it as it was registered", i)
				}
				return resolve(i)
			}})
			defer r.Close()
			var running sync.WaitGroup
			for range 4 {
				running.Add(1)
				go func() {
					defer running.Done()
					for range 10 {
						list, err := r.GetService(testContext(t), "helloworld")
						if err != nil || len(list) != 1 {
							t.Errorf("%v, %v", list, err)
							return
						}
						if dcs != nil && list[0].Metadata["dc"] != "dc1" {
							t.Errorf("metadata %v; want the datacenter", list[0].Metadata)
						}
					}
				}()
			}
			running.Wait()
		}
	}
	if always.Metadata != nil {
		t.Errorf("the instance of the caller was changed: %v", always.Metadata)
	}
}
