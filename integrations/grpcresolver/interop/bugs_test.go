package interop

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/mbobakov/grpc-consul-resolver"
	_ "google.golang.org/genproto/protobuf/field_mask" // the old one of mbobakov's is ambiguous beside grpc's
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/grpcresolver"
)

// theirs is the resolver that the import of mbobakov's package has registered.
var theirs = resolver.Get("consul")

// The scenarios are the bugs of mbobakov/grpc-consul-resolver v1.5.3. Each returns
// what is wrong. TestBugs runs them with both resolvers: ours has to return nil, and
// theirs an error, or the bug is fixed and the scenario can go.
var scenarios = []struct {
	bug string
	run func(*scene) error
}{
	{"user and password do not reach Consul", basicAuth},
	{"there is no https", secure},
	{"the address of an IPv6 instance cannot be dialled", ipv6},
	{"Close leaves the query running", closeEndsQuery},
	{"errors are not reported, so that calls hang", errorsReported},
	{"critical instances are used by default", passingOnly},
	{"an index that goes back is waited for", indexReset},
	{"an empty list is reported again and again", emptyOnce},
	{"balancers do not find out about metadata, tags and weights", metadata},
	{"each channel has a query of its own", shared},
	{"a question mark in the name of a service cuts it off", strangeName},
}

func TestBugs(t *testing.T) {
	for _, s := range scenarios {
		for _, name := range []string{"ours", "theirs"} {
			t.Run(s.bug+"/"+name, func(t *testing.T) {
				t.Parallel()
				builder := theirs
				if name == "ours" {
					builder = grpcresolver.New(&grpcresolver.Options{Config: &consul.Config{}})
				}
				agent := consulmock.New(t)
				u, err := url.Parse(agent.URL())
				if err != nil {
					t.Fatal(err)
				}
				err = s.run(&scene{t: t, agent: agent, host: u.Host, builder: builder})
				switch {
				case name == "ours" && err != nil:
					t.Error(err)
				case name == "theirs" && err == nil:
					t.Error("mbobakov's resolver has this bug no more")
				case name == "theirs":
					t.Log(err)
				}
			})
		}
	}
}

type scene struct {
	t       *testing.T
	agent   *consulmock.Server
	host    string
	builder resolver.Builder
}

func (s *scene) add(id, address string, status consul.HealthStatus) {
	s.agent.AddService(&consul.AgentServiceRegistration{
		ID: id, Name: "web", Address: address, Port: 80, Meta: map[string]string{"version": id},
		Check: &consul.AgentServiceCheck{CheckID: id, TTL: time.Hour, Status: status},
	})
}

// cut ends a server at the end of the test, whoever still asks it.
func (s *scene) cut(server *httptest.Server) {
	s.t.Cleanup(func() {
		server.Listener.Close()
		server.CloseClientConnections()
	})
}

// build builds a resolver, which is closed when the test ends.
func (s *scene) build(target string) (*conn, resolver.Resolver, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, nil, err
	}
	c := &conn{changed: make(chan struct{}, 1)}
	r, err := s.builder.Build(resolver.Target{URL: *u}, c, resolver.BuildOptions{})
	if err != nil {
		return nil, nil, err
	}
	s.t.Cleanup(sync.OnceFunc(r.Close))
	return c, r, nil
}

// conn is the channel's side of a resolver.
type conn struct {
	resolver.ClientConn
	mu      sync.Mutex
	states  []resolver.State
	errs    []error
	changed chan struct{}
}

func (c *conn) UpdateState(s resolver.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, s)
	c.signal()
	if len(s.Addresses) == 0 {
		return balancer.ErrBadResolverState
	}
	return nil
}

func (c *conn) ReportError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
	c.signal()
}

func (c *conn) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// await returns nil when done does, and what there is after some seconds.
func (c *conn) await(done func() bool) error {
	timeout := time.After(3 * time.Second)
	for {
		c.mu.Lock()
		ok := done()
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-c.changed:
		case <-timeout:
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("states %v, errors %v", c.states, c.errs)
		}
	}
}

func (c *conn) awaitAddrs(want ...string) error {
	return c.await(func() bool {
		if len(c.states) == 0 {
			return false
		}
		got := []string{}
		for _, a := range c.states[len(c.states)-1].Addresses {
			got = append(got, a.Addr)
		}
		return slices.Equal(got, want)
	})
}

func basicAuth(s *scene) error {
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked <- user + ":" + password
		w.WriteHeader(http.StatusForbidden)
	}))
	s.t.Cleanup(server.Close)
	if _, _, err := s.build("consul://me:secret@" + strings.TrimPrefix(server.URL, "http://") + "/web"); err != nil {
		return err
	}
	if got := <-asked; got != "me:secret" {
		return fmt.Errorf("credentials %q", got)
	}
	return nil
}

func secure(s *scene) error {
	s.add("1", "10.0.0.1", consul.HealthPassing)
	server := httptest.NewTLSServer(s.agent.Handler())
	s.cut(server)
	c, _, err := s.build("consul://" + strings.TrimPrefix(server.URL, "https://") + "/web?tls=true&insecure=true")
	if err != nil {
		return err
	}
	return c.awaitAddrs("10.0.0.1:80")
}

func ipv6(s *scene) error {
	s.add("1", "::1", consul.HealthPassing)
	c, _, err := s.build("consul://" + s.host + "/web")
	if err != nil {
		return err
	}
	if err := c.await(func() bool { return len(c.states) > 0 }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _, err = net.SplitHostPort(c.states[0].Addresses[0].Addr)
	return err
}

func closeEndsQuery(s *scene) error {
	s.add("1", "10.0.0.1", consul.HealthPassing)
	ended := make(chan struct{}, 10)
	waits := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") != "" {
			waits <- struct{}{}
			defer func() { ended <- struct{}{} }()
		}
		s.agent.Handler().ServeHTTP(w, r)
	}))
	s.cut(server)
	_, r, err := s.build("consul://" + strings.TrimPrefix(server.URL, "http://") + "/web")
	if err != nil {
		return err
	}
	<-waits
	r.Close()
	select {
	case <-ended:
		return nil
	case <-time.After(3 * time.Second):
		return errors.New("the query goes on")
	}
}

func errorsReported(s *scene) error {
	s.agent.Stop()
	c, _, err := s.build("consul://" + s.host + "/web")
	if err != nil {
		return err
	}
	return c.await(func() bool { return len(c.errs) > 0 })
}

func passingOnly(s *scene) error {
	s.add("1", "10.0.0.1", consul.HealthCritical)
	s.add("2", "10.0.0.2", consul.HealthPassing)
	c, _, err := s.build("consul://" + s.host + "/web")
	if err != nil {
		return err
	}
	return c.awaitAddrs("10.0.0.2:80")
}

func indexReset(s *scene) error {
	s.add("1", "10.0.0.1", consul.HealthPassing)
	c, _, err := s.build("consul://" + s.host + "/web?wait=500ms&healthy=true")
	if err != nil {
		return err
	}
	if err := c.awaitAddrs("10.0.0.1:80"); err != nil {
		return err
	}
	var mu sync.Mutex
	wanted := []string{}
	remove := s.agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Index: 5, Always: true, Match: func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		wanted = append(wanted, r.URL.Query().Get("index"))
		return true
	}})
	defer remove()
	s.agent.SetCheckStatus("1", consul.HealthWarning, "")
	s.agent.SetCheckStatus("1", consul.HealthPassing, "")
	deadline := time.Now().Add(3 * time.Second)
	for {
		mu.Lock()
		seen := slices.Clone(wanted)
		mu.Unlock()
		if len(seen) >= 3 {
			// After an answer with the index 5, which is lower, a client starts over.
			if slices.Contains(seen, "") {
				return nil
			}
			return fmt.Errorf("asked with the indexes %q", seen)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("asked with the indexes %q only", seen)
		}
		time.Sleep(time.Millisecond)
	}
}

func emptyOnce(s *scene) error {
	c, _, err := s.build("consul://" + s.host + "/web?wait=50ms&healthy=true")
	if err != nil {
		return err
	}
	if err := c.await(func() bool { return len(c.states)+len(c.errs) > 0 }); err != nil {
		return err
	}
	for len(s.agent.Requests()) < 8 {
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.states) + len(c.errs); n > 1 {
		return fmt.Errorf("%d empty states, %d errors", len(c.states), len(c.errs))
	}
	return nil
}

func metadata(s *scene) error {
	s.add("1", "10.0.0.1", consul.HealthPassing)
	c, _, err := s.build("consul://" + s.host + "/web?healthy=true")
	if err != nil {
		return err
	}
	if err := c.awaitAddrs("10.0.0.1:80"); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.states[0]
	if len(state.Endpoints) == 0 {
		return errors.New("no endpoints with attributes")
	}
	if i, ok := grpcresolver.FromEndpoint(state.Endpoints[0]); !ok || i.Meta["version"] != "1" {
		return errors.New("no metadata")
	}
	return nil
}

func shared(s *scene) error {
	s.add("1", "10.0.0.1", consul.HealthPassing)
	for range 10 {
		c, _, err := s.build("consul://" + s.host + "/web?healthy=true")
		if err != nil {
			return err
		}
		if err := c.awaitAddrs("10.0.0.1:80"); err != nil {
			return err
		}
	}
	first := 0
	for _, r := range s.agent.Requests() {
		if r.Query.Get("index") == "" {
			first++
		}
	}
	if first > 1 {
		return fmt.Errorf("%d queries", first)
	}
	return nil
}

func strangeName(s *scene) error {
	s.agent.AddService(&consul.AgentServiceRegistration{ID: "1", Name: "a?b", Address: "10.0.0.1", Port: 80})
	c, _, err := s.build("consul://" + s.host + "/a%3Fb?healthy=true")
	if err != nil {
		return err
	}
	return c.awaitAddrs("10.0.0.1:80")
}
