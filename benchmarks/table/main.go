// Command table measures the client beside others, and prints the figures as
// tables in Markdown.
//
//	go run ./table
//
// The agents are processes of their own that give canned answers. What is
// compared takes turns; what is printed are medians over the rounds, and for
// ratios the median of the ratios of each round, so that a machine that is busy
// with other things slows all alike. With CONSUL_BIN, the path of a Consul binary,
// it also starts a real agent and measures how soon a change arrives.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// scale says how much is measured.
type scale struct {
	rounds    int           // how often clients take turns
	turn      time.Duration // how long the turn of the slowest takes, about
	instances []int         // of the services that are read
	changes   []change      // of the services that change
	followed  []int         // services, to count connections
	figures   string        // the folder that they are written to
	waits     []int         // instances of the services that are waited on
	services  []int         // of the catalogs that are read
	keys      []int         // under the prefixes that are read
	zipped    []int         // instances of the services that are read with compression

	coldBuilds int // with an empty cache
	warmBuilds int // with a cache that has the standard library

	since string // the commit with which footprints are compared, if any

	loads        []load        // whose cost is measured
	quiet        time.Duration // how long their queries at rest are counted
	limit        int           // connections that an agent allows
	limitedLoads []load        // that want more than that
	patience     time.Duration // what those have for their first responses, and for a change

	bursts       int           // of three changes each
	burstEvery   time.Duration // from the start of one to the start of the next
	floods       int
	floodChanges int // of a flood
	floodEvery   time.Duration
}

// full is the scale of the published tables. Our watches ask once a second in the
// long run, ten times at once: that decides how often bursts and floods come.
var full = scale{
	rounds:    11,
	turn:      50 * time.Millisecond,
	instances: []int{1, 10, 100, 1000, 10000},
	changes:   []change{{100, 1}, {1000, 1}, {10000, 1}, {1000, 10}, {1000, 100}, {1000, 1000}},
	followed:  []int{1, 10, 100, 1000},
	figures:   "figures",
	waits:     []int{1, 100, 1000, 10000},
	services:  []int{10, 100, 1000, 10000},
	keys:      []int{10, 100, 1000, 10000},
	zipped:    []int{10, 100, 1000},

	coldBuilds: 3,
	warmBuilds: 3,

	loads:        []load{{10, 1}, {100, 1}, {1000, 1}, {100, 10}, {100, 100}},
	quiet:        time.Minute,
	limit:        200,
	limitedLoads: []load{{300, 1}, {100, 10}},
	patience:     10 * time.Second,

	bursts:       20,
	burstEvery:   3 * time.Second,
	floods:       3,
	floodChanges: 30,
	floodEvery:   12 * time.Second,
}

// parts are what the command measures, in this order.
var parts = []struct {
	name string
	run  func(scale) error
}{
	{"reads", reads}, {"services", services}, {"wakes", wakes}, {"changes", changes}, {"keys", keys}, {"single", single},
	{"writes", writes}, {"retained", retained}, {"gzip", gzipped},
	{"imports", imports}, {"footprint", footprint}, {"connections", connections}, {"fanout", fanout}, {"limit", limit}, {"fake", fake}, {"latency", latency},
}

// role is what a process is that was started by another one of this program.
var role = flag.String("role", "", "be the agent, or subscribers (used by the command itself)")

func main() {
	log.SetFlags(0)
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	s := full
	flag.IntVar(&s.rounds, "rounds", s.rounds, "how often clients take turns")
	flag.StringVar(&s.figures, "figures", s.figures, "the folder to write the figures to")
	flag.StringVar(&s.since, "since", "", "a commit of this repository to compare the footprint with")
	only := flag.String("only", "", "the only part to run, of "+strings.Join(names, ", "))
	flag.Parse()
	if *role != "" {
		play(*role)
		return
	}
	if *only != "" && !slices.Contains(names, *only) {
		log.Fatalf("there is no part %q, but %s", *only, strings.Join(names, ", "))
	}
	command := strings.Join(append([]string{"go run ./table"}, os.Args[1:]...), " ")
	show("Measured on %s with `%s`: %s, %s/%s, %d CPUs.\n\n",
		time.Now().UTC().Format("2006-01-02"), command, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	failed := false
	for i, p := range parts {
		if *only != "" && *only != p.name {
			continue
		}
		progressPart = fmt.Sprintf("part %d of %d, %s", i+1, len(parts), p.name)
		progress("starting")
		err := p.run(s)
		progress("")
		if err != nil {
			log.Printf("%s: %v", p.name, err)
			failed = true
		}
		show("\n")
	}
	if failed {
		os.Exit(1)
	}
}

// play is the main function of a process that has a role.
func play(role string) {
	roles := map[string]func(*json.Decoder, *json.Encoder) error{"agent": beAgent, "subscribers": beSubscribers}
	if err := roles[role](json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)); err != nil {
		log.Fatalf("%s: %v", role, err)
	}
}
