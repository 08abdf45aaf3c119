package main

import (
	"github.com/lictor-go/consul/benchmarks"
)

// keys compares the reading of the keys under a prefix, and ways to see that one of
// them has changed.
func keys(s scale) error {
	show("%s\n", "| `/v1/kv/app/?recurse`, keys "+header)
	ofKeys := func(n int) cannedAgent { return cannedAgent{Keys: n} }
	if err := growth(s, s.keys, ofKeys, (*benchmarks.Rig).KVList); err != nil {
		return err
	}
	show("%s\n", "\n| keys under a prefix, of which one changes | our loop | `configuration.Watch` | consul/api's loop | bare net/http, and one hash "+
		"| consul/api's loop : our loop, `configuration.Watch`, bare | allocations | KiB allocated |\n|---|---|---|---|---|---|---|---|")
	for _, n := range s.keys {
		all, err := keyChangeCosts(s, n)
		if err != nil {
			return err
		}
		loop, watch, theirs, bare := medianCost(all[0]), medianCost(all[1]), medianCost(all[2]), medianCost(all[3])
		ratio := func(i int) float64 { return median(ratios(times(all[2]), times(all[i]))) }
		show("| %d | %s | %s | %s | %s | %.1f, %.1f, %.1f | %.0f, %.0f, %.0f, %.0f | %.0f, %.0f, %.0f, %.0f |\n", n,
			us(loop.time), us(watch.time), us(theirs.time), us(bare.time), ratio(0), ratio(1), ratio(3),
			loop.allocs, watch.allocs, theirs.allocs, bare.allocs,
			loop.bytes/1024, watch.bytes/1024, theirs.bytes/1024, bare.bytes/1024)
	}
	return nil
}

// keyChangeCosts returns the costs of our loop, configuration.Watch, consul/api's loop
// and the bare request, in this order.
func keyChangeCosts(s scale, n int) (all [][]cost, err error) {
	err = withAgent(cannedAgent{Keys: n, Each: 1}, func(rig *benchmarks.Rig) error {
		ways := rig.NewKeyChanges(n)
		defer ways.Close()
		progress("1 of %d keys", n)
		all, err = turns(s, ways.API, ways.Loop, ways.Watch, ways.API, ways.Floor)
		return err
	})
	return all, err
}
