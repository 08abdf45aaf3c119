//go:build go1.25

package consul

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestReloadInterval replaces an authority and looks when that is noticed, in
// virtual time.
func TestReloadInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		putFiles(t, dir, clientFiles(t, newAuthority(t), "client-1"))
		client, err := NewClient(Config{Scheme: "https", TLS: TLSConfig{CAFile: filepath.Join(dir, "ca.crt")}})
		if err != nil {
			t.Fatal(err)
		}
		transport := client.http.Transport.(*reloadingTransport)
		before, _ := transport.get()
		putFiles(t, dir, clientFiles(t, newAuthority(t), "client-2"))
		time.Sleep(time.Second - time.Nanosecond)
		if now, _ := transport.get(); now != before {
			t.Error("the file was read again within a second")
		}
		time.Sleep(time.Nanosecond)
		if now, _ := transport.get(); now == before {
			t.Error("the file was not read again after a second")
		}
	})
}

// TestHandshakeTimeout has an agent that takes a connection and is silent then.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, conn := net.Pipe()
		defer agent.Close()
		transport := newHTTP1Transport(address{}, &tls.Config{})
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
		client, err := NewClient(Config{Address: "https://consul.example", Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for buf := make([]byte, 1<<10); ; {
				if _, err := agent.Read(buf); err != nil {
					return
				}
			}
		}()
		start := time.Now()
		_, err = client.Status().Leader(context.Background())
		wantError(t, err, "TLS handshake timeout")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %s, want 10 s", took)
		}
	})
}
