package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kratos/kratos/v2/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// scene is what a scenario happens in: an agent in a bubble of virtual time.
type scene struct {
	t     *testing.T
	agent *consulmock.Server
	open  func(options) adapter
	over  func(http.RoundTripper, options) adapter
}

// The scenarios are the bugs of contrib/registry/consul/v2 as of kratos v2.9.2. Each
// returns what is wrong. TestBugs runs them with both adapters: ours has to return
// nil, and theirs an error, or the bug is fixed and the scenario can go.
var scenarios = []struct {
	bug string
	run func(*scene) error
}{
	{"a query that waits for 55 s is cut off after 10 s", quietWatch},
	{"that the last instance has left is not announced", emptied},
	{"changes come up to a second late", latency},
	{"a first Watch that fails makes later ones wait for ever", failedFirstWatch},
	{"datacenters share an index and are asked one after the other", datacenters},
	{"a datacenter that is unreachable hides the others", deadDatacenter},
	{"an index that goes back is waited for", indexReset},
	{"an instance that the agent has lost is missing for long", healing},
	{"Deregister asks twice", deregisterOnce},
	{"GetService does not say what is wrong", hiddenError},
	{"a watcher whose context has ended goes on asking", endedContext},
}

func TestBugs(t *testing.T) {
	for _, s := range scenarios {
		for name := range adapters {
			t.Run(s.bug+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					agent := consulmock.New(t)
					over := func(rt http.RoundTripper, o options) adapter { return newAdapter(t, name, rt, "", o) }
					open := func(o options) adapter { return over(agent.Transport(), o) }
					err := s.run(&scene{t, agent, open, over})
					switch {
					case name == "ours" && err != nil:
						t.Error(err)
					case name == "theirs" && err == nil:
						t.Error("kratos's adapter has this bug no more")
					case name == "theirs":
						t.Log(err)
					}
				})
			})
		}
	}
}

func (s *scene) add(id string) {
	s.agent.AddService(&consul.AgentServiceRegistration{ID: id, Name: "web", Address: "10.0.0.1", Port: 80})
}

// watch returns a watcher that has yielded the first list, unless there is none.
func (s *scene) watch(a adapter, want int) registry.Watcher {
	w, err := a.Watch(context.Background(), "web")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { w.Stop() })
	if want > 0 {
		if err := awaitList(w, want, time.Minute); err != nil {
			s.t.Fatal(err)
		}
	}
	return w
}

// awaitList returns when the watcher has yielded a list of that length.
func awaitList(w registry.Watcher, want int, within time.Duration) error {
	got := make(chan error, 1)
	go func() {
		for {
			list, err := w.Next()
			if errors.Is(err, context.Canceled) {
				return
			}
			if err == nil && len(list) == want {
				got <- nil
				return
			}
		}
	}()
	begin := time.Now()
	select {
	case err := <-got:
		return err
	case <-time.After(within):
		w.Stop()
		return fmt.Errorf("no list of %d after %s", want, time.Since(begin))
	}
}

func quietWatch(s *scene) error {
	s.add("1")
	s.watch(s.open(options{}), 1)
	time.Sleep(time.Hour)
	if n := len(s.agent.Requests()); n > 70 {
		return fmt.Errorf("%d requests in a quiet hour", n)
	}
	return nil
}

func emptied(s *scene) error {
	s.add("1")
	a := s.open(options{})
	w := s.watch(a, 1)
	s.agent.RemoveService("1")
	if err := awaitList(w, 0, time.Hour); err != nil {
		return err
	}
	if list, err := a.GetService(context.Background(), "web"); err != nil || len(list) > 0 {
		return fmt.Errorf("GetService: %v, %v", list, err)
	}
	return nil
}

func latency(s *scene) error {
	s.add("1")
	w := s.watch(s.open(options{}), 1)
	time.Sleep(time.Minute)
	for n := 2; n < 5; n++ {
		begin := time.Now()
		s.add(fmt.Sprint(n))
		if err := awaitList(w, n, time.Minute); err != nil {
			return err
		}
		if took := time.Since(begin); took > 100*time.Millisecond {
			return fmt.Errorf("a change was seen after %s", took)
		}
	}
	return nil
}

func failedFirstWatch(s *scene) error {
	a := s.open(options{})
	s.agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Status: 500, Body: "no"})
	if w, err := a.Watch(context.Background(), "web"); err == nil {
		w.Next()
		w.Stop()
	}
	s.add("1")
	w, err := a.Watch(context.Background(), "web")
	if err != nil {
		return err
	}
	defer w.Stop()
	return awaitList(w, 1, time.Hour)
}

func datacenters(s *scene) error {
	other := consulmock.New(s.t, consulmock.WithDatacenter("dc2"))
	both := byDatacenter{"dc1": s.agent.Transport(), "dc2": other.Transport()}
	s.add("1")
	w, err := s.over(both, options{allDatacenters: true}).Watch(context.Background(), "web")
	if err != nil {
		return err
	}
	defer w.Stop()
	if err := awaitList(w, 1, time.Minute); err != nil {
		return err
	}
	for n := range 3 {
		time.Sleep(time.Minute + time.Second)
		begin := time.Now()
		other.AddService(&consul.AgentServiceRegistration{ID: fmt.Sprint(n), Name: "web", Address: "10.0.0.2", Port: 80})
		if err := awaitList(w, n+2, time.Hour); err != nil {
			return err
		}
		if took := time.Since(begin); took > time.Second {
			return fmt.Errorf("a change in the second datacenter was seen after %s", took)
		}
	}
	return nil
}

func deadDatacenter(s *scene) error {
	s.add("1")
	some := byDatacenter{"dc1": s.agent.Transport(), "dc9": s.agent.Transport()} // which has no path to dc9
	a := s.over(some, options{allDatacenters: true})
	if list, err := a.GetService(context.Background(), "web"); err != nil || len(list) != 1 {
		return fmt.Errorf("GetService: %v, %v", list, err)
	}
	w, err := a.Watch(context.Background(), "web")
	if err != nil {
		return err
	}
	defer w.Stop()
	return awaitList(w, 1, time.Minute)
}

// byDatacenter is an agent that is joined with others.
type byDatacenter map[string]http.RoundTripper

func (b byDatacenter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/v1/catalog/datacenters" {
		list, err := json.Marshal(slices.Sorted(maps.Keys(b)))
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(bytes.NewReader(list))}, err
	}
	return b[r.URL.Query().Get("dc")].RoundTrip(r)
}

func indexReset(s *scene) error {
	s.add("1")
	s.agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Index: 1_000_000})
	w := s.watch(s.open(options{}), 1)
	time.Sleep(2 * time.Minute)
	s.add("2")
	return awaitList(w, 2, time.Second)
}

func healing(s *scene) error {
	a := s.open(options{noTCPChecks: true})
	i := &registry.ServiceInstance{ID: "1", Name: "web", Endpoints: []string{"http://10.0.0.1:80"}}
	if err := a.Register(context.Background(), i); err != nil {
		return err
	}
	defer a.Deregister(context.Background(), i)
	longest := time.Duration(0)
	for range 20 { // the time of the loss is random to the heartbeat
		time.Sleep(time.Minute + 3*time.Second)
		s.agent.Restart(false)
		begin := time.Now()
		for {
			entries, _, err := s.agent.Client().Health().Service(context.Background(), "web", &consul.QueryOptions{PassingOnly: true})
			if err == nil && len(entries) > 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		longest = max(longest, time.Since(begin))
	}
	if longest > 10*time.Second {
		return fmt.Errorf("missing for up to %s", longest)
	}
	return nil
}

func deregisterOnce(s *scene) error {
	a := s.open(options{})
	i := &registry.ServiceInstance{ID: "1", Name: "web", Endpoints: []string{"http://10.0.0.1:80"}}
	if err := errors.Join(a.Register(context.Background(), i), a.Deregister(context.Background(), i)); err != nil {
		return err
	}
	n := 0
	for _, r := range s.agent.Requests() {
		if strings.HasPrefix(r.Path, "/v1/agent/service/deregister/") {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%d deregistrations", n)
	}
	return nil
}

func hiddenError(s *scene) error {
	s.agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Status: 403, Body: "Permission denied", Always: true})
	_, err := s.open(options{}).GetService(context.Background(), "web")
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		return fmt.Errorf("GetService says: %v", err)
	}
	return nil
}

func endedContext(s *scene) error {
	s.add("1")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := s.open(options{}).Watch(ctx, "web")
	if err != nil {
		return err
	}
	defer w.Stop()
	if _, err := w.Next(); err != nil {
		return err
	}
	cancel()
	time.Sleep(5 * time.Minute)
	before := len(s.agent.Requests())
	time.Sleep(time.Hour)
	if n := len(s.agent.Requests()) - before; n > 0 {
		return fmt.Errorf("%d requests in the hour after", n)
	}
	return nil
}

// TestHeldUp registers an instance again while the agent is slow to deregister. With
// kratos's adapter that holds up all other instances too. It happens in real time:
// the one that waits for a mutex does not let a bubble's time pass.
func TestHeldUp(t *testing.T) {
	for name := range adapters {
		t.Run(name, func(t *testing.T) {
			agent := consulmock.New(t)
			a := newAdapter(t, name, agent.Transport(), "", options{noTCPChecks: true})
			instance := func(id string) *registry.ServiceInstance {
				return &registry.ServiceInstance{ID: id, Name: "web", Endpoints: []string{"http://10.0.0.1:80"}}
			}
			ctx := testContext(t)
			if err := a.Register(ctx, instance("1")); err != nil {
				t.Fatal(err)
			}
			hang, asked := make(chan struct{}), make(chan struct{})
			agent.Inject(consulmock.Fault{Path: "/v1/agent/service/deregister/*", Hang: hang, Match: func(*http.Request) bool {
				close(asked)
				return true
			}})
			again, other := make(chan error, 1), make(chan error, 1)
			go func() { again <- a.Register(ctx, instance("1")) }()
			soon := patience
			select {
			case err := <-again: // ours does not deregister it
				again <- err
			case <-asked:
				soon = time.Second
			}
			go func() { other <- a.Register(ctx, instance("2")) }()
			held := false
			select {
			case err := <-other:
				other <- err
			case <-time.After(soon):
				held = true
			}
			close(hang)
			if err := errors.Join(<-again, <-other, a.Deregister(ctx, instance("1")), a.Deregister(ctx, instance("2"))); err != nil {
				t.Error(err)
			}
			if held != (name == "theirs") {
				t.Errorf("held up: %t", held)
			}
		})
	}
}
