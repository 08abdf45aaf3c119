//go:build go1.25

package discovery_test

import (
	"context"
	"encoding/json"
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
		want(t, "time since the last response", stopped.Sub(st.Answered), 10*time.Second)
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
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last error: consul: GET http://127.0.0.1:8500/v1/health/service/web: ") {
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

// TestResolverWatchLoops breaks, panics and closes the resolver in loops, of which
// there are several for one service.
func TestResolverWatchLoops(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		r := agent.resolver(nil)
		for range r.Watch(t.Context(), "web") {
			break // at once
		}
		func() {
			defer func() { want(t, "panic", fmt.Sprint(recover()), "boom") }()
			for range r.Watch(t.Context(), "web") {
				panic("boom")
			}
		}()
		seq := r.Watch(t.Context(), "web")
		loops := 0
		for range seq { // one loop in another, twice the same sequence
			for list := range seq {
				want(t, "instances", ids(list), "a")
				loops++
				break
			}
			break
		}
		want(t, "loops", loops, 1)
		time.Sleep(time.Hour)
		_, known := r.State("web")
		want(t, "known after all loops have ended", known, false)

		var errs []error
		for _, err := range r.Watch(t.Context(), "web") {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			r.Close()
		}
		if len(errs) != 1 || !errors.Is(errs[0], discovery.ErrClosed) {
			t.Errorf("errors %v, want ErrClosed", errs)
		}
	})
}

// TestResolverAfterClose ends what is under way when a resolver is closed.
func TestResolverAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		r := agent.resolver(nil)
		i, done, err := r.Acquire(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		done(errors.New("boom"))
		done(nil)
		want(t, "load", i.Load(), 0)
		r.Retry("web")
		_, known := r.State("web")
		want(t, "known", known, false)
		for name, call := range map[string]func() error{
			"Instances":   func() error { _, err := r.Instances(t.Context(), "web"); return err },
			"Pick":        func() error { _, err := r.Pick(t.Context(), "web"); return err },
			"PickKey":     func() error { _, err := r.PickKey(t.Context(), "web", "k"); return err },
			"Acquire":     func() error { _, _, err := r.Acquire(t.Context(), "web"); return err },
			"DialContext": func() error { _, err := r.DialContext(t.Context(), "tcp", "web:80"); return err },
			"Watch":       func() error { return firstError(r.Watch(t.Context(), "web")) },
			"a request": func() error {
				_, err := (&http.Client{Transport: discovery.NewTransport(r, nil)}).Get("http://web/")
				return err
			},
		} {
			if err := call(); !errors.Is(err, discovery.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
	})
}

// TestResolverInstances compares what a resolver holds with what the agent
// reports, in order and in content.
func TestResolverInstances(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, id := range []string{"c", "a", "b"} {
			agent.add("web", id, func(r *consul.AgentServiceRegistration) {
				r.Tags, r.Meta, r.Weights = []string{"v1"}, map[string]string{"k": id}, &consul.AgentWeights{Passing: 7, Warning: 1}
			})
		}
		r := agent.resolver(nil)
		synctest.Wait()
		want(t, "requests of a new resolver", agent.wire.count("GET"), 0)
		entries, _, err := agent.client.Health().Service(t.Context(), "web", nil)
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.Instances(t.Context(), "web")
		if err != nil || len(list) != len(entries) {
			t.Fatalf("%d instances, %v", len(list), err)
		}
		for n, e := range entries {
			is, _ := json.Marshal(list[n])
			wanted, _ := json.Marshal(discovery.InstanceOf(e))
			want(t, "instance", string(is), string(wanted))
			want(t, "ID", list[n].ID, e.Service.ID)
		}
		want(t, "InstanceOf(nil)", discovery.InstanceOf(nil).ID, "")

		// From memory even if the time is over.
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := r.Instances(ended, "web"); err != nil {
			t.Errorf("from memory: %v", err)
		}
		if _, err := r.Instances(ended, "db"); !errors.Is(err, context.Canceled) {
			t.Errorf("not from memory: %v", err)
		}
	})
}

// TestResolverWatchEndsWithContext ends without an error.
func TestResolverWatchEndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Inject(consulmock.Fault{Path: "/v1/health/service/hangs", Hang: make(chan struct{})})
		r := agent.resolver(nil)
		for service, yields := range map[string]int{"web": 1, "hangs": 0} {
			start := time.Now()
			for list, err := range r.Watch(within(t, 10*time.Second), service) {
				want(t, "yield of "+service, fmt.Sprint(list, err), "[] <nil>")
				yields--
			}
			want(t, "yields missing", yields, 0)
			want(t, "took", time.Since(start), 10*time.Second)
		}
	})
}

// TestResolverWatchSlowLoop has a loop that takes its time: it sees the latest
// instances only.
func TestResolverWatchSlowLoop(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		r := agent.resolver(nil)
		var seen []string
		for list, err := range r.Watch(t.Context(), "web") {
			if err != nil {
				t.Fatal(err)
			}
			if seen = append(seen, ids(list)); len(seen) == 2 {
				break
			}
			for _, id := range []string{"a", "b", "c"} {
				agent.add("web", id)
				synctest.Wait()
			}
		}
		want(t, "seen", fmt.Sprintf("%q", seen), `["" "a b c"]`)
	})
}

// TestResolverWatchNewOutage has an agent that comes back and goes away again before
// the loop goes on. A loop that is given instances of the time between has to take them
// for current, so it is given the new error, too.
func TestResolverWatchNewOutage(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "a")
		r := agent.resolver(nil)
		want(t, "instances", instances2(t, r, "web"), "a")
		outage := func() {
			synctest.Wait()
			agent.Stop()
			time.Sleep(time.Minute)
		}
		outage()
		var seen []string
		for list, err := range r.Watch(t.Context(), "web") {
			switch {
			case errors.Is(err, discovery.ErrClosed):
				seen = append(seen, "closed")
			case err != nil:
				seen = append(seen, "error")
			default:
				seen = append(seen, ids(list))
			}
			if len(seen) == 2 {
				agent.Start()
				agent.add("web", "b")
				time.Sleep(time.Minute)
				outage()
			} else if len(seen) == 3 {
				time.AfterFunc(time.Hour, func() { r.Close() })
			}
		}
		want(t, "seen", fmt.Sprintf("%q", seen), `["a" "error" "a b" "error" "closed"]`)
	})
}

// TestResolverWatchConstantError has a datacenter that always fails beside one that
// changes: the error is yielded once.
func TestResolverWatchConstantError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		dc1.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Status: 500, Body: "No path to datacenter"})
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}})
		defer r.Close()
		errs, changes := 0, 0
		for _, err := range r.Watch(t.Context(), "web") {
			if err != nil {
				errs++
				continue
			}
			if changes++; changes == 20 {
				break
			}
			time.Sleep(time.Minute)
			dc2.add("web", fmt.Sprint(changes))
		}
		want(t, "errors", errs, 1)
	})
}

// lateClose is a context that lets something happen at the moment at which a loop has
// seen that there is nothing new, and is about to wait.
type lateClose struct {
	context.Context
	happen func()
}

func (c lateClose) Done() <-chan struct{} {
	c.happen()
	return c.Context.Done()
}

// TestResolverWatchLastInstances closes a resolver right after a change that a loop has
// not seen yet: it is given the change first.
func TestResolverWatchLastInstances(t *testing.T) {
	for range 10 { // a choice at random would be right half the time
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			r := agent.resolver(nil)
			instances2(t, r, "web")
			synctest.Wait()
			ctx := lateClose{t.Context(), sync.OnceFunc(func() {
				agent.add("web", "a")
				synctest.Wait()
				r.Close()
			})}
			var seen []string
			for list, err := range r.Watch(ctx, "web") {
				seen = append(seen, ids(list))
				if err != nil && !errors.Is(err, discovery.ErrClosed) {
					t.Error(err)
				}
			}
			want(t, "seen", fmt.Sprintf("%q", seen), `["" "a" ""]`)
		})
	}
}

// TestResolverStateBeforeTheFirstResponse has neither instances nor a time.
func TestResolverStateBeforeTheFirstResponse(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Stop()
		r := agent.resolver(nil)
		go r.Instances(within(t, time.Hour), "web")
		synctest.Wait()
		state, known := r.State("web")
		want(t, "known", known, true)
		want(t, "instances", len(state.Instances), 0)
		want(t, "zero time", state.Answered.IsZero(), true)
		want(t, "error", state.Err != nil, true)
	})
}
