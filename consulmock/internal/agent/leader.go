package agent

import (
	"time"

	"github.com/lictor-go/consul/consulmock/internal/state"
)

// electionTime is how long servers have no leader when they elect one.
const electionTime = 3 * time.Second

// ElectLeader begins an election. Until it is over, no session ends because of its TTL,
// and the agent writes nothing to the catalog.
func (a *Agent) ElectLeader() {
	a.Leaderless = true
	a.stopSessions()
	a.Store.Notify(state.LeaderKey)
	a.awaitLeader(electionTime)
}

// awaitLeader makes the agent wait until the servers have a leader. A new leader gives
// sessions and tombstones their whole time again, and tells of itself in an event.
func (a *Agent) awaitLeader(d time.Duration) {
	if a.sync.held != nil {
		a.sync.held.Stop()
	}
	var t *time.Timer
	t = a.after(d, func() {
		if a.sync.held != t { // it has fired before it was stopped
			return
		}
		a.sync.held, a.Leaderless = nil, false
		a.eventTime++
		a.Store.KeepTombstones()
		a.renewSessions()
		a.SyncChanges()
	})
	a.sync.held = t
}
