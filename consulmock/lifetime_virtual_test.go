//go:build go1.25

package consulmock

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
)

// An agent that was told to leave and is killed meanwhile is not stopped once
// more when it has been started again.
func TestLeaveEndsOneLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		c := s.Client()
		left := make(chan error)
		go func() { left <- c.Agent().Leave(context.Background()) }()
		synctest.Wait()
		s.Restart(true)
		if err := <-left; err == nil {
			t.Error("the leave was answered")
		}
		time.Sleep(time.Minute)
		if _, err := c.Status().Leader(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What is set on a stopped server counts from its start on: a check that was set
// to critical takes its service with it.
func TestStatusSetWhileStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		r := registration("web")
		r.Check.DeregisterCriticalServiceAfter = time.Minute
		s.AddService(r)
		s.Stop()
		s.SetCheckStatus("service:web", consul.HealthCritical, "")
		time.Sleep(time.Hour)
		s.Start()
		for _, want := range []int{1, 0} {
			services, err := s.Client().Agent().Services(context.Background(), nil)
			if err != nil || len(services) != want {
				t.Errorf("got %d services, %v; want %d", len(services), err, want)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

// Done tells the end of each life, whatever ended it.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		ended := func(done <-chan struct{}) bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		}
		for name, end := range map[string]func(){
			"stop":    s.Stop,
			"restart": func() { s.Restart(true) },
			"leave": func() {
				if err := s.Client().Agent().Leave(context.Background()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // the response comes first
			},
		} {
			done := s.Done()
			if ended(done) {
				t.Errorf("%s: done before", name)
			}
			end()
			if !ended(done) {
				t.Errorf("%s: not done", name)
			}
			s.Start()
			if ended(s.Done()) {
				t.Errorf("%s: done after a start", name)
			}
		}
		s.Close()
		if !ended(s.Done()) {
			t.Error("not done after Close")
		}
	})
}

// In a bubble, too, no goroutine is left of anything that clients do, and nothing
// changes while the server is stopped.
func TestAnythingAtOnceInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(WithProbes(true))
		transport := s.Transport().(*http.Transport)
		defer transport.CloseIdleConnections()
		for range 10 {
			atOnce(80, func() { anything(t, s, transport, "http://agent") })
			s.Stop()
			stopped, _, _ := strings.Cut(s.Dump(), "requests\n")
			synctest.Wait()
			if later, _, _ := strings.Cut(s.Dump(), "requests\n"); later != stopped {
				t.Errorf("a stopped server has changed from\n%s\nto\n%s", stopped, later)
			}
			s.Start()
		}
		s.Close()
	})
}
