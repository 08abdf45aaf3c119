package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Session creates and ends sessions. A session holds keys as locks (see
// [KV.Acquire]) and loses them when it ends: when it is destroyed, when nobody has
// renewed it for twice its TTL, when one of its checks is critical or is
// deregistered, or when its node is deregistered. For some time after that, the
// lock-delay, nobody can acquire these keys.
//
// Reads can be waited on with [QueryOptions.WaitIndex]. Package coordination keeps
// sessions alive.
type Session struct {
	c *Client
}

// SessionBehavior is what becomes of the keys that a session holds when it ends.
type SessionBehavior string

const (
	SessionRelease SessionBehavior = "release" // the keys stay, and are free
	SessionDelete  SessionBehavior = "delete"  // the keys are deleted
)

// NoLockDelay is the [SessionEntry.LockDelay] of a session whose keys can be
// acquired as soon as it ends.
const NoLockDelay time.Duration = -1

// SessionEntry is a session. What an agent returns creates an equal session if it is
// passed to [Session.Create], which ignores the ID and the indexes.
type SessionEntry struct {
	ID   string // made by the agent
	Name string // any text
	Node string // the agent's own node if empty

	// TTL is the time within which a session has to be renewed. Agents allow 10 s to
	// 24 h, unless configured otherwise, and wait for twice as long before they end
	// the session. 0 means that it needs no renewal.
	TTL time.Duration

	// LockDelay is how long a key cannot be acquired after a session that held it has
	// ended without releasing it: 15 s if it is 0, not at all if it is negative (see
	// [NoLockDelay]), and never longer than 60 s. Less than a microsecond counts as one.
	LockDelay time.Duration

	// Behavior is SessionRelease if empty.
	Behavior SessionBehavior

	// NodeChecks are the IDs of checks of the node that end the session when they are
	// critical. Nil means serfHealth, the check of the node itself; a list that is
	// empty but not nil means none.
	NodeChecks []string

	// ServiceChecks are checks of services on the node, beside the NodeChecks.
	ServiceChecks []SessionServiceCheck

	// Checks are the checks of a session made for agents before 1.7.
	Checks []string

	CreateIndex uint64
	ModifyIndex uint64

	Namespace string // Consul Enterprise only
	Partition string // Consul Enterprise only
}

// SessionServiceCheck names a check of a service.
type SessionServiceCheck struct {
	ID        string
	Namespace string `json:",omitempty"` // Consul Enterprise only
}

// Create creates a session and returns its ID. A nil entry means the defaults.
//
// An agent refuses a session with a check that is critical or unknown to the
// servers, which is the case for a moment after an agent has started.
//
// PUT /v1/session/create
func (s *Session) Create(ctx context.Context, e *SessionEntry, w *WriteOptions) (id string, err error) {
	if e == nil {
		e = &SessionEntry{}
	}
	if e.TTL < 0 {
		return "", fmt.Errorf("consul: SessionEntry.TTL is %s; want 0 or more", e.TTL)
	}
	r := s.c.write(http.MethodPut, at("/v1/session/create"), w)
	var created struct{ ID string }
	r.in, r.out = e.definition(), &created
	if _, err := s.c.do(ctx, r); err != nil {
		return "", err
	}
	if created.ID == "" {
		return "", s.c.fail(ctx, r, errors.New("the response has no ID of a session"))
	}
	return created.ID, nil
}

// Renew begins the TTL of a session anew and returns the session. If there is no
// such session, the error is ErrUnknownSession.
//
// PUT /v1/session/renew/{id}
func (s *Session) Renew(ctx context.Context, id string, w *WriteOptions) (*SessionEntry, error) {
	r := s.c.write(http.MethodPut, named("/v1/session/renew/", "session ID", id), w)
	var renewed []*SessionEntry
	r.out = &renewed
	if _, err := s.c.do(ctx, r); err != nil {
		return nil, err
	}
	if len(renewed) == 0 || renewed[0] == nil {
		return nil, s.c.fail(ctx, r, errors.New("the response has no session in it"))
	}
	return renewed[0], nil
}

// Destroy ends a session. It is no error if there is none.
//
// PUT /v1/session/destroy/{id}
func (s *Session) Destroy(ctx context.Context, id string, w *WriteOptions) error {
	_, err := s.c.do(ctx, s.c.write(http.MethodPut, named("/v1/session/destroy/", "session ID", id), w))
	return err
}

// Info returns a session. If there is none, it is nil, and the metadata has the index
// of all sessions.
//
// GET /v1/session/info/{id}
func (s *Session) Info(ctx context.Context, id string, q *QueryOptions) (*SessionEntry, *QueryMeta, error) {
	found, meta, err := find(ctx, s.c, named("/v1/session/info/", "session ID", id), nil, q, checkSessions)
	if err != nil || len(found) == 0 {
		return nil, meta, err
	}
	return found[0], meta, nil
}

// checkSessions returns an error if no agent sends such a list. One that has no such
// session sends an empty list.
func checkSessions(list []*SessionEntry) error {
	if list == nil || slices.Contains(list, nil) {
		return errors.New("a null instead of a session, so it is not the response of an agent")
	}
	return nil
}

// List returns all sessions of the datacenter that the token may read, in no order.
//
// GET /v1/session/list
func (s *Session) List(ctx context.Context, q *QueryOptions) ([]*SessionEntry, *QueryMeta, error) {
	return get[[]*SessionEntry](ctx, s.c, at("/v1/session/list"), q)
}

// Node returns the sessions of a node, in no order.
//
// GET /v1/session/node/{node}
func (s *Session) Node(ctx context.Context, node string, q *QueryOptions) ([]*SessionEntry, *QueryMeta, error) {
	return get[[]*SessionEntry](ctx, s.c, named("/v1/session/node/", "node", node), q)
}

// sessionDefinition is what creates a session. Agents ignore what they do not know,
// so an absent field and an empty one are told apart with care.
type sessionDefinition struct {
	Name          string                `json:",omitempty"`
	Node          string                `json:",omitempty"`
	TTL           string                `json:",omitempty"`
	LockDelay     string                `json:",omitempty"`
	Behavior      SessionBehavior       `json:",omitempty"`
	NodeChecks    *[]string             `json:",omitempty"`
	ServiceChecks []SessionServiceCheck `json:",omitempty"`
	Checks        []string              `json:",omitempty"`
	Namespace     string                `json:",omitempty"`
	Partition     string                `json:",omitempty"`
}

func (e *SessionEntry) definition() sessionDefinition {
	d := sessionDefinition{
		Name: e.Name, Node: e.Node, Behavior: e.Behavior, ServiceChecks: e.ServiceChecks, Checks: e.Checks,
		Namespace: e.Namespace, Partition: e.Partition,
	}
	if e.TTL > 0 {
		d.TTL = e.TTL.String()
	}
	switch {
	case e.LockDelay > 0:
		// Agents take a string of less than a microsecond for as many seconds as it has
		// nanoseconds.
		d.LockDelay = max(e.LockDelay, time.Microsecond).String()
	case e.LockDelay < 0:
		d.LockDelay = "0s"
	}
	if e.NodeChecks != nil {
		d.NodeChecks = &e.NodeChecks
	}
	return d
}

type (
	sessionFields SessionEntry
	sessionWire   struct {
		*sessionFields
		TTL       wireDuration
		LockDelay wireDuration
	}
)

// MarshalJSON implements [json.Marshaler]. It is the form in which agents return a
// session.
func (e SessionEntry) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		*sessionFields
		TTL       string
		LockDelay time.Duration // a number of nanoseconds
	}{(*sessionFields)(&e), e.definition().TTL, max(e.LockDelay, 0)})
}

// UnmarshalJSON implements [json.Unmarshaler]. It reads the form in which agents
// return a session: a LockDelay of 0 there is none, and NodeChecks that are null are
// none, too.
func (e *SessionEntry) UnmarshalJSON(data []byte) error {
	w := sessionWire{sessionFields: (*sessionFields)(e)}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	e.TTL, e.LockDelay = time.Duration(w.TTL), time.Duration(w.LockDelay)
	if e.LockDelay <= 0 {
		e.LockDelay = NoLockDelay
	}
	if e.NodeChecks == nil {
		e.NodeChecks = []string{}
	}
	return nil
}
