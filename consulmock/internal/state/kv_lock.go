package state

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// maxLockDelay is the longest lock-delay, whatever a session has.
const maxLockDelay = time.Minute

// LockKey makes the session of a pair hold its key, and writes its value and flags.
// It returns nil if another session holds the key. The caller has looked at
// LockDelayed.
func (st *Store) LockKey(p KVPair) (*KVPair, error) {
	if err := st.checkSession(p.Session); err != nil {
		return nil, err
	}
	p.LockIndex = 1
	switch old := st.keys[p.Key]; {
	case old == nil:
	case old.Session == p.Session:
		p.LockIndex = old.LockIndex
	case old.Session != "":
		return nil, nil
	default:
		p.LockIndex = old.LockIndex + 1
	}
	return st.put(p), nil
}

// checkSession returns why a session cannot hold a key.
func (st *Store) checkSession(id string) error {
	if id == "" {
		return errMissingSession
	}
	if err := st.CheckSessionID(id); err != nil {
		return err
	}
	if st.Session(id) == nil {
		return fmt.Errorf("invalid session %q", id)
	}
	return nil
}

var errMissingSession = errors.New("missing session")

// UnlockKey ends the hold of the session of a pair on its key, and writes its value
// and flags. It returns nil if the session does not hold the key.
func (st *Store) UnlockKey(p KVPair) (*KVPair, error) {
	if p.Session == "" {
		return nil, errMissingSession
	}
	old := st.keys[p.Key]
	if old == nil || old.Session != p.Session {
		return nil, nil
	}
	p.Session, p.LockIndex = "", old.LockIndex
	return st.put(p), nil
}

// LockDelayed reports whether nobody can hold a key yet because the session that
// held it has ended a short time ago.
func (st *Store) LockDelayed(key string) bool { return time.Now().Before(st.lockDelays[key]) }

// freeKeys releases or deletes the keys that a session holds, which ends. They cannot
// be acquired for the time of its lock-delay, whatever becomes of them.
func (st *Store) freeKeys(s *Session) {
	delay := min(s.LockDelay, maxLockDelay)
	now := time.Now()
	maps.DeleteFunc(st.lockDelays, func(_ string, until time.Time) bool { return !now.Before(until) })
	for _, p := range st.KeysWith("") {
		if !strings.EqualFold(p.Session, s.ID) {
			continue
		}
		if s.Behavior == "delete" {
			st.DeleteKey(p.Key)
		} else {
			free := *p
			free.Session = ""
			st.put(free)
		}
		if delay > 0 {
			st.lockDelays[p.Key] = now.Add(delay)
		}
	}
}
