package consul

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func TestDefaultsOfTheClient(t *testing.T) {
	ctx := context.Background()
	cfg := Config{Token: "t0", Datacenter: "d0", Namespace: "n0", Partition: "p0", WaitTime: time.Minute,
		Header: http.Header{"X-Extra": {"1", "2"}, "User-Agent": {"mine"}, "host": {"consul.example"}}}
	client, asked := newTestAgent(t, cfg, canned{body: "[]"})

	check := func(what, query, token string) {
		t.Helper()
		if got := asked.Query.Encode(); got != query {
			t.Errorf("%s: query %s, want %s", what, got, query)
		}
		if got := asked.Header.Get("X-Consul-Token"); got != token {
			t.Errorf("%s: token %q, want %q", what, got, token)
		}
	}
	read := func(c *Client, q *QueryOptions) {
		t.Helper()
		if _, _, err := c.Catalog().Nodes(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	read(client, nil)
	check("read", "dc=d0&ns=n0&partition=p0", "t0")
	if fmt.Sprint(asked.Header["X-Extra"], asked.Header["User-Agent"], asked.Host) != "[1 2] [mine]consul.example" {
		t.Errorf("Config.Header: got %v, host %q", asked.Header, asked.Host)
	}
	if asked.Header["Authorization"] != nil {
		t.Errorf("sent %q without a BasicAuth", asked.Header["Authorization"])
	}
	read(client, &QueryOptions{Datacenter: "d1", Namespace: "n1", Partition: "p1", Token: "t1"})
	check("read with options", "dc=d1&ns=n1&partition=p1", "t1")
	read(client, &QueryOptions{WaitIndex: 1})
	check("blocking read", "dc=d0&index=1&ns=n0&partition=p0&wait=1m0s", "t0")
	read(client, &QueryOptions{WaitTime: time.Second})
	check("wait without an index", "dc=d0&ns=n0&partition=p0&wait=1s", "t0")
	read(client.WithToken(" t2\n").WithDatacenter("d2").WithNamespace("n2").WithPartition("p2"), nil)
	check("copy", "dc=d2&ns=n2&partition=p2", "t2")
	read(client.WithToken("").WithDatacenter("").WithNamespace("").WithPartition(""), nil)
	check("copy without", "", "")
	if err := client.Agent().PassTTL(ctx, "c", ""); err != nil {
		t.Fatal(err)
	}
	check("write", "dc=d0&ns=n0&partition=p0", "t0")
	if err := client.Raw().Write(ctx, "/v1/kv/a", nil, nil, &WriteOptions{Token: "t3"}); err != nil {
		t.Fatal(err)
	}
	check("raw write", "dc=d0&ns=n0&partition=p0", "t3")
}

func TestCacheControl(t *testing.T) {
	for _, tt := range []struct {
		q    QueryOptions
		want string
	}{
		{QueryOptions{}, ""},
		{QueryOptions{MaxAge: time.Minute}, ""},
		{QueryOptions{UseCache: true}, ""},
		{QueryOptions{UseCache: true, MaxAge: time.Minute}, "max-age=60"},
		{QueryOptions{UseCache: true, MaxAge: time.Minute, StaleIfError: 1500 * time.Millisecond}, "max-age=60, stale-if-error=1"},
	} {
		client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
		if _, _, err := client.Catalog().Nodes(context.Background(), &tt.q); err != nil {
			t.Fatal(err)
		}
		if got := asked.Header.Get("Cache-Control"); got != tt.want {
			t.Errorf("%v: Cache-Control %q, want %q", tt.q, got, tt.want)
		}
	}
}

func TestNegativeOptions(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
	for name, q := range map[string]QueryOptions{
		"WaitTime": {WaitTime: -time.Second}, "MaxAge": {MaxAge: -time.Second}, "StaleIfError": {StaleIfError: -time.Second},
	} {
		_, _, err := client.Catalog().Nodes(context.Background(), &q)
		wantError(t, err, "QueryOptions."+name, "-1s")
	}
	if asked.Method != "" {
		t.Error("a request was sent")
	}
}

func TestQueryMeta(t *testing.T) {
	client, _ := newTestAgent(t, Config{}, canned{body: "[]", header: map[string]string{
		"X-Consul-Index": "18446744073709551615", "X-Consul-ContentHash": "h", "X-Consul-LastContact": "1500",
		"X-Consul-KnownLeader": "true", "X-Cache": "HIT", "Age": "90", "X-Consul-Translate-Addresses": "true",
		"X-Consul-Results-Filtered-By-ACLs": "true", "X-Consul-Query-Backend": "streaming",
		"X-Consul-Default-ACL-Policy": "deny", "X-Consul-Effective-Consistency": "stale",
	}})
	_, m, err := client.Catalog().Nodes(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.RequestTime <= 0 {
		t.Errorf("RequestTime %v", m.RequestTime)
	}
	m.RequestTime = 0
	want := QueryMeta{LastIndex: 1<<64 - 1, LastContentHash: "h", LastContact: 1500 * time.Millisecond, KnownLeader: true,
		CacheHit: true, CacheAge: 90 * time.Second, AddressTranslationEnabled: true, ResultsFilteredByACLs: true,
		QueryBackend: "streaming", DefaultACLPolicy: "deny", EffectiveConsistency: "stale"}
	if *m != want {
		t.Errorf("got  %+v\nwant %+v", *m, want)
	}
}

func TestMalformedHeaders(t *testing.T) {
	for name, value := range map[string]string{
		"X-Consul-Index": "-1", "X-Consul-Lastcontact": "1.5", "X-Consul-Knownleader": "yes", "Age": "99999999999999999999",
		"X-Consul-Translate-Addresses": "1", "X-Consul-Results-Filtered-By-Acls": "TRUE",
	} {
		client, _ := newTestAgent(t, Config{}, canned{body: "[]", header: map[string]string{name: value}})
		_, m, err := client.Catalog().Nodes(context.Background(), nil)
		wantError(t, err, "consul: GET /v1/catalog/nodes: header "+name, `"`+value+`"`)
		if m != nil {
			t.Errorf("%s: metadata with an error", name)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("1", "0", "true", "HIT", "0")
	f.Add("-1", "x", "", "\x00", "18446744073709551616")
	f.Fuzz(func(t *testing.T, index, contact, leader, cache, age string) {
		h := http.Header{"X-Consul-Index": {index}, "X-Consul-Lastcontact": {contact}, "X-Consul-Knownleader": {leader}, "X-Cache": {cache}, "Age": {age}}
		m, err := parseMeta(h)
		if (m == nil) == (err == nil) {
			t.Fatalf("%q: got %v, %v", h, m, err)
		}
		if m != nil && (m.LastContact < 0 || m.CacheAge < 0) {
			t.Fatalf("%q: a duration overflowed: %+v", h, m)
		}
		if err == nil && index != "" && fmt.Sprint(m.LastIndex) != strings.TrimLeft(index, "0") && m.LastIndex != 0 {
			t.Fatalf("index %q became %d", index, m.LastIndex)
		}
		if d := parseRetryAfter(age, time.Now()); d < 0 {
			t.Fatalf("Retry-After %q became %s", age, d)
		}
	})
}

// TestBadAnswers gives each kind of answer that is not what it should be.
func TestBadAnswers(t *testing.T) {
	page := map[string]string{"Content-Type": "text/html; charset=utf-8"}
	for name, tt := range map[string]struct {
		answer canned
		words  []string
	}{
		"empty":        {canned{}, []string{"it is empty; want JSON"}},
		"a page":       {canned{body: "<html>hello", header: page}, []string{"at byte 1 of 11", "its type is text/html", `"<html>hello"`}},
		"cut short":    {canned{body: `[{"Node":"n"`}, []string{"at byte 12 of 12", "unexpected end of JSON input"}},
		"wrong type":   {canned{body: `[{"Node":"n"},{"Node":7}]`}, []string{"at byte 23 of 25", "number", "Node"}},
		"object":       {canned{body: `{"Node":"n"}`}, []string{"object"}},
		"two values":   {canned{body: `[] []`}, []string{"at byte 4 of 5"}},
		"bad duration": {canned{body: `[]`, header: map[string]string{"X-Consul-Index": "x"}}, []string{"X-Consul-Index"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := newTestAgent(t, Config{}, tt.answer)
			nodes, m, err := client.Catalog().Nodes(context.Background(), nil)
			wantError(t, err, append(tt.words, "consul: GET /v1/catalog/nodes: ")...)
			if nodes != nil || m != nil {
				t.Errorf("got %v, %v with an error", nodes, m)
			}
		})
	}
	// A web server at a wrong address takes anything.
	client, _ := newTestAgent(t, Config{}, canned{body: "<html>hello", header: page})
	wantError(t, client.Agent().ServiceDeregister(context.Background(), "web"),
		"consul: PUT /v1/agent/service/deregister/web: the answer is a web page")
}

// TestBrokenBody ends an answer before its announced length.
func TestBrokenBody(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `[{"Node"`)
	})
	_, _, err := client.Catalog().Nodes(context.Background(), nil)
	wantError(t, err, "consul: GET /v1/catalog/nodes: reading the answer: unexpected EOF")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("not io.ErrUnexpectedEOF")
	}
	err = client.Agent().Reload(context.Background())
	wantError(t, err, "consul: PUT /v1/agent/reload: reading the answer: unexpected EOF")
}

func TestTooLarge(t *testing.T) {
	const limit = 1000
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(bytes.Repeat([]byte(" "), 50*limit))
	z.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(limit+1))
			w.Write(bytes.Repeat([]byte(" "), limit+1))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), limit)); err != nil {
					return
				}
			}
		},
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped.Bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{MaxResponseBytes: limit, Transport: &http.Transport{}}
			client := newTestServer(t, cfg, handler)
			var buf bytes.Buffer
			for _, out := range []any{new([]string), new([]byte), &buf} {
				_, err := client.Raw().Query(context.Background(), "/v1/x", out, nil)
				wantError(t, err, "consul: GET /v1/x: ", "response too large", "1000")
				if !errors.Is(err, ErrResponseTooLarge) {
					t.Error("not ErrResponseTooLarge")
				}
			}
		})
	}
	t.Run("just fits", func(t *testing.T) {
		client := newTestServer(t, Config{MaxResponseBytes: limit}, func(w http.ResponseWriter, r *http.Request) {
			w.Write(bytes.Repeat([]byte("x"), limit))
		})
		var got []byte
		if _, err := client.Raw().Query(context.Background(), "/v1/x", &got, nil); err != nil || len(got) != limit {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

func TestEndlessError(t *testing.T) {
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		for {
			if _, err := io.WriteString(w, strings.Repeat("no ", 1000)); err != nil {
				return
			}
		}
	})
	err := client.Agent().Reload(context.Background())
	var status *StatusError
	if !errors.As(err, &status) || len(status.Body) > 5000 || len(err.Error()) > 1000 {
		t.Errorf("got %T of %d bytes", err, len(err.Error()))
	}
}

// TestConnectionsAreReused does everything that leaves a body behind on one
// connection.
func TestConnectionsAreReused(t *testing.T) {
	var opened int
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/agent/reload":
			io.WriteString(w, strings.Repeat("x", 100_000))
		case "/v1/agent/self":
			http.Error(w, strings.Repeat("no", 2000), 500)
		default:
			io.WriteString(w, "[]      ")
		}
	}))
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened++
		}
	}
	server.Start()
	defer server.Close()
	client, err := NewClient(Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i := 0; i < 3; i++ {
		if err := client.Agent().Reload(ctx); err != nil {
			t.Error(err)
		}
		if _, err := client.Agent().Self(ctx); err == nil {
			t.Error("no error")
		}
		if _, _, err := client.Catalog().Nodes(ctx, nil); err != nil {
			t.Error(err)
		}
	}
	client.CloseIdleConnections()
	server.Close()
	if opened != 1 {
		t.Errorf("%d connections, want 1", opened)
	}
}

// TestLostConnection ends a connection that was used before, in the middle of a
// query. Package net/http would send it again, to an agent that may count from
// another index.
func TestLostConnection(t *testing.T) {
	var asked atomic.Int32
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, pathPrefix)
		asked.Add(1)
		switch path {
		case "/v1/health/service/moved":
			http.Redirect(w, r, pathPrefix+"/v1/health/service/here", http.StatusTemporaryRedirect)
		case "/v1/health/service/lost":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		default:
			io.WriteString(w, "[]")
		}
	})
	ctx := context.Background()
	ask := func(service string, index uint64) error {
		_, _, err := client.Health().Service(ctx, service, &QueryOptions{WaitIndex: index})
		return err
	}
	for _, service := range []string{"here", "moved", "here"} {
		if err := ask(service, 1); err != nil {
			t.Fatal(err)
		}
	}
	asked.Store(0)
	err := ask("lost", 1)
	wantError(t, err, "consul: GET /v1/health/service/lost: the connection ended before the answer")
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		t.Errorf("%v is another error than io.ErrUnexpectedEOF", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked for %s with the token %q", r.URL, r.Header.Get("X-Consul-Token"))
	}))
	defer elsewhere.Close()
	var location string
	var code int
	var got []string
	client := newTestServer(t, Config{Token: "s3cr3t"}, func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, pathPrefix)
		got = append(got, r.Method+" "+path)
		if path == "/v1/status/leader" || strings.HasPrefix(path, "/v1/agent/service/deregister") {
			w.Header().Set("Location", location)
			w.WriteHeader(code)
			return
		}
		io.WriteString(w, `"leader"`)
	})
	ctx := context.Background()
	read := func() error { _, err := client.Status().Leader(ctx); return err }
	for _, tt := range []struct {
		name     string
		location string
		code     int
		call     func() error
		words    string // of the error; empty means that it is followed
	}{
		{"another host", elsewhere.URL + "/v1/status/leader?x=y", 307, read, "redirect to another host refused: " + elsewhere.URL},
		{"another scheme", "https://" + strings.TrimPrefix(elsewhere.URL, "http://"), 302, read, "another host refused"},
		{"same host", pathPrefix + "/v1/other", 307, read, ""},
		{"same host, PUT", pathPrefix + "/v1/other", 307, func() error { return client.Agent().ServiceDeregister(ctx, "a") }, ""},
		{"PUT to GET", pathPrefix + "/v1/other", 301, func() error { return client.Agent().ServiceDeregister(ctx, "a") }, "turns PUT into GET"},
		{"cleaned name", pathPrefix + "/v1/agent/service/deregister/a/b", 307, func() error { return client.Agent().ServiceDeregister(ctx, "a//b") }, "does not accept the name"},
		{"for ever", pathPrefix + "/v1/status/leader", 302, read, "5 redirects"},
		{"nowhere", "", 302, read, "302 Found"},
		{"garbage", "http://[/", 302, read, "consul: GET /v1/status/leader: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			location, code, got = tt.location, tt.code, nil
			err := tt.call()
			if tt.words != "" {
				wantError(t, err, tt.words)
			} else if err != nil || len(got) != 2 {
				t.Errorf("asked %q, error %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// TestSecretsDoNotShow prints everything that holds a token or that comes of a
// request with one, in every way.
func TestSecretsDoNotShow(t *testing.T) {
	const secret = "5ecre7-token"
	echo := func(w http.ResponseWriter, r *http.Request) {
		said := r.Header.Get("X-Consul-Token")
		w.Header().Set("X-Consul-Index", said)
		if strings.HasSuffix(r.URL.Path, "nodes") {
			w.WriteHeader(403)
		}
		if strings.HasSuffix(r.URL.Path, "leader") {
			w.Header().Set("X-Consul-Reason", said)
			w.WriteHeader(500)
		}
		fmt.Fprintf(w, "you said %s", said)
	}
	cfg := Config{
		Token: secret, BasicAuth: url.UserPassword("u", secret), TLS: TLSConfig{KeyPEM: []byte(secret), Base: &tls.Config{ServerName: secret}},
		Header: http.Header{"Authorization": {secret}},
	}
	plain := cfg
	plain.TLS = TLSConfig{}
	client := newTestServer(t, plain, echo)
	bad := newTestServer(t, Config{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("cannot send %v", r.Header)
	})}, echo).WithToken(secret)
	ctx := context.Background()

	_, _, forbidden := client.Catalog().Nodes(ctx, nil)
	_, failed := client.Status().Leader(ctx)
	_, _, undecodable := client.Catalog().Services(ctx, nil)
	_, inPath := client.Raw().Query(ctx, "/v1/acl/info/"+secret, new([]int), nil)
	_, badHeader := client.Raw().Query(ctx, "/v1/x", new([]byte), nil)
	transport := bad.Agent().Reload(ctx)
	_, _, ofOptions := client.Catalog().Nodes(ctx, &QueryOptions{Token: secret + "\n"})
	unsent := client.WithToken(secret + " x").Agent().Reload(ctx)
	for name, v := range map[string]any{
		"Config": cfg, "*Config": &cfg,
		"printed address": fmt.Sprint(Config{Address: "http://u:" + secret + "@h?token=" + secret}, Config{Address: "u:" + secret + "@h"}),
		"TLSConfig":       cfg.TLS, "Client": client, "Client by value": *client, "Agent": client.Agent(), "*Client copy": client.WithDatacenter("x"),
		"transport that reloads": newReloadingTransport(TLSConfig{KeyPEM: []byte(secret)}, tlsFiles{key: []byte(secret)}, &tls.Config{}, func(*tls.Config) *http.Transport { return nil }),
		"struct with a client":   struct{ C *Client }{client}, "struct with a private client": struct{ c *Client }{client},
		"QueryOptions": QueryOptions{Token: secret, Filter: "x"}, "*QueryOptions": &QueryOptions{Token: secret}, "WriteOptions": &WriteOptions{Token: secret},
		"403": forbidden, "500": failed, "undecodable": undecodable, "in path": inPath, "bad header": badHeader,
		"transport": transport, "options": ofOptions, "unsent": unsent,
	} {
		if err, ok := v.(error); ok && err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			said := fmt.Sprintf(verb, v)
			if strings.Contains(said, secret) || strings.Contains(said, fmt.Sprintf("%x", secret)) || strings.Contains(said, "bad verb") {
				t.Errorf("%s printed with %s: %s", name, verb, said)
			}
		}
		if v == nil {
			t.Errorf("%s is nil", name)
		}
		if said := show(v); strings.Contains(said, secret) {
			t.Errorf("%s as JSON: %s", name, said)
		}
	}
}

// TestTokenThatIsAWord has tokens that are part of every error. To leave them out
// of the text must not change what the error is.
func TestTokenThatIsAWord(t *testing.T) {
	for _, token := range []string{"root", "GET", "consul", "context", "web"} {
		client := newTestServer(t, Config{Token: token, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("root: %w", context.DeadlineExceeded)
		})}, nil)
		_, _, err := client.Health().Service(context.Background(), "web", nil)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("token %q: %v is not the error that it was", token, err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), token) && token != "consul" && token != "context" {
			t.Errorf("token %q: the error %#v shows it", token, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestContext(t *testing.T) {
	arrived := make(chan struct{}, 1)
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-arrived
		cancel()
	}()
	_, _, err := client.Health().Service(ctx, "web", &QueryOptions{WaitIndex: 1, WaitTime: time.Hour})
	wantError(t, err, "consul: GET /v1/health/service/web: context canceled")
	if !errors.Is(err, context.Canceled) {
		t.Error("not context.Canceled")
	}
	_, err = client.Status().Leader(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("not context.Canceled: %v", err)
	}
	overdue, stop := context.WithTimeout(context.Background(), -time.Second)
	defer stop()
	if _, err := client.Status().Leader(overdue); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("not context.DeadlineExceeded: %v", err)
	}
	withCause, cancelCause := context.WithCancelCause(context.Background())
	cause := errors.New("shutting down")
	cancelCause(cause)
	_, err = client.Status().Leader(withCause)
	wantError(t, err, "consul: GET /v1/status/leader: context canceled: shutting down")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("%v is not both context.Canceled and its cause", err)
	}
	//lint:ignore SA1012 a nil context is the point
	_, err = client.Status().Leader(nil)
	wantError(t, err, "nil context")
}

func TestMonitor(t *testing.T) {
	ctx := context.Background()
	t.Run("break ends the request", func(t *testing.T) {
		ended := make(chan struct{})
		client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "one\ntwo\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(ended)
		})
		var got []string
		for line, err := range client.Agent().Monitor(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, line); len(got) == 2 {
				break
			}
		}
		<-ended
		if fmt.Sprint(got) != "[one two]" {
			t.Errorf("got %q", got)
		}
	})
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		is      error
		words   []string
	}{
		"ended": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "one\n") }, io.EOF, []string{"ended the log"}},
		"refused": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "Unknown log level: x", 400) }, nil,
			[]string{"GET ", "/v1/agent/monitor: 400 Unknown log level: x"}},
		"endless line": {func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat([]byte("x"), maxLogLine+10)) }, ErrResponseTooLarge,
			[]string{"a line of more than 1048576 bytes"}},
		"dropped": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "one\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, io.ErrUnexpectedEOF, []string{"reading the answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := newTestServer(t, Config{}, tt.handler)
			var last error
			for _, err := range client.Agent().Monitor(ctx, "debug") {
				if last != nil {
					t.Error("it went on after an error")
				}
				last = err
			}
			wantError(t, last, append(tt.words, "consul: ")...)
			if tt.is != nil && !errors.Is(last, tt.is) {
				t.Errorf("%v is not %v", last, tt.is)
			}
		})
	}
}

func TestRawPaths(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{body: "1"})
	for path, words := range map[string]string{
		"": "/v1/", "kv/a": "/v1/", "/v2/kv": "/v1/", "http://other/v1/": "/v1/", "/v1/kv/%zz": "malformed escape", "/v1/a#b": "%23",
		"/v1/kv/../agent/leave": "element", "/v1/kv/%2e%2e/x": "element", "/v1/kv?a;b": "malformed parameters", "/v1/kv?%zz": "malformed parameters",
	} {
		_, err := client.Raw().Query(context.Background(), path, nil, nil)
		wantError(t, err, "consul: path", words)
		wantError(t, client.Raw().Write(context.Background(), path, nil, nil, nil), words)
	}
	if asked.Method != "" {
		t.Errorf("%s %s was sent", asked.Method, asked.Path)
	}
	if err := client.Raw().Write(context.Background(), "/v1/x", make(chan int), nil, nil); err == nil || !strings.Contains(err.Error(), "consul: PUT /v1/x: encoding the request") {
		t.Errorf("got %v", err)
	}
}
