package main

import (
	"fmt"
	"runtime"

	"github.com/lictor-go/consul/benchmarks"
)

// change is a service of so many instances, of which so many change each time.
type change struct{ instances, each int }

func (c change) String() string {
	if c.each == c.instances {
		return fmt.Sprintf("all of %d", c.instances)
	}
	return fmt.Sprintf("%d of %d", c.each, c.instances)
}

// changes compares ways to see that some instances of a service have changed.
func changes(s scale) error {
	show("%s\n", "| instances that change | our loop | `WatchService` | `Resolver.Watch` | consul/api's loop | bare net/http, and one hash "+
		"| consul/api's loop : our loop, `WatchService`, `Resolver.Watch`, bare | allocations | KiB allocated |\n|---|---|---|---|---|---|---|---|---|")
	f := figure{
		title: "Time to read a change of one instance",
		x:     "instances of the service", y: "milliseconds",
		lines: []line{
			{name: "consul/api's loop"}, {name: "Resolver.Watch", color: 1}, {name: "WatchService", color: 2},
			{name: "bare net/http, and one hash", color: 3},
		},
	}
	for _, c := range s.changes {
		all, err := changeCosts(s, c)
		if err != nil {
			return err
		}
		var took [5]float64
		var allocs, bytes string
		for i, costs := range all {
			m := medianCost(costs)
			took[i] = m.time.Seconds()
			if i > 0 {
				allocs, bytes = allocs+", ", bytes+", "
			}
			allocs, bytes = allocs+fmt.Sprintf("%.0f", m.allocs), bytes+fmt.Sprintf("%.0f", m.bytes/1024)
		}
		loop, watch, resolver, theirs, bare := times(all[0]), times(all[1]), times(all[2]), times(all[3]), times(all[4])
		show("| %s | %s | %s | %s | %s | %s | %.1f, %.1f, %.1f, %.1f | %s | %s |\n", c,
			us(seconds(took[0])), us(seconds(took[1])), us(seconds(took[2])), us(seconds(took[3])), us(seconds(took[4])),
			median(ratios(theirs, loop)), median(ratios(theirs, watch)), median(ratios(theirs, resolver)), median(ratios(theirs, bare)), allocs, bytes)
		if c.each == 1 {
			for line, way := range []int{3, 2, 1, 4} {
				f.lines[line].add(float64(c.instances), took[way]*1e3)
			}
		}
	}
	return f.write(s.figures, "change.svg")
}

// changeCosts returns the costs of our loop, WatchService, Resolver.Watch,
// consul/api's loop and the bare request, in this order.
func changeCosts(s scale, c change) (all [][]cost, err error) {
	err = withAgent(cannedAgent{Instances: c.instances, Each: c.each}, func(rig *benchmarks.Rig) error {
		ways, err := rig.NewChanges(c.instances)
		if err != nil {
			return err
		}
		defer ways.Close()
		progress("%s", c)
		all, err = turns(s, ways.API, ways.Loop, ways.Watch, ways.Resolver, ways.API, ways.Floor)
		return err
	})
	return all, err
}

// single compares reads and changes in a process that has one CPU, as many
// containers have, so that the garbage collector has no CPU of its own.
func single(s scale) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	show("%s\n", "| with one CPU (`-cpu 1`) "+header)
	const n = 1000
	err := withAgent(cannedAgent{Instances: n}, func(rig *benchmarks.Rig) error {
		wake, err := rig.Wake()
		if err != nil {
			return err
		}
		for _, op := range []struct {
			name string
			trio benchmarks.Trio
		}{{"first read of 1000 instances", rig.HealthService(n)}, {"wait that ends without a change, 1000 instances", wake}} {
			progress("%s", op.name)
			r, err := compare(s, op.trio)
			if err != nil {
				return err
			}
			row(op.name, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return withAgent(cannedAgent{Instances: n, Each: 1}, func(rig *benchmarks.Rig) error {
		ways, err := rig.NewChanges(n)
		if err != nil {
			return err
		}
		defer ways.Close()
		for _, op := range []struct {
			name string
			op   benchmarks.Op
		}{{"our loop", ways.Loop}, {"`WatchService`", ways.Watch}, {"`Resolver.Watch`", ways.Resolver}} {
			progress("%s", op.name)
			r, err := compare(s, benchmarks.Trio{Ours: op.op, API: ways.API, Bare: ways.Floor})
			if err != nil {
				return err
			}
			row("change of 1 of 1000 instances, "+op.name, r)
		}
		return nil
	})
}
