package consulmock

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// network is the part of a server that listens: in memory always, on a socket if
// a port was asked for.
type network struct {
	mu   sync.Mutex
	http *http.Server // nil while stopped
	pipe *pipeListener
	addr string // empty until a port is asked for

	life context.Context // ends when it is stopped
	end  context.CancelFunc
}

// start starts listening, at the address that there was before, and reports
// whether it had not been.
func (n *network) start(s *Server) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.http != nil {
		return false
	}
	n.http = &http.Server{
		Handler:  s.Handler(),
		ErrorLog: log.New(io.Discard, "", 0), // a client that hangs up is no error
	}
	n.life, n.end = context.WithCancel(context.Background())
	n.pipe = newPipeListener()
	go n.http.Serve(s.limited(n.pipe))
	if n.addr != "" {
		n.listen(s, n.addr)
	}
	return true
}

// listen opens a socket. n.mu must be held.
func (n *network) listen(s *Server, addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		panic(fmt.Sprintf("consulmock: cannot listen: %v", err))
	}
	n.addr = l.Addr().String()
	go n.http.Serve(s.limited(l))
}

// address returns the address of the socket, which it opens if there is none.
func (n *network) address(s *Server) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.addr == "" {
		if n.http == nil {
			panic("consulmock: URL called first on a stopped server")
		}
		n.listen(s, "127.0.0.1:0")
	}
	return n.addr
}

// dial returns a connection in memory.
func (n *network) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	l := n.pipe
	n.mu.Unlock()
	c, err := l.dial(ctx.Done())
	if ctx.Err() != nil {
		if c != nil {
			c.Close()
		}
		return nil, ctx.Err()
	}
	return c, err
}

func (n *network) stopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.http == nil
}

// living returns r with a context that ends with the server too, whoever serves
// it, and a function to be called after it. It panics if the server is stopped.
func (n *network) living(r *http.Request) (_ *http.Request, done func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.http == nil {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(n.life, cancel)
	return r.WithContext(ctx), func() { stop(); cancel() }
}

// stop cuts every connection and stops listening, and reports whether it had not
// been stopped.
func (n *network) stop() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.http == nil {
		return false
	}
	n.http.Close()
	n.http = nil
	n.pipe.Close()
	n.end()
	return true
}

// limited returns a listener that refuses connections beyond the limit for one
// client, if there is one.
func (s *Server) limited(l net.Listener) net.Listener {
	if s.config.maxConns <= 0 {
		return l
	}
	return &limitedListener{Listener: l, max: s.config.maxConns, version: s.config.version,
		open: make(map[string]int), refused: make(map[net.Conn]struct{})}
}

// limitedListener counts the connections of each client address.
type limitedListener struct {
	net.Listener
	max     int
	version version

	mu      sync.Mutex
	open    map[string]int
	refused map[net.Conn]struct{} // that are not closed yet
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
		if !l.add(host) {
			l.refuse(c)
			continue
		}
		return &limitedConn{Conn: c, closed: sync.OnceFunc(func() { l.remove(host) })}, nil
	}
}

// refuse closes a connection and says why. Agents do so at once, which a client
// that is about to write may see as a broken connection only. To be the same
// every time, the fake lets the client write and read.
func (l *limitedListener) refuse(c net.Conn) {
	if l.version != v1_21_4 {
		c.Close()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[c] = struct{}{}
	go func() {
		c.SetReadDeadline(time.Now().Add(refusalLinger))
		c.Read(make([]byte, 1))
		c.SetDeadline(time.Now().Add(refusalLinger))
		io.WriteString(c, refusal)
		io.Copy(io.Discard, c)
		c.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.refused, c)
	}()
}

// Close implements [net.Listener].
func (l *limitedListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.refused {
		c.Close()
	}
	return l.Listener.Close()
}

func (l *limitedListener) add(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[host] >= l.max {
		return false
	}
	l.open[host]++
	return true
}

func (l *limitedListener) remove(host string) {
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
