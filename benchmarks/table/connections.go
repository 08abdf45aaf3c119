package main

import (
	"strings"
	"time"
)

// connectionWays are the ways whose connections are compared.
var connectionWays = []way{resolver, watchService, apiLoop}

// connections measures how many connections it takes to follow services, by http and
// by https to an agent that speaks HTTP/2 too, as agents do.
func connections(s scale) error {
	show("%s", "| connections to follow so many services |")
	f := figure{title: "Connections to an agent", x: "services followed", y: "connections"}
	var all [][]*running // by service count
	defer func() {
		for _, row := range all {
			stopAll(row)
		}
	}()
	for _, scheme := range []string{"http", "https"} {
		for i, w := range connectionWays {
			show(" %s, %s |", w.name, scheme)
			name, _, _ := strings.Cut(strings.TrimPrefix(w.name, "discovery."), "'")
			f.lines = append(f.lines, line{name: name + ", " + scheme, color: (i + 1) % 3, dashed: scheme == "https"})
		}
	}
	show("%s", "\n|---|")
	for range f.lines {
		show("%s", "---|")
	}
	show("\n")
	for _, n := range s.followed {
		progress("%d services", n)
		show("| %d |", n)
		row, err := startFollowers(n)
		all = append(all, row)
		if err != nil {
			return err
		}
		for i, r := range row {
			if _, err := r.report(subscribersQuestion{Port: 8080, Patience: time.Minute}); err != nil {
				return err
			}
			counts, err := r.count(agentQuestion{})
			if err != nil {
				return err
			}
			show(" %d |", counts.Connections)
			f.lines[i].add(float64(n), float64(counts.Connections))
		}
		show("\n")
		stopAll(row)
		all = nil
	}
	return f.write(s.figures, "connections.svg")
}

// startFollowers starts a process for each way and each scheme that follows n
// services.
func startFollowers(n int) (all []*running, err error) {
	for _, tls := range []bool{false, true} {
		for _, w := range connectionWays {
			r, err := startRunning(load{n, 1}, w, cannedAgent{Instances: 3, Waits: true, TLS: tls})
			all = append(all, r)
			if err != nil {
				return all, err
			}
		}
	}
	return all, nil
}
