package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/consulmock/internal/memnet"
)

func TestRegisterAndFind(t *testing.T) {
	ctx := context.Background()
	agent := consulmock.New(t)
	client := agent.Client()
	_, meta, err := client.Health().Service(ctx, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		Name: "web", Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Minute},
	}); err != nil {
		t.Fatal(err)
	}
	entries, meta, err := client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex})
	if err != nil || len(entries) != 1 || entries[0].Service.Port != 80 {
		t.Fatal(entries, meta, err)
	}
	if err := client.Agent().PassTTL(ctx, "service:web", "fine"); err != nil {
		t.Fatal(err)
	}
	entries, _, err = client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, PassingOnly: true})
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
}

// A server of the network, a server of memory and a handler are one.
func TestWaysToReachIt(t *testing.T) {
	s := consulmock.New(t)
	s.AddService(&consul.AgentServiceRegistration{Name: "web"})
	outer := httptest.NewServer(s.Handler())
	defer outer.Close()
	for name, cfg := range map[string]consul.Config{
		"URL": {Address: s.URL()}, "Transport": {Transport: s.Transport()}, "Handler": {Address: outer.URL},
	} {
		c, err := consul.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		services, err := c.Agent().Services(context.Background(), nil)
		if err != nil || services["web"] == nil {
			t.Errorf("%s: %v, %v", name, services, err)
		}
		c.CloseIdleConnections()
	}
	before := s.URL()
	s.Restart(true)
	if s.URL() != before {
		t.Errorf("the address has changed from %s to %s", before, s.URL())
	}
}

// A request that a test has made for a client has no body at all.
func TestHandlerWithoutBody(t *testing.T) {
	r, err := http.NewRequest("GET", "/v1/status/leader", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	consulmock.New(t).Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// failedTest is a test that has failed.
type failedTest struct {
	testing.TB
	failed bool
	logged []string
	ends   []func()
}

func (f *failedTest) Helper()          {}
func (f *failedTest) Failed() bool     { return f.failed }
func (f *failedTest) Log(args ...any)  { f.logged = append(f.logged, fmt.Sprint(args...)) }
func (f *failedTest) Cleanup(g func()) { f.ends = append(f.ends, g) }

// A server ends with its test, and shows what it knows if that has failed.
func TestNewEndsWithTheTest(t *testing.T) {
	for _, failed := range []bool{false, true} {
		outer := &failedTest{failed: failed}
		s := consulmock.New(outer)
		s.AddService(&consul.AgentServiceRegistration{Name: "web"})
		for _, end := range outer.ends {
			end()
		}
		if got := strings.Contains(strings.Join(outer.logged, ""), "service web"); got != failed {
			t.Errorf("failed %t: logged %q", failed, outer.logged)
		}
		if _, err := s.Client().Status().Leader(context.Background()); err == nil {
			t.Error("the server has outlived the test")
		}
	}
}

// A handler of a stopped server drops connections, and a socket refuses them.
func TestStoppedServerIsOutOfReach(t *testing.T) {
	s := consulmock.New(t)
	outer := httptest.NewServer(s.Handler())
	defer outer.Close()
	url := s.URL()
	s.Stop()
	s.Stop()
	for address, want := range map[string]error{outer.URL: io.EOF, url: memnet.ErrRefused} {
		resp, err := http.Get(address)
		if err == nil {
			resp.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", address, err, want)
		}
	}
	for range 2 { // the second one does nothing
		s.Start()
		resp, err := http.Get(url + "/v1/status/leader")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}

// There is no address before there is a port, and none can be had while the server
// is stopped.
func TestURLOfAStoppedServer(t *testing.T) {
	s := consulmock.New(t)
	s.Stop()
	func() {
		defer func() {
			if got := fmt.Sprint(recover()); got != "consulmock: URL called first on a stopped server" {
				t.Errorf("got %s", got)
			}
		}()
		s.URL()
	}()
	s.Start()
	s.URL()
}

// A port that somebody else has taken meanwhile cannot be had again, until it is
// given back.
func TestStartWithoutItsPort(t *testing.T) {
	s := consulmock.New(t)
	address := strings.TrimPrefix(s.URL(), "http://")
	s.Stop()
	other, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if got := fmt.Sprint(recover()); !strings.Contains(got, "consulmock: cannot listen: listen tcp "+address) {
				t.Errorf("got %s", got)
			}
		}()
		s.Start()
	}()
	if _, err := s.Client().Status().Leader(context.Background()); err == nil {
		t.Error("the server runs without its port")
	}
	other.Close()
	s.Start()
	if _, err := s.Client().Status().Leader(context.Background()); err != nil {
		t.Error(err)
	}
}
