//go:build go1.25

package scenario

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startProbed starts the small servers that recorded checks probe, and returns
// pairs of recorded addresses and ours. The first recorded port is lane+40.
func startProbed(t *testing.T, host string, lane int) []string {
	t.Helper()
	plain := probedHTTP()
	mesh := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(serveGRPCHealth)}
	mesh.Protocols.SetUnencryptedHTTP2(true)
	var addrs []string
	for _, s := range []*http.Server{plain, mesh} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		addrs = append(addrs, l.Addr().String())
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	go echo(udp)
	addrs = append(addrs, udp.LocalAddr().String(), closedAddr(t))
	var pairs []string
	for i, addr := range addrs {
		pairs = append(pairs, fmt.Sprintf("%s:%d", host, lane+40+i), addr)
	}
	return pairs
}

// closedAddr returns an address that refuses connections until the end of the test. It
// is that of a client, so that nobody else can be given it meanwhile.
func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client.LocalAddr().String()
}

func probedHTTP() *http.Server {
	mux := http.NewServeMux()
	for path, says := range map[string]struct {
		code int
		body string
	}{
		"/ok":   {http.StatusOK, "all good"},
		"/warn": {http.StatusTooManyRequests, "slow down"},
		"/fail": {http.StatusInternalServerError, "broken"},
		"/big":  {http.StatusOK, strings.Repeat("0123456789", 600)},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(says.code)
			io.WriteString(w, says.body)
		})
	}
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/ok", http.StatusFound)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(3 * time.Second):
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s x=%q ua=%q accept=%q body=%q", r.Method, r.Header["X-Probe"], r.UserAgent(), r.Header.Get("Accept"), body)
	})
	return &http.Server{Handler: mux}
}

// serveGRPCHealth answers the gRPC health protocol: SERVING, or NOT_SERVING for
// the service "down".
func serveGRPCHealth(w http.ResponseWriter, r *http.Request) {
	const serving, notServing = 1, 2
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	status := byte(serving)
	if bytes.Contains(body, []byte("down")) {
		status = notServing
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	w.Write([]byte{0, 0, 0, 0, 2, 8, status}) // not compressed, two bytes, field 1
	w.Header().Set("Grpc-Status", "0")
}

func echo(conn net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		conn.WriteTo(buf[:n], from)
	}
}
