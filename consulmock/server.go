package consulmock

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/api"
)

// Server is a fake agent. Its methods may be called concurrently.
type Server struct {
	config   config
	api      *api.API
	faults   faultTable
	log      requestLog
	replay   *replayer      // responds instead of the agent; nil unless the server is a replay
	probes   sync.WaitGroup // the goroutines that run checks
	requests sync.WaitGroup // that have not ended

	mu     sync.Mutex // guards what follows and all that belongs to it
	agent  *agent.Agent
	starts int    // how often the agent has started without a state
	life   *life  // the last one, which is over if the server is stopped
	closed bool   // there is no other life
	addr   string // of the socket; empty until a port is needed
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
// caller closes it. NewServer panics if an option is no good; see [CheckOptions].
func NewServer(opts ...Option) *Server {
	c, err := newConfig(opts)
	if err != nil {
		panic("consulmock: " + err.Error())
	}
	s := &Server{config: c}
	s.api = api.New(s.config.api, &s.config.agent, &s.mu, func() *agent.Agent { return s.agent })
	s.mu.Lock() // requests may come, and timers fire, at once
	defer s.mu.Unlock()
	s.begin()
	s.agent = s.newAgent()
	return s
}

// newAgent returns an agent that has just started. s.mu must be held.
func (s *Server) newAgent() *agent.Agent {
	return agent.New(&s.config.agent, agent.Host{Lock: &s.mu, Probes: &s.probes}, s.life.Run, s.starts)
}

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
			return s.current().dial(ctx)
		},
		MaxIdleConnsPerHost: 1000,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// Handler returns the server as a handler, for servers of the caller's. It drops
// connections while the server is stopped. If something wraps the
// [http.ResponseWriter] in between, it needs an Unwrap method, as with
// [http.ResponseController]; without it [Server.Stop] cannot cut a response, and
// [Server.Close] waits for clients that do not read.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.withLifetime(s.current(), w, r) })
}

// serve handles every request: it is recorded, then the faults may respond, then
// the agent does.
func (s *Server) serve(l *life, w http.ResponseWriter, r *http.Request) {
	if isUI(r.URL.Path) && (s.replay == nil || !s.replay.hasUI) {
		s.serveUI(w, r)
		return
	}
	rec := s.log.arrived(r)
	defer s.log.done(rec)
	r = s.log.readBody(rec, r)
	if l.Over() {
		panic(http.ErrAbortHandler) // there may be more of the body
	}
	var answer http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.api.Serve(l.Run, w, r) })
	if s.replay != nil {
		answer = s.replay
	}
	s.faults.intercept(s.log.noting(w, rec), r, answer)
}
