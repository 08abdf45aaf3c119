//go:build go1.25

package kratos_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
)

// TestHeals measures for how long an instance is missing after the agent has lost
// everything: until the next heartbeat, which comes within 8 s, and then it is
// healthy at once.
func TestHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		i := hello("1")
		ctx, cancel := context.WithCancel(t.Context())
		if err := r.Register(ctx, i); err != nil {
			t.Fatal(err)
		}
		cancel() // the heartbeat does not depend on it
		time.Sleep(time.Hour)
		if !healthy(t, agent) {
			t.Fatal("not healthy after an hour")
		}
		agent.Restart(false)
		begin := time.Now()
		for !healthy(t, agent) {
			time.Sleep(10 * time.Millisecond)
			if time.Since(begin) > 8100*time.Millisecond {
				t.Fatal("not healthy again after 8 s")
			}
		}
		if err := r.Deregister(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if services, err := agent.Client().Agent().Services(t.Context(), nil); err != nil || len(services) > 0 {
			t.Errorf("services after Deregister: %v, %v", services, err)
		}
	})
}

func healthy(t *testing.T, agent *consulmock.Server) bool {
	t.Helper()
	entries, _, err := agent.Client().Health().Service(t.Context(), "helloworld", &consul.QueryOptions{PassingOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 1
}

// TestDeregisterInTime returns when its context ends, even if the agent hangs, and
// holds nobody else up.
func TestDeregisterInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		if err := r.Register(t.Context(), hello("1")); err != nil {
			t.Fatal(err)
		}
		remove := agent.Inject(consulmock.Fault{
			Method: http.MethodPut, Path: "/v1/agent/service/deregister/1", Hang: make(chan struct{}), Always: true,
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.Deregister(ctx, hello("1")); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Deregister: %v after %s", err, time.Since(begin))
		}
		begin = time.Now()
		if err := r.Register(t.Context(), hello("2")); err != nil || time.Since(begin) > 0 {
			t.Errorf("Register of another instance: %v after %s", err, time.Since(begin))
		}
		time.Sleep(10 * time.Second)
		remove()
	})
}

// hangs makes the registrations of an instance hang until release is called.
func hangs(agent *consulmock.Server, action string) (release func()) {
	hang := make(chan struct{})
	remove := agent.Inject(consulmock.Fault{Path: "/v1/agent/service/" + action, Hang: hang, Always: true})
	return func() {
		remove()
		close(hang)
	}
}

// versions returns the versions of the instances that the agent has, by ID.
func versions(t *testing.T, agent *consulmock.Server) map[string]string {
	t.Helper()
	services, err := agent.Client().Agent().Services(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for id, s := range services {
		all[id] = strings.TrimPrefix(s.Tags[0], "version=")
	}
	return all
}

// wantVersions checks what the agent has at once, and still has minutes later.
func wantVersions(t *testing.T, agent *consulmock.Server, want map[string]string) {
	t.Helper()
	for range 2 {
		if got := versions(t, agent); !maps.Equal(got, want) {
			t.Errorf("the agent has %v; want %v", got, want)
		}
		time.Sleep(5 * time.Minute)
	}
}

func helloVersion(id, version string) *kratos.Instance {
	i := hello(id)
	i.Version = version
	return i
}

// TestWithoutID removes an instance that has no ID under the name that it was
// registered under.
func TestWithoutID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		if err := r.Register(t.Context(), helloVersion("", "v1")); err != nil {
			t.Fatal(err)
		}
		wantVersions(t, agent, map[string]string{"helloworld": "v1"})
		if err := r.Deregister(t.Context(), helloVersion("", "v1")); err != nil {
			t.Error(err)
		}
		wantVersions(t, agent, map[string]string{})
		wantError(t, r.Deregister(t.Context(), &kratos.Instance{}), "neither an ID nor a name")
	})
}

// TestRegisterInTime returns when its context ends, also if it waits for another call
// about the same instance.
func TestRegisterInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		release := hangs(agent, "register")
		first := make(chan error, 1)
		go func() { first <- r.Register(t.Context(), helloVersion("1", "v1")) }()
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := r.Register(ctx, helloVersion("1", "v2"))
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 100*time.Millisecond {
			t.Errorf("Register: %v after %s; want the end of its context after 100 ms", err, took)
		}
		if err := r.Deregister(ctx, hello("1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Deregister: %v; want the end of its context", err)
		}
		last := make(chan error, 1)
		go func() { last <- r.Register(t.Context(), helloVersion("1", "v3")) }()
		synctest.Wait()
		release()
		if err := errors.Join(<-first, <-last); err != nil {
			t.Error(err)
		}
		wantVersions(t, agent, map[string]string{"1": "v3"})
	})
}

// TestRegisterTimeout bounds Register by the option.
func TestRegisterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, &kratos.Options{Timeout: 3 * time.Second})
		defer hangs(agent, "register")()
		begin := time.Now()
		if err := r.Register(t.Context(), hello("1")); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 4*time.Second {
			t.Errorf("Register: %v after %s; want the end of its time after 3 s, or a second later", err, time.Since(begin))
		}
	})
}

// TestConcurrentCalls runs calls about one instance in the order in which they began.
func TestConcurrentCalls(t *testing.T) {
	for name, calls := range map[string]string{
		"registered twice":            "12",
		"deregistered last":           "12-",
		"registered again":            "1-2",
		"deregistered three times":    "1---",
		"registered after a long row": "1-2-3-4-5-6",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent, r := newRegistry(t, nil)
				release := hangs(agent, "register")
				var running sync.WaitGroup
				want := map[string]string{}
				for _, call := range strings.Split(calls, "") {
					running.Add(1)
					go func() {
						defer running.Done()
						var err error
						if call == "-" {
							err = r.Deregister(t.Context(), hello("1"))
						} else {
							err = r.Register(t.Context(), helloVersion("1", call))
						}
						if err != nil {
							t.Error(err)
						}
					}()
					synctest.Wait() // it has its place in the queue
					if delete(want, "1"); call != "-" {
						want["1"] = call
					}
				}
				release()
				running.Wait()
				wantVersions(t, agent, want)
				if err := r.Deregister(t.Context(), hello("1")); err != nil {
					t.Error(err)
				}
				wantVersions(t, agent, map[string]string{})
			})
		})
	}
}

// TestBackground registers as soon as there is an agent.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, strict := newRegistry(t, nil)
		agent.Stop()
		if err := strict.Register(t.Context(), hello("1")); err == nil {
			t.Fatal("no error without an agent")
		}
		patient := kratos.New(agent.Client(), &kratos.Options{Background: true})
		defer patient.Close()
		if err := patient.Register(t.Context(), hello("1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		agent.Start()
		time.Sleep(10 * time.Second)
		if !healthy(t, agent) {
			t.Error("not healthy 10 s after the agent's start")
		}
	})
}

// TestBackgroundAgain returns at once for every Register, and registers what came
// last.
func TestBackgroundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, &kratos.Options{Background: true})
		begin := time.Now()
		call := func(err error) {
			t.Helper()
			if took := time.Since(begin); err != nil || took > 0 {
				t.Fatalf("%v after %s; want no error at once", err, took)
			}
		}
		agent.Stop()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Register(ended, helloVersion("1", "v")); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		for n := range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			call(r.Register(ctx, helloVersion("1", fmt.Sprint("v", n))))
			cancel() // the work goes on
		}
		time.Sleep(time.Hour)
		agent.Start()
		time.Sleep(10 * time.Second)
		wantVersions(t, agent, map[string]string{"1": "v99"})

		release := hangs(agent, "*")
		begin = time.Now()
		call(r.Register(t.Context(), helloVersion("1", "w1")))
		synctest.Wait()
		call(r.Register(t.Context(), helloVersion("1", "w2")))
		if err := r.Deregister(ended, hello("1")); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		call(r.Register(t.Context(), helloVersion("1", "w3")))
		synctest.Wait()
		call(r.Register(t.Context(), helloVersion("1", "w4")))
		release()
		time.Sleep(10 * time.Second)
		wantVersions(t, agent, map[string]string{"1": "w4"})
		if err := r.Deregister(t.Context(), hello("1")); err != nil {
			t.Error(err)
		}
		wantVersions(t, agent, map[string]string{})

		wantError(t, r.Register(t.Context(), &kratos.Instance{ID: "1", Name: "x", Endpoints: []string{"x"}}), "want scheme")
	})
}

// TestDeregisterWithoutContext removes the instance that it was given, although its
// context has ended and the caller uses the instance for something else.
func TestDeregisterWithoutContext(t *testing.T) {
	for _, registered := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			agent, r := newRegistry(t, nil)
			i := hello("1")
			by := r
			if !registered { // by this registry
				by = kratos.New(agent.Client(), nil)
				defer by.Close()
			}
			if err := by.Register(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			agent.AddService(&consul.AgentServiceRegistration{ID: "2", Name: "web", Tags: []string{"other"}})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.Deregister(ctx, i); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			i.ID = "2"
			synctest.Wait()
			if got := versions(t, agent); !maps.Equal(got, map[string]string{"2": "other"}) {
				t.Errorf("registered by this registry: %t: the agent has %v", registered, got)
			}
		})
	}
}

// TestHealsWithoutChecks registers an instance again that the agent has lost, whatever
// checks it has. Without any check it is healthy although nobody hears of it.
func TestHealsWithoutChecks(t *testing.T) {
	for _, opts := range []kratos.Options{
		{NoTCPChecks: true}, {NoHeartbeat: true}, {NoTCPChecks: true, NoHeartbeat: true},
		{NoTCPChecks: true, NoHeartbeat: true, Checks: []*consul.AgentServiceCheck{{TTL: time.Minute}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			agent, r := newRegistry(t, &opts)
			if err := r.Register(t.Context(), hello("1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if !healthy(t, agent) {
				t.Errorf("%+v: not healthy after an hour", opts)
			}
			agent.Restart(false)
			time.Sleep(25 * time.Second)
			if !healthy(t, agent) {
				t.Errorf("%+v: not healthy 25 s after the agent has lost the instance", opts)
			}
		})
	}
}

// TestMissingHeartbeats makes an instance critical after two intervals, and removes it
// after DeregisterAfter, or a minute. When heartbeats arrive again, it is back.
func TestMissingHeartbeats(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{5 * time.Minute: 5 * time.Minute, time.Second: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			agent, r := newRegistry(t, &kratos.Options{Interval: 30 * time.Second, DeregisterAfter: after})
			if err := r.Register(t.Context(), hello("1")); err != nil {
				t.Fatal(err)
			}
			remove := agent.Inject(consulmock.Fault{Method: http.MethodPut, Path: "/v1/agent/**", Status: 500, Always: true})
			time.Sleep(time.Minute - time.Second)
			if !healthy(t, agent) {
				t.Error("critical before two intervals are over")
			}
			time.Sleep(2 * time.Second)
			if healthy(t, agent) {
				t.Error("not critical after two intervals")
			}
			time.Sleep(want - 5*time.Second)
			if len(versions(t, agent)) != 1 {
				t.Errorf("deregistered before %s", want)
			}
			time.Sleep(time.Minute) // agents look every 30 s
			if len(versions(t, agent)) != 0 {
				t.Errorf("not deregistered after %s", want)
			}
			remove()
			time.Sleep(20 * time.Second)
			if !healthy(t, agent) {
				t.Error("not healthy again")
			}
		})
	}
}

// TestRegisterFails leaves no instance behind, but tries a change again.
func TestRegisterFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		fail := func() {
			agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Status: 500, Body: "not now"})
		}
		fail()
		wantError(t, r.Register(t.Context(), helloVersion("1", "v1")), "not now")
		wantVersions(t, agent, map[string]string{})
		if err := r.Register(t.Context(), helloVersion("1", "v1")); err != nil {
			t.Fatal(err)
		}
		fail()
		wantError(t, r.Register(t.Context(), helloVersion("1", "v2")), "not now")
		time.Sleep(10 * time.Second)
		wantVersions(t, agent, map[string]string{"1": "v2"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Register(ctx, helloVersion("2", "v1")); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		wantVersions(t, agent, map[string]string{"1": "v2"})
	})
}

// TestReplaceWithoutGap changes an instance while watchers follow it: it is always
// there, and then it is another service.
func TestReplaceWithoutGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newRegistry(t, nil)
		if err := r.Register(t.Context(), hello("1")); err != nil {
			t.Fatal(err)
		}
		w, err := r.Watch(t.Context(), "helloworld")
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		if got := ids(w); got != "1" {
			t.Fatalf("instances %q", got)
		}
		for n := range 10 {
			if err := r.Register(t.Context(), helloVersion("1", fmt.Sprint("v", n))); err != nil {
				t.Fatal(err)
			}
			if got := ids(w); got != "1" {
				t.Fatalf("instances %q", got)
			}
		}
		other := hello("1")
		other.Name = "other"
		if err := r.Register(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if got := ids(w); got != "" {
			t.Errorf("instances %q after it has become another service; want none", got)
		}
		if list, err := r.GetService(t.Context(), "other"); err != nil || len(list) != 1 {
			t.Errorf("%v, %v; want the other service", list, err)
		}
	})
}
