package officialclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// exchange is a request as it was sent.
type exchange struct{ method, url, cacheControl, body string }

// listener notes the requests that it is sent, and answers all alike.
func listener(t *testing.T) (url string, sent *[]exchange) {
	sent = new([]exchange)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*sent = append(*sent, exchange{r.Method, r.URL.String(), r.Header.Get("Cache-Control"), string(body)})
		io.WriteString(w, "null")
	}))
	t.Cleanup(s.Close)
	return s.URL, sent
}

// options are the same options for both clients, for everything that both have.
type options struct {
	ours consul.QueryOptions
	api  api.QueryOptions
}

var allOptions = []options{
	{},
	{consul.QueryOptions{AllowStale: true}, api.QueryOptions{AllowStale: true}},
	{consul.QueryOptions{RequireConsistent: true}, api.QueryOptions{RequireConsistent: true}},
	{consul.QueryOptions{UseCache: true}, api.QueryOptions{UseCache: true}},
	{consul.QueryOptions{UseCache: true, RequireConsistent: true, MaxAge: time.Second}, api.QueryOptions{UseCache: true, RequireConsistent: true, MaxAge: time.Second}},
	{consul.QueryOptions{UseCache: true, MaxAge: 90 * time.Second, StaleIfError: 1500 * time.Millisecond},
		api.QueryOptions{UseCache: true, MaxAge: 90 * time.Second, StaleIfError: 1500 * time.Millisecond}},
	{consul.QueryOptions{UseCache: true, MaxAge: 400 * time.Millisecond}, api.QueryOptions{UseCache: true, MaxAge: 400 * time.Millisecond}},
	{consul.QueryOptions{WaitIndex: 7}, api.QueryOptions{WaitIndex: 7}},
	{consul.QueryOptions{WaitIndex: 7, WaitTime: 2 * time.Minute}, api.QueryOptions{WaitIndex: 7, WaitTime: 2 * time.Minute}},
	{consul.QueryOptions{WaitTime: 1500 * time.Microsecond}, api.QueryOptions{WaitTime: 1500 * time.Microsecond}},
	{consul.QueryOptions{WaitTime: 1}, api.QueryOptions{WaitTime: 1}},
	{consul.QueryOptions{WaitHash: "h/ä"}, api.QueryOptions{WaitHash: "h/ä"}},
	{consul.QueryOptions{MergeCentralConfig: true}, api.QueryOptions{MergeCentralConfig: true}},
	{consul.QueryOptions{Near: "_agent", Filter: `Meta.k == "v"`}, api.QueryOptions{Near: "_agent", Filter: `Meta.k == "v"`}},
	{consul.QueryOptions{NodeMeta: map[string]string{"rack": "r 1"}}, api.QueryOptions{NodeMeta: map[string]string{"rack": "r 1"}}},
	{consul.QueryOptions{Datacenter: "d", Namespace: "n", Partition: "p", Peer: "e", SamenessGroup: "s"},
		api.QueryOptions{Datacenter: "d", Namespace: "n", Partition: "p", Peer: "e", SamenessGroup: "s"}},
}

// Both clients send the same requests, letter by letter, so that what was written
// for the one, such as stubs and recordings, fits the other.
func TestSpelling(t *testing.T) {
	oursURL, oursSent := listener(t)
	apiURL, apiSent := listener(t)
	ours, err := consul.NewClient(consul.Config{Address: oursURL})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := api.NewClient(&api.Config{Address: apiURL})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	compare := func(what string, isRead bool, a, b func()) {
		t.Helper()
		*oursSent, *apiSent = nil, nil
		a()
		b()
		if !isRead { // the same value may have several forms in JSON
			for _, e := range []*exchange{&(*oursSent)[0], &(*apiSent)[0]} {
				e.body = plain(e.body)
			}
		}
		if !reflect.DeepEqual(*oursSent, *apiSent) {
			t.Errorf("%s:\n ours %q\n api  %q", what, *oursSent, *apiSent)
		}
	}
	for _, o := range allOptions {
		for path, calls := range map[string][2]func(){
			"health/service": {func() { ours.Health().Service(ctx, "web", &o.ours) }, func() { theirs.Health().Service("web", "", false, &o.api) }},
			"health/checks":  {func() { ours.Health().Checks(ctx, "web", &o.ours) }, func() { theirs.Health().Checks("web", &o.api) }},
			"health/node":    {func() { ours.Health().Node(ctx, "n", &o.ours) }, func() { theirs.Health().Node("n", &o.api) }},
			"health/state":   {func() { ours.Health().State(ctx, "any", &o.ours) }, func() { theirs.Health().State("any", &o.api) }},
			"health/connect": {func() { ours.Health().Connect(ctx, "web", &o.ours) }, func() { theirs.Health().Connect("web", "", false, &o.api) }},
			"health/ingress": {func() { ours.Health().Ingress(ctx, "web", &o.ours) }, func() { theirs.Health().Ingress("web", false, &o.api) }},
			"services":       {func() { ours.Catalog().Services(ctx, &o.ours) }, func() { theirs.Catalog().Services(&o.api) }},
			"service":        {func() { ours.Catalog().Service(ctx, "web", &o.ours) }, func() { theirs.Catalog().Service("web", "", &o.api) }},
			"connect":        {func() { ours.Catalog().Connect(ctx, "web", &o.ours) }, func() { theirs.Catalog().Connect("web", "", &o.api) }},
			"nodes":          {func() { ours.Catalog().Nodes(ctx, &o.ours) }, func() { theirs.Catalog().Nodes(&o.api) }},
			"node":           {func() { ours.Catalog().Node(ctx, "n", &o.ours) }, func() { theirs.Catalog().Node("n", &o.api) }},
			"node-services":  {func() { ours.Catalog().NodeServices(ctx, "n", &o.ours) }, func() { theirs.Catalog().NodeServiceList("n", &o.api) }},
			"gateway":        {func() { ours.Catalog().GatewayServices(ctx, "g", &o.ours) }, func() { theirs.Catalog().GatewayServices("g", &o.api) }},
			"agent/service":  {func() { ours.Agent().Service(ctx, "web", &o.ours) }, func() { theirs.Agent().Service("web", &o.api) }},
			"agent/services": {func() { ours.Agent().Services(ctx, &o.ours) }, func() { theirs.Agent().ServicesWithFilterOpts(o.ours.Filter, &o.api) }},
			"kv":             {func() { ours.KV().Get(ctx, "a/b c", &o.ours) }, func() { theirs.KV().Get("a/b c", &o.api) }},
			"kv/list":        {func() { ours.KV().List(ctx, "a/", &o.ours) }, func() { theirs.KV().List("a/", &o.api) }},
			"kv/keys":        {func() { ours.KV().Keys(ctx, "a/", "/", &o.ours) }, func() { theirs.KV().Keys("a/", "/", &o.api) }},
			"session":        {func() { ours.Session().Info(ctx, "s", &o.ours) }, func() { theirs.Session().Info("s", &o.api) }},
			"session/list":   {func() { ours.Session().List(ctx, &o.ours) }, func() { theirs.Session().List(&o.api) }},
			"session/node":   {func() { ours.Session().Node(ctx, "n", &o.ours) }, func() { theirs.Session().Node("n", &o.api) }},
			"event/list":     {func() { ours.Event().List(ctx, "deploy", &o.ours) }, func() { theirs.Event().List("deploy", &o.api) }},
			"agent/checks":   {func() { ours.Agent().Checks(ctx, &o.ours) }, func() { theirs.Agent().ChecksWithFilterOpts(o.ours.Filter, &o.api) }},
		} {
			compare(fmt.Sprint(path, o.ours), true, calls[0], calls[1])
		}
	}
	tags := consul.QueryOptions{Tags: []string{"", "a", "b,c"}, PassingOnly: true}
	noTag := consul.QueryOptions{Tags: []string{""}}
	note := func(r *consul.AgentCheckRegistration) error { return ours.Agent().CheckRegister(ctx, r) }
	for what, calls := range map[string][2]func(){
		"tags":               {func() { ours.Health().Service(ctx, "web", &tags) }, func() { theirs.Health().ServiceMultipleTags("web", []string{"a", "b,c"}, true, nil) }},
		"no tag":             {func() { ours.Health().Service(ctx, "web", &noTag) }, func() { theirs.Health().Service("web", "", false, nil) }},
		"datacenters":        {func() { ours.Catalog().Datacenters(ctx, nil) }, func() { theirs.Catalog().Datacenters() }},
		"leader":             {func() { ours.Status().Leader(ctx) }, func() { theirs.Status().Leader() }},
		"peers":              {func() { ours.Status().Peers(ctx) }, func() { theirs.Status().Peers() }},
		"self":               {func() { ours.Agent().Self(ctx) }, func() { theirs.Agent().Self() }},
		"host":               {func() { ours.Agent().Host(ctx) }, func() { theirs.Agent().Host() }},
		"version":            {func() { ours.Agent().Version(ctx) }, func() { theirs.Agent().Version() }},
		"metrics":            {func() { ours.Agent().Metrics(ctx) }, func() { theirs.Agent().Metrics() }},
		"reload":             {func() { ours.Agent().Reload(ctx) }, func() { theirs.Agent().Reload() }},
		"leave":              {func() { ours.Agent().Leave(ctx) }, func() { theirs.Agent().Leave() }},
		"join":               {func() { ours.Agent().Join(ctx, "h:1", consul.JoinOptions{WAN: true}) }, func() { theirs.Agent().Join("h:1", true) }},
		"force-leave":        {func() { ours.Agent().ForceLeave(ctx, "n", consul.ForceLeaveOptions{}) }, func() { theirs.Agent().ForceLeave("n") }},
		"force-leave, prune": {func() { ours.Agent().ForceLeave(ctx, "n", consul.ForceLeaveOptions{Prune: true, WAN: true}) }, func() { theirs.Agent().ForceLeaveOpts("n", api.ForceLeaveOpts{Prune: true, WAN: true}) }},
		"members":            {func() { ours.Agent().Members(ctx, consul.MembersOptions{}) }, func() { theirs.Agent().Members(false) }},
		"members, WAN":       {func() { ours.Agent().Members(ctx, consul.MembersOptions{WAN: true}) }, func() { theirs.Agent().Members(true) }},
		"members, filtered":  {func() { ours.Agent().Members(ctx, consul.MembersOptions{Filter: "Port == 1"}) }, func() { theirs.Agent().MembersOpts(api.MembersOpts{Filter: "Port == 1"}) }},
		"members, segment":   {func() { ours.Agent().Members(ctx, consul.MembersOptions{Segment: "s"}) }, func() { theirs.Agent().MembersOpts(api.MembersOpts{Segment: "s"}) }},
		"local health":       {func() { ours.Agent().ServiceHealthByID(ctx, "web:1") }, func() { theirs.Agent().AgentHealthServiceByID("web:1") }},
		"local health, name": {func() { ours.Agent().ServiceHealthByName(ctx, "web") }, func() { theirs.Agent().AgentHealthServiceByName("web") }},
		"pass":               {func() { ours.Agent().PassTTL(ctx, "service:web", "") }, func() { theirs.Agent().PassTTL("service:web", "") }},
		"warn":               {func() { ours.Agent().WarnTTL(ctx, "service:web", "a b") }, func() { theirs.Agent().WarnTTL("service:web", "a b") }},
		"fail":               {func() { ours.Agent().FailTTL(ctx, "service:web", "ü&") }, func() { theirs.Agent().FailTTL("service:web", "ü&") }},
		"maintenance":        {func() { ours.Agent().EnableServiceMaintenance(ctx, "web", "") }, func() { theirs.Agent().EnableServiceMaintenance("web", "") }},
		"maintenance ends":   {func() { ours.Agent().DisableServiceMaintenance(ctx, "web") }, func() { theirs.Agent().DisableServiceMaintenance("web") }},
		"node maintenance":   {func() { ours.Agent().EnableNodeMaintenance(ctx, "why") }, func() { theirs.Agent().EnableNodeMaintenance("why") }},
		"its end":            {func() { ours.Agent().DisableNodeMaintenance(ctx) }, func() { theirs.Agent().DisableNodeMaintenance() }},
		"deregister":         {func() { ours.Agent().ServiceDeregister(ctx, "web") }, func() { theirs.Agent().ServiceDeregister("web") }},
		"deregister check":   {func() { ours.Agent().CheckDeregister(ctx, "c") }, func() { theirs.Agent().CheckDeregister("c") }},
		"put":                {func() { ours.KV().Put(ctx, oursPair(), nil) }, func() { theirs.KV().Put(apiPair(), nil) }},
		"put, no flags":      {func() { ours.KV().Put(ctx, &consul.KVPair{Key: "k"}, nil) }, func() { theirs.KV().Put(&api.KVPair{Key: "k"}, nil) }},
		"put if":             {func() { ours.KV().CAS(ctx, oursPair(), nil) }, func() { theirs.KV().CAS(apiPair(), nil) }},
		"acquire":            {func() { ours.KV().Acquire(ctx, oursPair(), nil) }, func() { theirs.KV().Acquire(apiPair(), nil) }},
		"release":            {func() { ours.KV().Release(ctx, oursPair(), nil) }, func() { theirs.KV().Release(apiPair(), nil) }},
		"delete":             {func() { ours.KV().Delete(ctx, "a/b", nil) }, func() { theirs.KV().Delete("a/b", nil) }},
		"delete if":          {func() { ours.KV().DeleteCAS(ctx, oursPair(), nil) }, func() { theirs.KV().DeleteCAS(apiPair(), nil) }},
		"delete tree":        {func() { ours.KV().DeleteTree(ctx, "a/", nil) }, func() { theirs.KV().DeleteTree("a/", nil) }},
		"renew":              {func() { ours.Session().Renew(ctx, "s", nil) }, func() { theirs.Session().Renew("s", nil) }},
		"destroy":            {func() { ours.Session().Destroy(ctx, "s", nil) }, func() { theirs.Session().Destroy("s", nil) }},
		"fire": {
			func() {
				ours.Event().Fire(ctx, &consul.UserEvent{Name: "e", Payload: []byte("p"), NodeFilter: "n", ServiceFilter: "s", TagFilter: "t"}, nil)
			},
			func() {
				theirs.Event().Fire(&api.UserEvent{Name: "e", Payload: []byte("p"), NodeFilter: "n", ServiceFilter: "s", TagFilter: "t"}, nil)
			},
		},
		"missing key": {func() { ours.Raw().Query(ctx, "/v1/kv/a/b", nil, nil) }, func() { theirs.KV().Get("a/b", nil) }},
	} {
		compare(what, true, calls[0], calls[1])
	}
	for what, calls := range map[string][2]func(){
		"update":         {func() { ours.Agent().UpdateTTL(ctx, "c", "pass", "<out>") }, func() { theirs.Agent().UpdateTTL("c", "<out>", "pass") }},
		"register":       {func() { ours.Agent().ServiceRegister(ctx, oursService()) }, func() { theirs.Agent().ServiceRegister(webService()) }},
		"register check": {func() { note(oursCheck()) }, func() { theirs.Agent().CheckRegister(apiCheck()) }},
		"session": {
			func() {
				ours.Session().Create(ctx, &consul.SessionEntry{Name: "s", Node: "n", TTL: time.Minute, LockDelay: time.Second, Behavior: consul.SessionDelete, NodeChecks: []string{"a"}}, nil)
			},
			func() {
				theirs.Session().Create(&api.SessionEntry{Name: "s", Node: "n", TTL: "60s", LockDelay: time.Second, Behavior: "delete", NodeChecks: []string{"a"}}, nil)
			},
		},
		"session, defaults":  {func() { ours.Session().Create(ctx, nil, nil) }, func() { theirs.Session().Create(&api.SessionEntry{}, nil) }},
		"session, no checks": {func() { ours.Session().Create(ctx, &consul.SessionEntry{NodeChecks: []string{}}, nil) }, func() { theirs.Session().CreateNoChecks(nil, nil) }},
		"replace checks": {
			func() { r := oursService(); r.ReplaceExistingChecks = true; ours.Agent().ServiceRegister(ctx, r) },
			func() {
				theirs.Agent().ServiceRegisterOpts(webService(), api.ServiceRegisterOpts{ReplaceExistingChecks: true})
			},
		},
	} {
		compare(what, false, calls[0], calls[1])
	}
}

func oursPair() *consul.KVPair {
	return &consul.KVPair{Key: "a/b", Value: []byte("v"), Flags: 1 << 63, Session: "s", ModifyIndex: 7}
}

func apiPair() *api.KVPair {
	return &api.KVPair{Key: "a/b", Value: []byte("v"), Flags: 1 << 63, Session: "s", ModifyIndex: 7}
}

func oursService() *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{
		ID: "web-1", Name: "web", Port: 8080, Address: "10.0.0.1", Tags: []string{"v1", "green"}, Meta: map[string]string{"env": "prod"},
		TaggedAddresses: map[string]consul.ServiceAddress{"lan": {Address: "10.0.0.1", Port: 8080}},
		Weights:         &consul.AgentWeights{Passing: 10, Warning: 1},
		Check:           &consul.AgentServiceCheck{CheckID: "ttl", TTL: time.Hour, DeregisterCriticalServiceAfter: 10 * time.Minute},
	}
}

func oursCheck() *consul.AgentCheckRegistration {
	return &consul.AgentCheckRegistration{ID: "mem", Name: "memory", Notes: "n", ServiceID: "web-1",
		AgentServiceCheck: consul.AgentServiceCheck{HTTP: "http://h/", Interval: 90 * time.Second, Timeout: time.Second}}
}

func apiCheck() *api.AgentCheckRegistration {
	return &api.AgentCheckRegistration{ID: "mem", Name: "memory", Notes: "n", ServiceID: "web-1",
		AgentServiceCheck: api.AgentServiceCheck{HTTP: "http://h/", Interval: "90s", Timeout: "1s"}}
}

// plain returns an object in JSON without the members that are null or empty, and
// with durations in one form. Agents take all of that for the same.
func plain(body string) string {
	var object map[string]any
	if json.Unmarshal([]byte(body), &object) != nil {
		return body
	}
	var tidy func(map[string]any)
	tidy = func(object map[string]any) {
		for name, v := range object {
			switch v := v.(type) {
			case nil:
				delete(object, name)
			case map[string]any:
				tidy(v)
			case string:
				if d, err := time.ParseDuration(v); err == nil {
					object[name] = d.String()
				}
			}
			if v == "" || v == false {
				delete(object, name)
			}
		}
	}
	tidy(object)
	data, _ := json.Marshal(object)
	return string(data)
}

// A recording of a program that uses the official client can be replayed to the
// same program that uses ours.
func TestReplay(t *testing.T) {
	har := filepath.Join(t.TempDir(), "official.har")
	agent := consulmock.New(t)
	recorder, err := consulmock.Record(agent.URL(), har)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := api.NewClient(&api.Config{Address: recorder.URL()})
	if err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(nil, theirs.Agent().ServiceRegister(webService()))
	must(nil, theirs.Agent().CheckRegister(apiCheck()))
	must(nil, theirs.Agent().PassTTL("ttl", ""))
	must(nil, theirs.Agent().UpdateTTL("ttl", "fine", "pass"))
	must(nil, theirs.Agent().EnableServiceMaintenance("web-1", ""))
	_, _, err = theirs.Agent().AgentHealthServiceByID("web-1")
	must(nil, err)
	_, meta, err := theirs.Health().Service("web", "", true, &api.QueryOptions{AllowStale: true, WaitTime: 2 * time.Minute})
	must(nil, err)
	_, _, err = theirs.Health().Service("web", "", true, &api.QueryOptions{AllowStale: true, WaitIndex: meta.LastIndex - 1, WaitTime: 2 * time.Minute})
	must(nil, err)
	_, err = theirs.Catalog().Register(&api.CatalogRegistration{Node: "ext", Address: "10.0.0.9", Service: &api.AgentService{ID: "db", Service: "db", Port: 1}}, nil)
	must(nil, err)
	session, _, err := theirs.Session().CreateNoChecks(&api.SessionEntry{Name: "s", TTL: "90s", LockDelay: time.Second, Behavior: "delete"}, nil)
	must(nil, err)
	_, _, err = theirs.KV().Acquire(&api.KVPair{Key: "lock", Value: []byte("me"), Session: session}, nil)
	must(nil, err)
	pair, _, err := theirs.KV().Get("lock", nil)
	must(nil, err)
	_, _, _, err = theirs.Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: "lock", Session: session}},
		{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: "lock", Value: []byte("still me"), Index: pair.ModifyIndex}},
	}, nil)
	must(nil, err)
	_, _, err = theirs.KV().List("lo", nil)
	must(nil, err)
	_, err = theirs.Session().Destroy(session, nil)
	must(nil, err)
	if err := recorder.Close(); err != nil {
		t.Fatal(err)
	}

	replay := consulmock.Replay(t, har)
	ours, ctx := replay.Client(), context.Background()
	must(nil, ours.Agent().ServiceRegister(ctx, oursService()))
	must(nil, ours.Agent().CheckRegister(ctx, oursCheck()))
	must(nil, ours.Agent().PassTTL(ctx, "ttl", ""))
	must(nil, ours.Agent().UpdateTTL(ctx, "ttl", consul.HealthPassing, "fine"))
	must(nil, ours.Agent().EnableServiceMaintenance(ctx, "web-1", ""))
	must(ours.Agent().ServiceHealthByID(ctx, "web-1"))
	q := &consul.QueryOptions{PassingOnly: true, AllowStale: true, WaitTime: 2 * time.Minute}
	_, oursMeta, err := ours.Health().Service(ctx, "web", q)
	must(nil, err)
	q.WaitIndex = oursMeta.LastIndex - 1
	_, _, err = ours.Health().Service(ctx, "web", q)
	must(nil, err)
	must(nil, ours.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "ext", Address: "10.0.0.9", Service: &consul.AgentService{ID: "db", Service: "db", Port: 1}}))
	id, err := ours.Session().Create(ctx, &consul.SessionEntry{Name: "s", TTL: 90 * time.Second, LockDelay: time.Second, NodeChecks: []string{}, Behavior: consul.SessionDelete}, nil)
	must(nil, err)
	must(ours.KV().Acquire(ctx, &consul.KVPair{Key: "lock", Value: []byte("me"), Session: id}, nil))
	held, _, err := ours.KV().Get(ctx, "lock", nil)
	must(nil, err)
	must(ours.Txn().Apply(ctx, []consul.TxnOp{
		{KV: &consul.KVTxnOp{Verb: consul.KVCheckSession, Key: "lock", Session: held.Session}},
		{KV: &consul.KVTxnOp{Verb: consul.KVCAS, Key: "lock", Value: []byte("still me"), Index: held.ModifyIndex}},
	}, nil))
	_, _, err = ours.KV().List(ctx, "lo", nil)
	must(nil, err)
	must(nil, ours.Session().Destroy(ctx, id, nil))
	if left := replay.Leftovers(); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}
