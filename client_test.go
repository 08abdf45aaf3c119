package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWrapTransport puts a RoundTripper around the transports that a client can
// have, and notes what it sees.
func TestWrapTransport(t *testing.T) {
	files := t.TempDir()
	putFiles(t, files, clientFiles(t, newAuthority(t), "client"))
	for name, cfg := range map[string]Config{
		"around the built-in transport":         {},
		"around the built-in one that reloads":  {Scheme: "https", TLS: TLSConfig{CAFile: filepath.Join(files, "ca.crt")}},
		"around the transport of the caller's":  {Transport: http.DefaultTransport},
		"around a transport that is a function": {Transport: roundTripper(http.DefaultTransport.RoundTrip)},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []string
			wrapped := 0
			cfg.Token = "a-token"
			cfg.WrapTransport = func(base http.RoundTripper) http.RoundTripper {
				wrapped++
				if cfg.Transport != nil && fmt.Sprintf("%T", base) != fmt.Sprintf("%T", cfg.Transport) {
					t.Errorf("around a %T, want %T", base, cfg.Transport)
				}
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					seen = append(seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Consul-Token"))
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`"leader"`))}, nil
				})
			}
			client, err := NewClient(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			for _, c := range []*Client{client, client.WithToken("another"), client.WithDatacenter("dc1")} {
				if _, err := c.Status().Leader(context.Background()); err != nil {
					t.Error(err)
				}
			}
			want := "[GET /v1/status/leader a-token GET /v1/status/leader another GET /v1/status/leader a-token]"
			if got := fmt.Sprint(seen); got != want || wrapped != 1 {
				t.Errorf("saw %s, wrapped %d times; want %s", got, wrapped, want)
			}
		})
	}
}

func TestWrapTransportFails(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"nil":       func(http.RoundTripper) http.RoundTripper { return nil },
		"typed nil": func(http.RoundTripper) http.RoundTripper { return (*http.Transport)(nil) },
		"nil func":  func(http.RoundTripper) http.RoundTripper { return roundTripper(nil) },
	} {
		if _, err := NewClient(Config{WrapTransport: wrap}); err == nil || !strings.Contains(err.Error(), "consul: Config.WrapTransport returned ") {
			t.Errorf("%s: %v", name, err)
		}
	}

	broken := errors.New("no trace today")
	client, err := NewClient(Config{Token: "s3cr3t", WrapTransport: func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%w for %s", broken, r.Header.Get("X-Consul-Token"))
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = client.Agent().Reload(context.Background())
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

// TestCloseIdleConnections has a wrapper that does not pass CloseIdleConnections
// on, and one that keeps connections of its own.
func TestCloseIdleConnections(t *testing.T) {
	closed := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `"leader"`) }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	defer server.Close()
	wrapper := &pool{}
	client, err := NewClient(Config{Address: server.URL, WrapTransport: func(base http.RoundTripper) http.RoundTripper {
		wrapper.RoundTripper = roundTripper(base.RoundTrip)
		return wrapper
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status().Leader(context.Background()); err != nil {
		t.Fatal(err)
	}
	client.WithToken("of a copy").CloseIdleConnections()
	<-closed
	if wrapper.closed != 1 {
		t.Errorf("the wrapper was told %d times", wrapper.closed)
	}
}

// pool is a RoundTripper that keeps connections of its own.
type pool struct {
	http.RoundTripper
	closed int
}

func (p *pool) CloseIdleConnections() { p.closed++ }

// TestTransport has a transport of the caller's: the address shapes URLs, and
// nothing of TLS is used, not even read.
func TestTransport(t *testing.T) {
	for addr, want := range map[string]string{
		"":                           "http://127.0.0.1:8500/v1/status/leader",
		"https://consul.example/at":  "https://consul.example/at/v1/status/leader",
		"unix:///run/consul/no-such": "http://localhost/v1/status/leader",
		"http://proxy:80/dc%201/":    "http://proxy:80/dc%201/v1/status/leader",
	} {
		var asked []string
		cfg := Config{Address: addr, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			return nil, errors.New("not today")
		})}
		if strings.HasPrefix(addr, "https") {
			cfg.TLS = TLSConfig{CAFile: "no-such-file", CertFile: "no-such-file"}
		}
		client, err := NewClient(cfg)
		if err != nil || len(asked) > 0 {
			t.Fatalf("%s: %v, asked %q", addr, err, asked)
		}
		_, err = client.Status().Leader(context.Background())
		if err == nil || len(asked) != 1 || asked[0] != want {
			t.Errorf("%s: asked %q, %v; want %s", addr, asked, err, want)
		}
	}
}

// TestConnectionsAreKept has 50 queries that are answered together, twice: the
// second time on the connections of the first.
func TestConnectionsAreKept(t *testing.T) {
	const together = 50
	var opened atomic.Int32
	var arrived atomic.Int32
	full := make(chan struct{}, 2)
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1)%together == 0 {
			full <- struct{}{}
		}
		<-release
		fmt.Fprint(w, `"leader"`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client, err := NewClient(Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for range 2 {
		var group sync.WaitGroup
		for range together {
			group.Add(1)
			go func() {
				defer group.Done()
				if _, err := client.Status().Leader(context.Background()); err != nil {
					t.Error(err)
				}
			}()
		}
		<-full
		for range together {
			release <- struct{}{}
		}
		group.Wait()
	}
	if n := opened.Load(); n != together {
		t.Errorf("%d connections, want %d", n, together)
	}
}

// TestProxy runs itself with a proxy in the environment, which package net/http
// reads only once in a process.
func TestProxy(t *testing.T) {
	if addr := os.Getenv("TEST_PROXY_ADDRESS"); addr != "" {
		client, err := NewClient(Config{Address: addr})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(client.Status().Leader(context.Background()))
		return
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `"%s, by the proxy"`, r.URL.Host)
	}))
	defer proxy.Close()
	for addr, words := range map[string]string{
		"consul.example":  "consul.example:8500, by the proxy <nil>",
		"unix:///no/such": "dial unix /no/such",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
		cmd.Env = append(os.Environ(), "TEST_PROXY_ADDRESS="+addr, "HTTP_PROXY="+proxy.URL, "NO_PROXY=", "http_proxy=", "no_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), words) {
			t.Errorf("%s: %v, %s; want %q", addr, err, out, words)
		}
	}
}

// TestEnvironmentIsNotRead sets every variable of Consul's tools.
func TestEnvironmentIsNotRead(t *testing.T) {
	for _, name := range []string{"HTTP_ADDR", "HTTP_TOKEN", "HTTP_TOKEN_FILE", "HTTP_AUTH", "HTTP_SSL", "HTTP_SSL_VERIFY", "CACERT", "CAPATH",
		"CLIENT_CERT", "CLIENT_KEY", "TLS_SERVER_NAME", "NAMESPACE", "PARTITION"} {
		t.Setenv("CONSUL_"+name, "https://s3cr3t:1")
	}
	var asked *http.Request
	client, err := NewClient(Config{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = r
		return nil, errors.New("not today")
	})})
	if err != nil {
		t.Fatal(err)
	}
	client.Status().Leader(context.Background())
	if asked.URL.String() != "http://127.0.0.1:8500/v1/status/leader" || len(asked.Header) != 1 {
		t.Errorf("asked %s with %v", asked.URL, asked.Header)
	}
}

// TestHeaderToken has a token among the other headers: it is one like any other.
func TestHeaderToken(t *testing.T) {
	const secret = "5ecre7-token"
	for name, cfg := range map[string]Config{
		"alone":          {Header: http.Header{"X-Consul-Token": {secret}}},
		"spelt by hand":  {Header: http.Header{"x-consul-token": {secret}}},
		"beside a token": {Header: http.Header{"X-Consul-Token": {"another"}}, Token: secret},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTestServer(t, cfg, func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, fmt.Sprintf("you said %q", r.Header["X-Consul-Token"]), http.StatusForbidden)
			})
			_, err := client.Status().Leader(context.Background())
			wantError(t, err, `you said ["[redacted]"]`)
			_, err = client.WithToken("").Status().Leader(context.Background())
			wantError(t, err, `you said []`)
		})
	}
	_, err := NewClient(Config{Header: http.Header{"X-Consul-Token": {secret + "\n" + secret}}})
	wantError(t, err, "Config.Header", "blanks")
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows the token: %v", err)
	}
}

// TestMalformedHeader has a header with another one in it.
func TestMalformedHeader(t *testing.T) {
	client, asked := newTestAgent(t, Config{Header: http.Header{"X-A": {"a\r\nX-B: b"}}}, canned{})
	err := client.Agent().Reload(context.Background())
	wantError(t, err, "consul: PUT http://", "/v1/agent/reload: ", "invalid header")
	if asked.Method != "" {
		t.Errorf("sent %v", asked.Header)
	}
}

// TestLargeHeaders has an answer whose headers do not end soon.
func TestLargeHeaders(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("x", 2<<20))
	})
	wantError(t, client.Agent().Reload(context.Background()), "consul: PUT http://", "/v1/agent/reload: ", "headers exceeded")
}

// TestDefaultMaxResponseBytes announces one byte more than a client takes by
// default, and as many as it takes, without sending them.
func TestDefaultMaxResponseBytes(t *testing.T) {
	for length, words := range map[string]string{
		"67108865": "response too large: 67108865 bytes, at most 67108864 are allowed",
		"67108864": "unexpected EOF",
	} {
		client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", length)
		})
		_, _, err := client.Catalog().Nodes(context.Background(), nil)
		wantError(t, err, words)
	}
}

// TestNothingIsRetried has agents that fail in the ways that others retry.
func TestNothingIsRetried(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter){
		"500":                    func(w http.ResponseWriter) { http.Error(w, "No cluster leader", 500) },
		"429":                    func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) },
		"503":                    func(w http.ResponseWriter) { w.WriteHeader(503) },
		"a connection that ends": func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				fail(w)
			})
			ctx := context.Background()
			_, _, read := client.Catalog().Nodes(ctx, nil)
			_, _, blocking := client.Catalog().Nodes(ctx, &QueryOptions{WaitIndex: 1})
			write := client.Agent().PassTTL(ctx, "c", "")
			if read == nil || blocking == nil || write == nil || asked.Load() != 3 {
				t.Errorf("asked %d times; errors %v, %v, %v", asked.Load(), read, blocking, write)
			}
		})
	}
}
