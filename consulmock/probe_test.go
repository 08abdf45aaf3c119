package consulmock

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// Checks are run where that is asked for.
func TestProbes(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/warn" {
			w.WriteHeader(http.StatusTooManyRequests)
		}
		fmt.Fprintf(w, "%s %s", r.Method, r.Header.Get("X-Test"))
	}))
	defer target.Close()
	s := New(t, WithProbes(true))
	const interval = 5 * time.Millisecond
	for id, check := range map[string]*consul.AgentServiceCheck{
		"http": {HTTP: target.URL, Method: "POST", Header: map[string][]string{"X-Test": {"here"}}},
		"warn": {HTTP: target.URL + "/warn"},
		"tcp":  {TCP: strings.TrimPrefix(target.URL, "http://")},
	} {
		check.CheckID, check.Interval = id, interval
		s.AddService(&consul.AgentServiceRegistration{Name: id, Check: check})
	}
	want := map[string]string{
		"http": "passing HTTP POST " + target.URL + ": 200 OK Output: POST here",
		"warn": "warning HTTP GET " + target.URL + "/warn: 429 Too Many Requests Output: GET ",
		"tcp":  "passing TCP connect " + strings.TrimPrefix(target.URL, "http://") + ": Success",
	}
	// The checks are critical until they have run.
	q := &consul.QueryOptions{WaitTime: 10 * time.Second}
	for {
		checks, meta, err := s.Client().Health().State(context.Background(), consul.HealthAny, q)
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for _, c := range checks {
			if c.CheckID == "serfHealth" || c.Status == consul.HealthCritical {
				continue
			}
			ran++
			if got := string(c.Status) + " " + c.Output; got != want[c.CheckID] {
				t.Errorf("%s: got %q, want %q", c.CheckID, got, want[c.CheckID])
			}
		}
		if ran == len(want) {
			return
		}
		q.WaitIndex = meta.LastIndex
	}
}

// A UDP check passes unless it is refused: silence is as good as a response.
func TestUDPProbe(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := New(t, WithProbes(true))
	s.AddService(&consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{
		UDP: silent.LocalAddr().String(), Interval: time.Millisecond, Timeout: time.Millisecond,
	}})
	q := &consul.QueryOptions{PassingOnly: true}
	for {
		entries, meta, err := s.Client().Health().Service(context.Background(), "web", q)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 1 {
			break
		}
		q.WaitIndex = meta.LastIndex
	}
}
