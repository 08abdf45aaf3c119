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

// The examples in the comment of Fault do what it says.
func TestFaultExamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := New(t)
		c, ctx := agent.Client(), t.Context()
		register := func() (time.Duration, error) {
			start := time.Now()
			err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Hour}})
			return time.Since(start), err
		}
		agent.Inject(Fault{
			Method: "PUT", Path: "/v1/agent/service/register",
			Latency: 2 * time.Second, Status: 500,
		})
		var status *consul.StatusError
		if took, err := register(); took != 2*time.Second || !errors.As(err, &status) || status.Code != 500 {
			t.Errorf("the registration took %s: %v", took, err)
		}
		if took, err := register(); took != 0 || err != nil {
			t.Errorf("the second registration took %s: %v", took, err)
		}

		agent.Inject(Fault{Path: "/v1/agent/check/update/*", Times: 2, Drop: DropAnswer})
		for i := range 3 {
			err := c.Agent().UpdateTTL(ctx, "service:web", consul.HealthPassing, fmt.Sprint(i))
			if (err == nil) != (i == 2) {
				t.Errorf("heartbeat %d: %v", i, err)
			}
			checks, err := c.Agent().Checks(ctx, nil)
			if err != nil || checks["service:web"].Output != fmt.Sprint(i) {
				t.Errorf("the agent has not seen heartbeat %d: %v, %v", i, checks, err)
			}
		}

		seen := &Observer{}
		agent.Inject(Fault{Path: "/v1/health/service/web", Always: true, Observe: seen})
		agent.Inject(Fault{Path: "/v1/health/service/web", Skip: 2, Index: 1})
		for i := range 4 {
			_, meta, err := c.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
			if err != nil || (meta.LastIndex == 1) != (i == 2) {
				t.Errorf("query %d: index %d, %v", i, meta.LastIndex, err)
			}
		}
		if got := seen.Requests(); len(got) != 4 || got[3] != "GET /v1/health/service/web?passing=1" || seen.Count() != 4 {
			t.Errorf("seen %q", got)
		}
	})
}
