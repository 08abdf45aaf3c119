// Package memnet holds network connections that live in memory. They are made of
// channels, a mutex and timers only, so that a goroutine that waits on one counts as
// blocked in a bubble of testing/synctest; one that waits on a socket does not.
package memnet

import (
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize is how much one side may write before the other side reads. As with
// a socket, writes beyond it wait.
const bufferSize = 64 << 10

// Listener is a [net.Listener] whose connections come from its method Dial.
type Listener struct {
	accept    chan net.Conn
	closeOnce sync.Once
	closed    chan struct{}
	port      atomic.Int32 // of the last client
}

// Listen returns a listener that nobody has connected to.
func Listen() *Listener {
	return &Listener{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial returns the client's end of a new connection. It is refused once the
// listener is closed.
func (l *Listener) Dial(done <-chan struct{}) (net.Conn, error) {
	client := address{port: 40000 + int(l.port.Add(1))%20000}
	a, b := newConnPair(client, l.Addr())
	select {
	case <-l.closed:
	default:
		select {
		case l.accept <- b:
			return a, nil
		case <-l.closed:
		case <-done:
		}
	}
	a.Close()
	b.Close()
	return nil, connRefused(l.Addr())
}

func connRefused(addr net.Addr) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: os.NewSyscallError("connect", ErrRefused)}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return address{port: 8500} }

// address looks like an address of the loopback interface, because agents treat
// clients by their addresses.
type address struct{ port int }

func (address) Network() string  { return "tcp" }
func (a address) String() string { return "127.0.0.1:" + strconv.Itoa(a.port) }

// conn is one end of a connection in memory.
type conn struct {
	local, remote net.Addr
	in, out       *half
	readLimit     deadline
	writeLimit    deadline
}

func newConnPair(client, server net.Addr) (a, b *conn) {
	up, down := newHalf(), newHalf()
	a = &conn{local: client, remote: server, in: down, out: up}
	b = &conn{local: server, remote: client, in: up, out: down}
	a.readLimit.init()
	a.writeLimit.init()
	b.readLimit.init()
	b.writeLimit.init()
	return a, b
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, &c.readLimit)
	if err != nil && err != io.EOF {
		err = &net.OpError{Op: "read", Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p, &c.writeLimit)
	if err != nil {
		err = &net.OpError{Op: "write", Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
	}
	return n, err
}

// Close implements [net.Conn]. The other side may still read what was written.
func (c *conn) Close() error {
	c.out.closeWrite()
	c.in.closeRead(net.ErrClosed)
	return nil
}

// SetLinger makes the next Close a reset if sec is 0, as it does for a
// [net.TCPConn].
func (c *conn) SetLinger(sec int) error {
	if sec == 0 {
		c.out.fail(ErrReset)
	}
	return nil
}

// LocalAddr implements [net.Conn].
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements [net.Conn].
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	c.readLimit.set(t)
	c.writeLimit.set(t)
	return nil
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error {
	c.readLimit.set(t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writeLimit.set(t)
	return nil
}

// half is one direction of a connection.
type half struct {
	mu       sync.Mutex
	buf      []byte
	changed  chan struct{} // closed and replaced at every change that somebody waits for
	eof      bool          // the writer has closed
	readErr  error         // what reads return at once
	writeErr error         // what writes return at once
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

// wake must be called with h.mu held.
func (h *half) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) read(p []byte, limit *deadline) (int, error) {
	for {
		h.mu.Lock()
		changed := h.changed
		switch {
		case h.readErr != nil:
			err := h.readErr
			h.mu.Unlock()
			return 0, err
		case limit.passed():
			h.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			h.mu.Unlock()
			return 0, nil
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			if len(h.buf) == 0 {
				h.buf = nil
			}
			h.wake()
			h.mu.Unlock()
			return n, nil
		case h.eof:
			h.mu.Unlock()
			return 0, io.EOF
		}
		h.mu.Unlock()
		select {
		case <-changed:
		case <-limit.wait():
		}
	}
}

func (h *half) write(p []byte, limit *deadline) (written int, err error) {
	for {
		h.mu.Lock()
		changed := h.changed
		switch {
		case h.writeErr != nil:
			err := h.writeErr
			h.mu.Unlock()
			return written, err
		case limit.passed():
			h.mu.Unlock()
			return written, os.ErrDeadlineExceeded
		}
		if room := bufferSize - len(h.buf); room > 0 && len(p) > 0 {
			n := min(room, len(p))
			h.buf = append(h.buf, p[:n]...)
			p = p[n:]
			written += n
			h.wake()
			changed = h.changed
		}
		h.mu.Unlock()
		if len(p) == 0 {
			return written, nil
		}
		select {
		case <-changed:
		case <-limit.wait():
		}
	}
}

// closeWrite reports that nothing more will be written.
func (h *half) closeWrite() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eof = true
	if h.writeErr == nil {
		h.writeErr = net.ErrClosed
	}
	h.wake()
}

// closeRead reports that nothing more will be read: reads fail with err, and writes
// as on a connection that the other side has closed.
func (h *half) closeRead(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readErr = err
	if h.writeErr == nil {
		h.writeErr = errPipe
	}
	h.buf = nil
	h.wake()
}

// fail makes both sides of the direction fail with err.
func (h *half) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readErr, h.writeErr = err, err
	h.buf = nil
	h.wake()
}

// deadline is a moment at which waits end.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when the deadline has passed
}

func (d *deadline) init() { d.over = make(chan struct{}) }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // the timer has fired, or is about to
	}
	d.timer = nil
	select {
	case <-d.over:
		d.over = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	over := d.over
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(over) })
	} else {
		close(over)
	}
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *deadline) passed() bool {
	select {
	case <-d.wait():
		return true
	default:
		return false
	}
}
