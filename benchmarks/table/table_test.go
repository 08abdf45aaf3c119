package main

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
)

// quick is a scale at which everything is measured as little as possible.
var quick = scale{
	rounds:    1,
	turn:      time.Millisecond,
	instances: []int{1, 10},
	changes:   []change{{10, 1}, {10, 10}},
	followed:  []int{1, 10},
	waits:     []int{1},
	services:  []int{10},
	keys:      []int{10},
	zipped:    []int{10},

	warmBuilds: 1,

	loads:        []load{{2, 2}},
	quiet:        10 * time.Millisecond,
	limit:        2,
	limitedLoads: []load{{4, 1}},
	patience:     300 * time.Millisecond,

	bursts:       1,
	floods:       1,
	floodChanges: 3,
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *role != "" { // the processes that the parts start are this program too
		play(*role)
		return
	}
	os.Exit(m.Run())
}

// TestParts runs all parts once, so that none of them rots. What they print is of no
// interest.
func TestParts(t *testing.T) {
	quick.figures = t.TempDir()
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			err := p.run(quick)
			if errors.Is(err, errNoModules) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLatency measures latencies at the fake agent, for want of a real one.
func TestLatency(t *testing.T) {
	t.Parallel()
	server := consulmock.New(t)
	if err := latencyAt(quick, strings.TrimPrefix(server.URL(), "http://")); err != nil {
		t.Error(err)
	}
}
