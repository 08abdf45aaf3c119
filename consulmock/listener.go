package consulmock

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// connLimit counts the connections of each client address to all listeners of a
// server.
type connLimit struct {
	max     int
	version release.Version

	mu   sync.Mutex
	open map[string]int
}

// newConnLimit returns the limit that the options set, or nil.
func newConnLimit(c *config) *connLimit {
	if c.maxConns <= 0 {
		return nil
	}
	return &connLimit{max: c.maxConns, version: c.agent.Version, open: make(map[string]int)}
}

// limited returns a listener that refuses connections beyond the limit for one
// client, if there is one.
func (l *life) limited(from net.Listener) net.Listener {
	if l.limit == nil {
		return from
	}
	return &limitedListener{from, l}
}

// limitedListener refuses connections that are too many.
type limitedListener struct {
	net.Listener
	life *life
}

// refusal is what 1.21.4 writes on a connection that is one too many. 1.8.7
// writes nothing.
const (
	refusalText = "Your IP is issuing too many concurrent connections, please rate limit your calls\n"
	refusal     = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 81\r\nConnection: close\r\n\r\n" + refusalText
)

// refusalLinger is how long a client may take to write its request, and to read
// the refusal.
const refusalLinger = 100 * time.Millisecond

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(c.RemoteAddr().String())
		if err != nil {
			host = c.RemoteAddr().String()
		}
		if limit := l.life.limit; limit.add(host) {
			return &limitedConn{Conn: c, closed: sync.OnceFunc(func() { limit.remove(host) })}, nil
		}
		l.life.refuse(c)
	}
}

// refuse closes a connection with the reason. Agents do so at once, which a client
// that is about to write may see as a broken connection only. To be the same
// every time, the fake lets the client write and read.
func (l *life) refuse(c net.Conn) {
	if l.limit.version != release.V1_21_4 {
		c.Close()
		return
	}
	go func() {
		defer c.Close()
		defer context.AfterFunc(l, func() { c.Close() })()
		c.SetReadDeadline(time.Now().Add(refusalLinger))
		c.Read(make([]byte, 1))
		c.SetDeadline(time.Now().Add(refusalLinger))
		io.WriteString(c, refusal)
		io.Copy(io.Discard, c)
	}()
}

func (l *connLimit) add(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[host] >= l.max {
		return false
	}
	l.open[host]++
	return true
}

func (l *connLimit) remove(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[host]--
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	closed func()
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// SetLinger does what it does for a [net.TCPConn], if the connection can.
func (c *limitedConn) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}
