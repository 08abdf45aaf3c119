package consul_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

func TestHealthService(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-2"))
		agent.AddService(web("web-1"))
		agent.AddNode(&consul.CatalogRegistration{
			Node: "a-node", Address: "10.0.0.9", Service: &consul.AgentService{ID: "web-9", Service: "web", Port: 80},
		})
		health := agent.Client().Health()
		entries, meta, err := health.Service(ctx, "web", nil)
		succeed(t, err)
		want(t, "instances, by node and ID", ids(entries), []string{"web-9", "web-1", "web-2"})
		want(t, "node", entries[1].Node.Node, "node1")
		want(t, "datacenter, which the local agent fills", entries[1].Service.Datacenter, "")
		want(t, "checks, of the node too", statuses(entries[1].Checks), []string{"serfHealth passing", "service:web-1 passing"})
		want(t, "definition of a check", entries[1].Checks[0].Definition, nil)
		if meta.LastIndex == 0 || meta.RequestTime <= 0 || !meta.KnownLeader || meta.EffectiveConsistency == "" {
			t.Errorf("got %+v", meta)
		}

		// Names match without regard to case, and an unknown one has no instances.
		entries, _, err = health.Service(ctx, "WEB", nil)
		succeed(t, err)
		want(t, "instances of WEB", len(entries), 3)
		entries, _, err = health.Service(ctx, "none", nil)
		succeed(t, err)
		want(t, "instances of none", entries, []*consul.ServiceEntry{})
	})
}

// Each option leaves out other instances.
func TestHealthServiceOptions(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		tagged := web("tagged")
		tagged.Tags, tagged.Meta = []string{"v1", "green"}, map[string]string{"zone": "a"}
		agent.AddService(tagged)
		failing := web("failing")
		failing.Tags, failing.Check.Status = []string{"v1"}, consul.HealthCritical
		agent.AddService(failing)
		warning := web("warning")
		warning.Check.Status = consul.HealthWarning
		agent.AddService(warning)
		agent.AddNode(&consul.CatalogRegistration{
			Node: "x-node", Address: "10.0.0.9", NodeMeta: map[string]string{"rack": "r1"}, Service: &consul.AgentService{ID: "racked", Service: "web"},
		})
		for _, tt := range []struct {
			what string
			q    consul.QueryOptions
			want []string
		}{
			{"everything", consul.QueryOptions{}, []string{"failing", "tagged", "warning", "racked"}},
			{"passing only", consul.QueryOptions{PassingOnly: true}, []string{"racked", "tagged"}}, // agents move the last one up
			{"a tag", consul.QueryOptions{Tags: []string{"v1"}}, []string{"failing", "tagged"}},
			{"two tags", consul.QueryOptions{Tags: []string{"v1", "green"}}, []string{"tagged"}},
			{"an empty tag", consul.QueryOptions{Tags: []string{""}}, []string{"failing", "tagged", "warning", "racked"}},
			{"an empty tag among others", consul.QueryOptions{Tags: []string{"", "v1"}}, []string{"failing", "tagged"}},
			{"metadata of nodes", consul.QueryOptions{NodeMeta: map[string]string{"rack": "r1"}}, []string{"racked"}},
			{"a filter", consul.QueryOptions{Filter: `Service.Meta.zone == "a"`}, []string{"tagged"}},
			{"a stale read", consul.QueryOptions{AllowStale: true}, []string{"failing", "tagged", "warning", "racked"}},
			{"a cached read", consul.QueryOptions{UseCache: true, MaxAge: time.Minute}, []string{"failing", "tagged", "warning", "racked"}},
			{"a consistent read", consul.QueryOptions{RequireConsistent: true}, []string{"failing", "tagged", "warning", "racked"}},
			{"a consistent read, and the cache", consul.QueryOptions{RequireConsistent: true, UseCache: true, MaxAge: time.Minute}, []string{"failing", "tagged", "warning", "racked"}},
			{"the own datacenter", consul.QueryOptions{Datacenter: "dc1"}, []string{"failing", "tagged", "warning", "racked"}},
			{"near", consul.QueryOptions{Near: "_agent"}, []string{"failing", "tagged", "warning", "racked"}},
		} {
			entries, _, err := agent.Client().Health().Service(ctx, "web", &tt.q)
			succeed(t, err)
			want(t, tt.what, ids(entries), tt.want)
		}
	})
}

func TestHealthServiceErrors(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		health := agent.Client().Health()
		for words, q := range map[string]*consul.QueryOptions{
			"500 No path to datacenter":                         {Datacenter: "dc9"},
			"400 Cannot specify ?stale with ?consistent":        {AllowStale: true, RequireConsistent: true},
			`Selector "Bogus" is not valid`:                     {Filter: "Bogus == 1"},
			"Namespaces are a Consul Enterprise feature":        {Namespace: "ns1"},
			"QueryOptions.WaitTime is -1s; want 0 or more":      {WaitTime: -time.Second},
			"QueryOptions.MaxAge is -1s; want 0 or more":        {MaxAge: -time.Second},
			"QueryOptions.StaleIfError is -1ns; want 0 or more": {StaleIfError: -1},
		} {
			entries, meta, err := health.Service(ctx, "web", q)
			wantError(t, err, nil, words)
			if entries != nil || meta != nil {
				t.Errorf("%s: got %v, %v with an error", words, entries, meta)
			}
		}
		if !isOld {
			_, _, err := health.Service(ctx, "web", &consul.QueryOptions{SamenessGroup: "g"})
			wantError(t, err, nil, "500 sameness groups are not supported")
			_, _, err = health.Service(ctx, "web", &consul.QueryOptions{Partition: "p"})
			wantError(t, err, nil, "400 ", "Partitions are a Consul Enterprise feature")
		}
		_, _, err := health.Service(ctx, "", nil)
		wantError(t, err, nil, "consul: service is empty")

		agent.Inject(consulmock.Fault{NoLeader: true})
		_, _, err = health.Service(ctx, "web", nil)
		wantError(t, err, consul.ErrNoLeader, "/v1/health/service/web: 500 No cluster leader")
	})
}

// A blocking query returns when its result may have changed.
func TestHealthServiceWaits(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		client := agent.Client()
		_, meta, err := client.Health().Service(ctx, "web", nil)
		succeed(t, err)
		waits := &consulmock.Observer{}
		agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Observe: waits})
		go func() {
			waits.Wait(1, nil)
			agent.AddService(web("web-1"))
		}()
		entries, again, err := client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
		succeed(t, err)
		want(t, "instances", ids(entries), []string{"web-1"})
		if again.LastIndex <= meta.LastIndex {
			t.Errorf("the index went from %d to %d", meta.LastIndex, again.LastIndex)
		}
	})
}

// With the result of the response before, only what has changed is decoded.
func TestPrevious(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(web("web-1"))
	health := agent.Client().Health()
	q := &consul.QueryOptions{Previous: new(consul.Result)} // to begin with
	first, meta, err := health.Service(ctx, "web", q)
	succeed(t, err)
	want(t, "instances", ids(first), []string{"web-1"})

	q.Previous = meta.Result
	same, again, err := health.Service(ctx, "web", q)
	succeed(t, err)
	want(t, "unchanged", again.Result == meta.Result, true)
	want(t, "the instance is the one from before", same[0] == first[0], true)

	agent.AddService(web("web-2"))
	both, again, err := health.Service(ctx, "web", q)
	succeed(t, err)
	want(t, "unchanged", again.Result == meta.Result, false)
	want(t, "instances", ids(both), []string{"web-1", "web-2"})
	want(t, "the first instance is the one from before", both[0] == first[0], true)
}

// The token of the options replaces the client's, and of a list only what it may
// see is there.
func TestHealthToken(t *testing.T) {
	agent := consulmock.New(t, consulmock.WithTokens(consulmock.ManagementToken("all"),
		consulmock.Token{SecretID: "some", Rules: `service "other" { policy = "read" }`}))
	agent.AddService(web("web-1"))
	health := agent.Client().WithToken("all").Health()
	for token, instances := range map[string]int{"": 1, "some": 0} {
		entries, meta, err := health.Service(ctx, "web", &consul.QueryOptions{Token: token})
		succeed(t, err)
		want(t, "instances", len(entries), instances)
		want(t, "filtered", meta.ResultsFilteredByACLs, instances == 0)
		want(t, "policy", meta.DefaultACLPolicy, "deny")
	}
	_, _, err := health.Service(ctx, "web", &consul.QueryOptions{Token: "unknown"})
	wantError(t, err, consul.ErrPermissionDenied, "403 ACL not found")
}

// The metadata tells from where a response came.
func TestHealthMeta(t *testing.T) {
	agent := consulmock.New(t, consulmock.WithTranslateAddresses(true))
	agent.AddService(web("web-1"))
	health := agent.Client().Health()
	cached := &consul.QueryOptions{UseCache: true}
	_, first, err := health.Service(ctx, "web", cached)
	succeed(t, err)
	_, second, err := health.Service(ctx, "web", cached)
	succeed(t, err)
	want(t, "cache hits", [2]bool{first.CacheHit, second.CacheHit}, [2]bool{false, true})
	want(t, "translated", first.AddressTranslationEnabled, true)
	want(t, "backend", second.QueryBackend, "streaming")
	want(t, "a leader, by streaming", second.KnownLeader, false)
	_, stale, err := health.Service(ctx, "web", &consul.QueryOptions{AllowStale: true})
	succeed(t, err)
	want(t, "consistency", stale.EffectiveConsistency, "stale")
	want(t, "backend", stale.QueryBackend, "blocking-query")
}

func TestHealthConnectAndIngress(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-1"))
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "native", Port: 80, Connect: &consul.AgentServiceConnect{Native: true}})
		agent.AddService(&consul.AgentServiceRegistration{Name: "web-proxy", Kind: "connect-proxy", Port: 21000, Proxy: []byte(`{"DestinationServiceName":"web"}`)})
		health := agent.Client().Health()
		entries, _, err := health.Connect(ctx, "web", nil)
		succeed(t, err)
		want(t, "instances", ids(entries), []string{"native", "web-proxy"})
		if !strings.Contains(string(entries[1].Service.Proxy), `"DestinationServiceName"`) {
			t.Errorf("proxy %s", entries[1].Service.Proxy)
		}
		entries, _, err = health.Connect(ctx, "none", nil)
		succeed(t, err)
		want(t, "instances of none", len(entries), 0)
		entries, _, err = health.Ingress(ctx, "web", nil)
		succeed(t, err)
		want(t, "gateways", len(entries), 0)
	})
}

func TestHealthChecks(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		agent.AddService(web("web-1"))
		critical := web("web-2")
		critical.Check.Status = ""
		agent.AddService(critical)
		health := agent.Client().Health()
		checks, meta, err := health.Checks(ctx, "web", nil)
		succeed(t, err)
		want(t, "of the service", statuses(checks), []string{"service:web-1 passing", "service:web-2 critical"})
		if meta.LastIndex == 0 {
			t.Error("no index")
		}
		agent.AddService(&consul.AgentServiceRegistration{Name: "run", Check: &consul.AgentServiceCheck{
			HTTP: "http://127.0.0.1:1/", Interval: 10 * time.Second, Timeout: time.Second, Status: consul.HealthWarning}})
		checks, _, err = health.Checks(ctx, "run", nil)
		succeed(t, err)
		if isOld { // does not tell
			want(t, "times", checks[0].Interval+checks[0].Timeout, 0)
		} else {
			want(t, "times", checks[0].Interval+checks[0].Timeout, 11*time.Second)
		}
		agent.RemoveService("run")
		checks, _, err = health.Node(ctx, "node1", nil)
		succeed(t, err)
		want(t, "of the node", statuses(checks), []string{"serfHealth passing", "service:web-1 passing", "service:web-2 critical"})
		checks, _, err = health.State(ctx, consul.HealthCritical, nil)
		succeed(t, err)
		want(t, "that are critical", statuses(checks), []string{"service:web-2 critical"})
		checks, _, err = health.State(ctx, consul.HealthAny, nil)
		succeed(t, err)
		want(t, "all", len(checks), 3)

		// Unknown names have no checks.
		for what, read := range map[string]func() (consul.HealthChecks, *consul.QueryMeta, error){
			"service": func() (consul.HealthChecks, *consul.QueryMeta, error) { return health.Checks(ctx, "none", nil) },
			"node":    func() (consul.HealthChecks, *consul.QueryMeta, error) { return health.Node(ctx, "none", nil) },
			"status":  func() (consul.HealthChecks, *consul.QueryMeta, error) { return health.State(ctx, "none", nil) },
		} {
			checks, _, err := read()
			succeed(t, err)
			want(t, what, checks, consul.HealthChecks{})
		}
		_, _, err = health.Node(ctx, "", nil)
		wantError(t, err, nil, "consul: node is empty")
	})
}
