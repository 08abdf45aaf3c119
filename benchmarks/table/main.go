// Command table measures the client beside consul/api and bare net/http, and
// prints the figures as tables in Markdown.
//
//	go run ./table
//
// The agent is a process of its own that gives a canned answer. The clients take
// turns, some operations at a time, with a garbage collection in between; what is
// printed are medians over the rounds, and for ratios the median of the ratios of
// each round, so that a machine that is busy with other things slows all alike.
// With CONSUL_BIN, the path of a Consul binary, it also starts a real agent and
// measures how soon a change arrives.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul/benchmarks"
)

var (
	rounds = flag.Int("rounds", 11, "how often the clients take turns")
	only   = flag.String("only", "", "the only part to run: reads, wakes, writes, retained, imports, fake or latency")
	serve  = flag.Int("serve", -1, "be the agent that answers with so many instances (used by the command itself)")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *serve >= 0 {
		beAgent(*serve)
		return
	}
	fmt.Printf("Measured on %s with `go run ./table`: %s, %s/%s, %d CPUs.\n\n",
		time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, part := range []struct {
		name string
		run  func() error
	}{{"reads", reads}, {"wakes", wakes}, {"writes", writes}, {"retained", retained}, {"imports", imports}, {"fake", fake}, {"latency", latency}} {
		if *only != "" && *only != part.name {
			continue
		}
		if err := part.run(); err != nil {
			log.Fatalf("%s: %v", part.name, err)
		}
		fmt.Println()
	}
}

// beAgent serves until its standard input ends.
func beAgent(n int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() { log.Fatal(http.Serve(listener, benchmarks.Agent(benchmarks.Instances(n)))) }()
	bufio.NewReader(os.Stdin).ReadByte()
}

// withAgent runs f with clients of an agent that answers with n instances.
func withAgent(n int, f func(*benchmarks.Rig) error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-serve", fmt.Sprint(n))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer stdin.Close()
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return err
	}
	rig, err := benchmarks.NewRig(strings.TrimSpace(addr))
	if err != nil {
		return err
	}
	return f(rig)
}

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

// result are the medians of a comparison.
type result struct {
	ours, api, bare cost
	toAPI, toBare   float64 // the time of the other one divided by ours, ours by bare
}

// compare measures the three clients in turns, so many operations a turn as take
// consul/api about 50 ms.
func compare(t benchmarks.Trio) (result, error) {
	var all [3][]cost
	warm, err := measure(t.API, 3)
	if err != nil {
		return result{}, err
	}
	n := max(3, int(50*time.Millisecond/warm.time))
	for range *rounds {
		for i, op := range []benchmarks.Op{t.Ours, t.API, t.Bare} {
			c, err := measure(op, n)
			if err != nil {
				return result{}, err
			}
			all[i] = append(all[i], c)
		}
	}
	ratios := func(over, under []cost) float64 {
		return median(over, func(i int) float64 { return float64(over[i].time) / float64(under[i].time) })
	}
	r := result{toAPI: ratios(all[1], all[0]), toBare: ratios(all[0], all[2])}
	for i, c := range []*cost{&r.ours, &r.api, &r.bare} {
		c.time = time.Duration(median(all[i], func(k int) float64 { return float64(all[i][k].time) }))
		c.allocs = median(all[i], func(k int) float64 { return all[i][k].allocs })
		c.bytes = median(all[i], func(k int) float64 { return all[i][k].bytes })
	}
	return r, nil
}

func median[T any](of []T, value func(i int) float64) float64 {
	values := make([]float64, len(of))
	for i := range of {
		values[i] = value(i)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
