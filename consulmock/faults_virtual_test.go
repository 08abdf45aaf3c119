//go:build go1.25

package consulmock

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
)

func TestFaultLatencyInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		transport := s.Transport().(*http.Transport)
		defer transport.CloseIdleConnections()
		client, err := consul.NewClient(consul.Config{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		s.Inject(Fault{Latency: 7 * time.Second, NoLeader: true})
		start := time.Now()
		_, _, err = client.Health().Service(t.Context(), "web", nil)
		if !errors.Is(err, consul.ErrNoLeader) || time.Since(start) != 7*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		s.Inject(Fault{Latency: time.Hour})
		start = time.Now()
		if _, _, err = client.Health().Service(t.Context(), "web", nil); err != nil || time.Since(start) != time.Hour {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}

// TestFaultsCombine lays faults that stay under others.
func TestFaultsCombine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		transport := s.Transport().(*http.Transport)
		defer transport.CloseIdleConnections()
		c := &http.Client{Transport: transport}
		ask := func(want string) {
			t.Helper()
			start := time.Now()
			resp, body, err := sendTo(c, "GET", "http://agent/v1/status/leader", "")
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprint(resp.StatusCode, " ", body, " a=", resp.Header.Get("A"), " b=", resp.Header.Get("B"), " ", time.Since(start))
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		slow, failing := &Observer{}, &Observer{}
		s.Inject(Fault{Always: true, Latency: 2 * time.Second, Header: http.Header{"a": {"1"}}, Observe: slow})
		removeFailing := s.Inject(Fault{Always: true, Status: 503, Body: "down", Header: http.Header{"A": {"2"}, "b": {"2"}}, Observe: failing})
		ask("503 down a=1 b=2 2s")
		s.Inject(Fault{Status: 418, Body: "first"})
		s.Inject(Fault{Latency: time.Hour, Header: http.Header{"B": {"3"}}})
		ask("418 first a=1 b=2 2s")
		ask("503 down a=1 b=3 1h0m0s")
		removeFailing()
		s.Inject(Fault{Drop: DropRequest, Times: 2})
		start := time.Now()
		if _, _, err := sendTo(c, "PUT", "http://agent/v1/agent/reload", ""); err == nil || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if slow.Count() != 4 || failing.Count() != 3 {
			t.Errorf("applied %d and %d times", slow.Count(), failing.Count())
		}
	})
}

// A timeout ends an endless body, also where time is virtual.
func TestFaultEndlessInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		s.Inject(Fault{Endless: true})
		c := &http.Client{Transport: s.Transport(), Timeout: time.Second}
		start := time.Now()
		_, body, err := sendTo(c, "GET", "http://agent/v1/status/leader", "")
		if took := time.Since(start); err == nil || len(body) < 1<<20 || took != time.Second {
			t.Errorf("%d bytes and %v after %s", len(body), err, took)
		}
	})
}
