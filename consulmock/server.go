package consulmock

import (
	"context"
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
	table  table
	faults faultTable
	log    requestLog
	replay *replayer // answers instead of the agent; nil unless the server is a replay
	net    network
	probes sync.WaitGroup // the goroutines that run checks

	mu     sync.Mutex // guards what follows and all that belongs to it
	agent  *agent
	starts int // how often the agent has started without a state
}

// New returns a started server that is closed when the test ends. If the test
// has failed by then, the server's state is logged.
func New(t testing.TB, opts ...Option) *Server {
	if t == nil {
		panic("consulmock: New: nil testing.TB; for programs that are not tests there is NewServer")
	}
	t.Helper()
	s := NewServer(opts...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Dump())
		}
		s.Close()
	})
	return s
}

// NewServer returns a started server, for programs that are not tests. The
// caller closes it.
func NewServer(opts ...Option) *Server {
	s := &Server{config: newConfig(opts)}
	s.table = newTable(s.config.version)
	s.mu.Lock() // its timers may run as soon as they are set
	s.agent = newAgent(s)
	s.mu.Unlock()
	s.net.start(s)
	return s
}

// URL returns the address of the server, for clients in any language. The first
// call opens a port of the loopback interface; until then the server has no
// socket. It panics if there is no port to be had.
func (s *Server) URL() string { return "http://" + s.net.address(s) }

// Client returns a client that reaches the server through a [Server.Transport]
// of its own.
func (s *Server) Client() *consul.Client {
	c, err := consul.NewClient(consul.Config{Transport: s.Transport()})
	if err != nil {
		panic("consulmock: " + err.Error()) // the configuration is constant
	}
	return c
}

// Transport returns a new [http.Transport] whose connections live in memory, and
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

// Handler returns the server as a handler, for servers of the caller's. It drops
// connections while the server is stopped.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// serve is the way of every request: it is recorded, then the faults may answer
// it, then the agent does.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	r, done := s.net.living(r)
	defer done()
	if isUI(r.URL.Path) && (s.replay == nil || !s.replay.hasUI) {
		s.serveUI(w, r)
		return
	}
	rec, r := s.log.arrived(r)
	defer s.log.done(rec)
	var answer http.Handler = http.HandlerFunc(s.route)
	if s.replay != nil {
		answer = s.replay
	}
	s.faults.intercept(&recordingWriter{ResponseWriter: w, rec: rec, log: &s.log}, r, answer)
}

// Stop ends the agent as a kill does: connections are cut, and new ones refused
// until [Server.Start]. What is registered is kept. Stopping a stopped server
// does nothing.
func (s *Server) Stop() {
	if !s.net.stop() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agent.close()
}

// Start starts a stopped server at the address that it had, as an agent with a
// data directory does: services, checks and maintenance are there again. TTL
// checks have the status of their last update if their TTL has not passed since,
// and are critical otherwise; other checks are critical until they run. Starting
// a server that runs does nothing.
func (s *Server) Start() { s.start(true) }

func (s *Server) start(keepState bool) {
	s.mu.Lock()
	if s.net.stopped() {
		if keepState {
			s.agent.resume()
		} else {
			s.starts++
			s.agent = newAgent(s)
		}
	}
	s.mu.Unlock()
	s.net.start(s)
}

// Restart stops the server and starts it: with keepState as Start does, else as
// an agent without a data directory, which has forgotten everything, the ID of
// its node included unless [WithNodeID] has set it.
func (s *Server) Restart(keepState bool) {
	s.Stop()
	s.start(keepState)
}

// Close stops the server for good and waits until its requests have ended. It
// logs which ones have not after five seconds.
func (s *Server) Close() {
	s.Stop()
	slow := time.AfterFunc(5*time.Second, func() {
		log.Printf("consulmock: Close waits for %s", strings.Join(s.log.open(), ", "))
	})
	defer slow.Stop()
	s.log.wait()
	s.probes.Wait()
}
