//go:build go1.25

package discovery_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestRegistrationHeals breaks registrations in every way.
func TestRegistrationHeals(t *testing.T) {
	const (
		beat  = ttl * 4 / 10     // at most to the next heartbeat
		retry = ttl/3 + ttl/4    // at most from one try to the next, if the first one hangs
		look  = 12 * time.Second // at most to the next look at the agent
		back  = 500 * time.Millisecond
	)
	deregister := func(a *fakeAgent) { a.RemoveService("web-1") }
	dropCheck := func(a *fakeAgent) {
		if err := a.Client().Agent().CheckDeregister(a.t.Context(), "service:web-1"); err != nil {
			a.t.Fatal(err)
		}
	}
	away := func(d time.Duration, keep bool) func(*fakeAgent) {
		return func(a *fakeAgent) {
			a.Stop()
			time.Sleep(d)
			a.Restart(keep)
		}
	}
	fault := func(f consulmock.Fault, d time.Duration) func(*fakeAgent) {
		return func(a *fakeAgent) {
			f.Always = true
			if f.Hang != nil {
				f.Hang = make(chan struct{})
			}
			remove := a.Inject(f)
			time.Sleep(d)
			remove()
		}
	}
	agentAPI := func(f consulmock.Fault) consulmock.Fault {
		f.Path = "/v1/agent/**"
		return f
	}
	for _, test := range []struct {
		name      string
		reg       func() *consul.AgentServiceRegistration
		change    func(*fakeAgent)
		within    time.Duration
		registers int // in all
		reason    discovery.HealReason
	}{
		{"deregistered", webTTL, deregister, beat, 2, discovery.HealLost},
		{"check deregistered", webTTL, dropCheck, beat, 2, discovery.HealLost},
		{"restart without data", webTTL, away(0, false), beat + back, 2, discovery.HealLost},
		{"restart with data", webTTL, away(0, true), 0, 1, ""},
		{"an hour away, without data", webTTL, away(time.Hour, false), retry, 2, discovery.HealLost},
		{"an hour away, with data", webTTL, away(time.Hour, true), retry, 1, discovery.HealFailing},
		{"hanging longer than the TTL", webTTL, fault(agentAPI(consulmock.Fault{Hang: make(chan struct{})}), 2*ttl), retry, 1, discovery.HealFailing},
		{"no leader", webTTL, fault(agentAPI(consulmock.Fault{NoLeader: true, Latency: 7 * time.Second}), 2*ttl), retry, 1, discovery.HealFailing},
		{"slow and no answer in time", webTTL, fault(agentAPI(consulmock.Fault{Latency: 14 * time.Second}), 4*ttl), retry, 1, discovery.HealFailing},
		{"too many requests", webTTL, fault(agentAPI(consulmock.Fault{RateLimit: -1}), 2*ttl), retry, 1, discovery.HealFailing},
		{"too many requests, come back later", webTTL, fault(agentAPI(consulmock.Fault{RateLimit: time.Minute}), 2*ttl), retry + time.Minute, 1, discovery.HealFailing},
		{"dropped connections", webTTL, fault(agentAPI(consulmock.Fault{Drop: consulmock.DropRequest}), 2*ttl), retry, 1, discovery.HealFailing},
		{"permission lost", webTTL, fault(agentAPI(consulmock.Fault{Status: 403, Body: "ACL not found"}), 2*ttl), retry, 1, discovery.HealFailing},
		{"nonsense", webTTL, fault(agentAPI(consulmock.Fault{Status: 502, Body: "<html>"}), 2*ttl), retry, 1, discovery.HealFailing},

		{"HTTP check: deregistered", webHTTP, deregister, look, 2, discovery.HealLost},
		{"HTTP check: check deregistered", webHTTP, dropCheck, look, 2, discovery.HealLost},
		{"HTTP check: restart without data", webHTTP, away(0, false), look + back, 2, discovery.HealLost},
		{"HTTP check: an hour away, without data", webHTTP, away(time.Hour, false), 10 * time.Second, 2, discovery.HealLost},
		{"HTTP check: an hour away, with data", webHTTP, func(a *fakeAgent) {
			away(time.Hour, true)(a)
			a.SetCheckStatus("service:web-1", consul.HealthPassing, "") // the check has run
		}, 10 * time.Second, 1, discovery.HealFailing},
		{"HTTP check: may not look", webHTTP, fault(agentAPI(consulmock.Fault{Status: 403, Body: "Permission denied"}), time.Hour), 10 * time.Second, 1, discovery.HealFailing},
		{"HTTP check: no such endpoint", webHTTP, fault(agentAPI(consulmock.Fault{Status: 404, Body: "404 page not found"}), time.Hour), 10 * time.Second, 1, discovery.HealFailing},
		{"long TTL: deregistered", func() *consul.AgentServiceRegistration {
			r := webTTL()
			r.Check.TTL = time.Hour
			return r
		}, deregister, look, 2, discovery.HealLost},
	} {
		for _, version := range []string{"1.21.4", "1.8.7"} {
			t.Run(test.name+", "+version, func(t *testing.T) {
				bubble(t, func(t *testing.T, agent *fakeAgent) {
					reg := agent.register(test.reg(), nil)
					time.Sleep(100 * time.Second)
					test.change(agent)
					if took := agent.untilPassing(test.within + time.Second); took > test.within+100*time.Millisecond {
						t.Errorf("it took %s, want at most %s", took, test.within)
					}
					time.Sleep(5 * time.Minute)
					want(t, "health", agent.health(), "passing")
					want(t, "error", reg.Err(), nil)
					want(t, "registrations", agent.wire.count(registerPath), test.registers)
					healed := eventsOf[discovery.HealedEvent](agent)
					if len(healed) == 0 {
						healed = append(healed, discovery.HealedEvent{})
					} else {
						want(t, "times healed", len(healed), 1)
						if healed[0].Cause == nil || healed[0].Took > 3*time.Hour {
							t.Errorf("event %+v", healed[0])
						}
					}
					want(t, "reason", healed[0].Reason, test.reason)
				}, consulmock.WithVersion(version))
			})
		}
	}
}

// TestRegistrationDoesNotInsist checks that an agent which never knows the check
// is not flooded, and that the pauses are short again after that.
func TestRegistrationDoesNotInsist(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webTTL(), nil)
		remove := agent.Inject(consulmock.Fault{Path: "/v1/agent/check/**", Always: true, Status: 500, Body: `CheckID "service:web-1" does not have associated TTL`})
		time.Sleep(time.Hour)
		if n := agent.wire.count(registerPath); n < 20 || n > 100 {
			t.Errorf("%d registrations in an hour", n)
		}
		remove()
		agent.untilPassing(2 * time.Minute)
		before := agent.wire.count(registerPath)
		time.Sleep(time.Hour)
		want(t, "registrations afterwards", agent.wire.count(registerPath), before)
	})
}

// TestRegistrationsAreNotInStep registers many services in one moment.
func TestRegistrationsAreNotInStep(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		const n = 200
		for i := range n {
			reg := webTTL()
			reg.ID = fmt.Sprint("web-", i)
			agent.register(reg, nil)
		}
		_, most := agent.wire.inFlight()
		want(t, "calls at the same time", most, 1)
		for range 30 {
			before := agent.wire.count(updatePath)
			time.Sleep(time.Second)
			if beats := agent.wire.count(updatePath) - before; beats > 60 {
				t.Errorf("%d of %d heartbeats in one second out of ten", beats, n)
			}
		}
	})
}

// TestSlowAgent has an agent that takes its time for each response. That is part of the
// time from one heartbeat to the next.
func TestSlowAgent(t *testing.T) {
	for _, test := range []struct {
		ttl, latency time.Duration
		beats        int // in a minute
	}{
		{time.Second, 0, 180},
		{time.Second, 200 * time.Millisecond, 180},
		{time.Second, 900 * time.Millisecond, 60 * 10 / 9},
		{9 * time.Second, 2 * time.Second, 20},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			agent.Inject(consulmock.Fault{Path: "/v1/agent/**", Always: true, Latency: test.latency})
			web := webTTL()
			web.Check.TTL = test.ttl
			agent.register(web, nil)
			before := agent.wire.count(updatePath)
			for range 600 {
				time.Sleep(100 * time.Millisecond)
				if got := agent.health(); got != "passing" {
					t.Fatalf("%+v: the service is %s", test, got)
				}
			}
			if beats := agent.wire.count(updatePath) - before; beats < test.beats*9/10 || beats > test.beats*11/10 {
				t.Errorf("%+v: %d heartbeats", test, beats)
			}
		})
	}
}

// TestSeveralChecks keeps several TTL checks alive, next to one that is not.
func TestSeveralChecks(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(&consul.AgentServiceRegistration{
			Name:  "web",
			Check: &consul.AgentServiceCheck{TTL: time.Minute},
			Checks: []*consul.AgentServiceCheck{
				{CheckID: "queue", TTL: ttl},
				{TCP: "127.0.0.1:9", Interval: time.Minute, Status: consul.HealthPassing},
			},
		}, nil)
		time.Sleep(10 * time.Minute)
		want(t, "health", agent.health(), "passing")
		for _, id := range []string{"service:web:1", "queue", "service:web:3"} {
			if err := agent.Client().Agent().CheckDeregister(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(12 * time.Second)
			checks, err := agent.Client().Agent().Checks(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if checks[id] == nil {
				t.Errorf("check %s has not come back", id)
			}
		}
	})
}

// TestOnlyTheAgentsWordHeals has something between the program and the agent
// respond in the agent's place: nothing is lost then, and nothing is registered.
func TestOnlyTheAgentsWordHeals(t *testing.T) {
	for _, f := range []consulmock.Fault{
		{Path: "/v1/agent/check/update/*", Status: 404, Body: "404 page not found"},
		{Path: "/v1/agent/check/update/*", Status: 500, Body: "upstream error"},
		{Path: "/v1/agent/check/update/*", Status: 503, Body: `{"error":"try again"}`, Header: http.Header{"Content-Type": {"application/json"}}},
	} {
		t.Run(fmt.Sprint(f.Status), func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				reg := agent.register(webTTL(), nil)
				f.Always = true
				remove := agent.Inject(f)
				time.Sleep(5 * time.Minute)
				if reg.Err() == nil {
					t.Error("no error")
				}
				want(t, "registrations", agent.wire.count(registerPath), 1)
				remove()
				agent.untilPassing(ttl)
				time.Sleep(time.Minute)
				want(t, "registrations", agent.wire.count(registerPath), 1)
				want(t, "healed", fmt.Sprint(eventsOf[discovery.HealedEvent](agent)[0].Reason), "failing")
			})
		})
	}
}

// TestNullCheckIsMissing has an agent list a null instead of the check.
func TestNullCheckIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webHTTP(), nil)
		agent.Inject(consulmock.Fault{
			Path: "/v1/agent/health/**", Header: http.Header{"Content-Type": {"application/json"}},
			Body: `{"AggregatedStatus":"passing","Service":{"ID":"web-1","Service":"web"},"Checks":[null]}`,
		})
		time.Sleep(time.Minute)
		want(t, "registrations", agent.wire.count(registerPath), 2)
		want(t, "healed", len(eventsOf[discovery.HealedEvent](agent)), 1)
	})
}

// TestRetryAfterIsBoundedByTheTTL has one heartbeat refused with a pause that is
// longer than the TTL.
func TestRetryAfterIsBoundedByTheTTL(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webTTL(), nil)
		for range 50 {
			agent.Inject(consulmock.Fault{Path: "/v1/agent/check/update/*", RateLimit: 2 * time.Minute})
			for range 60 {
				time.Sleep(time.Second)
				want(t, "health", agent.health(), "passing")
			}
		}
		for _, e := range eventsOf[discovery.HeartbeatFailedEvent](agent) {
			if e.RetryIn < ttl/6 || e.RetryIn > ttl/3 {
				t.Errorf("retried in %s; want %s to %s", e.RetryIn, ttl/6, ttl/3)
			}
		}
	})
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webHTTP(), nil)
		agent.Inject(consulmock.Fault{Path: "/v1/agent/health/**", RateLimit: 2 * time.Minute})
		time.Sleep(time.Minute)
		if e := eventsOf[discovery.HeartbeatFailedEvent](agent); len(e) != 1 || e[0].RetryIn < 2*time.Minute {
			t.Errorf("without a TTL to lose: %+v", e)
		}
	})
}

// TestLargeOptions gives the largest durations there are.
func TestLargeOptions(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(&consul.AgentServiceRegistration{Name: "web"}, &discovery.RegisterOptions{
			TTL: math.MaxInt64, PollInterval: math.MaxInt64, CloseTimeout: math.MaxInt64,
		})
		time.Sleep(24 * time.Hour)
		want(t, "health", agent.health(), "passing")
		want(t, "requests", len(agent.wire.paths), 3) // the list of checks, the registration and the first report
		reg.SetStatus(consul.HealthWarning, "")
		want(t, "health", agent.health(), "warning")
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for n := range 20 { // the intervals are random
			web := webHTTP()
			web.ID = fmt.Sprint("web-", n)
			agent.register(web, &discovery.RegisterOptions{PollInterval: math.MaxInt64})
		}
		time.Sleep(24 * time.Hour)
		want(t, "requests with a check that the agent runs", len(agent.wire.paths), 20*2)
	})
}

// TestPolls checks which services the agent is polled for, and how often.
func TestPolls(t *testing.T) {
	ttlOf := func(d time.Duration) []*consul.AgentServiceCheck { return []*consul.AgentServiceCheck{{TTL: d}} }
	tcp := &consul.AgentServiceCheck{TCP: "127.0.0.1:9", Interval: time.Minute, Status: consul.HealthPassing}
	for _, test := range []struct {
		name     string
		checks   []*consul.AgentServiceCheck
		opts     discovery.RegisterOptions
		interval time.Duration // 0: none
	}{
		{"short TTL", ttlOf(ttl), discovery.RegisterOptions{}, 0},
		{"nine intervals", ttlOf(90 * time.Second), discovery.RegisterOptions{}, 0},
		{"more than nine intervals", ttlOf(91 * time.Second), discovery.RegisterOptions{}, 10 * time.Second},
		{"more than nine long intervals", ttlOf(time.Hour), discovery.RegisterOptions{PollInterval: time.Minute}, time.Minute},
		{"no check", nil, discovery.RegisterOptions{TTL: -1, PollInterval: -1}, 10 * time.Second},
		{"another check", []*consul.AgentServiceCheck{tcp}, discovery.RegisterOptions{PollInterval: time.Minute}, time.Minute},
		{"a TTL and another check", append(ttlOf(ttl), tcp), discovery.RegisterOptions{}, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.register(&consul.AgentServiceRegistration{Name: "web", Checks: test.checks}, &test.opts)
				last := time.Now()
				agent.wire.mu.Lock()
				agent.wire.intercepted = func(req *http.Request) (*http.Response, error, bool) {
					if req.Method == "GET" {
						if after := time.Since(last); after < test.interval*8/10 || after > test.interval*12/10 {
							t.Errorf("a poll after %s", after)
						}
						last = time.Now()
					}
					return nil, nil, false
				}
				agent.wire.mu.Unlock()
				time.Sleep(time.Hour)
				polls := agent.wire.count("GET /v1/agent/health/service/id/web")
				if test.interval == 0 {
					want(t, "polls", polls, 0)
				} else if mean := time.Hour / time.Duration(polls); mean < test.interval*9/10 || mean > test.interval*11/10 {
					t.Errorf("%d polls in an hour", polls)
				}
				want(t, "registrations", agent.wire.count(registerPath), 1)
			})
		})
	}
}

// TestHeartbeatFailedEvent checks that each failure is reported, with the time of
// the next try, and that pauses grow to what the TTL allows.
func TestHeartbeatFailedEvent(t *testing.T) {
	for _, test := range []struct {
		reg     *consul.AgentServiceRegistration
		ttl     time.Duration
		checkID string
		longest time.Duration // pause
	}{
		{webTTL(), 300 * time.Millisecond, "service:web-1", time.Second},
		{webTTL(), 6 * time.Second, "service:web-1", 2 * time.Second},
		{webTTL(), ttl, "service:web-1", 10 * time.Second},
		{webTTL(), 80 * time.Second, "service:web-1", 10 * time.Second},
		{webHTTP(), 0, "", 10 * time.Second},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			var due time.Time
			var longest time.Duration
			failures := 0
			onEvent := func(e discovery.Event) {
				failed, ok := e.(discovery.HeartbeatFailedEvent)
				if !ok {
					return
				}
				failures++
				want(t, "failures", failed.Failures, failures)
				want(t, "service, ID and check", failed.Service+" "+failed.ID+" "+failed.CheckID, "web web-1 "+test.checkID)
				if bound := min(500*time.Millisecond<<min(failures-1, 10), test.longest); failed.RetryIn > bound {
					t.Errorf("after %d failures: retried in %s, want at most %s", failures, failed.RetryIn, bound)
				}
				longest = max(longest, failed.RetryIn)
				due = time.Now().Add(failed.RetryIn)
			}
			test.reg.Check.TTL = test.ttl
			reg, err := discovery.Register(t.Context(), agent.client, test.reg, &discovery.RegisterOptions{OnEvent: onEvent})
			if err != nil {
				t.Fatal(err)
			}
			agent.wire.mu.Lock()
			agent.wire.intercepted = func(req *http.Request) (*http.Response, error, bool) {
				if !due.IsZero() && !strings.Contains(req.URL.Path, "deregister") {
					want(t, "time of the next try", time.Now(), due)
				}
				return &http.Response{StatusCode: 403, Header: http.Header{}, Body: http.NoBody}, nil, true
			}
			agent.wire.mu.Unlock()
			time.Sleep(100 * test.longest)
			reg.Close()
			if failures < 100 || longest < test.longest*8/10 {
				t.Errorf("TTL %s: %d failures, the longest pause was %s", test.ttl, failures, longest)
			}
		})
	}
}

// TestHealedEvent has the agent away for an hour.
func TestHealedEvent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webTTL(), nil)
		time.Sleep(time.Minute)
		agent.Stop()
		time.Sleep(time.Hour)
		agent.Start()
		time.Sleep(time.Minute)
		failed := eventsOf[discovery.HeartbeatFailedEvent](agent)
		healed := eventsOf[discovery.HealedEvent](agent)
		if len(failed) == 0 || len(healed) != 1 {
			t.Fatalf("failed %d times, healed %d times", len(failed), len(healed))
		}
		want(t, "service and ID", healed[0].Service+" "+healed[0].ID, "web web-1")
		want(t, "cause", healed[0].Cause, failed[0].Err)
		if took := healed[0].Took; took < time.Hour-ttl*4/10 || took > time.Hour+ttl/3 {
			t.Errorf("it took %s", took)
		}
	})
}
