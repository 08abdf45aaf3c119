//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestTransportHungInstance has one of two instances take requests and never
// answer.
func TestTransportHungInstance(t *testing.T) {
	request := func(ctx context.Context, body io.Reader) *http.Request {
		req, err := http.NewRequestWithContext(ctx, "POST", "http://web/", body)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	for _, test := range []struct {
		name string
		call func(t *testing.T, c *http.Client) (*http.Response, error)
		held bool // against the instance
	}{
		{"deadline", func(t *testing.T, c *http.Client) (*http.Response, error) {
			return c.Do(request(within(t, time.Second), nil))
		}, true},
		{"Timeout", func(t *testing.T, c *http.Client) (*http.Response, error) {
			c.Timeout = time.Second
			return c.Do(request(t.Context(), nil))
		}, true},
		{"deadline, with a body", func(t *testing.T, c *http.Client) (*http.Response, error) {
			return c.Do(request(within(t, time.Second), strings.NewReader("hello")))
		}, true},
		{"Timeout after Cancel", func(t *testing.T, c *http.Client) (*http.Response, error) {
			c.Timeout = time.Minute
			req := request(t.Context(), nil)
			canceled := make(chan struct{})
			//lint:ignore SA1019 http.Client itself uses it for its Timeout
			req.Cancel = canceled
			time.AfterFunc(time.Second, func() { close(canceled) })
			return c.Do(req)
		}, false},
		{"cancelled", func(t *testing.T, c *http.Client) (*http.Response, error) {
			ctx, cancel := context.WithCancel(within(t, time.Minute))
			time.AfterFunc(time.Second, cancel)
			return c.Do(request(ctx, nil))
		}, false},
		{"deadline while the caller's body is awaited", func(t *testing.T, c *http.Client) (*http.Response, error) {
			body, w := io.Pipe()
			time.AfterFunc(2*time.Second, func() { w.Close() })
			return c.Do(request(within(t, time.Second), body))
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.add("web", "hangs")
				r := discovery.NewResolver(agent.client, nil)
				defer r.Close()
				hung := consulmock.New(t)
				hung.Inject(consulmock.Fault{Always: true, Hang: make(chan struct{})})
				c := &http.Client{Transport: discovery.NewTransport(r, hung.Transport())}
				defer c.CloseIdleConnections()
				if resp, err := test.call(t, c); err == nil {
					resp.Body.Close()
					t.Fatal("no error")
				}
				agent.add("web", "other")
				time.Sleep(time.Second)
				want(t, "left out", !picked(t, r)["hangs"], test.held)
				time.Sleep(10 * time.Second) // the instance's requests end
			})
		})
	}
}

// TestTransportTimeoutOfOtherTransports has a transport that notices the end of a
// request by its Cancel only.
func TestTransportTimeoutOfOtherTransports(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		agent.add("web", "b")
		r := discovery.NewResolver(agent.client, nil)
		defer r.Close()
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			//lint:ignore SA1019 http.Client itself uses it for its Timeout
			<-req.Cancel
			return nil, errors.New("cancelled")
		})
		c := &http.Client{Transport: discovery.NewTransport(r, base), Timeout: time.Second}
		if _, err := c.Get("http://web/"); err == nil {
			t.Fatal("no error")
		}
		want(t, "instances that are picked afterwards", len(picked(t, r)), 1)
	})
}

// picked returns the instances of web that are picked.
func picked(t *testing.T, r *discovery.Resolver) map[string]bool {
	t.Helper()
	ids := make(map[string]bool)
	for range 100 {
		i, err := r.Pick(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		ids[i.ID] = true
	}
	return ids
}
