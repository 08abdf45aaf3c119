package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/lictor-go/consul/benchmarks"
)

// cost is what one operation takes.
type cost struct {
	time   time.Duration
	allocs float64
	bytes  float64
}

// measure runs op n times.
func measure(op benchmarks.Op, n int) (cost, error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	for range n {
		if err := op(); err != nil {
			return cost{}, err
		}
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return cost{
		time:   took / time.Duration(n),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
	}, nil
}

// turns measures ops in turns, so many operations a turn as make a turn of the op
// pace last as long as it should.
func turns(s scale, pace benchmarks.Op, ops ...benchmarks.Op) ([][]cost, error) {
	warm, err := measure(pace, 3)
	if err != nil {
		return nil, err
	}
	n := max(3, int(s.turn/warm.time))
	all := make([][]cost, len(ops))
	for round := range s.rounds {
		progress("round %d of %d", round+1, s.rounds)
		for i, op := range ops {
			c, err := measure(op, n)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], c)
		}
	}
	return all, nil
}

// result are the medians of a comparison.
type result struct {
	ours, api, bare cost
	toAPI, toBare   float64 // the time of the other one divided by ours, ours by bare
}

// compare measures the three clients.
func compare(s scale, t benchmarks.Trio) (result, error) {
	all, err := turns(s, t.API, t.Ours, t.API, t.Bare)
	if err != nil {
		return result{}, err
	}
	ours, theirs, bare := times(all[0]), times(all[1]), times(all[2])
	return result{
		ours: medianCost(all[0]), api: medianCost(all[1]), bare: medianCost(all[2]),
		toAPI: median(ratios(theirs, ours)), toBare: median(ratios(ours, bare)),
	}, nil
}

func medianCost(costs []cost) cost {
	var allocs, bytes []float64
	for _, c := range costs {
		allocs, bytes = append(allocs, c.allocs), append(bytes, c.bytes)
	}
	return cost{seconds(median(times(costs))), median(allocs), median(bytes)}
}

// times returns the times of costs in seconds.
func times(costs []cost) []float64 {
	var all []float64
	for _, c := range costs {
		all = append(all, c.time.Seconds())
	}
	return all
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// ratios divides the values of each round.
func ratios(over, under []float64) []float64 {
	var all []float64
	for i := range over {
		all = append(all, over[i]/under[i])
	}
	return all
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value that a share of the others are below.
func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(share*float64(len(sorted)))]
}

func us(d time.Duration) string {
	if d >= 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f µs", d.Seconds()*1e6)
}

const header = `| ours | consul/api | bare net/http | consul/api : ours | ours : bare | allocations ours, api, bare | KiB allocated ours, api |
|---|---|---|---|---|---|---|---|`

func row(name string, r result) {
	show("| %s | %s | %s | %s | %.1f | %.2f | %.0f, %.0f, %.0f | %.0f, %.0f |\n", name,
		us(r.ours.time), us(r.api.time), us(r.bare.time), r.toAPI, r.toBare,
		r.ours.allocs, r.api.allocs, r.bare.allocs, r.ours.bytes/1024, r.api.bytes/1024)
}
