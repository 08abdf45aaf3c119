package discovery

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// weighted returns instances with the given weights.
func weighted(weights ...int) []Instance {
	var list []Instance
	for n, w := range weights {
		list = append(list, Instance{ID: fmt.Sprint("i", n), Weight: w, stats: new(stats)})
	}
	return list
}

// shares returns how often each of n instances is picked.
func shares(n, picks int, pick func() int) []float64 {
	counts := make([]float64, n)
	for range picks {
		counts[pick()]++
	}
	for i := range counts {
		counts[i] /= float64(picks)
	}
	return counts
}

func checkShares(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i := range want {
		// Five standard deviations for 20,000 picks are at most 0.018.
		if math.Abs(got[i]-want[i]) > 0.02 || want[i] == 0 && got[i] != 0 {
			t.Errorf("%s: shares %.3f, want %.3f", what, got, want)
			return
		}
	}
}

func TestBalancers(t *testing.T) {
	const picks = 20000
	share := func(b Balancer, list []Instance) []float64 {
		return shares(len(list), picks, func() int { return b.Pick(list) })
	}
	checkShares(t, "Random", share(Random(), weighted(1, 9, 0)), []float64{1. / 3, 1. / 3, 1. / 3})
	checkShares(t, "RoundRobin", share(RoundRobin(), weighted(1, 9, 0, 1)), []float64{.25, .25, .25, .25})
	checkShares(t, "WeightedRandom", share(WeightedRandom(), weighted(1, 7, 0, 2)), []float64{.1, .7, 0, .2})
	checkShares(t, "WeightedRandom, large", share(WeightedRandom(), weighted(math.MaxInt, math.MaxInt, math.MaxInt, 0)), []float64{1. / 3, 1. / 3, 1. / 3, 0})
	checkShares(t, "WeightedRandom, negative", share(WeightedRandom(), weighted(-100, 1, 3)), []float64{0, .25, .75})
	checkShares(t, "WeightedRandom, all 0", share(WeightedRandom(), weighted(0, 0)), []float64{.5, .5})
	checkShares(t, "LeastLoaded, all idle", share(LeastLoaded(), weighted(1, 1)), []float64{.5, .5})
	checkShares(t, "LeastLoaded, all 0", share(LeastLoaded(), weighted(0, 0)), []float64{.5, .5})

	b := RoundRobin()
	list := weighted(1, 1, 1)
	first := b.Pick(list)
	for n := 1; n < 7; n++ {
		if got, want := b.Pick(list), (first+n)%3; got != want {
			t.Errorf("RoundRobin: pick %d is %d, want %d", n, got, want)
		}
	}

	// Loads settle in proportion to the weights.
	list = weighted(1, 3, 0)
	for range 40 {
		list[LeastLoaded().Pick(list)].stats.load.Add(1)
	}
	if a, b, c := list[0].Load(), list[1].Load(), list[2].Load(); a != 10 || b != 30 || c != 0 {
		t.Errorf("LeastLoaded: loads %d, %d, %d; want 10, 30, 0", a, b, c)
	}
	if got := (Instance{}).Load(); got != 0 {
		t.Errorf("load of an instance of no resolver: %d", got)
	}
}

func TestRendezvous(t *testing.T) {
	const keys = 20000
	list := weighted(1, 1, 2)
	n := 0
	checkShares(t, "rendezvous", shares(3, keys, func() int { n++; return rendezvous(fmt.Sprint(n), list) }), []float64{.25, .25, .5})

	// When one goes, only its keys move; order does not matter.
	fewer := []Instance{list[2], list[0]}
	for n := range 1000 {
		key := fmt.Sprint(n)
		was := list[rendezvous(key, list)].ID
		now := fewer[rendezvous(key, fewer)].ID
		if was != "i1" && was != now {
			t.Fatalf("key %s moved from %s to %s", key, was, now)
		}
	}
	// The choice is part of the contract: other processes make the same.
	var got []int
	for n := range 10 {
		got = append(got, rendezvous(fmt.Sprint("user-", n), list))
	}
	if want := []int{1, 0, 1, 1, 2, 2, 2, 2, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("picks %v, want %v", got, want)
	}
	if got := rendezvous("x", weighted(0, 0)); got < 0 || got > 1 {
		t.Errorf("all weights 0: %d", got)
	}
}

func TestUsable(t *testing.T) {
	const now = time.Hour
	list := weighted(1, 1, 1)
	ids := func(list []Instance) string {
		s := ""
		for _, i := range list {
			s += i.ID[1:]
		}
		return s
	}
	fail := func(n int) { list[n].stats.until.Store(int64(now + time.Second)) }
	k := func(n int) instanceKey { return list[n].key() }
	check := func(want string, tried ...instanceKey) {
		t.Helper()
		if got := ids(usable(list, tried, now)); got != want {
			t.Errorf("usable: %q, want %q", got, want)
		}
	}
	check("012")
	check("02", k(1))
	check("", k(0), k(1), k(2))
	fail(0)
	check("12")
	check("2", k(1))
	check("0", k(1), k(2)) // failing, but there is no other
	fail(1)
	fail(2)
	check("012") // all failing: all are used
	check("12", k(0))
	if got := ids(usable(list, nil, now+time.Second)); got != "012" {
		t.Errorf("after the time: %q", got)
	}
	if got := ids(list); got != "012" {
		t.Errorf("the list itself is now %q", got)
	}
}

func TestWeightOf(t *testing.T) {
	for _, test := range []struct {
		status consul.HealthStatus
		w      consul.AgentWeights
		want   int
	}{
		{consul.HealthPassing, consul.AgentWeights{Passing: 10, Warning: 2}, 10},
		{consul.HealthWarning, consul.AgentWeights{Passing: 10, Warning: 2}, 2},
		{consul.HealthWarning, consul.AgentWeights{Passing: 10}, 0},
		{consul.HealthCritical, consul.AgentWeights{Passing: 10, Warning: 2}, 0},
		{consul.HealthPassing, consul.AgentWeights{}, 1},
		{consul.HealthWarning, consul.AgentWeights{}, 1},
		{consul.HealthMaintenance, consul.AgentWeights{}, 0},
	} {
		if got := weightOf(test.status, test.w); got != test.want {
			t.Errorf("weightOf(%s, %v) = %d, want %d", test.status, test.w, got, test.want)
		}
	}
}

func TestNewInstance(t *testing.T) {
	node := &consul.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1"}
	for _, test := range []struct {
		name     string
		entry    consul.ServiceEntry
		hostport string
	}{
		{"own address", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Address: "10.0.0.2", Port: 80}}, "10.0.0.2:80"},
		{"address of the node", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Port: 80}}, "10.0.0.1:80"},
		{"IPv6", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Address: "::1", Port: 80}}, "[::1]:80"},
		{"name", consul.ServiceEntry{Node: node, Service: &consul.AgentService{Address: "host", Port: 80}}, "host:80"},
		{"no port", consul.ServiceEntry{Node: node, Service: &consul.AgentService{}}, "10.0.0.1:0"},
		{"nothing", consul.ServiceEntry{}, ":0"},
	} {
		i := newInstance(&test.entry)
		if got := i.HostPort(); got != test.hostport {
			t.Errorf("%s: %q, want %q", test.name, got, test.hostport)
		}
	}
	if got := (Instance{NodeAddress: "10.0.0.1", Port: 1}).HostPort(); got != "10.0.0.1:1" {
		t.Errorf("HostPort of a literal: %q", got)
	}
}

func TestHold(t *testing.T) {
	list := func(ids string) (l []Instance) {
		for _, id := range ids {
			l = append(l, Instance{ID: string(id)})
		}
		return l
	}
	for _, test := range []struct {
		used, answer string
		atLeast      int
		want         string
		held         int
	}{
		{"abc", "a", 0, "a", 0}, // off
		{"abc", "", 0, "", 0},
		{"abc", "ab", 2, "ab", 0},
		{"abc", "c", 2, "ca", 1},
		{"abc", "", 2, "ab", 2},
		{"abc", "", 9, "abc", 3}, // all there were
		{"ab", "d", 2, "da", 1},
		{"", "a", 3, "a", 0}, // nothing to hold
		{"da", "de", 2, "de", 0},
	} {
		got, held := hold(list(test.used), list(test.answer), test.atLeast)
		ids := ""
		for _, i := range got {
			ids += i.ID
		}
		if ids != test.want || held != test.held {
			t.Errorf("hold(%q, %q, %d) = %q, %d; want %q, %d", test.used, test.answer, test.atLeast, ids, held, test.want, test.held)
		}
	}
}

func TestDifference(t *testing.T) {
	a, b, c := Instance{ID: "a"}, Instance{ID: "b"}, Instance{ID: "c"}
	b2 := b
	b2.Port = 1
	added, removed, changed := difference([]Instance{a, b}, []Instance{b2, c})
	if added != 1 || removed != 1 || changed != 1 {
		t.Errorf("difference: %d, %d, %d; want 1, 1, 1", added, removed, changed)
	}
}
