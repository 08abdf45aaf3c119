//go:build go1.24

package consul

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// http2Agent is an agent that speaks HTTP/2, with a handler of the test's.
type http2Agent struct {
	*httptest.Server
	t      *testing.T
	opened atomic.Int32
	closed chan struct{} // gets one for each connection that has ended
}

func newHTTP2Agent(t *testing.T, handler http.HandlerFunc) *http2Agent {
	t.Helper()
	a := &http2Agent{t: t, closed: make(chan struct{}, 1000)}
	a.Server = httptest.NewUnstartedServer(handler)
	a.EnableHTTP2 = true
	a.Config.ErrorLog = discardLog()
	a.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			a.opened.Add(1)
		case http.StateClosed:
			a.closed <- struct{}{}
		}
	}
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

// client returns a client of the agent.
func (a *http2Agent) client(cfg Config) *Client {
	a.t.Helper()
	cfg.Address = a.URL
	cfg.TLS.InsecureSkipVerify = true
	c, err := NewClient(cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.CloseIdleConnections)
	return c
}

// waitingAgent is an agent whose blocking queries wait until the test lets them
// respond. Everything else is answered at once.
func newWaitingAgent(t *testing.T) (a *http2Agent, arrived chan *http.Request, respond chan string) {
	arrived, respond = make(chan *http.Request, 1000), make(chan string)
	a = newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") == "" {
			fmt.Fprint(w, `"leader"`)
			return
		}
		arrived <- r
		select {
		case body := <-respond:
			io.WriteString(w, body)
		case <-r.Context().Done():
		}
	})
	return a, arrived, respond
}

// blocking is a query that waits.
func blocking(ctx context.Context, c *Client) error {
	_, _, err := c.Catalog().Nodes(ctx, &QueryOptions{WaitIndex: 1})
	return err
}

// TestHTTP2 checks which protocol is spoken.
func TestHTTP2(t *testing.T) {
	files := t.TempDir()
	putFiles(t, files, clientFiles(t, newAuthority(t), "client"))
	own := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer own.CloseIdleConnections()
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"by default":                     {Config{}, "HTTP/2.0"},
		"with files":                     {Config{TLS: TLSConfig{CAFile: filepath.Join(files, "ca.crt")}}, "HTTP/2.0"},
		"with a Base":                    {Config{TLS: TLSConfig{Base: &tls.Config{}}}, "HTTP/2.0"},
		"with a Base for HTTP/2":         {Config{TLS: TLSConfig{Base: &tls.Config{NextProtos: []string{"h2"}}}}, "HTTP/2.0"},
		"with a Base for both":           {Config{TLS: TLSConfig{Base: &tls.Config{NextProtos: []string{"http/1.1", "h2"}}}}, "HTTP/2.0"},
		"with a Base for HTTP/1":         {Config{TLS: TLSConfig{Base: &tls.Config{NextProtos: []string{"http/1.1"}}}}, "HTTP/1.1"},
		"with a transport of the caller": {Config{Transport: own}, "HTTP/1.1"},
		"in a wrapper":                   {Config{WrapTransport: func(base http.RoundTripper) http.RoundTripper { return roundTripper(base.RoundTrip) }}, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Proto) })
			c := a.client(tt.cfg)
			if got, err := c.Status().Leader(context.Background()); err != nil || got != tt.want {
				t.Errorf("%s, %v; want %s", got, err, tt.want)
			}
		})
	}
	t.Run("with an agent without it", func(t *testing.T) {
		a := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Proto) }))
		defer a.Close()
		c, err := NewClient(Config{Address: a.URL, TLS: TLSConfig{InsecureSkipVerify: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseIdleConnections()
		if got, err := c.Status().Leader(context.Background()); err != nil || got != "HTTP/1.1" {
			t.Errorf("%s, %v", got, err)
		}
	})
}

// TestHTTP2Waits has 250 queries waiting, which is what agents let a connection
// have. Writes get through, and one more query, too.
func TestHTTP2Waits(t *testing.T) {
	a, arrived, respond := newWaitingAgent(t)
	c, ctx := a.client(Config{}), context.Background()
	var group sync.WaitGroup
	wait := func() {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := blocking(ctx, c); err != nil {
				t.Error(err)
			}
		}()
		<-arrived
	}
	for range 250 {
		wait()
	}
	if n := a.opened.Load(); n != 1 {
		t.Errorf("%d connections for 250 queries", n)
	}
	for range 3 {
		if err := c.Agent().PassTTL(ctx, "c", ""); err != nil {
			t.Error(err)
		}
	}
	wait()
	if n := a.opened.Load(); n != 3 {
		t.Errorf("%d connections for 251 queries and writes, want 3", n)
	}
	for range 251 {
		respond <- "[]"
	}
	group.Wait()
	c.CloseIdleConnections()
	for range 3 {
		<-a.closed
	}
}

// TestHTTP2Cancel cancels a query: the agent gets to know, and the connection goes
// on.
func TestHTTP2Cancel(t *testing.T) {
	a, arrived, _ := newWaitingAgent(t)
	c := a.client(Config{})
	for range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- blocking(ctx, c) }()
		r := <-arrived
		cancel()
		err := <-done
		wantError(t, err, "consul: GET "+a.URL+"/v1/catalog/nodes: context canceled")
		<-r.Context().Done()
	}
	if n := a.opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// framesAgent speaks just enough of HTTP/2 to give back, by the frame of give, every
// query after the first one of a connection.
func framesAgent(t *testing.T, give func(stream uint32) []byte) (address string, asked *atomic.Int32) {
	t.Helper()
	_, _, cert, key := issue(t, newAuthority(t), "agent")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int32)
	var group sync.WaitGroup
	ended := make(chan struct{})
	serve := func(conn net.Conn) {
		defer group.Done()
		defer conn.Close()
		go func() { // not only when the client closes it
			<-ended
			conn.Close()
		}()
		io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
		conn.Write(frame(4, 0, 0)) // settings
		header := make([]byte, 9)
		for first := true; ; {
			if _, err := io.ReadFull(conn, header); err != nil {
				return
			}
			io.CopyN(io.Discard, conn, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
			stream := binary.BigEndian.Uint32(header[5:])
			switch {
			case header[3] != 1:
			case first:
				asked.Add(1)
				first = false
				conn.Write(slices.Concat(frame(1, 4, stream, 0x88), frame(0, 1, stream, '[', ']'))) // status 200, and the body
			default:
				asked.Add(1)
				conn.Write(give(stream))
			}
		}
	}
	group.Add(1)
	go func() {
		defer group.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Add(1)
			go serve(conn)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		close(ended)
		group.Wait()
	})
	return "https://" + l.Addr().String(), asked
}

func frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0, 0, byte(len(payload)), kind, flags}, stream), payload...)
}

// TestHTTP2GivenBack has an agent that gives queries back, as one does that ends.
// Package net/http would send them again, to an agent that may count from another
// index.
func TestHTTP2GivenBack(t *testing.T) {
	for name, give := range map[string]func(stream uint32) []byte{
		"GOAWAY":         func(uint32) []byte { return frame(7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0) },
		"REFUSED_STREAM": func(stream uint32) []byte { return frame(3, 0, stream, 0, 0, 0, 7) },
	} {
		t.Run(name, func(t *testing.T) {
			address, asked := framesAgent(t, give)
			c, err := NewClient(Config{Address: address, TLS: TLSConfig{InsecureSkipVerify: true}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.CloseIdleConnections)
			if err := blocking(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			err = blocking(context.Background(), c)
			wantError(t, err, "consul: GET "+address+"/v1/catalog/nodes: the connection ended before the response")
			if asked.Load() != 2 || errors.Is(err, context.Canceled) {
				t.Errorf("sent %d times, error %v", asked.Load()-1, err)
			}
		})
	}
}

// TestHTTP2Lost ends a query that waits, in other ways.
func TestHTTP2Lost(t *testing.T) {
	for name, end := range map[string]func(*http2Agent){
		"the connection ends": func(a *http2Agent) { a.CloseClientConnections() },
		"the stream ends":     func(*http2Agent) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			var a *http2Agent
			a = newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					end(a)
				}
				fmt.Fprint(w, "[]")
			})
			c := a.client(Config{})
			if err := blocking(context.Background(), c); err != nil { // the connection is not new then
				t.Fatal(err)
			}
			err := blocking(context.Background(), c)
			wantError(t, err, "consul: GET "+a.URL+"/v1/catalog/nodes: ")
			if asked.Load() != 2 || errors.Is(err, context.Canceled) {
				t.Errorf("sent %d times, error %v", asked.Load()-1, err)
			}
		})
	}
}

// TestHTTP2NothingIsRetried has an agent that ends new connections when it has got a
// request: neither reads nor writes are repeated.
func TestHTTP2NothingIsRetried(t *testing.T) {
	var asked atomic.Int32
	a := newHTTP2Agent(t, func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	})
	c, ctx := a.client(Config{}), context.Background()
	_, read := c.Status().Leader(ctx)
	write, wait := c.Agent().PassTTL(ctx, "c", ""), blocking(ctx, c)
	if read == nil || write == nil || wait == nil || asked.Load() != 3 {
		t.Errorf("asked %d times; errors %v, %v, %v", asked.Load(), read, write, wait)
	}
}

// TestHTTP2Limits bounds headers and bodies.
func TestHTTP2Limits(t *testing.T) {
	a := newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("X-Large", strings.Repeat("x", 2<<20))
		}
		fmt.Fprintf(w, "[%s]", strings.Repeat(" ", 5000))
	})
	c, ctx := a.client(Config{MaxResponseBytes: 4000}), context.Background()
	wantError(t, c.Agent().Reload(ctx), "consul: PUT "+a.URL+"/v1/agent/reload: ", "connection error")
	_, _, err := c.Catalog().Nodes(ctx, nil)
	if !errors.Is(err, ErrResponseTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := blocking(ctx, c); !errors.Is(err, ErrResponseTooLarge) {
		t.Errorf("got %v", err)
	}
}

// TestHTTP2Redirects follows a redirect to the same host, also of a query that
// waits, and refuses one to another host.
func TestHTTP2Redirects(t *testing.T) {
	location := "/v1/other?index=1"
	a := newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/other" {
			http.Redirect(w, r, location, http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprint(w, "[]")
	})
	c := a.client(Config{})
	for range 2 {
		if err := blocking(context.Background(), c); err != nil {
			t.Error(err)
		}
	}
	location = "https://elsewhere.example/"
	wantError(t, blocking(context.Background(), c), "redirect to another host refused")
}

// TestHTTP2Files replaces certificates while a query waits: it ends on its
// connection, which is closed then.
func TestHTTP2Files(t *testing.T) {
	a, arrived, respond := newWaitingAgent(t)
	dir, ca := t.TempDir(), newAuthority(t)
	putFiles(t, dir, clientFiles(t, ca, "client-1"))
	c := a.client(Config{TLS: TLSConfig{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}})
	done := make(chan error)
	go func() { done <- blocking(context.Background(), c) }()
	<-arrived
	putFiles(t, dir, clientFiles(t, ca, "client-2"))
	secondLater(c)
	if _, err := c.Status().Leader(context.Background()); err != nil {
		t.Error(err)
	}
	respond <- "[]"
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-a.closed
	if n := a.opened.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestHTTP2Burst sends a thousand queries at once. There are no more connections
// than that takes.
func TestHTTP2Burst(t *testing.T) {
	a, arrived, _ := newWaitingAgent(t)
	c := a.client(Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range 1000 {
		group.Add(1)
		go func() {
			defer group.Done()
			blocking(ctx, c)
		}()
	}
	for range 1000 {
		<-arrived
	}
	if n := a.opened.Load(); n > 100 { // it would be hundreds
		t.Errorf("%d connections", n)
	}
	t.Logf("%d connections", a.opened.Load())
	cancel()
	group.Wait()
}

// TestHTTP2Pings checks that a connection that hangs does not stay in use: a
// transport without pings would send requests over it for a quarter of an hour.
func TestHTTP2Pings(t *testing.T) {
	split := newTransport(address{url: url.URL{Scheme: "https", Host: "consul.example"}}, &tls.Config{}).(*splitTransport)
	for _, transport := range []*sharingTransport{split.blocking, split.other} {
		if h := transport.HTTP2; h == nil || h.SendPingTimeout != 15*time.Second || h.PingTimeout != 15*time.Second {
			t.Errorf("pings are %+v", h)
		}
	}
}
