package consul_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestWrapTransport puts a RoundTripper around the transports that a client can
// have, and notes what it sees.
func TestWrapTransport(t *testing.T) {
	agent := consulmock.New(t)
	for name, cfg := range map[string]consul.Config{
		"around the built-in transport":  {Address: agent.URL()},
		"around the caller's transport":  {Transport: agent.Transport()},
		"around the transport for files": {Address: agent.URL(), TokenFile: write(t, "token", "a-token")},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []string
			wrapped := 0
			if cfg.TokenFile == "" {
				cfg.Token = "a-token"
			}
			cfg.WrapTransport = func(base http.RoundTripper) http.RoundTripper {
				wrapped++
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					seen = append(seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Consul-Token"))
					return base.RoundTrip(r)
				})
			}
			client, err := consul.NewClient(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			for _, c := range []*consul.Client{client, client.WithToken("another"), client.WithDatacenter("dc1")} {
				if _, err := c.Status().Leader(context.Background()); err != nil {
					t.Error(err)
				}
			}
			want := "[GET /v1/status/leader a-token GET /v1/status/leader another GET /v1/status/leader a-token]"
			if got := fmt.Sprint(seen); got != want || wrapped != 1 {
				t.Errorf("saw %s, wrapped %d times; want %s", got, wrapped, want)
			}
		})
	}
}

func TestWrapTransportFails(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"nil":       func(http.RoundTripper) http.RoundTripper { return nil },
		"typed nil": func(http.RoundTripper) http.RoundTripper { return (*http.Transport)(nil) },
		"nil func":  func(http.RoundTripper) http.RoundTripper { return roundTripper(nil) },
	} {
		if _, err := consul.NewClient(consul.Config{WrapTransport: wrap}); err == nil || !strings.Contains(err.Error(), "consul: Config.WrapTransport returned ") {
			t.Errorf("%s: %v", name, err)
		}
	}

	broken := errors.New("no trace today")
	client, err := consul.NewClient(consul.Config{Token: "s3cr3t", WrapTransport: func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("%w for %s", broken, r.Header.Get("X-Consul-Token"))
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = client.Agent().Reload(context.Background())
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

// TestCloseIdleConnections has a wrapper that does not pass CloseIdleConnections
// on, and one that keeps connections of its own.
func TestCloseIdleConnections(t *testing.T) {
	closed := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `"leader"`) }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	defer server.Close()
	wrapper := &pool{}
	client, err := consul.NewClient(consul.Config{Address: server.URL, WrapTransport: func(base http.RoundTripper) http.RoundTripper {
		wrapper.RoundTripper = roundTripper(base.RoundTrip)
		return wrapper
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Status().Leader(context.Background()); err != nil {
		t.Fatal(err)
	}
	client.WithToken("of a copy").CloseIdleConnections()
	<-closed
	if wrapper.closed != 1 {
		t.Errorf("the wrapper was told %d times", wrapper.closed)
	}
}

// pool is a RoundTripper that keeps connections of its own.
type pool struct {
	http.RoundTripper
	closed int
}

func (p *pool) CloseIdleConnections() { p.closed++ }

// write writes a file of the test's and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
