package discovery

import (
	"fmt"
	"math"
	"slices"
	"testing"
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
