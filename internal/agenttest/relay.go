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
		r.Cut()
		wg.Wait()
	})
	return r
}

func (r *Relay) pass(client net.Conn) {
	defer client.Close()
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
			io.Copy(way[0], way[1])
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
