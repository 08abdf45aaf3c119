package grpcresolver_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	_ "google.golang.org/grpc" // registers round_robin
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/grpcresolver"
)

func TestAddresses(t *testing.T) {
	agent, b := onFake(t, nil)
	for _, r := range []*consul.AgentServiceRegistration{
		web("c", "10.0.0.3", 80, consul.HealthPassing),
		web("a", "10.0.0.9", 80, consul.HealthPassing),
		web("six", "2001:db8::1", 80, consul.HealthPassing),
		web("twin", "10.0.0.3", 80, consul.HealthPassing), // of c
		web("nodes", "", 80, consul.HealthPassing),        // the node's address
		web("portless", "10.0.0.4", 0, consul.HealthPassing),
		web("warns", "10.0.0.5", 80, consul.HealthWarning),
		web("critical", "10.0.0.6", 80, consul.HealthCritical),
	} {
		agent.AddService(r)
	}
	build(t, b, "consul:///web").awaitAddrs(t, "10.0.0.3:80", "10.0.0.9:80", "127.0.0.1:80", "[2001:db8::1]:80")
	build(t, b, "consul:///web?healthy=false").awaitAddrs(t,
		"10.0.0.3:80", "10.0.0.5:80", "10.0.0.6:80", "10.0.0.9:80", "127.0.0.1:80", "[2001:db8::1]:80")
	// The limit counts in the agent's order, which is that of the IDs.
	build(t, b, "consul:///web?limit=2").awaitAddrs(t, "10.0.0.3:80", "10.0.0.9:80")
	build(t, b, "consul:///web?limit=1&near=_agent").awaitAddrs(t, "10.0.0.9:80")
	build(t, b, "consul:///web?filter=Service.ID+==+six").awaitAddrs(t, "[2001:db8::1]:80")
}

// TestParametersReachTheAgent looks at the query that a target becomes.
func TestParametersReachTheAgent(t *testing.T) {
	for target, want := range map[string]string{
		"consul:///web": "/v1/health/service/web passing=1",
		"consul:///web?dc=dc1&near=_agent&filter=Service.Port==80&tag=a&tag=b&allow-stale=true&cached=true&healthy=false": "/v1/health/service/web " +
			"cached=1&dc=dc1&filter=Service.Port==80&near=_agent&stale=1&tag=a&tag=b",
		"consul:///web?require-consistent=true": "/v1/health/service/web consistent=1&passing=1",
		"consul:///web?ns=team&partition=part":  "/v1/health/service/web ns=team&partition=part&passing=1",
	} {
		agent, b := onFake(t, nil)
		c := build(t, b, target)
		c.await(t, "an answer", func() bool { return len(c.states)+len(c.errs) > 0 })
		request := agent.Requests()[0]
		query := url.Values{}
		for name, values := range request.Query {
			switch {
			case name == "wait": // which is tested elsewhere
			case len(values) == 1 && values[0] == "":
				query.Set(name, "1") // both mean yes
			default:
				query[name] = values
			}
		}
		got, err := url.QueryUnescape(query.Encode())
		if got = request.Path + " " + got; err != nil || got != want {
			t.Errorf("%s: asked for %s, want %s", target, got, want)
		}
	}
}

// TestPolicyOfTarget has a policy in the target, which wins over that of the options.
func TestPolicyOfTarget(t *testing.T) {
	_, b := onFake(t, &grpcresolver.Options{Policy: "nowhere registered"})
	build(t, b, "consul:///web?lb=round_robin")
	if _, err := tryBuild(b, "consul:///web", newConn()); err == nil || !strings.Contains(err.Error(), "nowhere registered") {
		t.Errorf("error %v; want one about the policy of the options", err)
	}
}

// TestNearOrder keeps the order of nearness, which pick_first follows.
func TestNearOrder(t *testing.T) {
	agent, b := onFake(t, nil)
	agent.AddService(web("1", "10.0.0.9", 80, consul.HealthPassing))
	agent.AddService(web("2", "10.0.0.3", 80, consul.HealthPassing))
	build(t, b, "consul:///web?near=_agent").awaitAddrs(t, "10.0.0.9:80", "10.0.0.3:80")
	build(t, b, "consul:///web").awaitAddrs(t, "10.0.0.3:80", "10.0.0.9:80")
}

func TestTagsAndDatacenter(t *testing.T) {
	agent, b := onFake(t, nil)
	one := web("1", "10.0.0.1", 80, consul.HealthPassing)
	one.Tags = []string{"v2", "eu"}
	agent.AddService(one)
	two := web("2", "10.0.0.2", 80, consul.HealthPassing)
	two.Tags = []string{"v2"}
	agent.AddService(two)
	build(t, b, "consul:///web?tag=v2").awaitAddrs(t, "10.0.0.1:80", "10.0.0.2:80")
	build(t, b, "consul:///web?tag=v2&tag=eu&dc=dc1").awaitAddrs(t, "10.0.0.1:80")
	build(t, b, "consul:///web?dc=nowhere").awaitError(t, "No path to datacenter")
}

func TestUnixSocketInstance(t *testing.T) {
	agent, b := onFake(t, nil)
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", SocketPath: "/run/web.sock"})
	build(t, b, "consul:///web").awaitAddrs(t, "unix:/run/web.sock")
}

func TestAddressOption(t *testing.T) {
	agent, b := onFake(t, &grpcresolver.Options{Address: func(i discovery.Instance) string {
		return i.TaggedAddresses["grpc"].Address
	}})
	r := web("1", "10.0.0.1", 80, consul.HealthPassing)
	r.TaggedAddresses = map[string]consul.ServiceAddress{"grpc": {Address: "10.0.0.1:9000", Port: 9000}}
	agent.AddService(r)
	agent.AddService(web("2", "10.0.0.2", 80, consul.HealthPassing))
	build(t, b, "consul:///web").awaitAddrs(t, "10.0.0.1:9000")
}

// TestAttributes sees what is known of an instance, and that a change of it alone is
// passed on without making another address of it.
func TestAttributes(t *testing.T) {
	agent, b := onFake(t, nil)
	r := web("1", "10.0.0.1", 80, consul.HealthPassing)
	r.Weights = &consul.AgentWeights{Passing: 7, Warning: 2}
	r.Meta, r.Tags = map[string]string{"zone": "a"}, []string{"v1"}
	agent.AddService(r)
	c := build(t, b, "consul:///web?healthy=false")
	before := c.awaitAddrs(t, "10.0.0.1:80")
	i, ok := grpcresolver.FromEndpoint(before.Endpoints[0])
	if !ok || i.ID != "1" || i.Weight != 7 || i.Meta["zone"] != "a" || i.Tags[0] != "v1" || i.Status != consul.HealthPassing ||
		i.Node == "" || i.Datacenter != "dc1" {
		t.Fatalf("FromEndpoint: %+v, %t", i, ok)
	}
	agent.SetCheckStatus("service:1", consul.HealthWarning, "")
	c.await(t, "the new status", func() bool { return len(c.states) == 2 })
	after := c.awaitAddrs(t, "10.0.0.1:80")
	if i, _ := grpcresolver.FromEndpoint(after.Endpoints[0]); i.Weight != 2 || i.Status != consul.HealthWarning {
		t.Errorf("after the change: weight %d, status %s", i.Weight, i.Status)
	}
	if !before.Addresses[0].Equal(after.Addresses[0]) || !before.Endpoints[0].Addresses[0].Equal(after.Endpoints[0].Addresses[0]) {
		t.Error("the address is another one: its connection would be closed")
	}
	if before.Endpoints[0].Attributes.Equal(after.Endpoints[0].Attributes) || !before.Endpoints[0].Attributes.Equal(before.Endpoints[0].Attributes) {
		t.Error("attributes are compared wrongly")
	}
	if s := after.Endpoints[0].Attributes.String(); !strings.Contains(s, "/1") {
		t.Errorf("attributes print as %s", s)
	}
	if _, ok := grpcresolver.FromEndpoint(resolver.Endpoint{}); ok {
		t.Error("an endpoint of another resolver has an instance")
	}
}

// TestShared has ten channels that ask the same, and one that does not.
func TestShared(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	client := agent.Client()
	b := grpcresolver.New(&grpcresolver.Options{Client: client})
	goroutines := runtime.NumGoroutine()
	var closers []func()
	for n := range 11 {
		target := "consul:///web?limit=5"
		if n == 10 {
			target = "consul:///web?allow-stale=true"
		}
		c, r := buildResolver(t, b, target)
		c.awaitAddrs(t, "10.0.0.1:80")
		closers = append(closers, r.Close)
	}
	if n := firstQueries(agent); n != 2 {
		t.Errorf("%d queries; want one for ten channels and one for the other", n)
	}
	for _, c := range closers {
		c()
	}
	awaitIdle(t, agent, client, goroutines)
}

// firstQueries counts the queries that did not wait, which each watch begins with.
func firstQueries(agent *consulmock.Server) int {
	n := 0
	for _, r := range agent.Requests() {
		if r.Query.Get("index") == "" {
			n++
		}
	}
	return n
}

// awaitIdle returns when the agent has answered everything and there are no more
// goroutines than before. Connections are the client's.
func awaitIdle(t *testing.T, agent *consulmock.Server, client *consul.Client, goroutines int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		client.CloseIdleConnections()
		open := 0
		for _, r := range agent.Requests() {
			if r.Status == 0 {
				open++
			}
		}
		now := runtime.NumGoroutine()
		if now <= goroutines {
			return
		}
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before; %d requests without an answer\n%s", now, goroutines, open, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// TestBuildErrors are seen by the first call, as Unavailable.
func TestBuildErrors(t *testing.T) {
	_, b := onFake(t, nil)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for target, words := range map[string]string{
		"consul:///":                         "no service",
		"consul:///web?wait=soon":            "wait",
		"consul:///web?lb=typo":              `"typo"`,
		"consul://h:notaport/web":            "not a URL",
		"consul:///web?token-file=/nowhere":  "/nowhere",
		"consul:///web?token-file=" + empty:  "is empty",
		"consul://h/web?token-file=/nowhere": "/nowhere",
		"consul://h/web?token=two+words":     "token",
		"consul://:0/web":                    "port",
		// The client of the options is as it is, and no other agent is asked instead.
		"consul:///web?insecure=true":  "insecure needs a host",
		"consul:///web?insecure=false": "insecure needs a host",
		"consul://me:sesame@/web":      "user but no host",
	} {
		if _, err := tryBuild(b, target, newConn()); err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: error %v; want one about %s", target, err, words)
		}
	}
	// Its scheme counts also for targets that name another host.
	b = grpcresolver.New(&grpcresolver.Options{Config: &consul.Config{Address: "HTTPS://h:8501"}})
	if _, err := tryBuild(b, "consul://other/web", newConn()); err == nil || !strings.Contains(err.Error(), "Options.Config") {
		t.Errorf("with a malformed address in Options.Config: error %v", err)
	}
}

// TestCredentialsAreNotPrinted prints what holds them, in every way.
func TestCredentialsAreNotPrinted(t *testing.T) {
	agent := consulmock.New(t)
	for target, opts := range map[string]*grpcresolver.Options{
		"consul:///web?token=sesame":       {Client: agent.Client()},
		"consul:///web":                    {Client: agent.Client().WithToken("sesame")},
		"consul://127.0.0.1:1/web":         {Config: &consul.Config{Token: "sesame"}},
		"consul://me:sesame@127.0.0.1/web": nil,
	} {
		b := grpcresolver.New(opts)
		_, r := buildResolver(t, b, target)
		values := []any{b, *b, r, struct{ b *grpcresolver.Builder }{b}}
		_, closed := buildResolver(t, b, target)
		closed.Close() // package fmt reads what is inside without a lock
		values = append(values, closed, struct{ r resolver.Resolver }{closed})
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			for _, value := range values {
				if printed := fmt.Sprintf(verb, value); strings.Contains(printed, "sesame") {
					t.Errorf("%s: %s of %T prints a credential: %s", target, verb, value, printed)
				}
			}
		}
	}
}

func TestSchemeAndPolicy(t *testing.T) {
	agent, b := onFake(t, &grpcresolver.Options{Scheme: "lictor", Policy: "round_robin"})
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	if b.Scheme() != "lictor" {
		t.Errorf("scheme %s", b.Scheme())
	}
	if s := build(t, b, "lictor:///web").awaitAddrs(t, "10.0.0.1:80"); s.ServiceConfig == nil {
		t.Error("no service config with a policy")
	}
	agent, plain := onFake(t, nil)
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	c := newConn()
	r, err := tryBuild(plain, "consul:///web", c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if s := c.awaitAddrs(t, "10.0.0.1:80"); s.ServiceConfig != nil {
		t.Error("a service config without a policy would overrule grpc.WithDefaultServiceConfig")
	}
}

// TestCredentials looks at what reaches the agent, and at what is logged.
func TestCredentials(t *testing.T) {
	type seen struct{ token, user, password, dc string }
	asked := make(chan seen, 100)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked <- seen{r.Header.Get("X-Consul-Token"), user, password, r.URL.Query().Get("dc")}
		if strings.Contains(r.URL.String(), "sesame") {
			t.Error("a credential is in the URL")
		}
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "Permission denied")
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("sesame-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plainAddr, secureAddr := strings.TrimPrefix(plain.URL, "http://"), strings.TrimPrefix(secure.URL, "https://")
	for target, want := range map[string]seen{
		"consul://" + plainAddr + "/web?dc=dc2":                     {token: "sesame-base", dc: "dc2"},
		"consul://sesame-1@" + plainAddr + "/web":                   {token: "sesame-1"},
		"consul://" + plainAddr + "/web?token=sesame-2":             {token: "sesame-2"},
		"consul://me:sesame-3@" + plainAddr + "/web":                {token: "sesame-base", user: "me", password: "sesame-3"},
		"consul://" + plainAddr + "/web?token-file=" + file:         {token: "sesame-file"},
		"consul://sesame-4@" + secureAddr + "/web?tls=1&insecure=1": {token: "sesame-4"},
		"consul:///web?token=sesame-5":                              {token: "sesame-5"},
		"consul:///web?near=_agent":                                 {token: "sesame-base"},
	} {
		var log strings.Builder
		b := grpcresolver.New(&grpcresolver.Options{
			Config: &consul.Config{Address: plainAddr, Token: "sesame-base"},
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		c, r := buildResolver(t, b, target)
		c.awaitError(t, "Permission denied")
		if got := <-asked; got != want {
			t.Errorf("%s: asked with %+v; want %+v", target, got, want)
		}
		r.Close()
		c.mu.Lock()
		if !strings.Contains(log.String(), "Permission denied") {
			t.Errorf("%s: logged %q", target, log.String())
		}
		if printed := errors.Join(c.errs...).Error() + log.String(); strings.Contains(printed, "sesame") {
			t.Errorf("%s: a credential is printed: %s", target, printed)
		}
		c.mu.Unlock()
		for len(asked) > 0 {
			<-asked
		}
	}
}

// TestHostKeepsTLS has a configuration that demands TLS, and targets that name
// another host: its token must not be sent in clear.
func TestHostKeepsTLS(t *testing.T) {
	tokens := make(chan string, 100)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens <- r.Header.Get("X-Consul-Token")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "Permission denied")
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	plainAddr, secureAddr := strings.TrimPrefix(plain.URL, "http://"), strings.TrimPrefix(secure.URL, "https://")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	fromEnv := func(vars ...string) func(t *testing.T) *consul.Config {
		return func(t *testing.T) *consul.Config {
			t.Setenv("CONSUL_CACERT", caFile)
			t.Setenv("CONSUL_HTTP_TOKEN", "sesame")
			for i := 0; i < len(vars); i += 2 {
				t.Setenv(vars[i], vars[i+1])
			}
			return nil
		}
	}
	for name, config := range map[string]func(t *testing.T) *consul.Config{
		"CONSUL_HTTP_SSL":                      fromEnv("CONSUL_HTTP_SSL", "true"),
		"CONSUL_HTTP_SSL and CONSUL_HTTP_ADDR": fromEnv("CONSUL_HTTP_SSL", "true", "CONSUL_HTTP_ADDR", "elsewhere:1"),
		"https in CONSUL_HTTP_ADDR":            fromEnv("CONSUL_HTTP_ADDR", "https://elsewhere:1"),
		"https in Options.Config, with a prefix": func(*testing.T) *consul.Config {
			return &consul.Config{Address: "https://elsewhere:1/prefix", Token: "sesame", TLS: consul.TLSConfig{CAPEM: ca}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := grpcresolver.New(&grpcresolver.Options{Config: config(t)})
			build(t, b, "consul://"+plainAddr+"/web").awaitError(t, "")
			if len(tokens) > 0 {
				t.Fatalf("the token %q was sent in clear", <-tokens)
			}
			for _, target := range []string{"/web", "/web?tls=true"} {
				build(t, b, "consul://"+secureAddr+target).awaitError(t, "Permission denied")
				if got := <-tokens; got != "sesame" {
					t.Errorf("%s: sent the token %q", target, got)
				}
			}
			for len(tokens) > 0 {
				<-tokens
			}
		})
	}
}

// TestTLSWithoutHTTPS has certificates for an agent that is reached without TLS. The
// error says what can be done about it, in the target too if that is what names the
// agent.
func TestTLSWithoutHTTPS(t *testing.T) {
	for target, words := range map[string]string{
		"consul:///web":       "CONSUL_HTTP_SSL=true",
		"consul://other/web":  "tls=true",
		"consul://other/web?": "tls=false",
	} {
		b := grpcresolver.New(&grpcresolver.Options{
			Config: &consul.Config{Address: "elsewhere:1", TLS: consul.TLSConfig{ServerName: "server.dc1.consul"}},
		})
		if _, err := tryBuild(b, target, newConn()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want an error with %s", target, err, words)
		}
	}
}

// TestUnixSocketAgent asks an agent that serves a unix socket.
func TestUnixSocketAgent(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	dir, err := os.MkdirTemp("", "agent") // not TempDir of the test, whose name may be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "http.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skip("no unix sockets: ", err)
	}
	server := &http.Server{Handler: agent.Handler()}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	build(t, grpcresolver.New(nil), "consul:///web?socket="+path).awaitAddrs(t, "10.0.0.1:80")
}

// TestClientToken uses the client of the options with a token of the target.
func TestClientToken(t *testing.T) {
	agent := consulmock.New(t, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(consulmock.ReadToken("may-read")))
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	b := grpcresolver.New(&grpcresolver.Options{Client: agent.Client()})
	build(t, b, "consul://may-read@/web").awaitAddrs(t, "10.0.0.1:80")
	build(t, b, "consul:///web?token=may-read").awaitAddrs(t, "10.0.0.1:80")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("may-read\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build(t, b, "consul:///web?token-file="+file).awaitAddrs(t, "10.0.0.1:80")
	build(t, b, "consul:///web").awaitError(t, "no healthy instance") // filtered, not refused
}

// TestEnvironment takes the agent from the environment.
func TestEnvironment(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	t.Setenv("CONSUL_HTTP_ADDR", agent.URL())
	build(t, grpcresolver.New(nil), "consul:///web").awaitAddrs(t, "10.0.0.1:80")
	t.Setenv("CONSUL_HTTP_ADDR", "http://a b")
	if _, err := tryBuild(grpcresolver.New(nil), "consul:///web", newConn()); err == nil {
		t.Error("a malformed variable is no error")
	}
}

// TestEvents passes on the events of the query.
func TestEvents(t *testing.T) {
	events := make(chan discovery.Event, 10)
	agent, b := onFake(t, &grpcresolver.Options{OnEvent: func(e discovery.Event) { events <- e }})
	agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
	build(t, b, "consul:///web")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case e := <-events:
		if e, ok := e.(discovery.InstancesChangedEvent); !ok || e.Total != 1 {
			t.Errorf("event %+v", e)
		}
	case <-ctx.Done():
		t.Error("no event")
	}
}
