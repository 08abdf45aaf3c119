package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// Session is a session as the servers hold it, in the form in which agents return it.
type Session struct {
	ID            string
	Name          string
	Node          string
	LockDelay     time.Duration
	Behavior      string
	TTL           string
	NodeChecks    []string
	ServiceChecks []SessionServiceCheck
	Checks        []string `json:",omitempty"`
	CreateIndex   uint64
	ModifyIndex   uint64
}

// SessionServiceCheck names a check of a service that a session depends on.
type SessionServiceCheck struct {
	ID        string
	Namespace string
}

// CheckIDs returns the IDs of all checks that the session depends on, in the order in
// which servers look at them.
func (s *Session) CheckIDs() []string {
	ids := slices.Concat(s.Checks, s.NodeChecks)
	for _, c := range s.ServiceChecks {
		ids = append(ids, c.ID)
	}
	return ids
}

// keys returns the keys of a session in each index that has it.
func (s *Session) keys(v release.Version) map[string]string {
	return map[string]string{sessionsByID: sessionKey(v, s.ID), SessionsByNode: recordKey(s.Node, s.ID)}
}

// sessionKey returns the key of a session in the index of IDs: 1.8.7 keeps the bytes
// of the UUID.
func sessionKey(v release.Version, id string) string {
	if v == release.V1_21_4 {
		return recordKey(id)
	}
	raw, _ := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	return string(raw)
}

// Session returns the session of that ID, in whatever case it is written, or nil.
func (st *Store) Session(id string) *Session { return st.Sessions[strings.ToLower(id)] }

// CheckSessionID returns what 1.8.7 reports of something that cannot be the ID of a
// session. For 1.21.4 that is an unknown session.
func (st *Store) CheckSessionID(id string) error {
	const failed = "failed session lookup: index error: "
	if st.Version == release.V1_21_4 {
		return nil
	}
	if len(id) != 36 {
		return errors.New(failed + "UUID must be 36 characters")
	}
	if n := strings.Count(id, "-"); n > 4 {
		return fmt.Errorf(failed+`UUID should have maximum of 4 "-"; got %d`, n)
	}
	digits := strings.ReplaceAll(id, "-", "")
	if len(digits)%2 != 0 {
		return errors.New(failed + "Input (without hyphens) must be even length")
	}
	if _, err := hex.DecodeString(digits); err != nil {
		return fmt.Errorf(failed+"Invalid UUID: %w", err)
	}
	return nil
}

// SessionsWhere returns the sessions that a predicate is true of, ordered by ID.
func (st *Store) SessionsWhere(is func(*Session) bool) []*Session {
	return slices.DeleteFunc(Sorted(st.Sessions), func(s *Session) bool { return !is(s) })
}

// SessionsOf returns the sessions of a node, ordered by ID.
func (st *Store) SessionsOf(node string) []*Session {
	return st.SessionsWhere(func(s *Session) bool { return strings.EqualFold(s.Node, node) })
}

// CreateSession adds a session, whose node and checks must be there.
func (st *Store) CreateSession(s *Session) error {
	n := st.Node(s.Node)
	if n == nil {
		return errMissingNode
	}
	for _, id := range s.CheckIDs() {
		c := n.Checks[strings.ToLower(id)]
		switch {
		case id == "" && st.Version == release.V1_21_4:
			return errors.New("failed check lookup: index error: object is missing a value for this index")
		case c == nil:
			return fmt.Errorf("Missing check '%s' registration", id)
		case c.Status == string(consul.HealthCritical):
			return fmt.Errorf("Check '%s' is in critical state", id)
		}
	}
	s.CreateIndex, s.ModifyIndex = st.Index, st.Index
	st.Sessions[strings.ToLower(s.ID)] = s
	st.touch(SessionsTable)
	st.recordChanged(nil, s.keys(st.Version))
	return nil
}

// EndSession removes a session, and frees the keys that it holds.
func (st *Store) EndSession(s *Session) {
	delete(st.Sessions, strings.ToLower(s.ID))
	st.touch(SessionsTable)
	st.Notify(SessionKey(s.ID))
	st.recordChanged(s.keys(st.Version), nil)
	st.freeKeys(s)
	st.SessionEnded(s)
}

// endSessionsOfCheck ends the sessions that depend on a check of a node.
func (st *Store) endSessionsOfCheck(node, checkID string) {
	for _, s := range st.SessionsOf(node) {
		if slices.ContainsFunc(s.CheckIDs(), func(id string) bool { return strings.EqualFold(id, checkID) }) {
			st.EndSession(s)
		}
	}
}

// SessionWatch returns the key of waiters for a session: for its end, or for what
// wakes them while there is none.
func (st *Store) SessionWatch(id string) string {
	if st.Session(id) != nil {
		return SessionKey(id)
	}
	return sessionsByID + "\x00" + sessionKey(st.Version, id)
}
