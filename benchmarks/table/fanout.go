package main

import (
	"fmt"
	"time"
)

// load is a number of services, and of subscribers that each has in one process.
type load struct{ services, each int }

func (l load) subscribers() int { return l.services * l.each }

// affected is the number of subscribers whose service changes when some do.
func (l load) affected() int {
	n := 0
	for i := range l.services {
		if isChanging(serviceName(i)) {
			n += l.each
		}
	}
	return n
}

func (l load) String() string { return fmt.Sprintf("%d of %d services", l.subscribers(), l.services) }

func serviceName(i int) string { return fmt.Sprint("service-", i) }

// ways are the ways to follow services that are compared.
var ways = []way{resolver, watchService, apiPlan, apiLoop, kratos}

// maxConnections is the number of subscribers up to which ways are measured that
// open a connection for each.
const maxConnections = 1000

// running is a process of subscribers, and the agent that it follows.
type running struct {
	load
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
	all, err := startAll(s.loads, 0)
	defer stopAll(all)
	if err != nil {
		return err
	}
	for _, r := range all {
		progress("%s, %s", r.load, r.name)
		report, err := r.report(subscribersQuestion{Port: 8080, Patience: time.Minute})
		if err != nil {
			return err
		}
		if n := r.load.subscribers(); report.Reached < n {
			return fmt.Errorf("%s: %d of %d subscribers have a response", r.name, report.Reached, n)
		}
	}
	time.Sleep(2 * time.Second) // kratos does not wait for changes before the next second
	for _, r := range all {
		if r.begin, err = r.count(agentQuestion{}); err != nil {
			return err
		}
	}
	progress("at rest for %s", s.quiet)
	time.Sleep(s.quiet)
	show("| subscribers | with | goroutines | KiB a subscriber | connections | queries to begin with | queries in %.0f s at rest |\n"+
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
		show("| %s | %s | %d | %.1f | %d | %d | %d |\n", r.load, r.name, report.Goroutines,
			float64(report.Memory)/1024/float64(r.load.subscribers()), counts.Connections, r.begin.Queries, counts.Queries-r.begin.Queries)
	}
	return nil
}

// limit measures what becomes of subscribers when the agent allows fewer
// connections than there are subscribers.
func limit(s scale) error {
	all, err := startAll(s.limitedLoads, s.limit)
	defer stopAll(all)
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
	show("| subscribers, at an agent that allows %d connections | with | have a response after %.0f s | connections | refused "+
		"| of 10 heartbeats arrive | of those whose service changes see it within %.0f s |\n|---|---|---|---|---|---|---|\n",
		s.limit, s.patience.Seconds(), s.patience.Seconds())
	for _, r := range all {
		report, err := r.report(subscribersQuestion{Port: 8081})
		if err != nil {
			return err
		}
		show("| %s | %s | %d | %d | %d | %d | %d of %d |\n", r.load, r.name, r.first.Reached,
			r.begin.Connections, r.begin.Refused, r.first.Heartbeats, report.Reached, r.load.affected())
	}
	return nil
}

// startAll starts all subscribers, in each of the ways.
func startAll(loads []load, limit int) (all []*running, err error) {
	for _, l := range loads {
		for _, w := range ways {
			if !w.shares && l.subscribers() > maxConnections {
				continue
			}
			r, err := startRunning(l, w, cannedAgent{Instances: 3, Waits: true, Limit: limit})
			all = append(all, r)
			if err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// startRunning starts subscribers and their agent. They have to be stopped, also if
// there is an error.
func startRunning(l load, w way, details cannedAgent) (*running, error) {
	r := &running{load: l, way: w}
	var addr string
	var err error
	if r.agent, addr, err = startAgentProcess(details); err != nil {
		return r, err
	}
	r.subscribers, err = start("subscribers", subscribers{Way: w.name, Address: addr, Services: l.services, Each: l.each})
	return r, err
}

func stopAll(all []*running) {
	for _, r := range all {
		for _, p := range []*process{r.subscribers, r.agent} {
			if p != nil {
				p.stop()
			}
		}
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
