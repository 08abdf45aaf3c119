package consulmock

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
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

// anything does something at random that a client or a test may do at any time.
// Some of its clients neither read nor finish sending.
func anything(t *testing.T, s *Server, transport *http.Transport, url string) {
	c := &http.Client{Transport: transport, Timeout: 100 * time.Millisecond}
	send := func(text string) {
		conn, err := transport.DialContext(context.Background(), "tcp", strings.TrimPrefix(url, "http://"))
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			io.WriteString(conn, text)
		}
	}
	request := func(method, path, body string) { sendTo(c, method, url+path, body) }
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	switch rand.IntN(16) {
	case 0:
		s.Stop()
	case 1:
		s.Start()
	case 2:
		s.Restart(rand.IntN(2) == 0)
	case 3:
		s.AddService(probed("seeded"))
	case 4:
		s.Dump()
		s.Requests()
	case 5:
		defer s.Inject(Fault{Latency: time.Millisecond, Drop: Drop(rand.IntN(int(ResetAnswer) + 1))})()
		request("GET", "/v1/agent/self", "")
	case 6:
		s.Inject(Fault{Hang: make(chan struct{})})
	case 7:
		s.Inject(Fault{Endless: true})
		send("GET /v1/agent/self HTTP/1.1\r\nHost: a\r\n\r\n")
	case 8:
		send("PUT /v1/agent/service/register HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
	case 9:
		send("GET /v1/agent/monitor HTTP/1.1\r\nHost: a\r\n\r\n")
	case 10:
		send("GET / HTTP/1.1\r\nHost:")
	case 11:
		req, _ := http.NewRequestWithContext(ctx, "PUT", url+"/v1/agent/leave", nil)
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
	case 12:
		req, _ := http.NewRequestWithContext(ctx, "GET", url+"/v1/health/service/web?index=1000000", nil)
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
	case 13:
		request("GET", "/ui/live", "")
	default:
		request("PUT", "/v1/agent/service/register", `{"Name":"web","Checks":[{"TTL":"1m"},{"TCP":"127.0.0.1:1","Interval":"1h"}]}`)
	}
}

// Whatever happens at the same time, a server runs or does not, as a whole, and it
// comes to an end.
func TestAnythingAtOnce(t *testing.T) {
	s := NewServer(WithProbes(true))
	outer := httptest.NewServer(s.Handler())
	t.Cleanup(outer.Close) // after the connections
	for _, url := range []string{s.URL(), outer.URL, "http://agent"} {
		transport := &http.Transport{DialContext: new(net.Dialer).DialContext}
		if url == "http://agent" {
			transport = s.Transport().(*http.Transport)
		}
		defer transport.CloseIdleConnections()
		atOnce(200, func() { anything(t, s, transport, url) })
	}
	s.Restart(false)
	s.faults = faultTable{} // some hang
	s.AddService(probed("web"))
	if services, err := s.Client().Agent().Services(context.Background(), nil); err != nil || services["web"] == nil {
		t.Errorf("after all of it: %v, %v", services, err)
	}
	s.Close()
}

// atOnce calls f that often, by several goroutines.
func atOnce(times int, f func()) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range times / 8 {
				f()
			}
		}()
	}
	wg.Wait()
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
				s.Inject(Fault{Method: "PUT", Match: func(*http.Request) bool { end(s); return false }})
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
			s.Inject(Fault{Match: func(*http.Request) bool { s.Stop(); return false }})
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

// onOwnServer returns a server, one of the caller's that serves its handler, and a
// function that sends something to the latter.
func onOwnServer(t *testing.T) (s *Server, outer *httptest.Server, send func(text string) net.Conn) {
	t.Helper()
	s = New(t)
	outer = httptest.NewServer(s.Handler())
	t.Cleanup(outer.Close)
	return s, outer, func(text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", outer.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		for len(s.log.open()) == 0 {
			runtime.Gosched()
		}
		return c
	}
}

// A request counts from its first line on: Close ends one whose body never comes,
// and afterwards nothing happens any more.
func TestCloseEndsRequestsThatArrive(t *testing.T) {
	s, outer, send := onOwnServer(t)
	seen := &Observer{}
	s.Inject(Fault{Observe: seen, Match: func(*http.Request) bool { t.Error("Match is called about half a request"); return true }})
	conn := send("PUT /v1/agent/service/register HTTP/1.1\r\nHost: agent\r\nContent-Length: 100\r\n\r\n{")
	s.Close()
	if got := s.Requests(); len(got) != 1 || got[0].Path != "/v1/agent/service/register" || got[0].Status != 0 {
		t.Errorf("the requests are %+v", got)
	}
	if answer, err := io.ReadAll(conn); len(answer) > 0 {
		t.Errorf("answered %q, %v", answer, err)
	}
	outer.Close()
	if n := len(s.Requests()); n != 1 || seen.Count() != 0 {
		t.Errorf("%d requests, of which the fault has met %d", n, seen.Count())
	}
}

// Close ends an answer that nobody reads.
func TestCloseEndsAnswers(t *testing.T) {
	for name, fault := range map[string]Fault{
		"endless": {Endless: true}, "long": {Body: strings.Repeat("x", 16<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, send := onOwnServer(t)
			s.Inject(fault)
			send("GET /v1/agent/self HTTP/1.1\r\nHost: agent\r\n\r\n")
			s.Close()
		})
	}
}

// Stop cuts what is being answered, also if the connection is of a server of the
// caller's: no answer looks whole to the client.
func TestStopCutsAnswers(t *testing.T) {
	s, outer, _ := onOwnServer(t)
	resp, err := http.Get(outer.URL + "/v1/agent/monitor")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.Stop()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the log has come to a proper end")
	}
	s.Start()
	s.Inject(Fault{Match: func(*http.Request) bool { s.Stop(); return true }, Status: 503})
	if resp, _, err := sendTo(http.DefaultClient, "GET", outer.URL+"/v1/agent/self", ""); err == nil {
		t.Errorf("answered %d after the end", resp.StatusCode)
	}
}

// Close ends the requests that wait on the handler, whoever serves it.
func TestCloseEndsHandler(t *testing.T) {
	for name, fault := range map[string]Fault{
		"query": {Path: "/none"}, "hang": {Hang: make(chan struct{})}, "latency": {Latency: time.Hour}, "endless": {Endless: true, Body: "{}"},
	} {
		s := NewServer()
		outer := httptest.NewServer(s.Handler())
		s.Inject(fault)
		done := make(chan error)
		go func() {
			resp, err := http.Get(outer.URL + "/v1/catalog/services?index=1000000")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			done <- err
		}()
		for len(s.log.open()) == 0 {
			runtime.Gosched()
		}
		s.Close()
		if err := <-done; err == nil {
			t.Errorf("%s: the request was answered, want it dropped", name)
		}
		outer.Close()
	}
}
