//go:build go1.25

package consulmock

import (
	"context"
	"log"
	"net/http"
	"os"
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

// A start does not disturb a server that runs. After a stop, checks that nobody
// updates are critical, and maintenance goes on.
func TestStartOfWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		c := s.Client()
		ended := make(chan error)
		go func() {
			_, _, err := c.Health().Service(t.Context(), "web", &consul.QueryOptions{WaitIndex: 1 << 40, WaitTime: time.Minute})
			ended <- err
		}()
		synctest.Wait()
		s.Start()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.AddService(&consul.AgentServiceRegistration{
			Name: "web", Check: &consul.AgentServiceCheck{HTTP: "http://127.0.0.1:1", Interval: time.Second, Status: consul.HealthPassing},
		})
		if err := c.Agent().EnableServiceMaintenance(t.Context(), "web", "why"); err != nil {
			t.Error(err)
		}
		s.Restart(true)
		checks, err := c.Agent().Checks(t.Context(), nil)
		if err != nil || checks["service:web"].Status != consul.HealthCritical || checks["_service_maintenance:web"].Notes != "why" {
			t.Errorf("the checks are %v, %v", checks, err)
		}
	})
}

// A Close that takes five seconds tells what it waits for.
func TestCloseTellsWhatItWaitsFor(t *testing.T) {
	var logged strings.Builder
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	synctest.Test(t, func(t *testing.T) {
		s := NewServer()
		release := make(chan struct{})
		s.Inject(Fault{Match: func(*http.Request) bool { <-release; return true }, Times: 2})
		transport := s.Transport().(*http.Transport)
		defer transport.CloseIdleConnections()
		for range 2 {
			go sendTo(&http.Client{Transport: transport}, "PUT", "http://agent/v1/agent/reload?token=secret", "")
		}
		synctest.Wait()
		go s.Close()
		time.Sleep(6 * time.Second)
		close(release)
	})
	if got := logged.String(); !strings.HasSuffix(got, ":05 consulmock: Close waits for PUT /v1/agent/reload, PUT /v1/agent/reload\n") {
		t.Errorf("logged %q", got)
	}
}
