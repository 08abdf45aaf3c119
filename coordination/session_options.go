package coordination

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/pace"
)

// SessionOptions are the options of a session. Nil and the zero SessionOptions mean the
// defaults.
type SessionOptions struct {
	// Name is any text, for people who list the sessions.
	Name string

	// Node is the node whose deregistration ends the session: that of the agent if
	// empty. For a client of another datacenter than the agent's it has to be a node of
	// that one, and the agent itself a server (1.21.4) or any agent (1.8.7).
	Node string

	// TTL is the time-to-live of the session, 15 s if 0. Servers end a session that
	// has not been renewed for twice as long. Agents accept 10 s to 24 h, unless
	// configured otherwise.
	TTL time.Duration

	// LockDelay is how long nobody can acquire what the session held when it ended
	// without being closed. 0 means 15 s, or the TTL if that is longer; servers allow
	// 60 s at most. A negative LockDelay means none.
	LockDelay time.Duration

	// Grace is how much earlier than after one TTL a lease is given up that cannot be
	// renewed: a fifth of the TTL if 0, and at most half of it.
	Grace time.Duration

	// AllowOverlap allows a LockDelay that is shorter than TTL - Grace. If the session
	// is destroyed while its owner cannot reach the agent, others may then have a
	// lease up to that much sooner than the owner notices.
	AllowOverlap bool

	// NodeChecks are the IDs of checks of the node that end the session when they turn
	// critical, such as serfHealth. Nil means none: such a session ends for fewer
	// reasons, and can be renewed through any agent of the datacenter.
	NodeChecks []string

	// Behavior is what becomes of the keys that the session holds when it ends without
	// being closed. Empty means that they are released, except for the session that a
	// [Semaphore] makes itself.
	Behavior consul.SessionBehavior

	// Logger logs each event; nil logs nothing. OnEvent, if not nil, is called with the
	// events of the session and of what it holds.
	Logger  *slog.Logger
	OnEvent func(Event)
}

const (
	defaultTTL       = 15 * time.Second
	defaultLockDelay = 15 * time.Second
	minTTL           = 100 * time.Millisecond
	maxTTL           = 24 * time.Hour
	maxLockDelay     = time.Minute // of servers
)

// withDefaults returns a copy of o without zero values, or what is wrong with it.
func (o *SessionOptions) withDefaults() (SessionOptions, error) {
	var c SessionOptions
	if o != nil {
		c = *o
	}
	c.NodeChecks = append([]string{}, c.NodeChecks...) // not nil: that would be serfHealth
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	if c.Grace == 0 {
		c.Grace = c.TTL / 5
	}
	if c.LockDelay == 0 {
		c.LockDelay = min(max(defaultLockDelay, c.TTL), maxLockDelay)
	}
	return c, c.check()
}

func (o *SessionOptions) check() error {
	delay, lifetime := max(o.LockDelay, 0), o.lifetime()
	problem := ""
	switch {
	case o.TTL < minTTL || o.TTL > maxTTL:
		problem = fmt.Sprintf("TTL is %s; want %s to %s, or 0 for %s", o.TTL, minTTL, maxTTL, defaultTTL)
	case o.Grace < 0 || o.Grace > o.TTL/2:
		problem = fmt.Sprintf("Grace is %s; want at most half of the TTL, which is %s, or 0 for a fifth", o.Grace, o.TTL)
	case o.LockDelay > maxLockDelay:
		problem = fmt.Sprintf("LockDelay is %s; servers allow at most %s", o.LockDelay, maxLockDelay)
	case lifetime > maxLockDelay && !o.AllowOverlap:
		problem = fmt.Sprintf("TTL - Grace is %s; want at most %s, the longest LockDelay of servers, or AllowOverlap", lifetime, maxLockDelay)
	case delay < lifetime && !o.AllowOverlap:
		problem = fmt.Sprintf("LockDelay is %s and TTL - Grace is %s; want a LockDelay that is not shorter, or AllowOverlap", delay, lifetime)
	case slices.Contains(o.NodeChecks, ""):
		problem = "NodeChecks has an empty ID"
	case o.Behavior != "" && o.Behavior != consul.SessionRelease && o.Behavior != consul.SessionDelete:
		problem = fmt.Sprintf("Behavior is %q; want %s, %s, or nothing", o.Behavior, consul.SessionRelease, consul.SessionDelete)
	}
	if problem != "" {
		return errors.New("coordination: SessionOptions." + problem)
	}
	return nil
}

// lifetime returns how long a lease is valid after the last successful renewal was
// sent.
func (o *SessionOptions) lifetime() time.Duration { return o.TTL - o.Grace }

// callTimeout returns how long one request may take, so that one which hangs leaves
// time for another.
func (o *SessionOptions) callTimeout() time.Duration { return min(o.TTL/3, maxCallTimeout) }

// renewInterval returns the time from one successful renewal to the next: a third of
// the TTL, less up to a fifth of that.
func (o *SessionOptions) renewInterval(random float64) time.Duration {
	return time.Duration((0.8 + 0.2*random) * float64(o.TTL/3))
}

// retryPause returns the pause after a request that failed.
func (o *SessionOptions) retryPause(random float64) time.Duration {
	return time.Duration((0.5 + 0.5*random) * float64(min(o.TTL/30, maxRetryPause)))
}

// backoff returns the pauses of those who have no lease to lose.
func (o *SessionOptions) backoff() pace.Backoff {
	return pace.Backoff{Min: min(o.TTL/15, time.Second), Max: min(o.TTL/3, 5*time.Second)}
}

const (
	maxRetryPause  = 2 * time.Second
	maxCallTimeout = 10 * time.Second
	maxWait        = time.Minute // of a blocking query
)

// definition returns the session to be created.
func (o *SessionOptions) definition() *consul.SessionEntry {
	return &consul.SessionEntry{
		Name: o.Name, Node: o.Node, TTL: o.TTL, LockDelay: o.LockDelay, Behavior: o.Behavior, NodeChecks: o.NodeChecks,
	}
}
