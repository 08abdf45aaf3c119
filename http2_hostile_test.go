//go:build go1.24

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
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// noGoroutineLeft checks that there are no more goroutines of the transport at the
// end of a test than at its beginning.
func noGoroutineLeft(t *testing.T) {
	t.Helper()
	stacks := func() string {
		buf := make([]byte, 1<<20)
		return string(buf[:runtime.Stack(buf, true)])
	}
	t.Cleanup(func() {
		deadline := time.Now().Add(10 * time.Second)
		for strings.Contains(stacks(), "sharingTransport") || strings.Contains(stacks(), "(*Transport).dialConn") {
			if time.Now().After(deadline) {
				t.Errorf("goroutines are left:\n%s", stacks())
				return
			}
			runtime.Gosched()
		}
	})
}

// TestHTTP2FewStreams has what stands before an agent allow few queries on a
// connection. The client learns that too late for the queries that it has sent, which
// fail, but all find a place.
func TestHTTP2FewStreams(t *testing.T) {
	noGoroutineLeft(t)
	const queries = 20
	for _, streams := range []int{1, 3} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			arrived, respond := make(chan bool, 1000), make(chan struct{})
			a := &http2Agent{Server: httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				arrived <- true
				<-respond
				io.WriteString(w, "[]")
			})), t: t}
			a.EnableHTTP2 = true
			a.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
			a.Config.ErrorLog = discardLog()
			a.StartTLS()
			t.Cleanup(a.Close)
			c := a.client(Config{})
			var group sync.WaitGroup
			for range queries {
				group.Add(1)
				go func() {
					defer group.Done()
					for blocking(context.Background(), c) != nil {
					}
				}()
			}
			for range queries {
				<-arrived
			}
			close(respond)
			group.Wait()
		})
	}
}

// stallingAgent is an agent whose connections hang before the handshake until they
// are let go.
func stallingAgent(t *testing.T) (address string, accepted chan net.Conn, release func()) {
	t.Helper()
	_, _, cert, key := issue(t, newAuthority(t), "agent")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan net.Conn, 1000)
	let := make(chan struct{})
	var once sync.Once
	release = func() { once.Do(func() { close(let) }) }
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") })
	var group sync.WaitGroup
	srv := &http.Server{Handler: handler, ErrorLog: discardLog(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}}
	conns := make(chan net.Conn)
	inner := &chanListener{conns: conns, addr: l.Addr(), done: make(chan struct{})}
	group.Add(2)
	go func() { defer group.Done(); srv.ServeTLS(inner, "", "") }()
	go func() {
		defer group.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
			group.Add(1)
			go func() {
				defer group.Done()
				<-let
				select {
				case conns <- conn:
				case <-inner.done:
					conn.Close()
				}
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		release()
		inner.Close()
		srv.Close()
		group.Wait()
	})
	return "https://" + l.Addr().String(), accepted, release
}

// chanListener is a listener whose connections come from a channel.
type chanListener struct {
	conns chan net.Conn
	addr  net.Addr
	done  chan struct{}
	once  sync.Once
}

func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *chanListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *chanListener) Addr() net.Addr { return l.addr }

// TestHTTP2OpeningHangs ends contexts while a connection is being opened, and closes
// idle connections meanwhile. Calls whose contexts have not ended get through.
func TestHTTP2OpeningHangs(t *testing.T) {
	noGoroutineLeft(t)
	address, accepted, release := stallingAgent(t)
	c, err := NewClient(Config{Address: address, TLS: TLSConfig{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	ctx, cancel := context.WithCancel(context.Background())
	first, patient := make(chan error, 10), make(chan error, 10)
	for range 10 {
		go func() { first <- blocking(ctx, c) }()
	}
	<-accepted
	for range 10 {
		go func() { patient <- blocking(context.Background(), c) }()
	}
	cancel()
	for range 10 {
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	c.CloseIdleConnections()
	release()
	for range 10 {
		if err := <-patient; err != nil {
			t.Error(err)
		}
	}
}

// TestHTTP2IdleClosed closes idle connections all the time.
func TestHTTP2IdleClosed(t *testing.T) {
	noGoroutineLeft(t)
	a := newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") })
	c := a.client(Config{})
	var group sync.WaitGroup
	for i := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 30 {
				if i == 0 {
					c.CloseIdleConnections()
				}
				if err := blocking(context.Background(), c); err != nil {
					t.Error(err)
				}
				if _, _, err := c.Catalog().Nodes(context.Background(), nil); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
}

// TestHTTP2ConnectionsEnd ends all connections again and again, under reads that do
// not wait, under some that do, and under writes. Those may fail, but none hangs, and
// all get through after that.
func TestHTTP2ConnectionsEnd(t *testing.T) {
	noGoroutineLeft(t)
	a := newHTTP2Agent(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") })
	c, ctx := a.client(Config{}), context.Background()
	var group sync.WaitGroup
	var stopped atomic.Bool
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for !stopped.Load() {
				blocking(ctx, c)
				c.Agent().PassTTL(ctx, "c", "")
				c.Catalog().Nodes(ctx, nil)
			}
		}()
	}
	for range 20 {
		a.CloseClientConnections()
		c.Catalog().Nodes(ctx, nil)
	}
	stopped.Store(true)
	group.Wait()
	if err := blocking(ctx, c); err != nil {
		t.Error(err)
	}
	if err := c.Agent().PassTTL(ctx, "c", ""); err != nil {
		t.Error(err)
	}
}

// TestHTTP2Shutdown has an agent end in good order, with GOAWAY, while a query waits,
// which gets its response.
func TestHTTP2Shutdown(t *testing.T) {
	noGoroutineLeft(t)
	a, arrived, respond := newWaitingAgent(t)
	begun := make(chan struct{})
	a.Config.RegisterOnShutdown(func() { close(begun) })
	c := a.client(Config{})
	done := make(chan error)
	go func() { done <- blocking(context.Background(), c) }()
	<-arrived
	ended := make(chan error)
	go func() { ended <- a.Config.Shutdown(context.Background()) }()
	<-begun
	respond <- "[]"
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantError(t, blocking(context.Background(), c), "consul: GET "+a.URL+"/v1/catalog/nodes: ", "connection refused")
}

// TestHTTP2SilentConnection has an agent that says nothing after the handshake. The
// queries' contexts end them, and they share a connection.
func TestHTTP2SilentConnection(t *testing.T) {
	noGoroutineLeft(t)
	_, _, cert, key := issue(t, newAuthority(t), "agent")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int32
	headers := make(chan bool, 1000) // a query has arrived
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			opened.Add(1)
			go func() {
				defer conn.Close()
				io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
				for header := make([]byte, 9); ; {
					if _, err := io.ReadFull(conn, header); err != nil {
						return
					}
					io.CopyN(io.Discard, conn, int64(header[0])<<16|int64(header[1])<<8|int64(header[2]))
					if header[3] == 1 {
						headers <- true
					}
				}
			}()
		}
	}()
	defer l.Close()
	c, err := NewClient(Config{Address: "https://" + l.Addr().String(), TLS: TLSConfig{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	const queries = 50
	for range queries {
		go func() { ended <- blocking(ctx, c) }()
	}
	for range queries {
		<-headers
	}
	cancel()
	for range queries {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if n := opened.Load(); n > 5 { // mostly 1; more if the machine is slow
		t.Errorf("%d connections for %d queries", n, queries)
	}
}

// TestHTTP2ServedRequestOpensNothing has a request that has got another connection
// wait no longer for one of its own, although it could be opened.
func TestHTTP2ServedRequestOpensNothing(t *testing.T) {
	transport := newTransport(address{url: url.URL{Scheme: "https", Host: "consul.example"}}, &tls.Config{}).(*splitTransport).other
	served, end := context.WithCancel(context.Background())
	end()
	for range 100 {
		if _, err := transport.open(context.Background(), served); !errors.Is(err, errServed) {
			t.Fatalf("got %v", err)
		}
	}
}

// TestHTTP1IsKnownToAllConnections has an agent that speaks HTTP/1. Once that is
// known, no query waits for the connection of another one to be opened.
func TestHTTP1IsKnownToAllConnections(t *testing.T) {
	a := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") }))
	defer a.Close()
	c, err := NewClient(Config{Address: a.URL, TLS: TLSConfig{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	if _, _, err := c.Catalog().Nodes(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	split := c.http.Transport.(*splitTransport)
	if !split.blocking.isHTTP1.Load() || !split.other.isHTTP1.Load() {
		t.Error("it is not known")
	}
}
