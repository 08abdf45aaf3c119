package state

import (
	"strings"
	"time"
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

// Session returns the session of that ID, in whatever case it is written, or nil.
func (st *Store) Session(id string) *Session { return st.Sessions[strings.ToLower(id)] }
