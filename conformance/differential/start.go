package differential

import (
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lictor-go/consul/conformance/scenario"
)

const (
	// undisturbed is how long steps begin after an agent has started. A minute after it
	// has, the agent compares everything with the catalog again.
	undisturbed = 45 * time.Second

	// unrest is how long an agent takes at most to come to rest. It tries for half a
	// minute before it gives up on a leader.
	unrest = time.Minute
)

// start notes that both agents are about to start.
func (p *pair) start() {
	p.began = time.Now()
	p.logged = len(p.real.Log())
}

// started waits until the real agent rests. The fake does at once.
func (p *pair) started() {
	for !atRest(p.real.Log()[p.logged:]) {
		if time.Since(p.began) > unrest {
			p.t.Fatalf("the agent has not come to rest in %s", unrest)
		}
		time.Sleep(10 * time.Millisecond)
	}
	var last [2]uint64
	for side := range p.sides {
		for _, table := range []string{"/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any"} {
			reply := p.sides[side].Ask(scenario.Message{Method: "GET", Target: table})
			index, _ := strconv.ParseUint(reply.Header.Get("X-Consul-Index"), 10, 64) // 0 if there is none
			last[side] = max(last[side], index)
		}
	}
	p.live.Started(last)
}

// isOver reports whether the real agent is about to compare everything with the catalog
// again.
func (p *pair) isOver() bool { return time.Since(p.began) > undisturbed }

// restart kills both agents and starts them again. They have no data directory.
func (p *pair) restart() {
	p.real.Signal(syscall.SIGKILL)
	p.real.WaitExit()
	p.start()
	p.fake.Restart(false)
	p.real.Start()
	p.started()
}

// atRest reports whether an agent whose log is given from its start on has done what agents
// do by themselves when they start. They describe themselves in the catalog and compare
// everything with it, twice: at once, and when they know of a server, up to three seconds
// later. One that has failed is repeated.
func atRest(log string) bool {
	compared, going, done := 0, false, false
	for _, line := range strings.Split(log, "\n") {
		switch {
		case strings.Contains(line, "Skipping remote check"): // the leader's, once in each comparison
			compared++
			going, done = true, false
			continue
		case strings.Contains(line, "failed to sync remote state"):
			done = false
		case strings.Contains(line, "Synced node info"):
			done = true
		case strings.Contains(line, "Node info in sync"): // also for changes alone
			done, going = true, true
		default:
			continue
		}
		if !going { // the leader's check was not there yet
			compared++
		}
		going = false
	}
	return compared > 1 && done
}
