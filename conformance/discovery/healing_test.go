package discovery

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/internal/agenttest"
)

var runs = flag.Int("runs", 1, "how often TestHealing repeats each scenario")

func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	return &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 100, IdleConnTimeout: 90 * time.Second}
}

// slack is what a busy machine may add to the times.
const slack = 5 * time.Second

// scenario is something that happens to an agent or to what it holds.
type scenario struct {
	name   string
	role   agenttest.Role
	tcp    bool // the service has a TCP check, which the agent runs every second
	breaks func(t *testing.T, a *agenttest.Agent)

	// What the registration recovers from: for the table, and to be checked
	// where it is certain.
	reasons []discovery.HealReason
	within  time.Duration
}

// Times are counted from the moment at which the agent answers again and, if it
// was restarted, has a leader.
var scenarios = []scenario{
	{"agent killed, restarted at once without its data", agenttest.Dev, false,
		func(t *testing.T, a *agenttest.Agent) { a.Restart(false) }, []discovery.HealReason{discovery.HealLost}, ttl/2 + time.Second},
	{"agent killed, restarted at once with its data", agenttest.Server, false,
		func(t *testing.T, a *agenttest.Agent) { a.Restart(true) }, nil, ttl/2 + time.Second},
	{"agent away for 20 s, restarted without its data", agenttest.Dev, false,
		func(t *testing.T, a *agenttest.Agent) { a.Kill(); time.Sleep(2 * ttl); a.Restart(false) }, []discovery.HealReason{discovery.HealLost}, ttl + 2*time.Second},
	{"agent away for 20 s, restarted with its data", agenttest.Server, false,
		func(t *testing.T, a *agenttest.Agent) { a.Kill(); time.Sleep(2 * ttl); a.Restart(true) }, []discovery.HealReason{discovery.HealFailing}, ttl + 2*time.Second},
	{"agent stopped (SIGSTOP) for 20 s", agenttest.Dev, false,
		func(t *testing.T, a *agenttest.Agent) {
			a.Signal(syscall.SIGSTOP)
			time.Sleep(2 * ttl)
			a.Signal(syscall.SIGCONT)
		}, []discovery.HealReason{discovery.HealFailing}, ttl/2 + time.Second},
	{"service deregistered by somebody else", agenttest.Dev, false,
		func(t *testing.T, a *agenttest.Agent) { deregister(t, a) }, []discovery.HealReason{discovery.HealLost}, ttl/2 + time.Second},
	{"check deregistered by somebody else", agenttest.Dev, false,
		func(t *testing.T, a *agenttest.Agent) {
			if err := a.Client().Agent().CheckDeregister(context.Background(), "service:web-1"); err != nil {
				t.Fatal(err)
			}
		}, []discovery.HealReason{discovery.HealLost}, ttl/2 + time.Second},
	{"service with a TCP check deregistered by somebody else", agenttest.Dev, true,
		func(t *testing.T, a *agenttest.Agent) { deregister(t, a) }, []discovery.HealReason{discovery.HealLost}, 15 * time.Second},
	{"service with a TCP check, agent restarted without its data", agenttest.Dev, true,
		func(t *testing.T, a *agenttest.Agent) { a.Restart(false) }, []discovery.HealReason{discovery.HealLost}, 15 * time.Second},
}

func deregister(t *testing.T, a *agenttest.Agent) {
	t.Helper()
	if err := a.Client().Agent().ServiceDeregister(context.Background(), "web-1"); err != nil {
		t.Fatal(err)
	}
}

// TestHealing breaks a registration in every way, and checks that the agent and
// a resolver see it passing again in time. With -v it prints the table of
// healing times, medians and extremes of -runs runs.
func TestHealing(t *testing.T) {
	agenttest.Binary(t)
	t.Run("scenarios", func(t *testing.T) {
		for n, s := range scenarios {
			for run := range *runs {
				t.Run(fmt.Sprintf("%s, run %d", s.name, run+1), func(t *testing.T) {
					t.Parallel()
					s.run(t, n)
				})
			}
		}
		for run := range *runs {
			t.Run(fmt.Sprintf("leader killed, run %d", run+1), func(t *testing.T) {
				t.Parallel()
				leaderKilled(t, len(scenarios))
			})
		}
	})
	table.Lock()
	defer table.Unlock()
	slices.SortFunc(table.rows, func(a, b row) int { return a.order - b.order })
	var b strings.Builder
	fmt.Fprintf(&b, "Consul %s, TTL %s:\n\n| what happened | agent sees it passing after | resolver sees it after | how |\n|---|---|---|---|\n", agenttest.Version(t), ttl)
	for _, r := range table.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.scenario, span(r.agent), span(r.resolver), r.how)
	}
	if testing.Verbose() {
		fmt.Print("\n", b.String(), "\n")
	}
}

func (s *scenario) run(t *testing.T, order int) {
	a := agenttest.Start(t, agenttest.Options{Role: s.role})
	check := &consul.AgentServiceCheck{TTL: ttl}
	if s.tcp {
		check = &consul.AgentServiceCheck{TCP: listener(t), Interval: time.Second, Status: consul.HealthPassing}
	}
	c := a.Client()
	kept := keep(t, c, check)
	r := discovery.NewResolver(c, nil)
	defer r.Close()
	resolved := func() bool {
		list, err := r.Instances(context.Background(), "web")
		return err == nil && len(list) == 1
	}
	await(t, "first", 5*time.Second, resolved)
	time.Sleep(ttl / 2)

	probe := a.Client()
	s.breaks(t, a)
	inAgent, inResolver := measure(t, s.within+slack, r, func() bool { return passing(probe, consul.QueryOptions{}) })

	// It stays so, and nothing is done to it again.
	time.Sleep(ttl + ttl/2)
	await(t, "still in order", slack, func() bool {
		return passing(probe, consul.QueryOptions{}) && resolved() && kept.reg.Err() == nil
	})
	if got := kept.reasons(); s.reasons != nil && !slices.Equal(got, s.reasons) {
		t.Errorf("healed from %q, want %q", got, s.reasons)
	}
	if err := kept.reg.Close(); err != nil {
		t.Error(err)
	}
	await(t, "deregistered", 5*time.Second, func() bool {
		entries, _, err := probe.Health().Service(context.Background(), "web", nil)
		return err == nil && len(entries) == 0
	})
	note(order, s.name, how(kept.reasons()), inAgent, inResolver)
}

// measure returns how long it takes from now until the agent says that the
// service is passing, and until the resolver has it and knows of no error.
func measure(t *testing.T, atMost time.Duration, r *discovery.Resolver, passing func() bool) (inAgent, inResolver time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		inResolver = settledOr(atMost, func() bool {
			st, _ := r.State("web")
			return st.Err == nil && len(st.Instances) == 1
		})
	}()
	inAgent = settledOr(atMost, passing)
	wg.Wait()
	if inAgent < 0 || inResolver < 0 {
		t.Fatalf("not in order after %s (agent %s, resolver %s)", atMost, inAgent, inResolver)
	}
	return inAgent, inResolver
}

func how(reasons []discovery.HealReason) string {
	switch {
	case len(reasons) == 0:
		return "no heartbeat failed"
	case reasons[0] == discovery.HealLost:
		return "registered again"
	}
	return "heartbeat tried again"
}

func note(order int, scenario, how string, inAgent, inResolver time.Duration) {
	table.Lock()
	defer table.Unlock()
	for i := range table.rows {
		if r := &table.rows[i]; r.order == order {
			r.agent, r.resolver = append(r.agent, inAgent), append(r.resolver, inResolver)
			if !strings.Contains(r.how, how) {
				r.how += ", or " + how
			}
			return
		}
	}
	table.rows = append(table.rows, row{order, scenario, how, []time.Duration{inAgent}, []time.Duration{inResolver}})
}

// leaderKilled kills the leader of three servers, with a registration and a
// resolver on one of the others. It measures the time from the kill until that
// server, asked for the consistent state, has the service passing.
func leaderKilled(t *testing.T, order int) {
	var servers []*agenttest.Agent
	for _, name := range []string{"server1", "server2", "server3"} {
		servers = append(servers, agenttest.Prepare(t, agenttest.Options{Node: name, Role: agenttest.Server, Expect: 3, Join: servers}))
	}
	for _, s := range servers {
		s.Launch()
	}
	for _, s := range servers {
		s.WaitReady()
	}
	leader, err := servers[0].Client().Status().Leader(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(servers, func(s *agenttest.Agent) bool { return s.RPC == leader })
	if at < 0 {
		t.Fatalf("no server has the address %s of the leader", leader)
	}
	follower := servers[(at+1)%3]
	c := follower.Client()
	kept := keep(t, c, &consul.AgentServiceCheck{TTL: ttl})
	r := discovery.NewResolver(c, nil)
	defer r.Close()
	if _, err := r.Instances(context.Background(), "web"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(ttl / 2)
	probe := follower.Client()
	servers[at].Kill()
	critical := false
	inAgent, inResolver := measure(t, time.Minute, r, func() bool {
		return passing(probe, consul.QueryOptions{RequireConsistent: true})
	})
	for range 15 {
		time.Sleep(time.Second)
		critical = critical || !passing(probe, consul.QueryOptions{AllowStale: true})
	}
	if critical {
		t.Error("it was critical for a while")
	}
	if slices.Contains(kept.reasons(), discovery.HealLost) {
		t.Error("registered again, although nothing was lost")
	}
	note(order, "leader of three servers killed, as seen from another one", how(kept.reasons()), inAgent, inResolver)
}
