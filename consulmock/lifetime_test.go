package consulmock

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// probed is a service with a check that the server runs itself, for the first
// time within an hour.
func probed(name string) *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{Name: name, Check: &consul.AgentServiceCheck{HTTP: "http://127.0.0.1:1", Interval: time.Hour}}
}

// The address stays the same over restarts, also if the port was opened a moment
// ago.
func TestRestartKeepsAddress(t *testing.T) {
	s := New(t)
	url := s.URL()
	for range 50 {
		s.Restart(true)
		s.Stop()
		s.Restart(false)
	}
	if got := s.URL(); got != url {
		t.Errorf("the address has changed from %s to %s", url, got)
	}
	if _, err := clientOf(t, url).Status().Leader(context.Background()); err != nil {
		t.Error(err)
	}
}

// A closed server cannot be started again.
func TestStartAfterClose(t *testing.T) {
	s := NewServer()
	url := s.URL()
	s.Close()
	s.Start()
	s.Restart(true)
	s.Restart(false)
	s.Close()
	if _, err := s.Client().Status().Leader(context.Background()); err == nil {
		t.Error("a closed server answers in memory")
	}
	if c, err := net.Dial("tcp", url[len("http://"):]); err == nil {
		c.Close()
		t.Error("a closed server listens")
	}
}

// Whatever is called at the same time, a server runs or does not, as a whole.
func TestConcurrentStartsAndStops(t *testing.T) {
	s := NewServer(WithProbes(true))
	s.URL()
	s.AddService(probed("web"))
	client := s.Client()
	var wg sync.WaitGroup
	for _, f := range []func(){
		s.Stop, s.Start, func() { s.Restart(true) }, func() { s.Restart(false) },
		func() { client.Agent().ServiceRegister(context.Background(), probed("web")) },
		func() { s.URL(); s.Dump(); s.Requests() },
	} {
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 50 {
					f()
				}
			}()
		}
	}
	wg.Wait()
	s.Start()
	s.AddService(probed("web"))
	if services, err := client.Agent().Services(context.Background(), nil); err != nil || services["web"] == nil {
		t.Errorf("after all of it: %v, %v", services, err)
	}
	s.Close()
}

// What a request asked for is not done once the agent that it was sent to has
// ended, neither by the agent that was started with its data, nor by a new one.
func TestStoppedAgentWritesNothing(t *testing.T) {
	for name, end := range map[string]func(*Server){
		"stop":             (*Server).Stop,
		"restart":          func(s *Server) { s.Restart(true) },
		"restart, no data": func(s *Server) { s.Restart(false) },
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t)
			outer := httptest.NewServer(s.Handler())
			defer outer.Close()
			for _, client := range []*consul.Client{s.Client(), clientOf(t, outer.URL)} {
				s.Inject(Fault{Method: "PUT", If: func(*http.Request) bool { end(s); return false }})
				if err := client.Agent().ServiceRegister(context.Background(), registration("web")); err == nil {
					t.Error("the registration has succeeded")
				}
				s.Start()
				services, err := s.Client().Agent().Services(context.Background(), nil)
				if err != nil || len(services) != 0 {
					t.Errorf("the agent has %v, %v; want nothing", services, err)
				}
				s.Restart(false)
			}
		})
	}
}

// Close ends the checks that the server runs, whenever they were added.
func TestCloseEndsProbes(t *testing.T) {
	for name, end := range map[string]func(*Server){
		"added while stopped": func(s *Server) {
			s.Stop()
			s.AddService(probed("web"))
		},
		"added while stopped, and started": func(s *Server) {
			s.Stop()
			s.AddService(probed("web"))
			s.Start()
		},
		"under way": func(s *Server) {
			s.Inject(Fault{If: func(*http.Request) bool { s.Stop(); return false }})
			s.Client().Agent().ServiceRegister(context.Background(), probed("web"))
		},
		"replaced": func(s *Server) {
			s.AddService(probed("web"))
			s.AddService(probed("web"))
			s.Restart(true)
			s.RemoveService("web")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewServer(WithProbes(true))
			end(s)
			s.Close()
		})
	}
}
