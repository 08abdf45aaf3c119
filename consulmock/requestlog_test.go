package consulmock

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// The oldest requests are forgotten, except those that wait.
func TestRequestsThatWaitAreKept(t *testing.T) {
	s := New(t)
	release, seen := make(chan struct{}), &Observer{}
	s.Inject(Fault{Path: "/v1/status/peers", Times: 3, Hang: release, Observe: seen})
	get := func(path string) {
		s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	ended := make(chan struct{})
	for i := range 3 {
		go func() {
			get("/v1/status/peers")
			ended <- struct{}{}
		}()
		seen.Wait(i+1, nil)
		get("/v1/status/leader")
	}
	for range maxRequests {
		get("/v1/agent/version")
	}
	if n := strings.Count(s.Dump(), "GET /v1/status/peers: open"); n != 3 {
		t.Errorf("Dump shows %d of 3 requests that wait", n)
	}
	if got, want := strings.Join(s.log.open(), ", "), "GET /v1/status/peers, GET /v1/status/peers, GET /v1/status/peers"; got != want {
		t.Errorf("open are %s", got)
	}
	list := s.Requests()
	if len(list) < maxRequests*9/10 || len(list) > maxRequests || list[2].Path != "/v1/status/peers" || list[3].Path != "/v1/agent/version" {
		t.Errorf("%d requests, the first of them %s, %s", len(list), list[2].Path, list[3].Path)
	}
	close(release)
	for range 3 {
		<-ended
	}
	for range maxRequests {
		get("/v1/agent/version")
	}
	if got := s.Requests()[0].Path; got != "/v1/agent/version" {
		t.Errorf("%s is kept after it has ended", got)
	}
}

// Dump shows the requests that are open, and the last twenty of the others.
func TestDumpRequests(t *testing.T) {
	s := New(t)
	get := func(ctx context.Context, path string) {
		defer func() { recover() }() // the handler gives up on a dropped request
		s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil).WithContext(ctx))
	}
	for range 30 {
		get(context.Background(), "/v1/status/leader")
	}
	s.Inject(Fault{Drop: DropRequest})
	get(context.Background(), "/v1/agent/self")
	seen := &Observer{}
	s.Inject(Fault{Hang: make(chan struct{}), Always: true, Observe: seen})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 25 {
		go get(ctx, "/v1/status/peers")
	}
	seen.Wait(25, nil)
	dump := s.Dump()
	for line, want := range map[string]int{
		"GET /v1/status/peers: open": 25, "GET /v1/status/leader: 200": 19, "GET /v1/agent/self: no response": 1,
	} {
		if n := strings.Count(dump, line); n != want {
			t.Errorf("%s: %d times, want %d", line, n, want)
		}
	}
}

// Who changes what Requests returned, or what was seeded, changes nothing else.
func TestNothingIsShared(t *testing.T) {
	ctx := context.Background()
	s := New(t)
	tags := map[string]string{"role": "node"}
	s.AddMember(consul.AgentMember{Name: "other", Tags: tags})
	tags["role"] = "changed"
	members, err := s.Client().Agent().Members(ctx, consul.MembersOptions{})
	if err != nil || len(members) != 2 || members[1].Tags["role"] != "node" {
		t.Errorf("the members are %+v, %v", members, err)
	}
	req := httptest.NewRequest("PUT", "/v1/agent/service/register?a=b", strings.NewReader(webRegistration))
	req.Header.Set("X-Test", "before")
	s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	first := s.Requests()[1]
	first.Header["X-Test"][0], first.Query["a"][0], first.Body[0] = "after", "after", 'x'
	first.Header.Set("X-More", "more")
	again := s.Requests()[1]
	if again.Header.Get("X-Test") != "before" || again.Header.Get("X-More") != "" || again.Query.Get("a") != "b" || string(again.Body) != webRegistration {
		t.Errorf("the request has become %+v", again)
	}
	meta := map[string]string{"rack": "before"}
	option := WithNodeMeta(meta)
	meta["rack"] = "after"
	nodes, _, err := New(t, option).Client().Catalog().Nodes(ctx, nil)
	if err != nil || nodes[0].Meta["rack"] != "before" {
		t.Errorf("the nodes are %+v, %v", nodes, err)
	}
	fault := http.Header{"X-Test": {"before"}}
	s.Inject(Fault{Header: fault})
	fault["X-Test"][0] = "after"
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/v1/status/leader", nil))
	if got := w.Header().Get("X-Test"); got != "before" {
		t.Errorf("the fault's header has become %s", got)
	}
}

// What is recorded of a request, in the order of arrival.
func TestRequestFields(t *testing.T) {
	s := New(t)
	transport := s.Transport().(*http.Transport)
	defer transport.CloseIdleConnections()
	c, err := consul.NewClient(consul.Config{Transport: transport, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.Agent().ServiceDeregister(context.Background(), "a/b c")
	c.Agent().ServiceRegister(context.Background(), &consul.AgentServiceRegistration{Name: strings.Repeat("x", maxLogBody)})
	s.Inject(Fault{Drop: DropRequest})
	c.Agent().Reload(context.Background())
	list := s.Requests()
	if len(list) != 3 {
		t.Fatalf("%d requests", len(list))
	}
	for i, want := range []Request{
		{Method: "PUT", Path: "/v1/agent/service/deregister/a%2Fb%20c", Status: 404},
		{Method: "PUT", Path: "/v1/agent/service/register", Status: 200},
		{Method: "PUT", Path: "/v1/agent/reload"},
	} {
		got := list[i]
		if got.Method != want.Method || got.Path != want.Path || got.Status != want.Status ||
			got.Header.Get("X-Consul-Token") != "secret" || got.Time.Before(begin) || got.Time.After(time.Now()) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		begin = got.Time
	}
	if body := string(list[1].Body); len(body) != maxLogBody || !strings.HasPrefix(body, `{"Name":"xxx`) {
		t.Errorf("%d bytes of the body: %.20s", len(body), body)
	}
}
