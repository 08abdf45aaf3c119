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

const ttl = 30 * time.Second

func webTTL() *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 80, Check: &consul.AgentServiceCheck{TTL: ttl}}
}

func webHTTP() *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 80, Check: &consul.AgentServiceCheck{
		HTTP: "http://127.0.0.1:9/health", Interval: 10 * time.Second, Status: consul.HealthPassing,
	}}
}

// register registers a service until the end of the test.
func (a *fakeAgent) register(reg *consul.AgentServiceRegistration, opts *discovery.RegisterOptions) *discovery.Registration {
	a.t.Helper()
	if opts == nil {
		opts = &discovery.RegisterOptions{}
	}
	opts.OnEvent = a.note
	r, err := discovery.Register(a.t.Context(), a.client, reg, opts)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { r.Close() })
	return r
}

// health returns the status of web and the output of its first check.
func (a *fakeAgent) health() string {
	a.t.Helper()
	synctest.Wait()
	entries, _, err := a.Client().Health().Service(a.t.Context(), "web", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if len(entries) == 0 {
		return "gone"
	}
	status, output := string(entries[0].Checks.AggregatedStatus()), ""
	for _, c := range entries[0].Checks {
		if c.ServiceID != "" {
			output = c.Output
			break
		}
	}
	return strings.TrimSpace(status + " " + output)
}

// untilPassing returns how long it takes until web is passing.
func (a *fakeAgent) untilPassing(atMost time.Duration) time.Duration {
	a.t.Helper()
	start := time.Now()
	for a.health() != "passing" {
		if time.Since(start) > atMost {
			a.t.Fatalf("%s after %s", a.health(), atMost)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(start)
}

func (a *fakeAgent) index() uint64 {
	a.t.Helper()
	_, meta, err := a.Client().Health().Service(a.t.Context(), "web", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return meta.LastIndex
}

const (
	registerPath   = "PUT /v1/agent/service/register"
	deregisterPath = "PUT /v1/agent/service/deregister/"
	updatePath     = "PUT /v1/agent/check/update/"
)

func TestRegister(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		// Whoever watches never sees it in another state than passing.
		ctx, stop := context.WithCancel(t.Context())
		var seen []string
		go func() {
			for entries := range discovery.WatchService(ctx, agent.Client(), "web", nil) {
				for _, e := range entries {
					seen = append(seen, string(e.Checks.AggregatedStatus()))
				}
			}
		}()
		synctest.Wait()
		reg := agent.register(webTTL(), nil)
		want(t, "ID", reg.ID(), "web-1")
		want(t, "health", agent.health(), "passing")
		index := agent.index()

		for range 100 {
			time.Sleep(ttl / 3)
			want(t, "health", agent.health(), "passing")
		}
		want(t, "index afterwards", agent.index(), index)
		want(t, "registrations", agent.wire.count(registerPath), 1)
		if beats := agent.wire.count(updatePath); beats < 100*10/12 || beats > 100*10/8+2 {
			t.Errorf("%d heartbeats in 100 thirds of the TTL", beats)
		}
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		want(t, "health", agent.health(), "gone")
		requests := len(agent.wire.paths)
		time.Sleep(time.Hour)
		want(t, "requests after Close", len(agent.wire.paths), requests)
		stop()
		synctest.Wait()
		want(t, "seen by a watch", strings.Join(seen, " "), "passing")
		want(t, "events", fmt.Sprintf("%T", agent.events), "[]discovery.Event")
		want(t, "number of events", len(agent.events), 2)
		want(t, "registered", len(eventsOf[discovery.RegisteredEvent](agent)), 1)
		want(t, "deregistered", len(eventsOf[discovery.DeregisteredEvent](agent)), 1)
	})
}

// TestRegisterReplacesStaleChecks registers over what an earlier process left.
func TestRegisterReplacesStaleChecks(t *testing.T) {
	for _, test := range []struct {
		name   string
		reg    func() *consul.AgentServiceRegistration
		opts   discovery.RegisterOptions
		checks string
	}{
		{"one check", webTTL, discovery.RegisterOptions{}, "service:web-1"},
		{"no check", func() *consul.AgentServiceRegistration {
			return &consul.AgentServiceRegistration{Name: "web", ID: "web-1"}
		}, discovery.RegisterOptions{TTL: -1}, ""},
		{"the added one", func() *consul.AgentServiceRegistration {
			return &consul.AgentServiceRegistration{Name: "web", ID: "web-1"}
		}, discovery.RegisterOptions{}, "service:web-1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.add("web", "web-1", func(r *consul.AgentServiceRegistration) {
					r.Checks = []*consul.AgentServiceCheck{{TTL: time.Minute}, {CheckID: "old", TTL: time.Minute, Status: consul.HealthCritical}}
				})
				time.Sleep(2 * time.Minute) // all but one are critical now
				agent.register(test.reg(), &test.opts)
				want(t, "health", agent.health(), "passing")
				checks, err := agent.client.Agent().Checks(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for id := range checks {
					got = append(got, id)
				}
				want(t, "checks", strings.Join(got, " "), test.checks)
			})
		})
	}
}

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

func TestClose(t *testing.T) {
	never := func() chan struct{} { return make(chan struct{}) }
	for _, test := range []struct {
		name    string
		prepare func(a *fakeAgent, r *discovery.Registration)
		within  time.Duration
		failing bool
		after   string
	}{
		{"nothing special", func(*fakeAgent, *discovery.Registration) {}, 0, false, "gone"},
		{"in the middle of a heartbeat that hangs", func(a *fakeAgent, _ *discovery.Registration) {
			a.Inject(consulmock.Fault{Path: "/v1/agent/check/**", Always: true, Hang: never()})
			time.Sleep(12 * time.Second)
		}, 5 * time.Second, false, "gone"},
		{"deregistered already", func(a *fakeAgent, _ *discovery.Registration) { a.RemoveService("web-1") }, 0, false, "gone"},
		{"the agent fails once", func(a *fakeAgent, _ *discovery.Registration) {
			a.Inject(consulmock.Fault{Path: "/v1/agent/service/deregister/*", Times: 3, NoLeader: true})
		}, 5 * time.Second, false, "gone"},
		{"the agent comes back soon", func(a *fakeAgent, _ *discovery.Registration) {
			a.Stop()
			time.AfterFunc(2*time.Second, a.Start)
		}, 5 * time.Second, false, "gone"},
		{"the agent is away", func(a *fakeAgent, _ *discovery.Registration) {
			a.Stop()
			time.AfterFunc(time.Minute, a.Start)
		}, 5 * time.Second, true, "critical"}, // restarted late, and says no more
		{"the agent hangs", func(a *fakeAgent, _ *discovery.Registration) {
			a.Inject(consulmock.Fault{Path: "/v1/agent/**", Always: true, Hang: never()})
			time.Sleep(5 * time.Second)
		}, 5 * time.Second, true, "critical TTL expired"},
		{"the agent refuses", func(a *fakeAgent, _ *discovery.Registration) {
			a.Inject(consulmock.Fault{Path: "/v1/agent/service/deregister/*", Always: true, Status: 403, Body: "Permission denied"})
		}, 0, true, "critical TTL expired"},
	} {
		for _, version := range []string{"1.21.4", "1.8.7"} {
			t.Run(test.name+", "+version, func(t *testing.T) {
				bubble(t, func(t *testing.T, agent *fakeAgent) {
					ctx, cancel := context.WithCancel(t.Context())
					reg, err := discovery.Register(ctx, agent.client, webTTL(), nil)
					if err != nil {
						t.Fatal(err)
					}
					cancel()
					time.Sleep(time.Minute)
					want(t, "health after the end of the context", agent.health(), "passing")
					test.prepare(agent, reg)
					start := time.Now()
					var errs [3]error
					var wg sync.WaitGroup
					for i := range errs {
						wg.Go(func() { errs[i] = reg.Close() })
					}
					wg.Wait()
					if took := time.Since(start); took > test.within {
						t.Errorf("Close took %s, want at most %s", took, test.within)
					}
					for _, err := range errs {
						if (err != nil) != test.failing || !errors.Is(err, errs[0]) {
							t.Errorf("Close: %v and %v", errs[0], err)
						}
					}
					time.Sleep(2 * time.Minute)
					want(t, "health afterwards", agent.health(), test.after)
					reg.SetStatus(consul.HealthPassing, "nobody listens")
					time.Sleep(time.Minute)
					want(t, "health long afterwards", agent.health(), test.after)
				}, consulmock.WithVersion(version))
			})
		}
	}
}

// TestNamespace checks that every call about a service in a namespace says so.
func TestNamespace(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var mu sync.Mutex
		var without []string
		agent.wire.intercepted = func(req *http.Request) (*http.Response, error, bool) {
			if q := req.URL.Query(); q.Get("ns") != "ns1" || q.Get("partition") != "p1" {
				mu.Lock()
				defer mu.Unlock()
				without = append(without, req.URL.String())
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil, true
		}
		reg := webTTL()
		reg.Namespace, reg.Partition = "ns1", "p1"
		r := agent.register(reg, nil)
		time.Sleep(time.Minute)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if agent.wire.count("PUT") < 5 || len(without) > 0 {
			t.Errorf("requests without the namespace: %q", without)
		}
	})
}

// TestCloseWaitsForACallUnderWay closes while the service is being registered
// again. An agent goes on with that even if the client has left, so the
// deregistration has to come afterwards.
func TestCloseWaitsForACallUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), nil)
		agent.Restart(false)
		agent.wire.mu.Lock()
		agent.wire.intercepted = func(req *http.Request) (*http.Response, error, bool) {
			if req.URL.Path != "/v1/agent/service/register" {
				return nil, nil, false
			}
			type result struct {
				resp *http.Response
				err  error
			}
			done := make(chan result, 1)
			go func() {
				time.Sleep(500 * time.Millisecond)
				resp, err := agent.wire.base.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
				done <- result{resp, err}
			}()
			select {
			case r := <-done:
				return r.resp, r.err, true
			case <-req.Context().Done():
				return nil, req.Context().Err(), true
			}
		}
		agent.wire.mu.Unlock()
		for agent.wire.count(registerPath) < 2 {
			time.Sleep(100 * time.Millisecond)
		}
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		want(t, "health", agent.health(), "gone")
	})
}

func TestRegisterFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  consulmock.Fault
		within time.Duration
		is     error
	}{
		{"refused", consulmock.Fault{Status: 400, Body: "Invalid check"}, 0, nil},
		{"no leader", consulmock.Fault{NoLeader: true, Latency: 7 * time.Second}, 7 * time.Second, consul.ErrNoLeader},
		{"hangs", consulmock.Fault{Hang: make(chan struct{})}, 10 * time.Second, context.DeadlineExceeded},
		{"late", consulmock.Fault{Latency: 10500 * time.Millisecond}, 10500 * time.Millisecond, context.DeadlineExceeded},
		{"no answer", consulmock.Fault{Drop: consulmock.DropAnswer}, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				f := test.fault
				f.Path, f.Times = "/v1/agent/service/register", 10
				if f.Hang != nil {
					f.Hang = make(chan struct{})
				}
				agent.Inject(f)
				start := time.Now()
				_, err := discovery.Register(t.Context(), agent.client, webTTL(), nil)
				if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), `"web-1"`) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start); took > test.within+time.Second {
					t.Errorf("took %s, want %s", took, test.within)
				}
				time.Sleep(time.Minute)
				want(t, "health", agent.health(), "gone")
			})
		})
	}
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, reg := range []*consul.AgentServiceRegistration{nil, {}, {Name: "web", Checks: []*consul.AgentServiceCheck{{CheckID: "a", TTL: 1}, {CheckID: "a", TTL: 1}}}} {
			if _, err := discovery.Register(t.Context(), agent.client, reg, nil); err == nil {
				t.Errorf("registered %v", reg)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := discovery.Register(ctx, agent.client, webTTL(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		want(t, "requests", len(agent.wire.paths), 0)

		agent.Inject(consulmock.Fault{Path: "/v1/agent/**", Always: true, Hang: make(chan struct{})})
		start := time.Now()
		_, err := discovery.Register(within(t, 2*time.Second), agent.client, webTTL(), nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: %v", err)
		}
		want(t, "time to the end of the context and a second", time.Since(start), 3*time.Second)
	})
}

func TestRegisterInBackground(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Stop()
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Background: true})
		const notYet = `discovery: service "web-1" is not registered yet`
		if err := reg.Err(); err == nil || err.Error() != notYet {
			t.Errorf("before the first attempt: %v", err)
		}
		time.Sleep(time.Hour)
		failed := eventsOf[discovery.BeatFailedEvent](agent)
		if err := reg.Err(); err == nil || err.Error() != notYet+": "+failed[0].Err.Error() || errors.Unwrap(err) == nil {
			t.Errorf("while the agent is away: %v", err)
		}
		reg.SetStatus(consul.HealthWarning, "")
		agent.Start()
		time.Sleep(10 * time.Second)
		want(t, "health", agent.health(), "warning")
		want(t, "registered", len(eventsOf[discovery.RegisteredEvent](agent)), 1)
		want(t, "healed", len(eventsOf[discovery.HealedEvent](agent)), 0)
		want(t, "error", reg.Err(), nil)
		agent.Stop()
		time.Sleep(time.Minute)
		if err := reg.Err(); err == nil || strings.Contains(err.Error(), "yet") {
			t.Errorf("while the agent is away again: %v", err)
		}
	})
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.register(webTTL(), &discovery.RegisterOptions{Background: true})
		want(t, "health at once", agent.health(), "passing")
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
