package agenttest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Relay passes connections on to an agent, counts them, and can end them. Its
// methods may be called concurrently.
type Relay struct {
	Addr string // host:port

	to string

	mu     sync.Mutex
	gate   chan struct{}     // closed when data pass; nil if they do
	conns  map[net.Conn]bool // open, both sides
	dialed int
	open   int
	most   int // open at the same time
}

// NewRelay starts a relay to an address. It ends with the test.
func NewRelay(tb testing.TB, to string) *Relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &Relay{Addr: l.Addr().String(), to: to, conns: make(map[net.Conn]bool)}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				r.pass(client)
			}()
		}
	}()
	tb.Cleanup(func() {
		l.Close()
		r.Pass()
		r.Cut()
		wg.Wait()
	})
	return r
}

func (r *Relay) pass(client net.Conn) {
	defer client.Close()
	r.wait()
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.dialed++
	r.open++
	r.most = max(r.most, r.open)
	r.conns[client], r.conns[server] = true, true
	r.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			io.Copy(gated{way[0], r}, way[1])
			way[0].Close()
			done <- struct{}{}
		}()
	}
	<-done
	client.Close()
	server.Close()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	delete(r.conns, client)
	delete(r.conns, server)
}

// gated is a connection to which nothing is written while the relay holds.
type gated struct {
	net.Conn
	r *Relay
}

func (g gated) Write(p []byte) (int, error) {
	g.r.wait()
	return g.Conn.Write(p)
}

// wait waits until data pass.
func (r *Relay) wait() {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

// Hold passes nothing on in either direction, as a network that loses everything.
// Connections stay open, and new ones are accepted.
func (r *Relay) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gate == nil {
		r.gate = make(chan struct{})
	}
}

// Pass ends Hold. What has arrived meanwhile is passed on.
func (r *Relay) Pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gate != nil {
		close(r.gate)
		r.gate = nil
	}
}

// Cut closes all connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

// Counts returns how many connections there were, how many are open, and how many
// were so at the same time at most.
func (r *Relay) Counts() (dialed, open, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dialed, r.open, r.most
}
