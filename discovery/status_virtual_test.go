//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func TestSetStatus(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), nil)
		time.Sleep(time.Second)
		for _, test := range []struct {
			status consul.HealthStatus
			note   string
			want   string
		}{
			{consul.HealthWarning, "disk at 91 %", "warning disk at 91 %"},
			{consul.HealthWarning, "disk at 92 %", "warning disk at 92 %"},
			{consul.HealthCritical, "", "critical"},
			{consul.HealthPassing, "", "passing"},
			{consul.HealthMaintenance, "gone fishing", `critical status "maintenance": want passing, warning or critical: gone fishing`},
			{"", "", `critical status "": want passing, warning or critical`},
		} {
			before := time.Now()
			reg.SetStatus(test.status, test.note)
			if got := agent.health(); !strings.HasPrefix(test.want, strings.Fields(got)[0]) {
				t.Errorf("SetStatus(%q): %q at once, want %q", test.status, got, test.want)
			}
			want(t, "virtual time that it took", time.Since(before), 0)
			checks, err := agent.Client().Agent().Checks(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			c := checks["service:web-1"]
			want(t, "status and output", strings.TrimSpace(string(c.Status)+" "+c.Output), test.want)
			time.Sleep(5 * time.Minute)
			want(t, "status after some heartbeats", strings.Fields(agent.health())[0], strings.Fields(test.want)[0])
		}

		// Statuses that change like mad are thinned out, and the last one counts.
		before := agent.wire.count(updatePath)
		for n := range 10000 {
			reg.SetStatus(consul.HealthWarning, fmt.Sprint(n))
			time.Sleep(time.Millisecond)
		}
		reg.SetStatus(consul.HealthPassing, "")
		time.Sleep(100 * time.Millisecond)
		want(t, "the last one", agent.health(), "passing")
		if n := agent.wire.count(updatePath) - before; n > 10*10+12 {
			t.Errorf("%d reports in 10 s", n)
		}
		// The same status again is no news.
		before = agent.wire.count(updatePath)
		for range 100 {
			reg.SetStatus(consul.HealthPassing, "")
		}
		synctest.Wait()
		want(t, "reports of the same", agent.wire.count(updatePath), before)
	})
}

func TestSetStatusWhileTheAgentIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), nil)
		agent.Stop()
		time.Sleep(time.Minute)
		reg.SetStatus(consul.HealthWarning, "late news")
		time.Sleep(time.Minute)
		if reg.Err() == nil {
			t.Error("no error while the agent is away")
		}
		agent.Restart(false)
		time.Sleep(ttl)
		want(t, "health", strings.Fields(agent.health())[0], "warning")
	})
}

func TestInitialStatus(t *testing.T) {
	for _, test := range []struct {
		name  string
		check consul.HealthStatus
		opts  discovery.RegisterOptions
		want  string
	}{
		{"nothing said", "", discovery.RegisterOptions{}, "passing"},
		{"by the check", consul.HealthWarning, discovery.RegisterOptions{}, "warning"},
		{"by the options", consul.HealthPassing, discovery.RegisterOptions{Status: consul.HealthCritical}, "critical"},
		{"by the function", "", discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			return consul.HealthCritical, "warming up"
		}}, "critical"},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			reg := webTTL()
			reg.Check.Status = test.check
			agent.register(reg, &test.opts)
			want(t, test.name, strings.Fields(agent.health())[0], test.want)
		})
	}
}

func TestHealthFunction(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var mu sync.Mutex
		status, note, calls := consul.HealthPassing, "fine", 0
		set := func(s consul.HealthStatus, n string) { mu.Lock(); status, note = s, n; mu.Unlock() }
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(ctx context.Context) (consul.HealthStatus, string) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) > ttl/4 {
				t.Errorf("deadline in %s", time.Until(d))
			}
			mu.Lock()
			defer mu.Unlock()
			calls++
			return status, note
		}})
		check := func(want string) {
			t.Helper()
			time.Sleep(ttl * 4 / 10)
			checks, err := agent.Client().Agent().Checks(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			c := checks["service:web-1"]
			if got := string(c.Status) + " " + c.Output; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		check("passing fine")
		set(consul.HealthWarning, "so so")
		check("warning so so")
		reg.SetStatus(consul.HealthCritical, "draining") // the worse of the two
		check("critical draining")
		set(consul.HealthCritical, "broken")
		check("critical broken")
		set(consul.HealthPassing, "fine")
		check("critical draining")
		reg.SetStatus(consul.HealthPassing, "")
		check("passing fine")
		want(t, "one call for each report", calls, agent.wire.count(updatePath))
	})
}

// TestHealthFunctionHangs checks that a program which hangs turns critical, and
// that Close does not wait for it.
func TestHealthFunctionHangs(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		hang := make(chan struct{})
		first := true
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			if !first {
				<-hang
			}
			first = false
			return consul.HealthPassing, ""
		}})
		time.Sleep(2 * ttl)
		want(t, "health", agent.health(), "critical TTL expired")
		start := time.Now()
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close took %s", took)
		}
		want(t, "health", agent.health(), "gone")
		close(hang)
		time.Sleep(time.Minute)
		want(t, "health", agent.health(), "gone")
		want(t, "reports", agent.wire.count(updatePath), 1)
	})
}

// TestHealthIsCalledForReports checks that the health function is not called when
// the agent is only polled.
func TestHealthIsCalledForReports(t *testing.T) {
	for _, test := range []struct {
		name   string
		checks []*consul.AgentServiceCheck
	}{
		{"long TTL", []*consul.AgentServiceCheck{{TTL: 10 * time.Minute}}},
		{"beside another check", []*consul.AgentServiceCheck{{TTL: time.Minute}, {TCP: "127.0.0.1:9", Interval: time.Minute, Status: consul.HealthPassing}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				var calls atomic.Int64
				agent.register(&consul.AgentServiceRegistration{Name: "web", Checks: test.checks}, &discovery.RegisterOptions{
					Health: func(context.Context) (consul.HealthStatus, string) {
						calls.Add(1)
						return consul.HealthPassing, ""
					},
				})
				time.Sleep(time.Hour)
				if polls := agent.wire.count("GET /v1/agent/health/"); polls < 300 {
					t.Errorf("%d polls in an hour", polls)
				}
				want(t, "calls", calls.Load(), int64(agent.wire.count(updatePath)))
				// What a poll finds missing is registered with a status of that moment.
				before := calls.Load()
				agent.RemoveService("web")
				time.Sleep(12 * time.Second)
				want(t, "health", agent.health(), "passing")
				if calls.Load() == before {
					t.Error("the health function was not called before the service was registered again")
				}
			})
		})
	}
}

// TestHealthIsCalledAfterUpdates removes the TTL check and brings it back.
func TestHealthIsCalledAfterUpdates(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var calls atomic.Int64
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(ctx context.Context) (consul.HealthStatus, string) {
			deadline, _ := ctx.Deadline()
			want(t, "time for the function", time.Until(deadline), ttl/4)
			if calls.Add(1) == 1 {
				return consul.HealthPassing, ""
			}
			return consul.HealthCritical, ""
		}})
		http := webHTTP()
		http.Check.CheckID = "http" // a TTL goes on running if its check becomes another one under its ID
		if err := reg.Update(t.Context(), http); err != nil {
			t.Fatal(err)
		}
		calls.Store(1)
		time.Sleep(time.Minute)
		want(t, "calls without a TTL check", calls.Load(), 1)
		want(t, "health", agent.health(), "passing")
		updates := agent.wire.count(updatePath)
		web := webTTL()
		web.Check.CheckID = "other"
		if err := reg.Update(t.Context(), web); err != nil {
			t.Fatal(err)
		}
		want(t, "health", agent.health(), "critical")
		want(t, "calls", calls.Load()-1, int64(agent.wire.count(updatePath)-updates))
	})
}

// hungHealth is a health function that does not obey its context: after the first
// calls it returns when hang is closed.
func hungHealth(after int64, hang <-chan struct{}) (health func(context.Context) (consul.HealthStatus, string), calls, most *atomic.Int64) {
	calls, most = new(atomic.Int64), new(atomic.Int64)
	var now atomic.Int64
	return func(context.Context) (consul.HealthStatus, string) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		if calls.Add(1) > after {
			<-hang
		}
		return consul.HealthPassing, ""
	}, calls, most
}

const hung = "discovery: RegisterOptions.Health has not returned within 15s"

// TestRegisterEndsWithContextThoughHealthHangs checks that nothing was registered
// or removed, either.
func TestRegisterEndsWithContextThoughHealthHangs(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1") // by an earlier process
		hang := make(chan struct{})
		health, calls, _ := hungHealth(0, hang)
		start := time.Now()
		_, err := discovery.Register(within(t, time.Second), agent.client, webTTL(), &discovery.RegisterOptions{Health: health})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		want(t, "Register took", time.Since(start), time.Second)
		close(hang)
		time.Sleep(time.Minute)
		want(t, "calls", calls.Load(), 1)
		want(t, "requests that change something", agent.wire.count("PUT"), 1)
		want(t, "health", agent.health(), "passing")
	})
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		hang := make(chan struct{})
		health, _, _ := hungHealth(0, hang)
		_, err := discovery.Register(t.Context(), agent.client, webTTL(), &discovery.RegisterOptions{Health: health})
		if want := `discovery: registering service "web-1": ` + hung; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		close(hang)
	})
}

// TestHungHealthFails checks that a function which hangs is reported, and is not
// called a second time.
func TestHungHealthFails(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		hang := make(chan struct{})
		health, calls, most := hungHealth(3, hang)
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: health})
		for range 5 { // nor by anything else
			time.Sleep(time.Minute)
			reg.SetStatus(consul.HealthWarning, time.Now().String())
			if err := reg.Update(within(t, time.Second), webTTL()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Update: %v", err)
			}
		}
		reg.SetStatus(consul.HealthPassing, "")
		time.Sleep(time.Minute)
		if err := reg.Err(); err == nil || err.Error() != hung {
			t.Errorf("error %v, want %s", err, hung)
		}
		if e := eventsOf[discovery.HeartbeatFailedEvent](agent); len(e) == 0 || e[0].Err.Error() != hung {
			t.Errorf("events %+v", e)
		}
		want(t, "calls", calls.Load(), 4)
		want(t, "heartbeats", agent.wire.count(updatePath), 3)
		want(t, "health", agent.health(), "critical TTL expired")
		close(hang)
		agent.untilPassing(10 * time.Second)
		time.Sleep(time.Minute)
		want(t, "error", reg.Err(), nil)
		want(t, "calls at the same time", most.Load(), 1)
		want(t, "registrations", agent.wire.count(registerPath), 1)
	})
}

// TestSlowHealth has a function that takes longer than its context, but not too
// long for the TTL.
func TestSlowHealth(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			time.Sleep(ttl/2 - time.Second)
			return consul.HealthPassing, ""
		}})
		for range 600 {
			time.Sleep(time.Second)
			want(t, "health", agent.health(), "passing")
			want(t, "error", reg.Err(), nil)
		}
		reg.Close()
		time.Sleep(ttl) // the function returns
	})
}

// TestCloseEndsHealth closes while a health function is at work that obeys its
// context: what it uses can be closed next.
func TestCloseEndsHealth(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var calls, running atomic.Int64
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(ctx context.Context) (consul.HealthStatus, string) {
			running.Add(1)
			defer running.Add(-1)
			if calls.Add(1) > 1 {
				<-ctx.Done()
				time.Sleep(100 * time.Millisecond)
			}
			return consul.HealthPassing, ""
		}})
		reg.SetStatus(consul.HealthWarning, "") // reported at once
		synctest.Wait()
		want(t, "running", running.Load(), 1)
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		want(t, "running after Close", running.Load(), 0)
		want(t, "health", agent.health(), "gone")
	})
}

// TestHealthFunctionExits has a function end its goroutine, as a failing test
// does.
func TestHealthFunctionExits(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webTTL(), &discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			runtime.Goexit()
			return consul.HealthPassing, ""
		}})
		time.Sleep(time.Minute)
		want(t, "health", agent.health(), "critical") // no status is none
	})
}
