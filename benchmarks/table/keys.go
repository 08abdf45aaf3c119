package main

import (
	"fmt"

	"github.com/lictor-go/consul/benchmarks"
)

// keys compares ways to see that some keys of a folder have changed, or that none has.
func keys(s scale) error {
	show("%s\n", "| keys | `configuration.Watch` | consul/api's loop | bare net/http, and one hash | consul/api : ours | ours : bare "+
		"| allocations ours, api, bare | KiB allocated ours, api |\n|---|---|---|---|---|---|---|---|")
	for _, c := range s.keys {
		err := withAgent(cannedAgent{Keys: c.instances, Each: c.each}, func(rig *benchmarks.Rig) error {
			ways := rig.NewKeyChanges(c.instances)
			defer ways.Close()
			progress("%s", c)
			r, err := compare(s, benchmarks.Trio{Ours: ways.Watch, API: ways.API, Bare: ways.Floor})
			if err == nil {
				row(fmt.Sprintf("change of %s", c), r)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	const n = 1000
	return withAgent(cannedAgent{Keys: n}, func(rig *benchmarks.Rig) error {
		t, err := rig.KeyWake(n)
		if err != nil {
			return err
		}
		progress("wait")
		r, err := compare(s, t)
		if err == nil {
			row(fmt.Sprintf("wait that ends without a change of %d", n), r)
		}
		return err
	})
}
