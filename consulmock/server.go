package consulmock

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// Server is a fake agent. Its methods may be called concurrently.
type Server struct {
	config config
	faults faultTable
	log    requestLog
	table  table

	mu    sync.Mutex // guards agent and all that belongs to it
	agent *agent

	net network
}

// New returns a started server that is closed when the test ends.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s := NewServer(opts...)
	t.Cleanup(s.Close)
	return s
}

// NewServer returns a started server, for programs that are not tests. The
// caller closes it.
func NewServer(opts ...Option) *Server {
	s := &Server{config: newConfig(opts)}
	s.table = newTable(s.config.version)
	s.agent = newAgent(s)
	s.net.start(s)
	return s
}

// URL returns the address of the server, for clients in any language. The first
// call opens a port of the loopback interface; until then the server has no
// socket.
func (s *Server) URL() string { return "http://" + s.net.address(s) }

// Client returns a client that reaches the server through [Server.Transport].
func (s *Server) Client() *consul.Client {
	c, err := consul.NewClient(consul.Config{Transport: s.Transport()})
	if err != nil {
		panic("consulmock: " + err.Error()) // the configuration is constant
	}
	return c
}

// Transport returns an [http.Transport] whose connections live in memory, and
// which reaches the server whatever the host of the URL. It needs no socket and
// works in a bubble of testing/synctest, if the server was made in the bubble.
func (s *Server) Transport() http.RoundTripper {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.net.dial(ctx)
		},
		MaxIdleConnsPerHost: 1000,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// Handler returns the server as a handler, for servers of the caller's.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// serve is the way of every request: it is recorded, then the faults may answer
// it, then the agent does.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.net.stopped() {
		panic(http.ErrAbortHandler)
	}
	rec, r := s.log.arrived(r)
	ww := &recordingWriter{ResponseWriter: w, rec: rec, log: &s.log}
	defer s.log.done(rec)
	s.faults.intercept(ww, r, http.HandlerFunc(s.route))
}

// Stop ends the agent as a signal would: connections are cut and new ones
// refused until [Server.Start]. The state is kept, but time goes on: what would
// have expired has expired at the start.
func (s *Server) Stop() { s.net.stop() }

// Start starts a stopped server at the address that it had. Starting one that
// runs does nothing.
func (s *Server) Start() { s.net.start(s) }

// Restart stops the server and starts it. Without keepState everything that was
// registered is gone, as after the restart of an agent without a data directory.
func (s *Server) Restart(keepState bool) {
	s.Stop()
	if !keepState {
		s.mu.Lock()
		s.agent.close()
		s.agent = newAgent(s)
		s.mu.Unlock()
	}
	s.Start()
}

// Close stops the server for good and waits until its requests have ended. It
// logs which ones have not after five seconds.
func (s *Server) Close() {
	slow := time.AfterFunc(5*time.Second, func() {
		log.Printf("consulmock: Close waits for %s", strings.Join(s.log.open(), ", "))
	})
	defer slow.Stop()
	s.mu.Lock()
	s.agent.close()
	s.mu.Unlock()
	s.net.stop()
	s.log.wait()
}

// network is the part of a server that listens.
type network struct {
	mu   sync.Mutex
	http *http.Server // nil while stopped
	pipe *pipeListener
	addr string // empty until a port is asked for
}

func (n *network) start(s *Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.http != nil {
		return
	}
	n.http = newHTTPServer(s)
	n.pipe = newPipeListener()
	go n.http.Serve(n.pipe)
	if n.addr != "" {
		n.listen(n.addr)
	}
}

func newHTTPServer(s *Server) *http.Server {
	return &http.Server{
		Handler:  http.HandlerFunc(s.serve),
		ErrorLog: log.New(discard{}, "", 0),
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// listen opens a socket. n.mu must be held.
func (n *network) listen(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		panic(fmt.Sprintf("consulmock: cannot listen: %v", err))
	}
	n.addr = l.Addr().String()
	go n.http.Serve(l)
}

func (n *network) address(s *Server) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addr == "" {
		if n.http == nil {
			panic("consulmock: URL called first on a stopped server")
		}
		n.listen("127.0.0.1:0")
	}
	return n.addr
}

func (n *network) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	l := n.pipe
	n.mu.Unlock()
	c, err := l.dial(ctx.Done())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c, err
}

func (n *network) stopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.http == nil
}

func (n *network) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.http == nil {
		return
	}
	n.http.Close()
	n.http = nil
	n.pipe.Close()
}
