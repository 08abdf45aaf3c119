package discovery_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestTransportFaultOfTheCaller sends requests that cannot succeed whatever the instance
// does: that is not held against the instance.
func TestTransportFaultOfTheCaller(t *testing.T) {
	broken := iotest.ErrReader(errors.New("boom"))
	for name, change := range map[string]func(*http.Request){
		"a body that fails at once": func(r *http.Request) { r.Body = io.NopCloser(broken) },
		"a body that fails later": func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<16)), broken))
		},
		"a body that is too short": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 2
		},
		"a body that is too long": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("xxx")), 2
		},
		"a header that no request can have": func(r *http.Request) { r.Header.Set("User", "a\nb") },
		"a method that no request can have": func(r *http.Request) { r.Method = "GET /" },
		"an unknown scheme":                 func(r *http.Request) { r.URL.Scheme = "ftp" },
	} {
		t.Run(name, func(t *testing.T) {
			agent, r, c := webClient(t, nil)
			for _, id := range []string{"a", "b"} {
				// Until the connection ends: the body may be too long, which the instance does
				// not see.
				backend(t, agent, "web", id, func(_ http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				})
			}
			req, _ := http.NewRequest("POST", "http://web/", nil)
			change(req)
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
				t.Fatal("no error")
			}
			wantPicked(t, r, 2)
		})
	}
}

// wantPicked fails the test unless so many instances of web are picked.
func wantPicked(t *testing.T, r *discovery.Resolver, n int) {
	t.Helper()
	picked := map[string]bool{}
	for range 200 {
		i, err := r.Pick(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		picked[i.ID] = true
	}
	if len(picked) != n {
		t.Errorf("picked %v, want %d", picked, n)
	}
}

// TestTransportFaultOfTheInstance ends the connection while the body is being sent, which
// ends the body, too.
func TestTransportFaultOfTheInstance(t *testing.T) {
	agent, r, c := webClient(t, nil)
	for _, id := range []string{"a", "b"} {
		backend(t, agent, "web", id, func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		})
	}
	body, w := io.Pipe()
	go func() {
		for {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}()
	if resp, err := c.Post("http://web/", "", body); err == nil {
		resp.Body.Close()
		t.Error("no error")
	}
	wantPicked(t, r, 1)
}

// TestTransportBodyAfterClose has a body fail while a transport reads it that has closed it
// already: it is the instance that has failed.
func TestTransportBodyAfterClose(t *testing.T) {
	agent := consulmock.New(t)
	addInstance(agent, "web", "a", "127.0.0.1:1")
	addInstance(agent, "web", "b", "127.0.0.1:2")
	r := discovery.NewResolver(agent.Client(), nil)
	defer r.Close()
	begun, closed, failed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	body := readerFunc(func([]byte) (int, error) {
		close(begun)
		<-closed
		return 0, errors.New("boom")
	})
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		go func() {
			defer close(failed)
			req.Body.Read(make([]byte, 1))
		}()
		<-begun
		req.Body.Close()
		close(closed)
		<-failed
		return nil, errors.New("the connection ended")
	})
	req, _ := http.NewRequest("POST", "http://web/", body)
	if _, err := discovery.NewTransport(r, base).RoundTrip(req); err == nil {
		t.Error("no error")
	}
	wantPicked(t, r, 1)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestTransportBodyIsMadeAnew has transports that have read some of the body when they
// notice that they cannot connect. Another instance gets all of it, if the request can
// make it anew. Each body is closed once, whenever its transport closes it.
func TestTransportBodyIsMadeAnew(t *testing.T) {
	for name, test := range map[string]struct {
		canBeMade   func() (io.ReadCloser, error)
		early, late bool // when the transport closes it: before or after it returns
		want        string
	}{
		"it can":                         {newBody, true, false, "hello"},
		"it can, and is closed later":    {newBody, false, true, "hello"},
		"it can, and is not closed":      {newBody, false, false, "hello"},
		"it cannot":                      {nil, true, false, ""},
		"it cannot, and is closed later": {nil, false, true, ""},
		"it should":                      {func() (io.ReadCloser, error) { return nil, errors.New("boom") }, true, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			agent := consulmock.New(t)
			addInstance(agent, "web", "a", "127.0.0.1:1")
			addInstance(agent, "web", "b", "127.0.0.1:2")
			r := discovery.NewResolver(agent.Client(), nil)
			defer r.Close()
			closed := &closeCounter{ReadCloser: io.NopCloser(strings.NewReader("hello"))}
			req, _ := http.NewRequest("POST", "http://web/", closed)
			req.GetBody, req.ContentLength = test.canBeMade, 5
			got, tries := "", 0
			var first io.ReadCloser
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if tries++; tries == 1 {
					first = req.Body
					first.Read(make([]byte, 2))
					if test.early {
						first.Close()
					}
					return nil, dialError
				}
				body, err := io.ReadAll(req.Body)
				req.Body.Close()
				got = string(body)
				return &http.Response{StatusCode: 200, Body: http.NoBody}, err
			})
			resp, err := discovery.NewTransport(r, base).RoundTrip(req)
			if (err == nil) != (test.want != "") || got != test.want {
				t.Errorf("got %q, %v", got, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			if test.late {
				first.Close()
			}
			if n := closed.n.Load(); n != 1 {
				t.Errorf("the body was closed %d times", n)
			}
			if n, err := first.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("the body of an attempt that is over: read %d bytes, %v", n, err)
			}
		})
	}
}

func newBody() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hello")), nil }

var dialError = &net.OpError{Op: "dial", Err: errors.New("refused")}
