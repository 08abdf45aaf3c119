package main

import (
	"fmt"
	"time"
)

// fan is a number of services, and of subscribers that each has in one process.
type fan struct{ services, each int }

func (f fan) subscribers() int { return f.services * f.each }

// affected is the number of subscribers whose service changes when some do.
func (f fan) affected() int {
	n := 0
	for i := range f.services {
		if changes(serviceName(i)) {
			n += f.each
		}
	}
	return n
}

func (f fan) String() string { return fmt.Sprintf("%d of %d services", f.subscribers(), f.services) }

func serviceName(i int) string { return fmt.Sprint("service-", i) }

// fanWays are the ways that are compared.
var fanWays = []way{resolver, watchService, apiPlan, apiLoop, kratos}

// maxConnections is the number of subscribers up to which ways are measured that
// open a connection for each.
const maxConnections = 1000

// running is a process of subscribers, and the agent that it follows.
type running struct {
	fan
	way
	agent       *process
	subscribers *process

	begin agentCounts       // at some time
	first subscribersReport // likewise
}

// fanout measures what subscribers cost, in memory, connections and queries. All
// rows are measured at the same time: once they have their answers they hardly do
// anything.
func fanout(s scale) error {
	all, err := startFans(s.fans, 0)
	defer stopFans(all)
	if err != nil {
		return err
	}
	for _, r := range all {
		report, err := r.report(subscribersQuestion{Port: 8080, Patience: time.Minute})
		if err != nil {
			return err
		}
		if n := r.fan.subscribers(); report.Reached < n {
			return fmt.Errorf("%s: %d of %d subscribers have an answer", r.name, report.Reached, n)
		}
	}
	time.Sleep(2 * time.Second) // kratos does not wait for changes before the next second
	for _, r := range all {
		if r.begin, err = r.count(agentQuestion{}); err != nil {
			return err
		}
	}
	time.Sleep(s.quiet)
	fmt.Printf("| subscribers | with | goroutines | KiB a subscriber | connections | queries to begin with | queries in %.0f s at rest |\n"+
		"|---|---|---|---|---|---|---|\n", s.quiet.Seconds())
	for _, r := range all {
		counts, err := r.count(agentQuestion{})
		if err != nil {
			return err
		}
		report, err := r.report(subscribersQuestion{Port: 8080})
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %d | %.1f | %d | %d | %d |\n", r.fan, r.name, report.Goroutines,
			float64(report.Memory)/1024/float64(r.fan.subscribers()), counts.Connections, r.begin.Queries, counts.Queries-r.begin.Queries)
	}
	return nil
}

// limit measures what becomes of subscribers when the agent allows fewer
// connections than there are subscribers.
func limit(s scale) error {
	all, err := startFans(s.limitedFans, s.limit)
	defer stopFans(all)
	if err != nil {
		return err
	}
	time.Sleep(s.patience)
	for _, r := range all {
		if r.first, err = r.report(subscribersQuestion{Port: 8080, Heartbeats: 10}); err != nil {
			return err
		}
		if r.begin, err = r.count(agentQuestion{Change: true}); err != nil {
			return err
		}
	}
	time.Sleep(s.patience)
	fmt.Printf("| subscribers, at an agent that allows %d connections | with | have an answer after %.0f s | connections | refused "+
		"| of 10 heartbeats arrive | of those whose service changes see it within %.0f s |\n|---|---|---|---|---|---|---|\n",
		s.limit, s.patience.Seconds(), s.patience.Seconds())
	for _, r := range all {
		report, err := r.report(subscribersQuestion{Port: 8081})
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %d | %d | %d | %d | %d of %d |\n", r.fan, r.name, r.first.Reached,
			r.begin.Connections, r.begin.Refused, r.first.Heartbeats, report.Reached, r.fan.affected())
	}
	return nil
}

// startFans starts all subscribers, in each of the ways.
func startFans(fans []fan, limit int) (all []*running, err error) {
	for _, f := range fans {
		for _, w := range fanWays {
			if !w.shares && f.subscribers() > maxConnections {
				continue
			}
			r := &running{fan: f, way: w}
			var addr string
			r.agent, addr, err = startAgentProcess(cannedAgent{Instances: 3, Waits: true, Limit: limit})
			if err != nil {
				return all, err
			}
			all = append(all, r)
			r.subscribers, err = start("subscribers", subscribers{Way: w.name, Address: addr, Services: f.services, Each: f.each})
			if err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

func stopFans(all []*running) {
	for _, r := range all {
		if r.subscribers != nil {
			r.subscribers.stop()
		}
		r.agent.stop()
	}
}

// report asks the subscribers.
func (r *running) report(q subscribersQuestion) (report subscribersReport, err error) {
	err = r.subscribers.ask(q, &report)
	return report, err
}

// count asks the agent.
func (r *running) count(q agentQuestion) (counts agentCounts, err error) {
	err = r.agent.ask(q, &counts)
	return counts, err
}
