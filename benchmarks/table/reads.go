package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/lictor-go/consul/benchmarks"
)

// withAgent runs f with clients of a canned agent.
func withAgent(details cannedAgent, f func(*benchmarks.Rig) error) error {
	agent, addr, err := startAgentProcess(details)
	if err != nil {
		return err
	}
	defer agent.stop()
	rig, err := benchmarks.NewRig(addr)
	if err != nil {
		return err
	}
	return f(rig)
}

// reads compares the reading of the instances of a service.
func reads(s scale) error {
	show("%s\n", "| `/v1/health/service/web`, instances "+header)
	ofInstances := func(n int) cannedAgent { return cannedAgent{Instances: n} }
	if err := growth(s, s.instances, ofInstances, (*benchmarks.Rig).HealthService); err != nil {
		return err
	}
	// A process that does something has memory of its own, and collects less often
	// than one that does nothing else.
	ballast := make([]byte, 64<<20)
	defer runtime.KeepAlive(ballast)
	return withAgent(ofInstances(1000), func(rig *benchmarks.Rig) error {
		r, err := compare(s, rig.HealthService(1000))
		if err == nil {
			row("1000, in a process with 64 MiB in use", r)
		}
		return err
	})
}

// services compares the reading of the names and tags of all services.
func services(s scale) error {
	show("%s\n", "| `/v1/catalog/services`, services "+header)
	ofServices := func(n int) cannedAgent { return cannedAgent{Services: n} }
	return growth(s, s.services, ofServices, (*benchmarks.Rig).CatalogServices)
}

// growth compares the reading of answers of several sizes, and prints how our
// time grows with the size.
func growth(s scale, sizes []int, agent func(int) cannedAgent, trio func(*benchmarks.Rig, int) benchmarks.Trio) error {
	var last time.Duration
	for _, n := range sizes {
		err := withAgent(agent(n), func(rig *benchmarks.Rig) error {
			r, err := compare(s, trio(rig, n))
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
	return nil
}

// wakes compares waits that end without a change.
func wakes(s scale) error {
	show("%s\n", "| wait that ends without a change, instances "+header)
	for _, n := range s.waits {
		err := withAgent(cannedAgent{Instances: n}, func(rig *benchmarks.Rig) error {
			wake, err := rig.Wake()
			if err != nil {
				return err
			}
			r, err := compare(s, wake)
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

// writes compares requests that change something.
func writes(s scale) error {
	show("%s\n", "| write "+header)
	return withAgent(cannedAgent{}, func(rig *benchmarks.Rig) error {
		for _, w := range []struct {
			name string
			trio benchmarks.Trio
		}{{"`PassTTL`", rig.PassTTL()}, {"`ServiceRegister`", rig.Register()}} {
			r, err := compare(s, w.trio)
			if err != nil {
				return err
			}
			row(w.name, r)
		}
		return nil
	})
}

// gzipped compares reading from an agent on the same machine without and with
// compression.
func gzipped(s scale) error {
	show("%s\n", "| `/v1/health/service/web`, instances | network | as it is | with gzip | with gzip : as it is |\n|---|---|---|---|---|")
	for _, n := range s.zipped {
		for _, network := range []string{"tcp", "unix"} {
			g, err := benchmarks.NewGzip(network, n)
			if err != nil {
				return err
			}
			all, err := turns(s, g.Zipped, g.Plain, g.Zipped)
			g.Close()
			if err != nil {
				return err
			}
			plain, zipped := times(all[0]), times(all[1])
			show("| %d | %s | %s | %s | %.1f |\n", n, network,
				us(seconds(median(plain))), us(seconds(median(zipped))), median(ratios(zipped, plain)))
		}
	}
	return nil
}

// retained compares the memory that decoded answers keep.
func retained(scale) error {
	const n = 1000
	show("| memory kept by %d instances (%d KiB of JSON) | ours | consul/api |\n|---|---|---|\n", n, len(benchmarks.Instances(n))/1024)
	return withAgent(cannedAgent{Instances: n}, func(rig *benchmarks.Rig) error {
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
		show("| all of them | %d KiB | %d KiB |\n", sizes[0][0]/1024, sizes[1][0]/1024)
		show("| one of them, the others dropped | %.1f KiB | %.1f KiB |\n", float64(sizes[0][1])/1024, float64(sizes[1][1])/1024)
		entries, result, err := rig.Result()
		if err != nil {
			return err
		}
		with := heap()
		runtime.KeepAlive(result)
		result = nil
		size := float64(with - heap())
		show("| the `Result` of all of them, beside them | %.1f KiB, %.1f bytes an instance | |\n", size/1024, size/n)
		runtime.KeepAlive(entries)
		return nil
	})
}

func heap() int64 {
	return int64(memory().HeapAlloc)
}

// inUse returns the bytes of the heap and of the goroutines' stacks.
func inUse() int64 {
	m := memory()
	return int64(m.HeapAlloc + m.StackInuse)
}

func memory() (m runtime.MemStats) {
	for range 3 {
		runtime.GC() // pools are emptied by the second one
	}
	runtime.ReadMemStats(&m)
	return m
}
