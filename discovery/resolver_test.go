//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

func (a *fakeAgent) resolver(opts *discovery.ResolverOptions) *discovery.Resolver {
	if opts == nil {
		opts = &discovery.ResolverOptions{}
	}
	opts.OnEvent = a.note
	r := discovery.NewResolver(a.client, opts)
	a.t.Cleanup(func() { r.Close() })
	return r
}

// instances returns what a resolver has, which it must have at once.
func instances(t *testing.T, r *discovery.Resolver, service string) string {
	t.Helper()
	synctest.Wait()
	start := time.Now()
	list, err := r.Instances(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	if list == nil {
		t.Error("the list is nil")
	}
	if took := time.Since(start); took > 0 {
		t.Errorf("it took %s", took)
	}
	return ids(list)
}

func TestResolverAsksOnce(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		agent.add("web", "web-2")
		r := agent.resolver(nil)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 10 {
					want(t, "instances", instances2(t, r, "web"), "web-1 web-2")
				}
				if _, err := r.Pick(t.Context(), "web"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		want(t, "queries", agent.wire.count("GET /v1/health/service/web"), 2) // the second one waits
		now, most := agent.wire.inFlight()
		want(t, "queries under way", now, 1)
		want(t, "queries at the same time", most, 1)

		agent.add("web", "web-3")
		want(t, "after one was added", instances(t, r, "web"), "web-1 web-2 web-3")
		agent.SetCheckStatus("service:web-1", consul.HealthCritical, "")
		want(t, "after one failed", instances(t, r, "web"), "web-2 web-3")
		agent.SetCheckStatus("service:web-2", consul.HealthWarning, "")
		want(t, "after one warned", instances(t, r, "web"), "web-3")
		agent.remove("web-3")
		want(t, "after the last one went", instances(t, r, "web"), "")
		_, err := r.Pick(t.Context(), "web")
		if !errors.Is(err, discovery.ErrNoInstances) {
			t.Errorf("Pick: %v, want ErrNoInstances", err)
		}
		want(t, "a service that nobody knows", instances2(t, r, "nothing"), "")

		changes := eventsOf[discovery.InstancesChangedEvent](agent)
		want(t, "last change", fmt.Sprint(changes[len(changes)-1]), fmt.Sprint(discovery.InstancesChangedEvent{Service: "web", Removed: 1}))
	})
}

// instances2 is instances without the demand that the resolver knows the service.
func instances2(t *testing.T, r *discovery.Resolver, service string) string {
	list, err := r.Instances(t.Context(), service)
	if err != nil {
		t.Error(err)
	}
	return ids(list)
}

func TestResolverReturnsCopies(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		r := agent.resolver(nil)
		list, err := r.Instances(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		list[0].ID = "changed"
		want(t, "the resolver's own", instances(t, r, "web"), "web-1")
	})
}

func TestResolverWhileTheAgentIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		r := agent.resolver(nil)
		_, known := r.State("web")
		want(t, "known before it was asked for", known, false)
		want(t, "before", instances2(t, r, "web"), "web-1")
		time.Sleep(10 * time.Second)
		agent.Stop()
		stopped := time.Now()
		time.Sleep(time.Hour)
		_, err := r.Instances(t.Context(), "web") // keeps it in use
		if err != nil {
			t.Fatal(err)
		}
		st, _ := r.State("web")
		want(t, "instances meanwhile", ids(st.Instances), "web-1")
		want(t, "time of the last answer", st.Answered, stopped.Add(-10*time.Second))
		if st.Err == nil {
			t.Error("no error to be seen")
		}
		if n := len(eventsOf[discovery.WatchErrorEvent](agent)); n < 3600/8 || n > 3600/4 {
			t.Errorf("%d errors in an hour", n)
		}
		agent.Start()
		time.Sleep(31 * time.Second)
		agent.add("web", "web-2")
		want(t, "afterwards", instances(t, r, "web"), "web-1 web-2")
		st, _ = r.State("web")
		want(t, "error afterwards", st.Err, nil)
	})
}

func TestResolverFirstAnswer(t *testing.T) {
	// Whatever goes wrong, the first call waits, until the agent is well.
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		agent.Stop()
		r := agent.resolver(nil)
		time.AfterFunc(10*time.Minute, agent.Start)
		want(t, "instances", instances2(t, r, "web"), "web-1")
	})
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Stop()
		r := agent.resolver(nil)
		start := time.Now()
		_, err := r.Instances(within(t, time.Minute), "web")
		want(t, "waited", time.Since(start), time.Minute)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last error: consul: GET /v1/health/service/web: ") {
			t.Errorf("error %v, want the end of the context and what was wrong", err)
		}
	})
	// A question that the agent refuses is not going to be answered.
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Status: 403, Body: "Permission denied"})
		r := agent.resolver(nil)
		start := time.Now()
		_, err := r.Instances(t.Context(), "web")
		if !errors.Is(err, consul.ErrPermissionDenied) {
			t.Errorf("error %v, want ErrPermissionDenied", err)
		}
		want(t, "waited", time.Since(start), 0)
		if _, err := r.Instances(t.Context(), ""); err == nil {
			t.Error("a service without a name is no error")
		}
	})
}

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

func TestResolverWatch(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		r := agent.resolver(nil)
		seen := make(chan string, 100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for list, err := range r.Watch(t.Context(), "web") {
				if err != nil {
					seen <- "error"
					if errors.Is(err, discovery.ErrClosed) {
						seen <- "closed"
					}
					continue
				}
				seen <- ids(list)
			}
		}()
		expect := func(what ...string) {
			t.Helper()
			synctest.Wait()
			for _, w := range what {
				select {
				case got := <-seen:
					want(t, "seen", got, w)
				default:
					t.Fatalf("nothing seen, want %q", w)
				}
			}
			if len(seen) > 0 {
				t.Fatalf("seen too: %q", <-seen)
			}
		}
		expect("web-1")
		agent.add("web", "web-2")
		expect("web-1 web-2")
		agent.add("web", "web-2") // again
		agent.add("db", "db-1")
		expect()
		agent.Stop()
		time.Sleep(time.Hour)
		expect("error") // once
		agent.Start()
		time.Sleep(time.Minute)
		expect("web-1 web-2") // again, since there was an error
		agent.Restart(false)
		time.Sleep(time.Minute)
		expect("error", "")
		r.Close()
		expect("error", "closed")
		<-done
		for _, err := range r.Watch(t.Context(), "web") {
			if !errors.Is(err, discovery.ErrClosed) {
				t.Errorf("Watch after Close: %v", err)
			}
		}
		if _, err := r.Instances(t.Context(), "web"); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("Instances after Close: %v", err)
		}
		r.Close()
	})
}

// TestResolverCancellation ends what waits for a resolver at each point at which
// it can be waiting.
func TestResolverCancellation(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Hang: make(chan struct{})})
		r := agent.resolver(nil)
		calls := map[string]func(ctx context.Context) error{
			"Instances": func(ctx context.Context) error { _, err := r.Instances(ctx, "web"); return err },
			"Pick":      func(ctx context.Context) error { _, err := r.Pick(ctx, "web"); return err },
			"PickKey":   func(ctx context.Context) error { _, err := r.PickKey(ctx, "web", "k"); return err },
			"Acquire":   func(ctx context.Context) error { _, _, err := r.Acquire(ctx, "web"); return err },
			"DialContext": func(ctx context.Context) error {
				_, err := r.DialContext(ctx, "tcp", "web:80")
				return err
			},
			"Watch": func(ctx context.Context) error {
				for range r.Watch(ctx, "web") {
				}
				return ctx.Err()
			},
		}
		for name, call := range calls {
			start := time.Now()
			if err := call(within(t, 10*time.Second)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			want(t, name+" took", time.Since(start), 10*time.Second)
		}
		time.AfterFunc(10*time.Second, func() { r.Close() })
		if _, err := r.Instances(t.Context(), "web"); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("closed while waiting: %v", err)
		}
	})
}

func TestResolverAllowWarning(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, id := range []string{"p", "w", "c"} {
			agent.add("web", id)
		}
		agent.SetCheckStatus("service:w", consul.HealthWarning, "")
		agent.SetCheckStatus("service:c", consul.HealthCritical, "")
		want(t, "passing", instances2(t, agent.resolver(nil), "web"), "p")
		want(t, "warning too", instances2(t, agent.resolver(&discovery.ResolverOptions{AllowWarning: true}), "web"), "p w")
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
		agent.add("web", "e")
		want(t, "one of them held", instances(t, r, "web"), "d e")
		agent.add("web", "f")
		want(t, "none held", instances(t, r, "web"), "e f")
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
		// It is left out for longer each time, until it succeeds once.
		fail := func(err error) {
			for {
				i, done, err2 := r.Acquire(t.Context(), "web")
				if err2 != nil {
					t.Fatal(err2)
				}
				if i.ID == first.ID {
					done(err)
					return
				}
				done(nil)
			}
		}
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

// TestResolverConnections follows 300 services of an agent that allows 200
// connections, and keeps 20 services registered at the same time.
func TestResolverConnections(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		const services = 300
		name := func(n int) string { return fmt.Sprintf("s%03d", n) }
		for n := range services {
			agent.add(name(n), name(n)+"-1")
		}
		for n := range 20 {
			reg := webTTL()
			reg.ID = fmt.Sprint("web-", n)
			agent.register(reg, nil)
		}
		r := agent.resolver(nil)
		start := time.Now()
		var wg sync.WaitGroup
		for n := range services {
			wg.Go(func() { want(t, "first", instances2(t, r, name(n)), name(n)+"-1") })
		}
		wg.Wait()
		want(t, "time to the first answers", time.Since(start), 0)

		slowest := time.Duration(0)
		for n := 0; n < services; n += 7 {
			agent.add(name(n), name(n)+"-2")
			changed := time.Now()
			for ids2 := name(n) + "-1 " + name(n) + "-2"; instances2(t, r, name(n)) != ids2; {
				time.Sleep(100 * time.Millisecond)
			}
			slowest = max(slowest, time.Since(changed))
		}
		if slowest > 6500*time.Millisecond {
			t.Errorf("a change was seen after %s, want at most 6s and a bit", slowest)
		}
		if _, most := agent.wire.inFlight(); most > 128+20+1 {
			t.Errorf("%d requests at the same time, want at most 128 queries and what the registrations and the test need", most)
		}
		if beats := agent.wire.count(updatePath); beats < 20*3 {
			t.Errorf("%d heartbeats", beats)
		}
		if errs := eventsOf[discovery.BeatFailedEvent](agent); len(errs) > 0 {
			t.Errorf("%d heartbeats failed, such as %v", len(errs), errs[0].Err)
		}
		if errs := eventsOf[discovery.WatchErrorEvent](agent); len(errs) > 0 {
			t.Errorf("%d errors, such as %v", len(errs), errs[0].Err)
		}
	}, consulmock.WithMaxConnsPerClient(200))
}
