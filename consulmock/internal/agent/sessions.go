package agent

import (
	"encoding/hex"
	"math/rand/v2"
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

// RenewSession begins the TTL of a session anew.
func (a *Agent) RenewSession(s *state.Session) {
	a.stopSession(s)
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil || ttl == 0 {
		return
	}
	var t *time.Timer
	t = a.after(ttlMultiplier*ttl, func() {
		if a.expiries[s] == t { // it may have fired before it was stopped
			a.DestroySession(s)
		}
	})
	a.expiries[s] = t
}

// DestroySession ends a session.
func (a *Agent) DestroySession(s *state.Session) {
	a.Store.Index++
	a.Store.EndSession(s)
}

// stopSession ends the time after which a session ends.
func (a *Agent) stopSession(s *state.Session) {
	if t := a.expiries[s]; t != nil {
		t.Stop()
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
