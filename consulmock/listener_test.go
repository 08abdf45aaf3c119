package consulmock

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Connections beyond the limit are refused, and closing one makes room.
func TestConnectionLimit(t *testing.T) {
	for version, want := range map[string]int{"1.21.4": http.StatusTooManyRequests, "1.8.7": 0} {
		s := New(t, WithVersion(version), WithMaxConnsPerClient(1))
		dial := s.Transport().(*http.Transport).DialContext
		held, err := dial(context.Background(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: s.Transport()}
		resp, err := client.Get("http://agent/v1/status/leader")
		switch {
		case want == 0 && err == nil:
			t.Errorf("%s: status %d, want a closed connection", version, resp.StatusCode)
		case want != 0 && (err != nil || resp.StatusCode != want):
			t.Errorf("%s: %v %v, want %d", version, resp, err, want)
		}
		held.Close()
		for err = error(&net.OpError{}); err != nil; { // until the server has seen it
			if resp, err = client.Get("http://agent/v1/status/leader"); err == nil && resp.StatusCode == want {
				err = &net.OpError{}
			}
		}
		client.CloseIdleConnections()
	}
}

// The connections of one address count together, in memory and on the socket.
func TestConnectionLimitIsOne(t *testing.T) {
	s := New(t, WithMaxConnsPerClient(1))
	held, err := s.Transport().(*http.Transport).DialContext(context.Background(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	status := func() int {
		resp, _, err := sendTo(&http.Client{Transport: transport}, "GET", s.URL()+"/v1/status/leader", "")
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	if got := status(); got != http.StatusTooManyRequests {
		t.Errorf("the second connection: %d, want 429", got)
	}
	// A restart cuts the first one, and so makes room.
	s.Restart(true)
	if got := status(); got != http.StatusOK {
		t.Errorf("after a restart: %d, want 200", got)
	}
	held.Close()
}

// A connection that is refused does not outlive the server.
func TestStopEndsRefusals(t *testing.T) {
	s := New(t, WithMaxConnsPerClient(1))
	addr := strings.TrimPrefix(s.URL(), "http://")
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	s.Stop()
	for _, c := range conns {
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes after the end", n)
		}
	}
}
