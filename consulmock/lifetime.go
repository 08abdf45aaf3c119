package consulmock

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/memnet"
)

// This file holds when a server runs. A server is running, stopped or closed; the
// agent, and what listens for it, start and end together, under one lock.

// life is one run of a server, from a start to the next stop. Server.mu guards it.
type life struct {
	agent.Run
	end       context.CancelFunc
	http      *http.Server
	memory    *memnet.Listener
	socket    net.Listener   // nil until a port is needed
	accepting sync.WaitGroup // on the two of them
	limit     *connLimit     // nil if there is none
}

// begin starts listening, at the address that there was before if there was one.
// s.mu must be held.
func (s *Server) begin() {
	var socket net.Listener
	if s.addr != "" {
		socket = listen(s.addr) // first, because it may panic
	}
	l := &life{memory: memnet.Listen(), limit: newConnLimit(&s.config)}
	l.Run.Context, l.end = context.WithCancel(context.Background())
	l.Run.Stop = func() { s.stopLife(l) }
	l.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.withLifetime(l, w, r) }),
		// http.Server.Close misses a connection that is accepted at the same moment.
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateNew && l.Over() {
				c.Close()
			}
		},
	}
	s.life = l
	l.accept(l.memory)
	if socket != nil {
		s.listenOn(socket)
	}
}

// listenOn accepts connections from a socket. s.mu must be held.
func (s *Server) listenOn(socket net.Listener) {
	s.addr, s.life.socket = socket.Addr().String(), socket
	s.life.accept(socket)
}

func (l *life) accept(from net.Listener) {
	l.accepting.Add(1)
	go func() {
		defer l.accepting.Done()
		l.http.Serve(l.limited(from))
	}()
}

func listen(addr string) net.Listener {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		panic(fmt.Sprintf("consulmock: cannot listen: %v", err))
	}
	return l
}

// stop cuts every connection, stops listening and ends the agent, if the server
// runs. s.mu must be held.
func (s *Server) stop() {
	l := s.life
	if l.Over() {
		return
	}
	l.end()
	l.memory.Close()
	if l.socket != nil {
		l.socket.Close()
	}
	l.http.Close()
	l.accepting.Wait() // or the port may be taken still
	s.agent.Close()
}

// stopLife stops the server unless l is over already.
func (s *Server) stopLife(l *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == l {
		s.stop()
	}
}

// start starts a stopped server. s.mu must be held.
func (s *Server) start(keepState bool) {
	if s.closed || !s.life.Over() {
		return
	}
	s.begin()
	if keepState {
		s.agent.Resume(s.life.Run)
	} else {
		s.starts++
		s.agent = s.newAgent()
	}
}

// URL returns the address of the server, for clients in any language. The first
// call opens a port of the loopback interface; until then the server has no
// socket. It panics if no port is free, or if the first call comes
// while the server is stopped.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == "" {
		if s.life.Over() {
			panic("consulmock: URL called first on a stopped server")
		}
		s.listenOn(listen("127.0.0.1:0"))
	}
	return "http://" + s.addr
}

// Done returns a channel that is closed when the server stops: by [Server.Stop],
// [Server.Restart] or [Server.Close], or because a client has told the agent to
// leave with PUT /v1/agent/leave. Each start makes a new channel; that of a stopped
// server is closed.
func (s *Server) Done() <-chan struct{} { return s.current().Done() }

// Stop ends the agent as a kill does: connections are cut, and new ones refused
// until [Server.Start]. What is registered is kept; requests that have not been
// carried out by then never are. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

// Start starts a stopped server at the address that it had, as an agent with a
// data directory does: services, checks and maintenance are there again. TTL
// checks have the status of their last update if their TTL has not passed since,
// and are critical otherwise; other checks are critical until they run. Starting
// a server that runs, or that is closed, does nothing. Start panics if somebody
// else has taken the port of [Server.URL] in the meantime.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start(true)
}

// Restart stops the server and starts it, in one step: with keepState as Start
// does, else as an agent without a data directory, which has forgotten everything,
// the ID of its node included unless [WithNodeID] has set it.
func (s *Server) Restart(keepState bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	s.start(keepState)
}

// Close stops the server for good and waits until its requests have ended. It
// logs which ones have not after five seconds. It must not be called by what a
// request waits for, such as [Fault.Match].
func (s *Server) Close() {
	s.mu.Lock()
	s.stop()
	s.closed = true
	s.mu.Unlock()
	slow := time.AfterFunc(5*time.Second, func() {
		log.Printf("consulmock: Close waits for %s", cmp.Or(strings.Join(s.log.open(), ", "), "a check that it runs, or the page"))
	})
	defer slow.Stop()
	s.requests.Wait()
	s.probes.Wait()
}

// current returns the life of the server, which may be over.
func (s *Server) current() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life
}

// dial returns a connection in memory.
func (l *life) dial(ctx context.Context) (net.Conn, error) {
	c, err := l.memory.Dial(ctx.Done())
	if ctx.Err() != nil {
		if c != nil {
			c.Close()
		}
		return nil, ctx.Err()
	}
	return c, err
}

// withLifetime serves a request that ends with the life, whoever accepted its
// connection: a body is read no further, a response is not written to its end, and
// the context is done. It drops the request if the life is over already.
func (s *Server) withLifetime(l *life, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	over := l.Over()
	if !over {
		s.requests.Add(1)
	}
	s.mu.Unlock()
	if over {
		panic(http.ErrAbortHandler)
	}
	defer s.requests.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	cut := make(chan struct{})
	stop := context.AfterFunc(l, func() {
		defer close(cut)
		cancel()
		// A connection to a server of the caller's does not end with this one.
		connection := http.NewResponseController(w)
		connection.SetReadDeadline(time.Unix(1, 0))
		connection.SetWriteDeadline(time.Unix(1, 0))
	})
	served := false
	defer func() {
		if stop() {
			return
		}
		<-cut
		if served {
			panic(http.ErrAbortHandler)
		}
	}()
	s.serve(l, w, r.WithContext(ctx))
	served = true
}
