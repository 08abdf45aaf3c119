//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		client := agent.Client()
		defer client.CloseIdleConnections()
		ctx := context.Background()
		check := &consul.AgentServiceCheck{TTL: time.Minute}
		r, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80, Check: check}, nil)
		if err != nil {
			t.Fatal(err)
		}
		instance := func() *consul.ServiceEntry {
			t.Helper()
			entries, _, err := client.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
			if err != nil || len(entries) != 1 {
				t.Fatalf("%d instances, error %v; want one that is passing", len(entries), err)
			}
			return entries[0]
		}
		registrations := func() (n int) {
			for _, r := range agent.Requests() {
				if r.Path == "/v1/agent/service/register" {
					n++
				}
			}
			return n
		}

		same := &consul.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80, Checks: []*consul.AgentServiceCheck{check}}
		if err := r.Update(ctx, same); err != nil || registrations() != 1 {
			t.Errorf("the same definition: %d registrations, error %v", registrations(), err)
		}
		changed := *same
		changed.Port = 81
		if err := r.Update(ctx, &changed); err != nil || instance().Service.Port != 81 {
			t.Errorf("another port: it is %d, error %v", instance().Service.Port, err)
		}

		// A definition that the agent could not be told is told later.
		agent.Stop()
		changed.Port = 82
		if err := r.Update(ctx, &changed); err == nil || r.Err() == nil {
			t.Errorf("without an agent: error %v, then %v", err, r.Err())
		}
		agent.Start()
		time.Sleep(20 * time.Second)
		if port := instance().Service.Port; port != 82 || r.Err() != nil {
			t.Errorf("after the agent's return: port %d, error %v", port, r.Err())
		}

		// What the agent has lost is back when Update returns.
		agent.RemoveService("web-1")
		if err := r.Update(ctx, &changed); err != nil {
			t.Error(err)
		}
		instance()

		// Checks can come and go, and heartbeats follow.
		changed.Checks = []*consul.AgentServiceCheck{{CheckID: "other", TTL: 10 * time.Second}}
		if err := r.Update(ctx, &changed); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if id := instance().Checks[len(instance().Checks)-1].CheckID; id != "other" {
			t.Errorf("check %q", id)
		}

		// Nothing else is held up by an agent that hangs.
		changed.Port = 83
		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Hang: make(chan struct{})})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := r.Update(short, &changed); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with an agent that hangs: %v", err)
		}
		time.Sleep(time.Second)
		if port := instance().Service.Port; port != 83 {
			t.Errorf("port %d a second after the update was given up", port)
		}

		for _, wrong := range []*consul.AgentServiceRegistration{nil, {}, {Name: "web"}} {
			if err := r.Update(ctx, wrong); err == nil {
				t.Errorf("%+v: no error", wrong)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Update(ctx, &changed); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestUpdateEndsWithContext updates while a health function hangs that does not
// obey its context.
func TestUpdateEndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		hang := make(chan struct{})
		first := true
		r := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			if !first {
				<-hang
			}
			first = false
			return consul.HealthPassing, ""
		}})
		start := time.Now()
		if err := r.Update(within(t, time.Second), webTTL()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		want(t, "Update took", time.Since(start), time.Second)
		close(hang)
	})
}

// TestUpdateKeepsStatus changes the port of a service with a check that the agent
// runs, and that is in maintenance mode.
func TestUpdateKeepsStatus(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webHTTP(), nil)
		agent.SetCheckStatus("service:web-1", consul.HealthWarning, "so so")
		if err := agent.Client().Agent().EnableServiceMaintenance(t.Context(), "web-1", ""); err != nil {
			t.Fatal(err)
		}
		want(t, "health", strings.Fields(agent.health())[0], "maintenance")
		time.Sleep(time.Minute)
		want(t, "health after some polls", strings.Fields(agent.health())[0], "maintenance")
		web := webHTTP()
		web.Port = 81
		if err := reg.Update(t.Context(), web); err != nil {
			t.Error(err)
		}
		want(t, "health", agent.health(), "warning so so")
		want(t, "port", agent.port(), 81)
	})
}

// TestRefusedUpdate has the agent refuse a definition: what it has is kept alive,
// and the definition is tried again.
func TestRefusedUpdate(t *testing.T) {
	script := func(reg *consul.AgentServiceRegistration) { // refused with 500 by agents that may not run scripts
		reg.Checks = append(reg.Checks, &consul.AgentServiceCheck{Args: []string{"true"}, Interval: time.Minute})
	}
	for _, test := range []struct {
		name   string
		change func(*consul.AgentServiceRegistration)
	}{
		{"beside the check", script},
		{"beside a shorter TTL", func(reg *consul.AgentServiceRegistration) {
			reg.Check.CheckID, reg.Check.TTL = "service:web-1", ttl/6 // which the agent takes over all the same
			script(reg)
		}},
		{"with another check", func(reg *consul.AgentServiceRegistration) {
			reg.Check.CheckID = "other"
			script(reg)
		}},
		{"without a TTL check", func(reg *consul.AgentServiceRegistration) {
			reg.Check = nil
			script(reg)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				reg := agent.register(webTTL(), nil)
				bad := webTTL()
				test.change(bad)
				err := reg.Update(t.Context(), bad)
				if err == nil || !strings.Contains(err.Error(), "Scripts are disabled") {
					t.Fatalf("error %v", err)
				}
				for range 300 {
					time.Sleep(time.Second)
					want(t, "health", agent.health(), "passing")
				}
				if err := reg.Err(); err == nil || !strings.Contains(err.Error(), "Scripts are disabled") {
					t.Errorf("error %v", err)
				}
				if n := agent.wire.count(registerPath); n < 20 || n > 150*6 { // as often as the shortest TTL wants
					t.Errorf("%d registrations in five minutes", n)
				}
				reg.SetStatus(consul.HealthWarning, "")
				want(t, "health after SetStatus", agent.health(), "warning")
				reg.SetStatus(consul.HealthPassing, "")

				// What the agent has lost comes back as it was.
				agent.Restart(false)
				agent.untilPassing(ttl)

				// Another definition ends it.
				good := webTTL()
				good.Port = 81
				if err := reg.Update(t.Context(), good); err != nil {
					t.Error(err)
				}
				before := agent.wire.count(registerPath)
				time.Sleep(5 * time.Minute)
				want(t, "registrations afterwards", agent.wire.count(registerPath), before)
				want(t, "health", agent.health(), "passing")
				want(t, "error", reg.Err(), nil)
				want(t, "port", agent.port(), 81)
			})
		})
	}
}

// TestRefusedUpdateIsTakenBack returns to the definition that the agent has.
func TestRefusedUpdateIsTakenBack(t *testing.T) {
	for _, f := range []consulmock.Fault{
		{Status: 500, Body: "no"},
		{Drop: consulmock.DropAnswer}, // the agent has the other one
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			reg := agent.register(webTTL(), nil)
			f.Path = "/v1/agent/service/register"
			agent.Inject(f)
			other := webTTL()
			other.Port = 81
			if err := reg.Update(t.Context(), other); err == nil {
				t.Error("no error")
			}
			if err := reg.Update(t.Context(), webTTL()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			want(t, "port", agent.port(), 80)
			want(t, "error", reg.Err(), nil)
		})
	}
}

// TestUpdateWithoutResponse changes the check, and the agent does so, but its
// response is lost: the definition is sent again, and the previous one is not.
func TestUpdateWithoutResponse(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), nil)
		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Drop: consulmock.DropAnswer})
		web := webTTL()
		web.Port, web.Check.CheckID = 81, "other"
		if err := reg.Update(t.Context(), web); err == nil {
			t.Error("no error")
		}
		want(t, "port", agent.port(), 81)
		time.Sleep(time.Minute)
		want(t, "port", agent.port(), 81)
		want(t, "health", agent.health(), "passing")
		want(t, "registrations", agent.wire.count(registerPath), 3)
		want(t, "reason", eventsOf[discovery.HealedEvent](agent)[0].Reason, discovery.HealFailing)
	})
}

// TestUpdateWhileTheAgentHangs checks that a hung registration does not cost the
// heartbeats of the service that the agent has.
func TestUpdateWhileTheAgentHangs(t *testing.T) {
	for _, ttl := range []time.Duration{4 * time.Second, 15 * time.Second, 30 * time.Second, 10 * time.Minute} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			web := webTTL()
			web.Check.TTL = ttl
			reg := agent.register(web, nil)
			remove := agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Always: true, Hang: make(chan struct{})})
			web.Port = 81
			if err := reg.Update(t.Context(), web); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			for range 300 {
				time.Sleep(time.Second)
				want(t, "health", agent.health(), "passing")
			}
			remove()
			time.Sleep(30 * time.Second)
			want(t, "port", agent.port(), 81)
		})
	}
}

// TestUpdateGivenUp ends the context of an update before the agent has heard of
// it, since a heartbeat hangs.
func TestUpdateGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), nil)
		update := func(port int, within time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			web := webTTL()
			web.Port = port
			return reg.Update(ctx, web)
		}
		remove := agent.Inject(consulmock.Fault{Path: "/v1/agent/check/**", Always: true, Hang: make(chan struct{})})
		time.Sleep(ttl * 4 / 10) // a heartbeat is under way
		for port := 81; port <= 83; port++ {
			if err := update(port, time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want the end of the context", err)
			}
		}
		remove()
		time.Sleep(10 * time.Second)
		want(t, "port", agent.port(), 83)
		want(t, "health", agent.health(), "passing")
	})
}

// TestUpdateGivenUpIsNoFailure ends the context of an update while the agent
// hangs: nobody is told of a failure, or of its end.
func TestUpdateGivenUpIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		reg := agent.register(webTTL(), nil)
		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Hang: make(chan struct{})})
		web := webTTL()
		web.Port = 81
		if err := reg.Update(within(t, time.Second), web); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		want(t, "error at once", reg.Err(), nil)
		synctest.Wait()
		want(t, "port at once", agent.port(), 81)
		time.Sleep(time.Minute)
		want(t, "error", reg.Err(), nil)
		want(t, "failures", len(eventsOf[discovery.HeartbeatFailedEvent](agent)), 0)
		want(t, "healed", len(eventsOf[discovery.HealedEvent](agent)), 0)
	})
}

// TestUpdatesAtOnce has many updates under way: the last one wins, whatever
// becomes of the others.
func TestUpdatesAtOnce(t *testing.T) {
	for _, f := range []consulmock.Fault{
		{},
		{Latency: 3 * time.Second},
		{Hang: make(chan struct{})},
		{Status: 500, Body: "no"},
		{Drop: consulmock.DropAnswer},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			reg := agent.register(webTTL(), nil)
			f.Path, f.Times = "/v1/agent/service/register", 3
			if f.Hang != nil {
				f.Hang = make(chan struct{})
			}
			agent.Inject(f)
			for port := 81; port <= 90; port++ {
				go func() {
					web := webTTL()
					web.Port = port
					reg.Update(within(t, time.Duration(port%3+1)*time.Second), web)
				}()
				synctest.Wait()
			}
			time.Sleep(time.Minute)
			want(t, "port", agent.port(), 90)
			want(t, "error", reg.Err(), nil)
		})
	}
}

// TestCloseDuringUpdate closes while an update hangs, in the agent or in what does
// not obey its context: it ends with an error, and the service is gone.
func TestCloseDuringUpdate(t *testing.T) {
	for _, where := range []string{"agent", "health function", "transport"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				hang := make(chan struct{})
				var opts discovery.RegisterOptions
				if where == "health function" {
					opts.Health, _, _ = hungHealth(1, hang)
				}
				reg := agent.register(webTTL(), &opts)
				switch where {
				case "agent":
					agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Hang: hang})
				case "transport":
					agent.wire.mu.Lock()
					agent.wire.intercepted = func(req *http.Request) (*http.Response, error, bool) {
						if req.URL.Path != "/v1/agent/service/register" {
							return nil, nil, false
						}
						<-hang
						return nil, errors.New("hung"), true
					}
					agent.wire.mu.Unlock()
				}
				web := webTTL()
				web.Port = 81
				ended := make(chan error, 1)
				go func() { ended <- reg.Update(context.WithoutCancel(t.Context()), web) }()
				synctest.Wait()
				start := time.Now()
				if err := reg.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("Close took %s", took)
				}
				synctest.Wait()
				select {
				case err := <-ended:
					if err == nil || !strings.HasSuffix(err.Error(), "the registration is closed") {
						t.Errorf("error %v", err)
					}
				default:
					t.Error("Update has not returned")
				}
				want(t, "health", agent.health(), "gone")
				close(hang)
				time.Sleep(time.Minute)
				want(t, "health", agent.health(), "gone")
			})
		})
	}
}

// TestUpdateRefusesAnotherIdentity gives an update what it may not change.
func TestUpdateRefusesAnotherIdentity(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.wire.intercepted = func(*http.Request) (*http.Response, error, bool) { // an agent that knows namespaces
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil, true
		}
		web := webTTL()
		web.Namespace, web.Partition = "ns1", "p1"
		reg := agent.register(web, nil)
		for _, test := range []struct {
			change func(*consul.AgentServiceRegistration)
			want   string
		}{
			{func(r *consul.AgentServiceRegistration) { r.ID = "web-2" }, `the new ID is "web-2", want "web-1"`},
			{func(r *consul.AgentServiceRegistration) { r.ID = "" }, `the new ID is "web", want "web-1"`},
			{func(r *consul.AgentServiceRegistration) { r.Namespace = "ns2" }, `the new namespace is "ns2", want "ns1"`},
			{func(r *consul.AgentServiceRegistration) { r.Namespace = "" }, `the new namespace is "", want "ns1"`},
			{func(r *consul.AgentServiceRegistration) { r.Partition = "p2" }, `the new partition is "p2", want "p1"`},
		} {
			other := *web
			test.change(&other)
			if err := reg.Update(t.Context(), &other); err == nil || err.Error() != `discovery: updating service "web-1": `+test.want {
				t.Errorf("error %v; want %s", err, test.want)
			}
		}
		want(t, "registrations", agent.wire.count(registerPath), 1)
		if err := reg.Update(t.Context(), web); err != nil {
			t.Error(err)
		}
	})
}

func TestResolverConnect(t *testing.T) {
	agent := consulmock.New(t)
	client := agent.Client()
	defer client.CloseIdleConnections()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "plain", Port: 80})
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "native", Port: 81, Connect: &consul.AgentServiceConnect{Native: true}})
	resolver := discovery.NewResolver(client, &discovery.ResolverOptions{Connect: true})
	defer resolver.Close()
	instances, err := resolver.Instances(context.Background(), "web")
	if err != nil || len(instances) != 1 || instances[0].ID != "native" {
		t.Errorf("got %+v, error %v", instances, err)
	}
}

// TestUpdateOptionsWithoutEffect updates to definitions with which Register would refuse
// its options, and back.
func TestUpdateOptionsWithoutEffect(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var calls atomic.Int32
		reg := agent.register(&consul.AgentServiceRegistration{Name: "web"}, &discovery.RegisterOptions{
			TTL: 6 * time.Second,
			Health: func(context.Context) (consul.HealthStatus, string) {
				calls.Add(1)
				return consul.HealthWarning, ""
			},
		})
		for _, test := range []struct {
			checks []*consul.AgentServiceCheck
			status string
			beats  int // in two minutes
		}{
			{[]*consul.AgentServiceCheck{{TTL: 30 * time.Second}}, "warning", 12},
			{[]*consul.AgentServiceCheck{{TCP: "127.0.0.1:9", Interval: time.Minute, Status: consul.HealthPassing}}, "passing", 0},
			{nil, "warning", 60},
		} {
			if err := reg.Update(t.Context(), &consul.AgentServiceRegistration{Name: "web", Checks: test.checks}); err != nil {
				t.Fatal(err)
			}
			before := agent.wire.count(updatePath)
			calls.Store(0)
			time.Sleep(2 * time.Minute)
			want(t, "health", agent.health(), test.status)
			beats := agent.wire.count(updatePath) - before
			want(t, "calls of Health", int(calls.Load()), beats)
			if beats < test.beats*8/10 || beats > test.beats*12/10+1 {
				t.Errorf("%d heartbeats, want about %d", beats, test.beats)
			}
		}
	})
}
