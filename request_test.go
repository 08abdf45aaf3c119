package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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
	check("blocking read", "dc=d0&index=1&ns=n0&partition=p0&wait=60000ms", "t0")
	read(client, &QueryOptions{WaitTime: time.Second})
	check("wait without an index", "dc=d0&ns=n0&partition=p0&wait=1000ms", "t0")
	read(client.WithToken(" t2\n").WithDatacenter("d2").WithNamespace("n2").WithPartition("p2"), nil)
	check("copy", "dc=d2&ns=n2&partition=p2", "t2")
	read(client.WithToken("").WithDatacenter("").WithNamespace("").WithPartition(""), nil)
	check("copy without", "", "")
	if err := client.Agent().PassTTL(ctx, "c", ""); err != nil {
		t.Fatal(err)
	}
	check("write", "dc=d0&note=&ns=n0&partition=p0", "t0")
	if err := client.Raw().Write(ctx, "/v1/kv/a", nil, nil, &WriteOptions{Token: "t3"}); err != nil {
		t.Fatal(err)
	}
	check("raw write", "dc=d0&ns=n0&partition=p0", "t3")
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
	wantError(t, err, "consul: GET http://", "/v1/health/service/lost: the connection ended before the response")
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		t.Errorf("%v is another error than io.ErrUnexpectedEOF", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// TestSendOnceClosesTheOtherConnection gives a query that was sent another connection.
// Over HTTP/1 package net/http may write it although its context has ended. A
// connection of HTTP/2 has other queries, too.
func TestSendOnceClosesTheOtherConnection(t *testing.T) {
	for _, shared := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		var lost atomic.Bool
		trace := httptrace.ContextClientTrace(sendOnce(ctx, cancel, &lost))
		conns := [2]closable{{shared: shared}, {shared: shared}}
		for i := range conns {
			if i > 0 && (lost.Load() || ctx.Err() != nil) {
				t.Error("it is lost before it has another connection")
			}
			trace.GetConn("")
			trace.GotConn(httptrace.GotConnInfo{Conn: &conns[i]})
			trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
		if !lost.Load() || ctx.Err() == nil {
			t.Error("it is not lost")
		}
		if conns[0].closed || conns[1].closed == shared {
			t.Errorf("shared %t: closed %t, %t", shared, conns[0].closed, conns[1].closed)
		}
	}
}

// closable is a connection that notes that it is closed.
type closable struct {
	net.Conn
	shared, closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

func (c *closable) ConnectionState() (s tls.ConnectionState) {
	if c.shared {
		s.NegotiatedProtocol = "h2"
	}
	return s
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
		if path == "/v1/status/leader" || strings.HasPrefix(path, "/v1/agent/service/deregister") || path == "/v1/kv/a" {
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
		{"another key", pathPrefix + "/v1/kv/b", 307, func() error { return client.KV().Put(ctx, &KVPair{Key: "a"}, nil) }, "redirect to another key refused"},
		{"for ever", pathPrefix + "/v1/status/leader", 302, read, "5 redirects"},
		{"nowhere", "", 302, read, "302 Found"},
		{"garbage", "http://[/", 302, read, "/v1/status/leader: "},
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
	wantError(t, err, "consul: GET http://", "/v1/health/service/web: context canceled")
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
	wantError(t, err, "consul: GET http://", "/v1/status/leader: context canceled: shutting down")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("%v is not both context.Canceled and its cause", err)
	}
	//lint:ignore SA1012 a nil context is the point
	_, err = client.Status().Leader(nil)
	wantError(t, err, "nil context")
}

// TestBodiesAreNotChunked sends what does not tell its length. Some endpoints take
// a body in chunks for none.
func TestBodiesAreNotChunked(t *testing.T) {
	var got string
	client := newTestServer(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = fmt.Sprint(len(body), r.ContentLength, r.TransferEncoding)
	})
	for size, want := range map[int]string{
		0: "0 0 []", 5: "5 5 []", maxBuffered - 1: "1048575 1048575 []",
		// What is longer is not kept in memory.
		maxBuffered: "1048576 -1 [chunked]", 3 * maxBuffered: "3145728 -1 [chunked]",
	} {
		in := &closeCounter{Reader: io.LimitReader(zeros{}, int64(size))}
		if err := client.Raw().Write(context.Background(), "/v1/event/fire/deploy", in, nil, nil); err != nil {
			t.Fatal(err)
		}
		if got != want || in.closed == 0 {
			t.Errorf("%d bytes: got %s, want %s; closed %d times", size, got, want, in.closed)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }
