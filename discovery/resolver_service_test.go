//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

func TestResolverForgetsIdleServices(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		r := agent.resolver(nil)
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for range r.Watch(ctx, "watched") {
			}
		}()
		instances2(t, r, "idle")
		instances2(t, r, "used")
		for range 20 {
			time.Sleep(time.Minute)
			instances(t, r, "used")
		}
		for service, want := range map[string]bool{"idle": false, "used": true, "watched": true} {
			if _, known := r.State(service); known != want {
				t.Errorf("%s is still known: %t, want %t", service, known, want)
			}
		}
		now, _ := agent.wire.inFlight()
		want(t, "queries under way", now, 2)
		stop()
		time.Sleep(6 * time.Minute)
		now, _ = agent.wire.inFlight()
		want(t, "queries under way after all have gone", now, 0)
		want(t, "and when it is asked for again", instances2(t, r, "idle"), "")
	})
}

func TestResolverMinInstances(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, id := range []string{"a", "b", "c", "d"} {
			agent.add("web", id)
		}
		r := agent.resolver(&discovery.ResolverOptions{MinInstances: 2})
		want(t, "all", instances2(t, r, "web"), "a b c d")
		agent.remove("a")
		want(t, "three", instances(t, r, "web"), "b c d")
		for _, id := range []string{"b", "c", "d"} {
			agent.SetCheckStatus("service:"+id, consul.HealthCritical, "")
			synctest.Wait()
		}
		want(t, "two of them held", instances(t, r, "web"), "c d")
		st, _ := r.State("web")
		want(t, "held", st.Held, 2)
		changes := eventsOf[discovery.InstancesChangedEvent](agent)
		want(t, "last event", changes[len(changes)-1], discovery.InstancesChangedEvent{Service: "web", Total: 2, Held: 2})
		agent.add("web", "e")
		want(t, "one of them held", instances(t, r, "web"), "d e")
		agent.add("web", "f")
		want(t, "none held", instances(t, r, "web"), "e f")
		changes = eventsOf[discovery.InstancesChangedEvent](agent)
		want(t, "last event", changes[len(changes)-1], discovery.InstancesChangedEvent{Service: "web", Added: 1, Removed: 1, Total: 2})
	})
}

func TestResolverExcludesFailingInstances(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		agent.add("web", "b")
		r := agent.resolver(&discovery.ResolverOptions{Balancer: discovery.LeastLoaded})
		first, done, err := r.Acquire(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		want(t, "load", first.Load(), 1)
		if second, _ := r.Pick(t.Context(), "web"); second.ID == first.ID {
			t.Error("picked the one that is loaded")
		}
		done(errors.New("boom"))
		done(nil) // nothing
		want(t, "load", first.Load(), 0)
		picked := func() (n int) {
			for range 100 {
				i, err := r.Pick(t.Context(), "web")
				if err != nil {
					t.Fatal(err)
				}
				if i.ID == first.ID {
					n++
				}
			}
			return n
		}
		want(t, "picks of the one that failed", picked(), 0)
		// What is known of an instance outlives changes of the others.
		agent.add("web", "c")
		synctest.Wait()
		want(t, "picks after a change", picked(), 0)
		time.Sleep(5 * time.Second)
		if picked() == 0 {
			t.Error("it is not picked after its time")
		}
		key, err := r.PickKey(t.Context(), "web", "user-7")
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			again, _ := r.PickKey(t.Context(), "web", "user-7")
			want(t, "PickKey", again.ID, key.ID)
		}
		// A key goes elsewhere while its instance is left out.
		acquire := func(id string) func(error) {
			for {
				i, done, err := r.Acquire(t.Context(), "web")
				if err != nil {
					t.Fatal(err)
				}
				if i.ID == id {
					return done
				}
				done(context.Canceled) // neither a success nor a failure
			}
		}
		acquire(key.ID)(nil)
		acquire(key.ID)(errors.New("boom"))
		other, _ := r.PickKey(t.Context(), "web", "user-7")
		want(t, "the key's instance while it is left out", other.ID != key.ID, true)
		time.Sleep(5 * time.Second)
		again, _ := r.PickKey(t.Context(), "web", "user-7")
		want(t, "the key's instance afterwards", again.ID, key.ID)
		// It is left out for longer each time, until it succeeds once.
		acquire(first.ID)(nil)
		acquire(first.ID)(errors.New("boom"))
		time.Sleep(5 * time.Second)
		fail := func(err error) { acquire(first.ID)(err) }
		fail(errors.New("boom"))
		time.Sleep(9 * time.Second)
		want(t, "picks after the second failure", picked(), 0)
		time.Sleep(time.Second)
		fail(nil)
		fail(errors.New("boom"))
		time.Sleep(5 * time.Second)
		if picked() == 0 {
			t.Error("a success is not remembered")
		}
		// A caller that gave up says nothing about the instance.
		first, done, _ = r.Acquire(t.Context(), "web")
		done(fmt.Errorf("wrapped: %w", context.Canceled))
		if picked() == 0 {
			t.Error("left out after a cancelled use")
		}
	})
}

// twoDatacenters returns a client of an agent that knows the datacenters of two
// fakes.
func twoDatacenters(t *testing.T) (c *consul.Client, dc1, dc2 *fakeAgent) {
	dc1 = newFakeAgent(t)
	dc2 = newFakeAgent(t, consulmock.WithDatacenter("dc2"))
	to := roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Query().Get("dc") == "dc2" {
			return dc2.wire.RoundTrip(req)
		}
		return dc1.wire.RoundTrip(req)
	})
	c, err := consul.NewClient(consul.Config{Transport: to})
	if err != nil {
		t.Fatal(err)
	}
	return c, dc1, dc2
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestResolverDatacenters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}, OnEvent: dc1.note})
		defer r.Close()
		queries := func(what string, in1, in2 int) {
			t.Helper()
			synctest.Wait()
			n1, _ := dc1.wire.inFlight()
			n2, _ := dc2.wire.inFlight()
			want(t, what+": queries in dc1", n1, in1)
			want(t, what+": queries in dc2", n2, in2)
		}
		dc1.add("web", "a")
		dc2.add("web", "x")
		var mu sync.Mutex
		var seen []string
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for list, err := range r.Watch(ctx, "web") {
				if err == nil {
					mu.Lock()
					seen = append(seen, ids(list))
					mu.Unlock()
				}
			}
		}()

		want(t, "the first", instances2(t, r, "web"), "a")
		queries("the first", 1, 0)
		dc1.remove("a")
		want(t, "none in the first", instances(t, r, "web"), "x")
		queries("none in the first", 1, 1)
		dc1.add("web", "b")
		want(t, "again", instances(t, r, "web"), "b")
		queries("again", 1, 0)
		dc2.remove("x")
		dc2.add("web", "y")

		// The agent answers, but not about dc1.
		remove := dc1.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Status: 500, Body: "No path to datacenter"})
		time.Sleep(5 * time.Minute)
		want(t, "out of reach", instances(t, r, "web"), "y")
		st, _ := r.State("web")
		want(t, "datacenter", st.Datacenter, "dc2")
		if st.Err == nil {
			t.Error("no error to be seen")
		}
		remove()
		time.Sleep(time.Minute)
		want(t, "in reach", instances(t, r, "web"), "b")
		queries("in reach", 1, 0)

		// An agent that does not answer says nothing about datacenters.
		dc1.Stop()
		time.Sleep(5 * time.Minute)
		want(t, "no agent", instances(t, r, "web"), "b")
		queries("no agent", 0, 0)
		dc1.Start()
		time.Sleep(time.Minute)

		dc1.remove("b")
		synctest.Wait()
		dc2.remove("y")
		want(t, "none at all", instances(t, r, "web"), "")
		stop()
		synctest.Wait()
		want(t, "all that was seen", fmt.Sprintf("%q", seen), `["a" "x" "b" "y" "b" "b" "y" ""]`)
	})
}

// TestResolverDatacenterSlow checks that nobody is told that there are no
// instances before the next datacenter has been asked.
func TestResolverDatacenterSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		dc2.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Latency: time.Second})
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}})
		defer r.Close()
		dc1.add("web", "a")
		dc2.add("web", "x")
		want(t, "the first", instances2(t, r, "web"), "a")
		dc1.remove("a")
		want(t, "none in the first", instances(t, r, "web"), "a")
		time.Sleep(time.Second)
		want(t, "in the second", instances(t, r, "web"), "x")
	})
}

// TestResolverDatacenterRefused asks on where a datacenter refuses the question,
// and fails only if all do.
func TestResolverDatacenterRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		refuse := consulmock.Fault{Path: "/v1/health/**", Always: true, Status: 403, Body: "Permission denied"}
		dc1.Inject(refuse)
		dc2.add("web", "x")
		opts := &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}}
		r := discovery.NewResolver(c, opts)
		defer r.Close()
		want(t, "of the second", instances2(t, r, "web"), "x")
		dc2.Inject(refuse)
		other := discovery.NewResolver(c, opts)
		defer other.Close()
		if _, err := other.Instances(t.Context(), "web"); !errors.Is(err, consul.ErrPermissionDenied) {
			t.Errorf("all refuse: %v", err)
		}
	})
}

// TestResolverForgetsWhileADatacenterIsAway asks for services that the first
// datacenter does not have, while the agent has no path to the second.
func TestResolverForgetsWhileADatacenterIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		dc2.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Status: 500, Body: "No path to datacenter"})
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}})
		defer r.Close()
		for n := range 20 {
			want(t, "instances", instances2(t, r, fmt.Sprint("missing-", n)), "")
		}
		time.Sleep(10 * time.Minute)
		for n := range 20 {
			if _, known := r.State(fmt.Sprint("missing-", n)); known {
				t.Errorf("service %d is still followed", n)
			}
		}
		for _, agent := range []*fakeAgent{dc1, dc2} {
			now, _ := agent.wire.inFlight()
			want(t, "queries under way", now, 0)
		}
	})
}

// TestResolverKeepsWhatItCannotReplace leaves services alone for longer than
// IdleTimeout while the agent cannot report on them.
func TestResolverKeepsWhatItCannotReplace(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault consulmock.Fault
		kept  bool
	}{
		{"no connection", consulmock.Fault{Drop: consulmock.DropRequest}, true},
		{"no leader", consulmock.Fault{NoLeader: true}, true},
		{"too many requests", consulmock.Fault{RateLimit: time.Second}, true},
		{"not allowed any more", consulmock.Fault{Status: 403, Body: "Permission denied"}, false},
		{"nothing wrong", consulmock.Fault{Path: "/v1/agent/**"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.add("web", "a")
				r := agent.resolver(nil)
				want(t, "instances", instances2(t, r, "web"), "a")
				test.fault.Always = true
				remove := agent.Inject(test.fault)
				time.Sleep(time.Hour)
				_, known := r.State("web")
				want(t, "kept", known, test.kept)
				remove()
				time.Sleep(time.Hour)
				_, known = r.State("web")
				want(t, "kept when all is well again", known, false)
			})
		})
	}
}

// TestResolverLoadOfLongUses has a use, such as a websocket, that outlasts the
// time after which a service is forgotten, and one whose instance was away.
func TestResolverLoadOfLongUses(t *testing.T) {
	load := func(t *testing.T, r *discovery.Resolver) int {
		t.Helper()
		synctest.Wait()
		list, err := r.Instances(t.Context(), "web")
		if err != nil || len(list) != 1 {
			t.Fatalf("%d instances, %v", len(list), err)
		}
		return list[0].Load()
	}
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		r := agent.resolver(nil)
		_, done, err := r.Acquire(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		want(t, "load after an hour", load(t, r), 1)
		agent.remove("a")
		synctest.Wait()
		time.Sleep(time.Hour)
		agent.add("web", "a")
		want(t, "load after the instance was away", load(t, r), 1)
		done(nil)
		want(t, "load afterwards", load(t, r), 0)
		time.Sleep(time.Hour)
		_, known := r.State("web")
		want(t, "known an hour later", known, false)
	})
	// A failure is remembered in the same way.
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		agent.add("web", "b")
		r := agent.resolver(nil)
		i, done, err := r.Acquire(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		done(errors.New("boom"))
		agent.remove(i.ID)
		synctest.Wait()
		agent.add("web", i.ID)
		synctest.Wait()
		want(t, "picks it", picked(t, r)[i.ID], false)
	})
}

// TestRetryFromEvents ends each pause at the moment at which it is announced.
func TestRetryFromEvents(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Times: 4, Status: 500, Body: "no"})
		var r *discovery.Resolver
		r = discovery.NewResolver(agent.client, &discovery.ResolverOptions{
			MinBackoff: 1000 * time.Hour,
			MaxBackoff: 1000 * time.Hour,
			OnEvent: func(e discovery.Event) {
				if e, ok := e.(discovery.WatchErrorEvent); ok {
					r.Retry(e.Watch)
				}
			},
		})
		defer r.Close()
		start := time.Now()
		want(t, "instances", instances2(t, r, "web"), "a")
		want(t, "waited", time.Since(start), 0)
	})
}

// TestRetryDoesNothingToAQuery calls Retry while a query waits for a change that
// then fails: the pause after that failure is not ended.
func TestRetryDoesNothingToAQuery(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		r := agent.resolver(&discovery.ResolverOptions{MinBackoff: 1000 * time.Hour, MaxBackoff: 1000 * time.Hour})
		instances2(t, r, "web")
		synctest.Wait()
		queries := agent.wire.count("GET /v1/health/service/web")
		r.Retry("web")
		synctest.Wait()
		want(t, "queries after Retry", agent.wire.count("GET /v1/health/service/web"), queries)
		agent.Stop()
		synctest.Wait()
		want(t, "errors", len(eventsOf[discovery.WatchErrorEvent](agent)), 1)
		r.Retry("web")
		r.Retry("web") // at once means once
		synctest.Wait()
		want(t, "errors after another Retry", len(eventsOf[discovery.WatchErrorEvent](agent)), 2)
	})
}

// TestRetry ends a pause that would last for some minutes of an hour, at random.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 80})
		agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Status: 500, Body: "no"})
		var pause time.Duration
		r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
			MinBackoff: time.Hour,
			MaxBackoff: time.Hour,
			OnEvent: func(e discovery.Event) {
				if e, ok := e.(discovery.WatchErrorEvent); ok {
					pause = e.RetryIn
				}
			},
		})
		defer r.Close()
		r.Retry("web") // nobody has asked for it
		begin := time.Now()
		go r.Instances(context.Background(), "web")
		synctest.Wait()
		r.Retry("web")
		instances, err := r.Instances(context.Background(), "web")
		if err != nil || len(instances) != 1 {
			t.Fatalf("Instances: %v, %v; want one", instances, err)
		}
		if took := time.Since(begin); took >= pause {
			t.Errorf("took %s; the pause was %s", took, pause)
		}
	})
}

// firstPicker is a balancer that can be looked for after it has been dropped.
type firstPicker struct{ _ [1 << 10]byte }

func (*firstPicker) Pick([]discovery.Instance) int { return 0 }

// TestForgottenServicesLeaveNothing picks from hundreds of services, and waits
// until the garbage collector has taken what was known of them.
func TestForgottenServicesLeaveNothing(t *testing.T) {
	const services = 300
	agent := consulmock.New(t)
	gone := make(chan struct{}, services)
	r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		IdleTimeout: time.Nanosecond,
		Balancer: func() discovery.Balancer {
			b := new(firstPicker)
			runtime.SetFinalizer(b, func(*firstPicker) { gone <- struct{}{} })
			return b
		},
	})
	defer r.Close()
	for n := range services {
		service := fmt.Sprint("s", n)
		agent.AddService(&consul.AgentServiceRegistration{Name: service})
		if _, err := r.Pick(context.Background(), service); err != nil {
			t.Fatal(err)
		}
	}
	for left := services; left > 0; {
		runtime.GC()
		for ; len(gone) > 0; left-- {
			<-gone
		}
	}
}

// TestCloseLeavesNothing uses a resolver and a registration in every way, and waits until
// the garbage collector has taken them after Close, though what they have handed out is
// still there.
func TestCloseLeavesNothing(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 80})
	ctx := t.Context()
	instance, resolver := func() (discovery.Instance, weak.Pointer[discovery.Resolver]) {
		r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{IdleTimeout: time.Hour})
		defer r.Close()
		for range r.Watch(ctx, "web") {
			break
		}
		i, done, err := r.Acquire(ctx, "web")
		if err != nil {
			t.Fatal(err)
		}
		done(errors.New("boom"))
		return i, weak.Make(r)
	}()
	registration := func() weak.Pointer[discovery.Registration] {
		r, err := discovery.Register(ctx, agent.Client(), webTTL(), &discovery.RegisterOptions{
			Health: func(context.Context) (consul.HealthStatus, string) { return consul.HealthWarning, "" },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.SetStatus(consul.HealthCritical, "")
		if err := r.Update(ctx, webTTL()); err != nil {
			t.Error(err)
		}
		return weak.Make(r)
	}()
	for resolver.Value() != nil || registration.Value() != nil {
		runtime.GC()
	}
	want(t, "load of an instance", instance.Load(), 0)
}

// TestResolverDatacenterOutOfReach counts how often a datacenter is queried before
// the next one is.
func TestResolverDatacenterOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		dc2.add("web", "x")
		dc1.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Status: 500, Body: "No path to datacenter"})
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}, OnEvent: dc1.note})
		defer r.Close()
		want(t, "instances", instances2(t, r, "web"), "x")
		want(t, "queries about the first", dc1.wire.count("GET /v1/health/service/web"), 3)
		for _, e := range eventsOf[discovery.WatchErrorEvent](dc1) {
			want(t, "datacenter of the error", e.Datacenter, "dc1")
		}
		changes := eventsOf[discovery.InstancesChangedEvent](dc1)
		want(t, "changes", len(changes), 1)
		want(t, "datacenter of the instances", changes[0].Datacenter, "dc2")
	})
	// Without Datacenters it is that of the query.
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		dc2.add("web", "x")
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Query: consul.QueryOptions{Datacenter: "dc2"}})
		defer r.Close()
		want(t, "instances", instances2(t, r, "web"), "x")
		want(t, "queries about the other", dc1.wire.count("GET"), 0)
	})
}

// TestResolverExcludeForNegative never leaves out what fails.
func TestResolverExcludeForNegative(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		agent.add("web", "b")
		r := agent.resolver(&discovery.ResolverOptions{ExcludeFor: -1})
		i, done, err := r.Acquire(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		done(errors.New("boom"))
		want(t, "picks it", picked(t, r)[i.ID], true)
	})
}

// TestResolverLoadOfRemovedInstances removes an instance and adds it again: one
// that was returned before stays current only if it is in use meanwhile.
func TestResolverLoadOfRemovedInstances(t *testing.T) {
	for _, inUse := range []bool{true, false} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			agent.add("web", "a")
			r := agent.resolver(nil)
			before, done, err := r.Acquire(t.Context(), "web")
			if err != nil {
				t.Fatal(err)
			}
			if !inUse {
				done(nil)
			}
			agent.remove("a")
			time.Sleep(time.Second)
			agent.add("web", "a")
			time.Sleep(time.Second)
			i, _, err := r.Acquire(t.Context(), "web")
			if err != nil {
				t.Fatal(err)
			}
			want(t, "the load is current", before.Load() == i.Load(), inUse)
		})
	}
}

// TestResolverFailuresOfRemovedInstances has an instance fail, and again after it
// was away: it is left out as after a first failure.
func TestResolverFailuresOfRemovedInstances(t *testing.T) {
	for _, away := range []bool{true, false} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			agent.add("web", "a")
			agent.add("web", "b")
			r := agent.resolver(&discovery.ResolverOptions{ExcludeFor: 5 * time.Second})
			for range 2 {
				for {
					i, done, err := r.Acquire(t.Context(), "web")
					if err != nil {
						t.Fatal(err)
					}
					if i.ID == "a" {
						done(errors.New("boom"))
						break
					}
					done(nil)
				}
				time.Sleep(6 * time.Second)
				if away {
					agent.remove("a")
					time.Sleep(time.Second)
					agent.add("web", "a")
					time.Sleep(time.Second)
				}
			}
			want(t, "picked after another 6 seconds", picked(t, r)["a"], away)
		})
	}
}
