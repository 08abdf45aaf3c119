package agent

import (
	"cmp"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/state"
)

// ttlMultiplier is how many times as long as its TTL a session lives without being
// renewed.
const ttlMultiplier = 2

// CreateSession gives a session an ID and adds it to the servers, who may refuse it.
// Even then it was in their log, and the index has moved.
func (a *Agent) CreateSession(s *state.Session) error {
	s.ID = newUUID()
	a.Store.Index++
	if err := a.Store.CreateSession(s); err != nil {
		return err
	}
	a.RenewSession(s)
	return nil
}

// expiry is when a session ends.
type expiry struct {
	due   time.Time
	timer *time.Timer
}

// RenewSession begins the TTL of a session anew. Without a leader it does nothing, since
// the leader alone knows how long sessions have been there.
func (a *Agent) RenewSession(s *state.Session) {
	a.stopSession(s)
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil || ttl == 0 || a.Leaderless {
		return
	}
	ttl *= ttlMultiplier
	a.expiries[s] = &expiry{due: time.Now().Add(ttl), timer: a.after(ttl, a.expireSessions)}
}

// expireSessions ends the sessions whose time is over: those of the same moment in the
// order in which they were created, whichever timer comes first.
func (a *Agent) expireSessions() {
	now := time.Now()
	due := slices.DeleteFunc(slices.Collect(maps.Keys(a.expiries)), func(s *state.Session) bool { return a.expiries[s].due.After(now) })
	slices.SortFunc(due, func(s, t *state.Session) int {
		return cmp.Or(a.expiries[s].due.Compare(a.expiries[t].due), cmp.Compare(s.CreateIndex, t.CreateIndex))
	})
	for _, s := range due {
		a.DestroySession(s)
	}
}

// DestroySession ends a session.
func (a *Agent) DestroySession(s *state.Session) {
	a.Store.Index++
	a.Store.EndSession(s)
}

// stopSession ends the time after which a session ends.
func (a *Agent) stopSession(s *state.Session) {
	if e := a.expiries[s]; e != nil {
		e.timer.Stop()
		delete(a.expiries, s)
	}
}

// stopSessions is stopSession for all sessions, and renewSessions begins their TTLs anew,
// as a new leader does.
func (a *Agent) stopSessions() {
	for s := range a.expiries {
		a.stopSession(s)
	}
}

func (a *Agent) renewSessions() {
	for _, s := range a.Store.Sessions {
		a.RenewSession(s)
	}
}

// newUUID returns a random UUID.
func newUUID() string {
	var raw [16]byte
	for i := range raw {
		raw[i] = byte(rand.Uint())
	}
	text := hex.EncodeToString(raw[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
