package consulmock

import (
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/memnet"
)

// onEveryTransport runs f over connections in memory and over sockets.
func onEveryTransport(t *testing.T, f func(t *testing.T, s *Server, c *http.Client)) {
	t.Run("memory", func(t *testing.T) {
		s := New(t)
		transport := s.Transport().(*http.Transport)
		defer transport.CloseIdleConnections()
		f(t, s, &http.Client{Transport: transport})
	})
	t.Run("socket", func(t *testing.T) {
		s := New(t)
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		f(t, s, &http.Client{Transport: transport})
	})
}

// sendTo returns the status and body of an answer, or the error.
func sendTo(c *http.Client, method, url, body string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

const webRegistration = `{"Name":"web"}`

func TestFaultAnswers(t *testing.T) {
	tests := []struct {
		name   string
		fault  Fault
		status int
		body   string
		header http.Header
	}{
		{"status", Fault{Status: 503}, 503, "", nil},
		{"status and body", Fault{Status: 418, Body: "no"}, 418, "no", nil},
		{"body", Fault{Body: "[]"}, 200, "[]", http.Header{"Content-Type": {"application/json"}}},
		{"no leader", Fault{NoLeader: true}, 500, "No cluster leader", nil},
		{"rate limit", Fault{RateLimit: 1500 * time.Millisecond}, 429, "rate limit exceeded, try again later or against a different server", http.Header{"Retry-After": {"2"}}},
		{"rate limit for ever", Fault{RateLimit: math.MaxInt64}, 429, "", http.Header{"Retry-After": {"9223372037"}}},
		{"rate limit without hint", Fault{RateLimit: -1}, 429, "", http.Header{"Retry-After": nil}},
		{"header", Fault{Header: http.Header{"x-a": {"1", "2"}, "X-Consul-Knownleader": nil}}, 200, "[]", http.Header{"X-A": {"1", "2"}, "X-Consul-Knownleader": nil}},
		{"no header", Fault{Header: http.Header{"Content-Type": nil, "date": nil, "Content-Length": nil}}, 200, "[]", http.Header{"Content-Type": nil, "Date": nil, "Content-Length": nil}},
		{"empty header", Fault{Header: http.Header{"Content-Type": {}}}, 200, "[]", http.Header{"Content-Type": nil}},
		{"index", Fault{Index: 7}, 200, "[]", http.Header{"X-Consul-Index": {"7"}}},
		{"index zero", Fault{Index: ZeroIndex}, 200, "[]", http.Header{"X-Consul-Index": {"0"}}},
		{"status and header", Fault{Status: 500, Header: http.Header{"Retry-After": {"9"}}}, 500, "", http.Header{"Retry-After": {"9"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
				s.Inject(tt.fault)
				resp, body, err := sendTo(c, "GET", s.URL()+"/v1/health/service/web", "")
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tt.status || tt.body != "" && body != tt.body {
					t.Errorf("got %d %q", resp.StatusCode, body)
				}
				for name, want := range tt.header {
					if got := resp.Header.Values(name); strings.Join(got, ",") != strings.Join(want, ",") {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
				}
				// It was for one request.
				if resp, body, err := sendTo(c, "GET", s.URL()+"/v1/health/service/web", ""); err != nil || resp.StatusCode != 200 || body != "[]" {
					t.Errorf("afterwards: %v %q %v", resp, body, err)
				}
			})
		})
	}
}

func TestFaultDrops(t *testing.T) {
	tests := []struct {
		name  string
		drop  Drop
		done  bool // by the agent
		reset bool
	}{
		{"request", DropRequest, false, false},
		{"answer", DropAnswer, true, false},
		{"reset request", ResetRequest, false, true},
		{"reset answer", ResetAnswer, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
				s.Inject(Fault{Method: "PUT", Drop: tt.drop})
				_, _, err := sendTo(c, "PUT", s.URL()+"/v1/agent/service/register", webRegistration)
				want := io.EOF
				if tt.reset {
					want = memnet.ErrReset
				}
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				_, body, err := sendTo(c, "GET", s.URL()+"/v1/health/service/web", "")
				if got := body != "[]"; got != tt.done || err != nil {
					t.Errorf("the agent knows of the request: %t, want %t (%v)", got, tt.done, err)
				}
			})
		})
	}
}

func TestFaultTruncates(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
		s.Inject(Fault{Body: "0123456789", TruncateAt: 4})
		_, body, err := sendTo(c, "GET", s.URL()+"/v1/health/service/web", "")
		if body != "0123" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %q, %v", body, err)
		}
		s.Inject(Fault{Body: "0123456789", TruncateAt: 10})
		if _, body, err = sendTo(c, "GET", s.URL()+"/v1/health/service/web", ""); body != "0123456789" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	})
}

func TestFaultEndlessBody(t *testing.T) {
	s := New(t)
	s.Inject(Fault{Path: "/v1/health/**", Endless: true})
	cfg := consul.Config{Transport: s.Transport(), MaxResponseBytes: 1 << 20}
	client, err := consul.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Health().Service(context.Background(), "web", nil); !errors.Is(err, consul.ErrResponseTooLarge) {
		t.Errorf("got %v", err)
	}
}

// A response without a body has none to continue: the connection goes on.
func TestFaultEndlessWithoutBody(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
		remove := s.Inject(Fault{Endless: true, Always: true})
		s.Inject(Fault{Method: "GET", Status: 204})
		s.Inject(Fault{Method: "GET", Status: 304})
		for _, want := range []struct {
			method string
			status int
		}{{"HEAD", 405}, {"GET", 204}, {"GET", 304}} {
			if resp, body, err := sendTo(c, want.method, s.URL()+"/v1/status/leader", ""); err != nil || resp.StatusCode != want.status || body != "" {
				t.Errorf("%s: %v %q %v, want %d", want.method, resp, body, err, want.status)
			}
		}
		remove()
		if _, body, err := sendTo(c, "GET", s.URL()+"/v1/status/leader", ""); err != nil || body != `"127.0.0.1:8300"` {
			t.Errorf("afterwards: %q %v", body, err)
		}
	})
}

// A header may announce another length than the body has.
func TestFaultContentLength(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
		for length, want := range map[string]struct {
			body string
			err  error
		}{"2": {"01", nil}, "4": {"0123", nil}, "6": {"0123", io.ErrUnexpectedEOF}} {
			s.Inject(Fault{Body: "0123", Header: http.Header{"Content-Length": {length}}})
			_, body, err := sendTo(c, "GET", s.URL()+"/v1/health/service/web", "")
			if body != want.body || !errors.Is(err, want.err) {
				t.Errorf("length %s: got %q, %v", length, body, err)
			}
		}
	})
}

func TestFaultHangs(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
		release := make(chan struct{})
		seen := &Observer{}
		s.Inject(Fault{Hang: release, Status: 500, Observe: seen})
		answered := make(chan int)
		go func() {
			resp, _, err := sendTo(c, "GET", s.URL()+"/v1/health/service/web", "")
			if err != nil {
				t.Error(err)
				close(answered)
				return
			}
			answered <- resp.StatusCode
		}()
		seen.Wait(1, nil)
		select {
		case <-answered:
			t.Error("answered before it was released")
		default:
		}
		close(release)
		if got := <-answered; got != 500 {
			t.Errorf("got %d", got)
		}
	})
}

// A client that leaves, and the end of the server, end a wait.
func TestFaultHangEnds(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
		seen := &Observer{}
		s.Inject(Fault{Hang: make(chan struct{}), Always: true, Observe: seen})
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "GET", s.URL()+"/v1/health/service/web", nil)
		failed := make(chan error, 2)
		get := func(req *http.Request) {
			_, err := c.Do(req)
			failed <- err
		}
		go get(req)
		seen.Wait(1, nil)
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		go get(req.WithContext(context.Background()))
		seen.Wait(2, nil)
		s.Close()
		if err := <-failed; err == nil {
			t.Error("no error after the end of the server")
		}
	})
}

func TestFaultQueue(t *testing.T) {
	s := New(t)
	c := &http.Client{Transport: s.Transport()}
	status := func(method, path string) int {
		t.Helper()
		resp, _, err := sendTo(c, method, "http://agent"+path, "{}")
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	passes, others := &Observer{}, &Observer{}
	s.Inject(Fault{Path: "/v1/agent/check/pass/*", Always: true, Observe: passes})
	s.Inject(Fault{Method: "PUT", Path: "/v1/agent/check/*/web", Skip: 1, Times: 2, Status: 501})
	s.Inject(Fault{Method: "PUT", Path: "/v1/agent/check/*/web", Status: 502})
	remove := s.Inject(Fault{Path: "/v1/agent/**", Always: true, Status: 503, Observe: others})
	s.Inject(Fault{Match: func(r *http.Request) bool { return r.URL.Query().Has("x") }, Status: 504})

	for i, want := range []int{502, 501, 501, 503} {
		if got := status("PUT", "/v1/agent/check/pass/web"); got != want {
			t.Errorf("request %d: got %d, want %d", i, got, want)
		}
	}
	if got := status("GET", "/v1/health/service/web?x"); got != 504 {
		t.Errorf("got %d", got)
	}
	if got := status("GET", "/v1/agent/check/a/b"); got != 503 {
		t.Errorf("got %d", got)
	}
	remove()
	remove()
	if got := status("PUT", "/v1/agent/service/register"); got == 503 {
		t.Error("the fault was not removed")
	}
	if passes.Count() != 4 || others.Count() != 2 {
		t.Errorf("observed %d and %d", passes.Count(), others.Count())
	}
	if got, want := strings.Join(others.Requests(), ";"), "PUT /v1/agent/check/pass/web;GET /v1/agent/check/a/b"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestMatchPath(t *testing.T) {
	tests := []struct {
		pattern, path string
		want          bool
	}{
		{"", "/v1/agent/self", true},
		{"/v1/agent/self", "/v1/agent/self", true},
		{"/v1/agent/self", "/v1/agent/self/", false},
		{"/v1/agent/*", "/v1/agent/self", true},
		{"/v1/agent/*", "/v1/agent/check/pass", false},
		{"/v1/*/**", "/v1/agent/check/pass", true},
		{"/v1/**", "/v1/", true},
		{"/v1/**", "/v2/x", false},
		{"/**", "/", true},
		{"/**", "/v1/a/b", true},
	}
	for _, tt := range tests {
		if got := matchPath(tt.pattern, tt.path); got != tt.want {
			t.Errorf("%q, %q: %t", tt.pattern, tt.path, got)
		}
	}
}

func TestInjectRefuses(t *testing.T) {
	s := New(t)
	for _, tt := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Path: "["}, `Path "["`},
		{Fault{Path: "v1/agent/self"}, `consulmock: Fault: Path "v1/agent/self": want a slash at the beginning`},
		{Fault{Path: "**"}, `Path "**": want a slash`},
		{Fault{Status: 500, NoLeader: true}, "more than one response"},
		{Fault{Status: 99}, "Status 99"},
		{Fault{Status: 1000}, "Status 1000: want 200 to 999"},
		{Fault{Status: 204, Body: "x"}, "Status 204 has no Body"},
		{Fault{Status: 304, Endless: true}, "Status 304 has no Body"},
		{Fault{Drop: 99}, "Drop 99: want NoDrop to ResetAnswer"},
		{Fault{Drop: -1}, "Drop -1"},
		{Fault{Header: http.Header{"x-a": {"1"}, "X-A": {"2"}}}, "Header: X-A twice, in two spellings"},
		{Fault{Header: http.Header{"X A": {"1"}}}, `Header "X A"`},
		{Fault{Header: http.Header{"content-length": {"x"}}}, `Header Content-Length: value "x": want one number`},
		{Fault{Header: http.Header{"Content-Length": {"-1"}}}, `Header Content-Length: value "-1": want one number`},
		{Fault{Header: http.Header{"Content-Length": {"1", "2"}}}, `Header Content-Length: value "1, 2": want one number`},
		{Fault{Header: http.Header{"Transfer-Encoding": {"gzip"}}}, `Header Transfer-Encoding: value "gzip": want none or chunked`},
		{Fault{Header: http.Header{"X-A": {"1\r\nX-B: 2"}}}, `Header X-A: value "1\r\nX-B: 2"`},
		{Fault{Skip: -1}, "cannot be negative"},
		{Fault{Times: 2, Always: true}, "both Times and Always"},
	} {
		func() {
			defer func() {
				got, _ := recover().(string)
				if !strings.Contains(got, tt.want) {
					t.Errorf("%+v: got %q", tt.fault, got)
				}
				if err := tt.fault.Check(); err == nil || err.Error() != got {
					t.Errorf("%+v: Check returns %v, Inject panics with %q", tt.fault, err, got)
				}
			}()
			s.Inject(tt.fault)
		}()
	}
}

// Match may use the server, also what changes the faults. What it injects is for
// later requests.
func TestFaultMatchUsesServer(t *testing.T) {
	s := New(t)
	c := &http.Client{Transport: s.Transport()}
	var remove func()
	remove = s.Inject(Fault{Path: "/v1/agent/**", Always: true, Match: func(*http.Request) bool {
		remove()
		s.Inject(Fault{Status: 503})
		s.Inject(Fault{Path: "/v1/status/peers", Status: 504})()
		if resp, _, err := sendTo(c, "GET", "http://agent/v1/status/leader", ""); err != nil || resp.StatusCode != 503 {
			t.Errorf("a request within Match: %v, %v; want 503", resp, err)
		}
		s.Inject(Fault{Path: "/v1/agent/**", Status: 505})
		s.AddService(registration("web"))
		if len(s.Requests()) != 2 || s.Dump() == "" {
			t.Errorf("the requests are %v", s.Requests())
		}
		return true
	}, Status: 500})
	for i, want := range []int{200, 505, 200} {
		if resp, _, err := sendTo(c, "GET", "http://agent/v1/agent/self", ""); err != nil || resp.StatusCode != want {
			t.Errorf("request %d: %v, %v; want %d", i, resp, err, want)
		}
	}
}

// However many requests come at once, a fault applies as often as it says.
func TestFaultAppliesOnce(t *testing.T) {
	s := New(t)
	c := &http.Client{Transport: s.Transport()}
	seen := &Observer{}
	s.Inject(Fault{Match: func(*http.Request) bool { return true }, Skip: 5, Times: 10, Status: 503, Observe: seen})
	statuses := make(chan int)
	const all = 50
	for range all {
		go func() {
			resp, _, err := sendTo(c, "GET", "http://agent/v1/status/leader", "")
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			statuses <- resp.StatusCode
		}()
	}
	count := map[int]int{}
	for range all {
		count[<-statuses]++
	}
	if count[503] != 10 || count[200] != 40 || seen.Count() != 10 {
		t.Errorf("got %v, and %d observed", count, seen.Count())
	}
}

// A panic in what the test provides is logged, as any server does.
func TestPanicsAreLogged(t *testing.T) {
	var logged strings.Builder
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	s := NewServer()
	s.Inject(Fault{Match: func(*http.Request) bool { panic("no such key") }})
	if _, _, err := sendTo(&http.Client{Transport: s.Transport()}, "PUT", "http://agent/v1/agent/reload", ""); err == nil {
		t.Error("the request was answered")
	}
	s.Close()
	if got := logged.String(); !strings.Contains(got, "no such key") || !strings.Contains(got, "faults_test.go") {
		t.Errorf("logged %q", got)
	}
}

// A value that is sent on Hang releases one request, and the end of the channel
// all others.
func TestFaultHangIsReleased(t *testing.T) {
	s := New(t)
	c := &http.Client{Transport: s.Transport()}
	release, answered := make(chan struct{}), make(chan int)
	s.Inject(Fault{Hang: release, Always: true})
	for range 3 {
		go func() {
			resp, _, err := sendTo(c, "GET", "http://agent/v1/status/leader", "")
			if err != nil {
				t.Error(err)
				answered <- 0
				return
			}
			answered <- resp.StatusCode
		}()
	}
	release <- struct{}{}
	if got := <-answered; got != 200 {
		t.Errorf("got %d", got)
	}
	close(release)
	for range 2 {
		if got := <-answered; got != 200 {
			t.Errorf("got %d", got)
		}
	}
}

// The path of a fault is the unescaped one, without parameters.
func TestFaultPathIsUnescaped(t *testing.T) {
	s := New(t)
	c := &http.Client{Transport: s.Transport()}
	s.Inject(Fault{Path: "/v1/agent/service/a b?", Always: true, Status: 503}) // ? is any letter
	for path, want := range map[string]int{"/v1/agent/service/a%20bc?x=/": 503, "/v1/agent/service/a%20b?c": 404} {
		if resp, _, err := sendTo(c, "GET", "http://agent"+path, ""); err != nil || resp.StatusCode != want {
			t.Errorf("%s: %v, %v; want %d", path, resp, err, want)
		}
	}
}

// Go repeats a GET on a connection that it has used before, and the client does not
// notice a drop that applies once.
func TestFaultDropIsRepeated(t *testing.T) {
	onEveryTransport(t, func(t *testing.T, s *Server, c *http.Client) {
		seen := &Observer{}
		for i, drop := range []Drop{NoDrop, DropRequest, DropAnswer} {
			s.Inject(Fault{Path: "/v1/status/leader", Drop: drop, Observe: seen})
			if resp, _, err := sendTo(c, "GET", s.URL()+"/v1/status/leader", ""); err != nil || resp.StatusCode != 200 {
				t.Errorf("%v: %v, %v", drop, resp, err)
			}
			if got := seen.Count(); got != i+1 {
				t.Errorf("%v: the fault has applied %d times", drop, got)
			}
		}
		if n := len(s.Requests()); n != 5 {
			t.Errorf("%d requests, want 3 and 2 that were repeated", n)
		}
	})
}
