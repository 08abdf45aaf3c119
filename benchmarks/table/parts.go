package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/lictor-go/consul/benchmarks"
)

func us(d time.Duration) string {
	if d >= 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f µs", d.Seconds()*1e6)
}

const header = `| ours | consul/api | bare net/http | consul/api : ours | ours : bare | allocations ours, api, bare | KiB allocated ours, api |
|---|---|---|---|---|---|---|---|`

func row(name string, r result) {
	fmt.Printf("| %s | %s | %s | %s | %.1f | %.2f | %.0f, %.0f, %.0f | %.0f, %.0f |\n", name,
		us(r.ours.time), us(r.api.time), us(r.bare.time), r.toAPI, r.toBare,
		r.ours.allocs, r.api.allocs, r.bare.allocs, r.ours.bytes/1024, r.api.bytes/1024)
}

// reads compares the reading of the instances of a service.
func reads() error {
	fmt.Println("| `/v1/health/service/web`, instances " + header)
	var last time.Duration
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		err := withAgent(n, func(rig *benchmarks.Rig) error {
			r, err := compare(rig.HealthService(n))
			if err != nil {
				return err
			}
			name := fmt.Sprint(n)
			if last > 0 {
				name += fmt.Sprintf(" (%.1f times the time of the row above)", float64(r.ours.time)/float64(last))
			}
			last = r.ours.time
			row(name, r)
			return nil
		})
		if err != nil {
			return err
		}
	}
	// A process that does something has memory of its own, and collects less often
	// than one that does nothing else.
	ballast := make([]byte, 64<<20)
	err := withAgent(1000, func(rig *benchmarks.Rig) error {
		r, err := compare(rig.HealthService(1000))
		if err == nil {
			row("1000, in a process with 64 MiB in use", r)
		}
		return err
	})
	runtime.KeepAlive(ballast)
	return err
}

// wakes compares waits that end without a change.
func wakes() error {
	fmt.Println("| wait that ends without a change, instances " + header)
	for _, n := range []int{1, 100, 1000, 10000} {
		err := withAgent(n, func(rig *benchmarks.Rig) error {
			wake, err := rig.Wake()
			if err != nil {
				return err
			}
			r, err := compare(wake)
			if err == nil {
				row(fmt.Sprint(n), r)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func writes() error {
	fmt.Println("| write " + header)
	return withAgent(0, func(rig *benchmarks.Rig) error {
		for _, w := range []struct {
			name string
			trio benchmarks.Trio
		}{{"`PassTTL`", rig.PassTTL()}, {"`ServiceRegister`", rig.Register()}} {
			r, err := compare(w.trio)
			if err != nil {
				return err
			}
			row(w.name, r)
		}
		return nil
	})
}

// retained compares the memory that decoded answers keep.
func retained() error {
	const n = 1000
	fmt.Printf("| memory kept by %d instances (%d KiB of JSON) | ours | consul/api |\n|---|---|---|\n", n, len(benchmarks.Instances(n))/1024)
	return withAgent(n, func(rig *benchmarks.Rig) error {
		var sizes [2][2]int64 // by client; of all and of one
		for i, get := range []func() ([]any, error){rig.Entries, rig.APIEntries} {
			if _, err := get(); err != nil { // whatever is made once
				return err
			}
			before := heap()
			entries, err := get()
			if err != nil {
				return err
			}
			sizes[i][0] = heap() - before
			one := entries[n/2]
			entries = nil
			sizes[i][1] = heap() - before
			runtime.KeepAlive(one)
		}
		fmt.Printf("| all of them | %d KiB | %d KiB |\n", sizes[0][0]/1024, sizes[1][0]/1024)
		fmt.Printf("| one of them, the others dropped | %.1f KiB | %.1f KiB |\n", float64(sizes[0][1])/1024, float64(sizes[1][1])/1024)
		return nil
	})
}

func heap() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC() // pools are emptied by the second one
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
