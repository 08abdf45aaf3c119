package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// backend is a server that is an instance of a service, with the ID as its
// answer.
func backend(t *testing.T, agent *consulmock.Server, service, id string, handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Instance", id)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	addInstance(agent, service, id, s.Listener.Addr().String())
	return s
}

// echo answers with the request's body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Write(body)
}

func addInstance(agent *consulmock.Server, service, id, hostport string) {
	host, port, _ := net.SplitHostPort(hostport)
	n, _ := strconv.Atoi(port)
	agent.AddService(&consul.AgentServiceRegistration{Name: service, ID: id, Address: host, Port: n})
}

// deadAddress returns an address at which nobody listens during the test: a
// connection has it, so that no other server of this machine gets it.
func deadAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	other, err := l.Accept() // else c would end with l
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return c.LocalAddr().String()
}

// web returns a client whose hosts are the services of a fake agent.
func webClient(t *testing.T, opts *discovery.ResolverOptions) (*consulmock.Server, *discovery.Resolver, *http.Client) {
	agent := consulmock.New(t)
	r := discovery.NewResolver(agent.Client(), opts)
	base := &http.Transport{}
	c := &http.Client{Transport: discovery.NewTransport(r, base)}
	t.Cleanup(func() {
		r.Close()
		c.CloseIdleConnections()
	})
	return agent, r, c
}

func roundRobin() *discovery.ResolverOptions {
	return &discovery.ResolverOptions{Balancer: discovery.RoundRobin}
}

func get(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}

func TestTransport(t *testing.T) {
	agent, _, c := webClient(t, roundRobin())
	var hosts sync.Map
	for _, id := range []string{"a", "b"} {
		backend(t, agent, "web", id, func(w http.ResponseWriter, r *http.Request) {
			hosts.Store(r.Host+r.URL.String(), true)
		})
	}
	for _, u := range []string{"http://web/x?y=1", "http://web.service.consul/x", "http://WEB.Service.Consul./x", "http://web:1234/x"} {
		seen := map[string]int{}
		for range 10 {
			seen[get(t, c, u).Header.Get("Instance")]++
		}
		if seen["a"] != 5 || seen["b"] != 5 {
			t.Errorf("%s: %v", u, seen)
		}
	}
	for _, want := range []string{"web/x?y=1", "web.service.consul/x", "web:1234/x"} {
		if _, ok := hosts.Load(want); !ok {
			t.Errorf("no request for %s arrived", want)
		}
	}
	req, _ := http.NewRequest("GET", "http://web/x", nil)
	req.Host = "example.com"
	before := fmt.Sprintf("%v %v %p", *req, *req.URL, req.Body)
	resp, err := c.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if after := fmt.Sprintf("%v %v %p", *req, *req.URL, req.Body); after != before {
		t.Errorf("the request was changed from %s to %s", before, after)
	}
	if resp.Request != req {
		t.Error("the response is not about the request")
	}
	if _, ok := hosts.Load("example.com/x"); !ok {
		t.Error("the request's own host was not sent")
	}

	// A request made by hand has no host of its own.
	resp, err = c.Transport.RoundTrip(&http.Request{Method: "GET", Header: http.Header{}, URL: &url.URL{Scheme: "http", Host: "web", Path: "/by-hand"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, ok := hosts.Load("web/by-hand"); !ok {
		t.Error("the service's name was not sent as the host")
	}

	// An address is no service.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Instance", "direct") }))
	defer s.Close()
	if got := get(t, c, s.URL).Header.Get("Instance"); got != "direct" {
		t.Errorf("an address went to %q", got)
	}
	_, err = c.Get("http://nothing/")
	if !errors.Is(err, discovery.ErrNoInstances) {
		t.Errorf("a service without instances: %v", err)
	}
}

// TestTransportTriesOtherInstances sends requests of all kinds to a service of
// which all but one instance are dead.
func TestTransportTriesOtherInstances(t *testing.T) {
	for _, test := range []struct {
		name string
		body func() io.Reader
		want string
	}{
		{"no body", func() io.Reader { return nil }, ""},
		{"a body that can be had again", func() io.Reader { return strings.NewReader("hello") }, "hello"},
		{"a body that cannot", func() io.Reader { return io.MultiReader(strings.NewReader("hel"), strings.NewReader("lo")) }, "hello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			agent, _, c := webClient(t, &discovery.ResolverOptions{Balancer: discovery.RoundRobin, ExcludeFor: -1})
			addInstance(agent, "web", "dead1", deadAddress(t))
			addInstance(agent, "web", "dead2", deadAddress(t))
			backend(t, agent, "web", "a", echo)
			for range 6 {
				closed := new(closeCounter)
				req, _ := http.NewRequest("POST", "http://web/", test.body())
				if req.Body != nil {
					closed.ReadCloser, req.Body = req.Body, closed
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if string(got) != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if req.Body != nil && closed.n.Load() != 1 {
					t.Errorf("the body was closed %d times", closed.n.Load())
				}
			}
		})
	}
}

type closeCounter struct {
	io.ReadCloser
	n atomic.Int32
}

func (c *closeCounter) Close() error { c.n.Add(1); return c.ReadCloser.Close() }

// TestTransportTriesOnce checks that nothing is sent twice, whatever the method.
func TestTransportTriesOnce(t *testing.T) {
	agent, _, c := webClient(t, nil)
	var requests atomic.Int32
	hijack := func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	}
	for _, id := range []string{"a", "b", "c"} {
		backend(t, agent, "web", id, hijack)
	}
	for _, method := range []string{"GET", "PUT", "POST"} {
		requests.Store(0)
		req, _ := http.NewRequest(method, "http://web/", nil)
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("%s: no error", method)
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%s arrived %d times", method, n)
		}
	}
}

// TestTransportLosesKeptConnection has an instance stop when it gets its second
// request on a connection. The transport sends what may be sent twice again by itself,
// and finds that nobody listens; another instance has to be tried.
func TestTransportLosesKeptConnection(t *testing.T) {
	for _, test := range []struct {
		method, key, body string
		failed            int
	}{
		{"GET", "", "", 0},
		{"POST", "", "hello", 1}, // what is not to be sent twice fails once
		{"POST", "7", "hello", 0},
	} {
		agent, _, c := webClient(t, roundRobin())
		var connections sync.Map // a loaded machine may make a transport open another one
		var stopped atomic.Int32
		var stops *httptest.Server
		stops = backend(t, agent, "web", "stops", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if _, kept := connections.LoadOrStore(r.RemoteAddr, true); kept {
				stopped.Add(1)
				stops.Listener.Close()
				conn, _, _ := w.(http.Hijacker).Hijack()
				conn.Close()
			}
		})
		backend(t, agent, "web", "stays", echo)
		failed := 0
		for range 6 {
			req, _ := http.NewRequest(test.method, "http://web/", strings.NewReader(test.body))
			if test.key != "" {
				req.Header.Set("Idempotency-Key", test.key)
			}
			resp, err := c.Do(req)
			if err != nil {
				failed++
				continue
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.Header.Get("Instance") == "stays" && string(got) != test.body {
				t.Errorf("%+v: the other instance got %q", test, got)
			}
		}
		if failed != test.failed || stopped.Load() != 1 {
			t.Errorf("%+v: %d failed, and the instance stopped %d times", test, failed, stopped.Load())
		}
	}
}

func TestTransportGivesUp(t *testing.T) {
	agent, r, c := webClient(t, &discovery.ResolverOptions{ExcludeFor: time.Hour})
	for n := range 5 {
		addInstance(agent, "web", fmt.Sprint("dead", n), deadAddress(t))
	}
	closed := &closeCounter{ReadCloser: io.NopCloser(strings.NewReader("x"))}
	req, _ := http.NewRequest("POST", "http://web/", closed)
	_, err := c.Do(req)
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("error %v, want that of the connection", err)
	}
	if n := closed.n.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
	// Three of the five were seen failing, and the other two are picked.
	picked := map[string]bool{}
	for range 200 {
		i, err := r.Pick(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		picked[i.ID] = true
	}
	if len(picked) != 2 {
		t.Errorf("picked %v, want the two that were not tried", picked)
	}

	// A request whose context has ended is nobody's fault and not tried again.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req, _ = http.NewRequestWithContext(ctx, "POST", "http://web/", &closeCounter{ReadCloser: io.NopCloser(strings.NewReader("x"))})
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	// One that ended while connecting is not, either; but one that ran out of time
	// then is: an instance that does not answer would be picked again and again.
	dialing := make(chan struct{})
	hangs := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialing <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	addInstance(agent, "hangs", "h", deadAddress(t))
	addInstance(agent, "hangs", "i", deadAddress(t))
	for _, timeout := range []bool{false, true} {
		ctx := &endingContext{Context: context.Background(), done: make(chan struct{}), err: context.Canceled}
		if timeout {
			ctx.err = context.DeadlineExceeded
		}
		go func() {
			<-dialing
			close(ctx.done)
		}()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://hangs/", nil)
		if _, err := discovery.NewTransport(r, hangs).RoundTrip(req); err == nil {
			t.Error("no error")
		}
		picked := map[string]bool{}
		for range 100 {
			i, err := r.Pick(context.Background(), "hangs")
			if err != nil {
				t.Fatal(err)
			}
			picked[i.ID] = true
		}
		if failed := len(picked) == 1; failed != timeout {
			t.Errorf("out of time (%t): left out %t", timeout, failed)
		}
	}
	req, _ = http.NewRequest("POST", "http://nothing/", closed)
	closed.n.Store(0)
	if _, err := c.Do(req); !errors.Is(err, discovery.ErrNoInstances) || closed.n.Load() != 1 {
		t.Errorf("no instances: %v, body closed %d times", err, closed.n.Load())
	}
	if _, err := c.Transport.RoundTrip(&http.Request{Body: closed}); err == nil {
		t.Error("a request without a URL is no error")
	}
}

// endingContext is a context that ends with err when done is closed.
type endingContext struct {
	context.Context
	done chan struct{}
	err  error
}

func (c *endingContext) Done() <-chan struct{} { return c.done }

func (c *endingContext) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// TestTransportBodyOfEarlyAnswer answers before the body is read, and checks
// that the body is closed all the same.
func TestTransportBodyOfEarlyAnswer(t *testing.T) {
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		go func() {
			time.Sleep(time.Millisecond)
			req.Body.Close()
		}()
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	})
	agent := consulmock.New(t)
	addInstance(agent, "web", "a", "127.0.0.1:1")
	r := discovery.NewResolver(agent.Client(), nil)
	defer r.Close()
	closed := make(chan struct{})
	req, _ := http.NewRequest("POST", "http://web/", closeFunc{strings.NewReader("x"), func() { close(closed) }})
	resp, err := discovery.NewTransport(r, base).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-closed
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type closeFunc struct {
	io.Reader
	close func()
}

func (c closeFunc) Close() error { c.close(); return nil }

// TestTransportLoad checks that a request counts as load until its response is
// closed, and that the least loaded instance is picked.
func TestTransportLoad(t *testing.T) {
	agent, r, c := webClient(t, &discovery.ResolverOptions{Balancer: discovery.LeastLoaded})
	for _, id := range []string{"a", "b"} {
		backend(t, agent, "web", id, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") })
	}
	var open []*http.Response
	loads := func() (sum int) {
		list, err := r.Instances(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		if a, b := list[0].Load(), list[1].Load(); a-b > 1 || b-a > 1 {
			t.Errorf("loads %d and %d", a, b)
		}
		return list[0].Load() + list[1].Load()
	}
	for n := range 10 {
		resp, err := c.Get("http://web/")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
		if got := loads(); got != n+1 {
			t.Errorf("load %d with %d responses open", got, n+1)
		}
	}
	for _, resp := range open {
		resp.Body.Close()
		resp.Body.Close()
	}
	if got := loads(); got != 0 {
		t.Errorf("load %d with none open", got)
	}
}

// TestTransportLoadEnds checks that the load of a request ends when the answer has
// been read, even if nobody closes it.
func TestTransportLoadEnds(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		name   string
		body   io.ReadCloser
		after  string // what the caller does
		loaded bool
	}{
		{"untouched", io.NopCloser(strings.NewReader("hello")), "", true},
		{"read in part", io.NopCloser(strings.NewReader("hello")), "3", true},
		{"read", io.NopCloser(strings.NewReader("hello")), "read", false},
		{"read and closed", io.NopCloser(strings.NewReader("hello")), "read close", false},
		{"closed", io.NopCloser(strings.NewReader("hello")), "close", false},
		{"failed", io.NopCloser(io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(boom))), "read", false},
		{"empty", http.NoBody, "", false},
		{"none", nil, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			agent := consulmock.New(t)
			addInstance(agent, "web", "a", "127.0.0.1:1")
			r := discovery.NewResolver(agent.Client(), nil)
			defer r.Close()
			base := roundTripFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: test.body}, nil
			})
			req, _ := http.NewRequest("GET", "http://web/", nil)
			resp, err := discovery.NewTransport(r, base).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			for _, act := range strings.Fields(test.after) {
				switch act {
				case "read":
					io.ReadAll(resp.Body)
				case "3":
					resp.Body.Read(make([]byte, 3))
				case "close":
					resp.Body.Close()
				}
			}
			i, err := r.Pick(context.Background(), "web")
			if err != nil {
				t.Fatal(err)
			}
			if loaded := i.Load() != 0; loaded != test.loaded {
				t.Errorf("load %d", i.Load())
			}
		})
	}
}

func TestTransportUpgrade(t *testing.T) {
	agent, _, c := webClient(t, nil)
	backend(t, agent, "web", "a", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, _ := w.(http.Hijacker).Hijack()
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, line)
	})
	req, _ := http.NewRequest("GET", "http://web/", nil)
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := resp.Body.(io.Writer).Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	io.Copy(&buf, resp.Body)
	if buf.String() != "hello\n" {
		t.Errorf("echo %q", buf.String())
	}
}

func TestDialContext(t *testing.T) {
	agent, r, _ := webClient(t, &discovery.ResolverOptions{ExcludeFor: -1})
	addInstance(agent, "web", "dead1", deadAddress(t))
	addInstance(agent, "web", "dead2", deadAddress(t))
	s := backend(t, agent, "web", "a", func(http.ResponseWriter, *http.Request) {})
	for _, address := range []string{"web:80", "web.service.consul:80", "web", s.Listener.Addr().String()} {
		for range 5 {
			conn, err := r.DialContext(context.Background(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := conn.RemoteAddr().String(), s.Listener.Addr().String(); got != want {
				t.Errorf("%s: connected to %s, want %s", address, got, want)
			}
			list, err := r.Instances(context.Background(), "web")
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range list {
				if i.Load() != 0 {
					t.Errorf("%s: a connection counts as load", i.ID)
				}
			}
			conn.Close()
		}
	}
	if _, err := r.DialContext(context.Background(), "tcp", "nothing:80"); !errors.Is(err, discovery.ErrNoInstances) {
		t.Errorf("no instances: %v", err)
	}
	c := &http.Client{Transport: &http.Transport{DialContext: r.DialContext}}
	defer c.CloseIdleConnections()
	if got := get(t, c, "http://web.service.consul/").Header.Get("Instance"); got != "a" {
		t.Errorf("through an http.Transport: %q", got)
	}
	addInstance(agent, "all-dead", "dead3", deadAddress(t))
	var op *net.OpError
	if _, err := r.DialContext(context.Background(), "tcp", "all-dead:80"); !errors.As(err, &op) || !strings.Contains(err.Error(), "all-dead") {
		t.Errorf("all dead: %v", err)
	}
}

// TestHostForms gives hosts of all forms to a transport and to a dialler.
func TestHostForms(t *testing.T) {
	agent := consulmock.New(t)
	for _, service := range []string{"web", "a.b", "consul-web", "consul"} {
		addInstance(agent, service, service+"-1", "127.0.0.1:1")
	}
	connected := errors.New("connected")
	r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, connected },
	})
	defer r.Close()
	transport := discovery.NewTransport(r, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Body.Close()
		return nil, connected
	}))
	for _, test := range []struct {
		host string
		ok   bool
	}{
		{"web", true},
		{"WEB.", true},
		{"web.service.consul", true},
		{"Web.Service.Consul.", true},
		{"a.b", true},
		{"consul-web", true},
		{"consul", true},
		{"consul.service.consul", true},
		{"web.service.dc9.consul", false},
		{"tag.web.service.consul", false},
		{"_web._tcp.service.consul", false},
		{"web.connect.consul", false},
		{"node1.node.consul", false},
		{"web.consul", false},
		{"service.consul", false},
		{".service.consul", false},
	} {
		closed := &closeCounter{ReadCloser: io.NopCloser(strings.NewReader("x"))}
		req, _ := http.NewRequest("POST", "http://"+test.host+"/", closed)
		_, err := transport.RoundTrip(req)
		_, dialErr := r.DialContext(context.Background(), "tcp", test.host+":80")
		for _, err := range []error{err, dialErr} {
			if ok := errors.Is(err, connected); ok != test.ok || !ok && !strings.Contains(err.Error(), "want SERVICE or SERVICE.service.consul") {
				t.Errorf("%s: %v", test.host, err)
			}
		}
		if n := closed.n.Load(); n != 1 {
			t.Errorf("%s: the body was closed %d times", test.host, n)
		}
	}
}

// TestNoPort has instances that cannot be connected to, alone and beside another.
func TestNoPort(t *testing.T) {
	agent, r, c := webClient(t, roundRobin())
	addInstance(agent, "web", "portless", "127.0.0.1:0")
	const wanted = `instance "portless" of service "web" has no port`
	if _, err := c.Get("http://web/"); err == nil || !strings.Contains(err.Error(), wanted) {
		t.Errorf("request: %v; want %s", err, wanted)
	}
	if _, err := r.DialContext(context.Background(), "tcp", "web:80"); err == nil || !strings.Contains(err.Error(), wanted) {
		t.Errorf("dial: %v; want %s", err, wanted)
	}
	s := backend(t, agent, "mixed", "a", echo)
	addInstance(agent, "mixed", "portless2", "127.0.0.1:0")
	for range 4 {
		if got := get(t, c, "http://mixed/").Header.Get("Instance"); got != "a" {
			t.Errorf("answered by %q", got)
		}
		conn, err := r.DialContext(context.Background(), "tcp", "mixed:80")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := conn.RemoteAddr().String(), s.Listener.Addr().String(); got != want {
			t.Errorf("connected to %s, want %s", got, want)
		}
		conn.Close()
	}
}

// TestImpossiblePort has instances with ports that are none, which agents accept from other
// programs: another instance is used.
func TestImpossiblePort(t *testing.T) {
	agent, r, c := webClient(t, roundRobin())
	backend(t, agent, "web", "a", echo)
	for id, port := range map[string]int{"large": 99999, "negative": -1} {
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: id, Address: "127.0.0.1", Port: port})
	}
	for range 4 {
		if got := get(t, c, "http://web/").Header.Get("Instance"); got != "a" {
			t.Errorf("response of %q", got)
		}
		conn, err := r.DialContext(context.Background(), "tcp", "web:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// TestTransportUnderLoad uses one transport from many goroutines while instances
// come and go.
func TestTransportUnderLoad(t *testing.T) {
	agent, r, c := webClient(t, nil)
	backend(t, agent, "web", "stays", echo)
	dead := []string{deadAddress(t), deadAddress(t), deadAddress(t)}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			addInstance(agent, "web", "flaps", dead[n%len(dead)])
			if n%4 == 0 {
				agent.RemoveService("flaps")
			}
		}
	}()
	var work sync.WaitGroup
	for range 8 {
		work.Add(1)
		go func() {
			defer work.Done()
			for n := range 50 {
				body := strings.Repeat("x", n*100)
				resp, err := c.Post((&url.URL{Scheme: "http", Host: "web"}).String(), "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(got) != body {
					t.Errorf("got %d bytes and %v, want %d", len(got), err, len(body))
				}
				if _, err := r.PickKey(context.Background(), "web", body); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	work.Wait()
	close(stop)
	wg.Wait()
}

// TestTransportBadBase has a transport for the requests that breaks the rules of
// [http.RoundTripper].
func TestTransportBadBase(t *testing.T) {
	agent := consulmock.New(t)
	addInstance(agent, "web", "a", "127.0.0.1:1")
	r := discovery.NewResolver(agent.Client(), nil)
	defer r.Close()
	load := func() int {
		i, err := r.Pick(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		return i.Load()
	}
	body := &closeCounter{ReadCloser: io.NopCloser(strings.NewReader("x"))}
	req, _ := http.NewRequest("POST", "http://web/", body)
	resp, err := discovery.NewTransport(r, roundTripFunc(func(r *http.Request) (*http.Response, error) {
		r.Body.Close()
		return nil, nil
	})).RoundTrip(req)
	if resp != nil || err == nil || err.Error() != "discovery: the base transport returned neither a response nor an error" {
		t.Errorf("neither response nor error: %v, %v", resp, err)
	}
	if n := body.n.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("no panic")
			}
		}()
		req, _ := http.NewRequest("GET", "http://web/", nil)
		discovery.NewTransport(r, roundTripFunc(func(*http.Request) (*http.Response, error) { panic("boom") })).RoundTrip(req)
	}()
	if n := load(); n != 0 {
		t.Errorf("load %d", n)
	}
}

// TestTransportBodyThatFails has a response whose body ends early: what becomes of
// it is not held against the instance.
func TestTransportBodyThatFails(t *testing.T) {
	agent := consulmock.New(t)
	addInstance(agent, "web", "a", "127.0.0.1:1")
	addInstance(agent, "web", "b", "127.0.0.1:2")
	r := discovery.NewResolver(agent.Client(), roundRobin())
	defer r.Close()
	c := &http.Client{Transport: discovery.NewTransport(r, roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))}, nil
	}))}
	resp, err := c.Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("no error")
	}
	resp.Body.Close()
	seen := map[string]bool{}
	for range 4 {
		i, err := r.Pick(context.Background(), "web")
		if err != nil {
			t.Fatal(err)
		}
		seen[i.ID] = true
	}
	if len(seen) != 2 {
		t.Errorf("picked %v, want both", seen)
	}
}

// TestTransportTLS has an instance with a certificate for its address and for
// example.com. NewTransport checks the address, DialContext lets the http.Transport
// check the service's name.
func TestTransportTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	s.StartTLS()
	defer s.Close()
	agent := consulmock.New(t)
	addInstance(agent, "web", "a", s.Listener.Addr().String())
	addInstance(agent, "example.com", "b", s.Listener.Addr().String())
	r := discovery.NewResolver(agent.Client(), nil)
	defer r.Close()
	config := s.Client().Transport.(*http.Transport).TLSClientConfig
	byAddress := &http.Transport{TLSClientConfig: config.Clone()}
	byName := &http.Transport{TLSClientConfig: config.Clone(), DialContext: r.DialContext}
	defer byAddress.CloseIdleConnections()
	defer byName.CloseIdleConnections()
	for _, test := range []struct {
		name string
		via  http.RoundTripper
		url  string
		ok   bool
	}{
		{"the address", discovery.NewTransport(r, byAddress), "https://web/", true},
		{"the service's name", byName, "https://example.com/", true},
		{"another name", byName, "https://web/", false},
	} {
		resp, err := (&http.Client{Transport: test.via}).Get(test.url)
		if err == nil {
			resp.Body.Close()
		}
		if ok := err == nil; ok != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestDialSocketPath has an instance with a unix socket, and one that has a port as
// well.
func TestDialSocketPath(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(&consul.AgentServiceRegistration{Name: "socket", SocketPath: "/run/web.sock"})
	agent.AddService(&consul.AgentServiceRegistration{Name: "both", Address: "10.0.0.1", Port: 80, SocketPath: "/run/web.sock"})
	var dialled string
	r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			dialled = network + " " + address
			return nil, errors.New("enough")
		},
	})
	defer r.Close()
	for service, want := range map[string]string{"socket": "unix /run/web.sock", "both": "tcp 10.0.0.1:80", "10.0.0.2": "tcp 10.0.0.2:5432"} {
		r.DialContext(context.Background(), "tcp", service+":5432")
		if dialled != want {
			t.Errorf("%s: dialled %s, want %s", service, dialled, want)
		}
	}
}

// TestResolverUnderLoad calls everything that a resolver has from many goroutines,
// while services are forgotten almost at once.
func TestResolverUnderLoad(t *testing.T) {
	agent := consulmock.New(t)
	services := make([]string, 10)
	for n := range services {
		services[n] = fmt.Sprint("s", n)
		addInstance(agent, services[n], services[n]+"-a", "127.0.0.1:1")
		addInstance(agent, services[n], services[n]+"-b", "127.0.0.1:2")
	}
	r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		MaxQueries: 4, IdleTimeout: time.Nanosecond, Balancer: discovery.LeastLoaded, Burst: 1000, MinBackoff: 1, MaxBackoff: 1,
	})
	ctx := context.Background()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range 100 {
				service := services[(worker+n)%len(services)]
				var err error
				switch n % 6 {
				case 0:
					_, err = r.Pick(ctx, service)
				case 1:
					var done func(error)
					if _, done, err = r.Acquire(ctx, service); err == nil {
						done(errors.New("boom"))
						done(nil)
					}
				case 2:
					_, err = r.PickKey(ctx, service, service)
				case 3:
					for _, err = range r.Watch(ctx, service) {
						break
					}
				case 4:
					r.Retry(service)
					r.State(service)
				case 5:
					var list []discovery.Instance
					if list, err = r.Instances(ctx, service); err == nil && len(list) != 2 {
						t.Errorf("%s has %d instances", service, len(list))
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	r.Close()
}

// TestDialGivenUp ends a context while the connection is being opened. No other instance
// is tried; the first one is left out if it was out of time, and not if it was given up.
func TestDialGivenUp(t *testing.T) {
	for want, ending := range map[int]error{1: context.DeadlineExceeded, 2: context.Canceled} {
		agent := consulmock.New(t)
		addInstance(agent, "web", "a", "127.0.0.1:1")
		addInstance(agent, "web", "b", "127.0.0.1:2")
		ctx := &endingContext{Context: context.Background(), done: make(chan struct{}), err: ending}
		dials := 0
		r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dials++
				close(ctx.(*endingContext).done)
				return nil, ctx.Err()
			},
		})
		defer r.Close()
		if _, err := r.DialContext(ctx, "tcp", "web:80"); !errors.Is(err, ending) || dials != 1 {
			t.Errorf("%v after %d dials", err, dials)
		}
		wantPicked(t, r, want)
	}
}

// TestDialPanics has the function that dials panic: the use of the instance ends.
func TestDialPanics(t *testing.T) {
	agent := consulmock.New(t)
	addInstance(agent, "web", "a", "127.0.0.1:1")
	r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		Dial: func(context.Context, string, string) (net.Conn, error) { panic("boom") },
	})
	defer r.Close()
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("no panic")
			}
		}()
		r.DialContext(context.Background(), "tcp", "web:80")
	}()
	if i, err := r.Pick(context.Background(), "web"); err != nil || i.Load() != 0 {
		t.Errorf("load %d, %v", i.Load(), err)
	}
}
