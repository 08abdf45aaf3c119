package memnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pair returns both ends of a connection in memory.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l := Listen()
	accepted := make(chan net.Conn)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := l.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

func TestPipeCarriesBytes(t *testing.T) {
	a, b := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), bufferSize/4) // more than fits
	go func() {
		if n, err := a.Write(sent); n != len(sent) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes, %v; want %d", len(got), err, len(sent))
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, errPipe) {
		t.Errorf("write to a closed end: %v, want a broken pipe", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// What was written before Close arrives.
func TestPipeCloseKeepsWhatWasWritten(t *testing.T) {
	a, b := pair(t)
	io.WriteString(a, "last words")
	a.Close()
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// A reset loses what was written, and both ends say so.
func TestPipeReset(t *testing.T) {
	a, b := pair(t)
	io.WriteString(a, "lost")
	a.(*conn).SetLinger(0)
	a.Close()
	if got, err := io.ReadAll(b); len(got) != 0 || !errors.Is(err, ErrReset) {
		t.Errorf("read %q, %v; want a reset", got, err)
	}
}

func TestPipeDeadlines(t *testing.T) {
	a, b := pair(t)
	defer b.Close()
	buf := make([]byte, 1)
	expect := func(what string, err error) {
		t.Helper()
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v, want a timeout", what, err)
		}
	}
	a.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := a.Read(buf)
	expect("read after the deadline", err)

	a.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err = a.Read(buf)
	expect("read until the deadline", err)

	a.SetReadDeadline(time.Time{})
	read := make(chan error)
	go func() {
		_, err := a.Read(buf)
		read <- err
	}()
	a.SetReadDeadline(time.Unix(1, 0)) // ends the read that waits
	expect("read during which the deadline came", <-read)

	a.SetDeadline(time.Now().Add(time.Millisecond))
	_, err = a.Write(make([]byte, bufferSize+1))
	expect("write that does not fit", err)

	a.SetDeadline(time.Time{})
	go io.WriteString(b, "x")
	if _, err := a.Read(buf); err != nil || buf[0] != 'x' {
		t.Errorf("read without a deadline: %q, %v", buf, err)
	}
}

// A closed listener refuses in the words of a closed port.
func TestPipeRefused(t *testing.T) {
	l := Listen()
	l.Close()
	_, err := l.Dial(nil)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), ErrRefused.Error()) {
		t.Errorf("dial: %v, want connection refused", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

// What a connection in memory fails with is what a socket fails with.
func TestErrorsAreThoseOfSockets(t *testing.T) {
	if runtime.GOOS == "plan9" || runtime.GOARCH == "wasm" {
		t.Skip("the errors of sockets have no numbers, or there are no sockets")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.(*net.TCPConn).SetLinger(0)
	server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
		t.Errorf("read after a reset: %v, want %v", err, ErrReset)
	}
	l.Close()
	if _, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, ErrRefused) {
		t.Errorf("dial: %v, want %v", err, ErrRefused)
	}
}

func TestPipeAddresses(t *testing.T) {
	a, b := pair(t)
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.RemoteAddr().String() != b.LocalAddr().String() {
		t.Errorf("%s-%s and %s-%s", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	if host, _, err := net.SplitHostPort(b.RemoteAddr().String()); host != "127.0.0.1" || err != nil {
		t.Errorf("the client is %s", b.RemoteAddr())
	}
}
