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

// port returns the port of web.
func (a *fakeAgent) port() int {
	a.t.Helper()
	entries, _, err := a.Client().Health().Service(a.t.Context(), "web", nil)
	if err != nil || len(entries) != 1 {
		a.t.Fatalf("%d instances, error %v", len(entries), err)
	}
	return entries[0].Service.Port
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
		{"the agent wants a pause", func(a *fakeAgent, _ *discovery.Registration) {
			a.Inject(consulmock.Fault{Path: "/v1/agent/service/deregister/*", RateLimit: 2 * time.Minute})
		}, 5 * time.Second, false, "gone"},
		{"the agent refuses", func(a *fakeAgent, _ *discovery.Registration) {
			a.Inject(consulmock.Fault{Path: "/v1/agent/service/deregister/*", Always: true, Status: 403, Body: "Permission denied"})
		}, 0, true, "critical TTL expired"},
	} {
		for _, version := range []string{"1.21.4", "1.8.7"} {
			t.Run(test.name+", "+version, func(t *testing.T) {
				bubble(t, func(t *testing.T, agent *fakeAgent) {
					ctx, cancel := context.WithCancel(t.Context())
					reg, err := discovery.Register(ctx, agent.client, webTTL(), &discovery.RegisterOptions{OnEvent: agent.note})
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
					if e := eventsOf[discovery.DeregisteredEvent](agent); len(e) != 1 || e[0].Err != errs[0] {
						t.Errorf("events %+v", e)
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

// TestCloseTimeout closes while the agent hangs.
func TestCloseTimeout(t *testing.T) {
	for _, test := range []struct{ timeout, want time.Duration }{
		{0, 5 * time.Second}, {-1, 5 * time.Second}, {time.Second, time.Second}, {time.Minute, time.Minute},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			reg := agent.register(webTTL(), &discovery.RegisterOptions{CloseTimeout: test.timeout})
			agent.Inject(consulmock.Fault{Path: "/v1/agent/**", Always: true, Hang: make(chan struct{})})
			start := time.Now()
			if err := reg.Close(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			want(t, "Close took", time.Since(start), test.want)
		})
	}
}

// TestConcurrentUse calls everything at once.
func TestConcurrentUse(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			return consul.HealthPassing, ""
		}})
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				for k := range 10 {
					reg.SetStatus(consul.HealthWarning, fmt.Sprint(n, k))
					web := webTTL()
					web.Port = n
					reg.Update(within(t, time.Second), web)
					_, _ = reg.Err(), reg.ID()
					time.Sleep(time.Duration(n) * time.Millisecond)
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		wg.Go(func() { reg.Close() })
		wg.Wait()
		time.Sleep(time.Minute)
		want(t, "health", agent.health(), "gone")
	})
}

// TestChecksOfTheAgent checks that a check which the agent runs starts critical
// unless it has a Status, and has no status to be set.
func TestChecksOfTheAgent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		web := webHTTP()
		web.Check.Status = ""
		agent.register(web, nil)
		want(t, "health", agent.health(), "critical")
	})
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webHTTP(), nil)
		reg.SetStatus(consul.HealthWarning, "")
		time.Sleep(time.Minute)
		want(t, "health", agent.health(), "passing")
		want(t, "reports", agent.wire.count(updatePath), 0)
		if agent.wire.count(registerPath) != 1 || reg.Err() != nil {
			t.Errorf("%d registrations, error %v", agent.wire.count(registerPath), reg.Err())
		}
	})
}

// TestAddedCheckDeregisters has a service without a check of its own send no
// heartbeats any more.
func TestAddedCheckDeregisters(t *testing.T) {
	for _, test := range []struct{ ttl, critical time.Duration }{
		{0, 10 * time.Minute}, {time.Minute, 10 * time.Minute}, {2 * time.Minute, 20 * time.Minute},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			hang := make(chan struct{})
			health, _, _ := hungHealth(1, hang)
			agent.register(&consul.AgentServiceRegistration{Name: "web"}, &discovery.RegisterOptions{TTL: test.ttl, Health: health})
			for agent.health() == "passing" {
				time.Sleep(time.Second)
			}
			time.Sleep(test.critical - 2*time.Second)
			want(t, "health", agent.health(), "critical TTL expired")
			time.Sleep(32 * time.Second) // agents do it every 30 seconds
			want(t, "health", agent.health(), "gone")
			close(hang)
			agent.untilPassing(10 * time.Second)
		})
	}
}

// TestNamespace checks that every call about a service in a namespace names it.
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

		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/**", Always: true, Hang: make(chan struct{})})
		start := time.Now()
		_, err := discovery.Register(within(t, 2*time.Second), agent.client, webTTL(), nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends: %v", err)
		}
		want(t, "time to the end of the context and a second", time.Since(start), 3*time.Second)
	})
}

// TestFailedRegisterLeavesNothing breaks each of the requests of a registration
// in turn: an error means that the service is not registered.
func TestFailedRegisterLeavesNothing(t *testing.T) {
	for _, registrationTTL := range []time.Duration{0, -1} {
		for broken := range 3 {
			for _, f := range []consulmock.Fault{{Status: 500, Body: "no"}, {Drop: consulmock.DropAnswer}, {Hang: make(chan struct{})}} {
				bubble(t, func(t *testing.T, agent *fakeAgent) {
					f.Path, f.Skip = "/v1/agent/**", broken
					if f.Hang != nil {
						f.Hang = make(chan struct{})
					}
					agent.Inject(f)
					reg, err := discovery.Register(within(t, time.Minute), agent.client, &consul.AgentServiceRegistration{Name: "web"},
						&discovery.RegisterOptions{TTL: registrationTTL})
					time.Sleep(time.Minute)
					if err != nil {
						want(t, "health after an error", agent.health(), "gone")
						return
					}
					want(t, "health", agent.health(), "passing")
					if err := reg.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestImpossibleDefinitions checks that a definition which no agent can take, or
// whose checks could not be updated, is refused at once, and that nothing happens
// to an instance that is there already.
func TestImpossibleDefinitions(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*consul.AgentServiceRegistration)
		want   string
	}{
		{"service ID with dots", func(r *consul.AgentServiceRegistration) { r.ID = "web/../1" }, `service ID "web/../1": want no element . or .. between slashes`},
		{"name with dots", func(r *consul.AgentServiceRegistration) { r.ID, r.Name = "", ".." }, `service ID "..": want no element . or .. between slashes`},
		{"check ID with dots", func(r *consul.AgentServiceRegistration) { r.Check.CheckID = "web/./ttl" }, `check ID "web/./ttl": want no element . or .. between slashes`},
		{"check ID in the list", func(r *consul.AgentServiceRegistration) {
			r.Checks = []*consul.AgentServiceCheck{{CheckID: "..", TTL: time.Minute}}
		}, `check ID "..": want no element . or .. between slashes`},
		{"line break", func(r *consul.AgentServiceRegistration) { r.Check.CheckID = "a\nb" }, `check ID "a\nb": want printable characters`},
		{"no UTF-8", func(r *consul.AgentServiceRegistration) { r.ID = "a\xff" }, `service ID "a\xff": want printable characters`},
		{"no JSON", func(r *consul.AgentServiceRegistration) { r.Proxy = []byte("{") }, `service "web-1": json: `},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.add("web", "web-1")
				web := webTTL()
				test.change(web)
				refused := func(err error) {
					t.Helper()
					if err == nil || !strings.HasPrefix(err.Error(), "discovery: "+test.want) {
						t.Errorf("error %v; want %s", err, test.want)
					}
				}
				for _, background := range []bool{false, true} {
					reg, err := discovery.Register(t.Context(), agent.client, web, &discovery.RegisterOptions{Background: background})
					refused(err)
					if err == nil {
						reg.Close()
					}
				}
				want(t, "requests", len(agent.wire.paths), 1)
				want(t, "health", agent.health(), "passing")

				reg := agent.register(webTTL(), nil)
				if web.ID == "web-1" {
					refused(reg.Update(t.Context(), web))
				} else if err := reg.Update(t.Context(), web); err == nil {
					t.Error("Update: no error")
				}
				time.Sleep(time.Minute)
				want(t, "registrations", agent.wire.count(registerPath), 2)
			})
		})
	}
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
		failed := eventsOf[discovery.HeartbeatFailedEvent](agent)
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
