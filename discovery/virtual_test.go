//go:build go1.25

package discovery_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// bubble runs a test in virtual time with a fake agent. A goroutine that is left
// behind fails the test.
func bubble(t *testing.T, test func(t *testing.T, agent *fakeAgent), opts ...consulmock.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newFakeAgent(t, opts...)) })
}

// fakeAgent is a fake agent with a client, and the events that happened.
type fakeAgent struct {
	*consulmock.Server
	t      *testing.T
	client *consul.Client
	wire   *wire

	mu     sync.Mutex
	events []discovery.Event
}

func newFakeAgent(t *testing.T, opts ...consulmock.Option) *fakeAgent {
	t.Helper()
	s := consulmock.New(t, opts...)
	w := &wire{base: s.Transport()}
	c, err := consul.NewClient(consul.Config{Transport: w})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return &fakeAgent{Server: s, t: t, client: c, wire: w}
}

// note is an OnEvent.
func (a *fakeAgent) note(e discovery.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

// eventsOf returns the events of one type that have happened.
func eventsOf[E discovery.Event](a *fakeAgent) (list []E) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e, ok := e.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

// add registers an instance without a process behind it: its check passes until
// the test changes it.
func (a *fakeAgent) add(service, id string, change ...func(*consul.AgentServiceRegistration)) {
	a.t.Helper()
	reg := &consul.AgentServiceRegistration{
		Name: service, ID: id, Port: 80, Address: "10.0.0.1",
		Check: &consul.AgentServiceCheck{TTL: 10000 * time.Hour, Status: consul.HealthPassing},
	}
	for _, f := range change {
		f(reg)
	}
	if err := a.client.Agent().ServiceRegister(a.t.Context(), reg); err != nil {
		a.t.Fatal(err)
	}
	if len(reg.Checks) == 0 { // a status that was never reported would not outlive a restart
		a.SetCheckStatus("service:"+id, reg.Check.Status, "")
	}
}

func (a *fakeAgent) remove(id string) {
	a.t.Helper()
	if err := a.client.Agent().ServiceDeregister(a.t.Context(), id); err != nil {
		a.t.Fatal(err)
	}
}

// wire counts the requests on their way to an agent.
type wire struct {
	base http.RoundTripper

	mu          sync.Mutex
	now, most   int
	paths       []string
	intercepted func(*http.Request) (*http.Response, error, bool)
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.now++
	w.most = max(w.most, w.now)
	w.paths = append(w.paths, req.Method+" "+req.URL.Path)
	intercepted := w.intercepted
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	if intercepted != nil {
		if resp, err, ok := intercepted(req); ok {
			return resp, err
		}
	}
	return w.base.RoundTrip(req)
}

// inFlight returns how many requests are under way, and how many were at most.
func (w *wire) inFlight() (now, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.most
}

// count returns how many requests there were whose method and path start so.
func (w *wire) count(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.paths {
		if strings.HasPrefix(p, prefix) {
			n++
		}
	}
	return n
}

// ids returns the IDs of instances, sorted.
func ids(instances []discovery.Instance) string {
	var list []string
	for _, i := range instances {
		list = append(list, i.ID)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// want fails the test if got is not want.
func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}
