package definition

import (
	"errors"
	"fmt"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// The times of sessions.
const (
	MinSessionTTL  = 10 * time.Second // unless it is configured
	maxSessionTTL  = 24 * time.Hour
	defaultDelay   = 15 * time.Second
	delayInSeconds = 1000 // a lock-delay below this is a number of seconds
)

// What becomes of the keys of a session.
const (
	releaseKeys = "release"
	deleteKeys  = "delete"
)

// sessionBody is the body of session/create.
var sessionBody = &bodyKind{
	goType: both(`struct { LockDelay interface {}; *structs.Alias }`),
	alias:  true,
	inner:  map[string]string{"CreateIndex": "RaftIndex", "ModifyIndex": "RaftIndex"},
	types:  map[string]string{"Behavior": "structs.SessionBehavior", "Checks": "types.CheckID"},
	loose:  true,
}

// NewSession returns the session that the body of a session/create defines. It is of
// the given node if the body names none. An empty body stands for the defaults.
func NewSession(v release.Version, node string, body []byte) (*state.Session, error) {
	d := struct {
		Name, Node, Behavior, TTL string
		LockDelay                 any
		NodeChecks, Checks        []string
		ServiceChecks             []state.SessionServiceCheck

		ID                       string // is read only, as these are
		CreateIndex, ModifyIndex uint64
	}{Node: node, Behavior: releaseKeys, NodeChecks: []string{state.SerfCheckID}, Checks: []string{state.SerfCheckID}}
	if len(body) > 0 {
		if err := sessionBody.Decode(v, body, &d); err != nil {
			return nil, err
		}
	}
	delay, err := lockDelay(d.LockDelay)
	if err != nil {
		return nil, refusal.BadRequest("Request decode failed: %v", err)
	}
	switch {
	case len(d.Checks) == 0: // the body has this old field, and it is empty
		d.NodeChecks = []string{}
	case len(d.NodeChecks) == 0, len(d.Checks) == 1 && d.Checks[0] == state.SerfCheckID:
		d.Checks = nil
	}
	return &state.Session{
		Name: d.Name, Node: d.Node, LockDelay: delay, Behavior: d.Behavior, TTL: d.TTL,
		NodeChecks: d.NodeChecks, ServiceChecks: d.ServiceChecks, Checks: d.Checks,
	}, nil
}

// lockDelay reads a lock-delay: a text, or a number of nanoseconds. A low number is one
// of seconds, and so is what is left of a low text.
func lockDelay(given any) (d time.Duration, err error) {
	switch given := given.(type) {
	case nil:
		return defaultDelay, nil
	case string:
		if d, err = time.ParseDuration(given); err != nil {
			return 0, err
		}
	case float64:
		d = time.Duration(given)
	}
	if d < delayInSeconds {
		d *= time.Second
	}
	return d, nil
}

// ValidateSession returns what the servers report of a session that they refuse
// whatever the catalog holds. An empty behavior becomes the default.
func ValidateSession(s *state.Session, minTTL time.Duration) error {
	if s.Node == "" {
		return errors.New("Must provide Node")
	}
	switch s.Behavior {
	case "":
		s.Behavior = releaseKeys
	case releaseKeys, deleteKeys:
	default:
		return fmt.Errorf("Invalid Behavior setting '%s'", s.Behavior)
	}
	if s.TTL == "" {
		return nil
	}
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil {
		return fmt.Errorf("Session TTL '%s' invalid: %v", s.TTL, err)
	}
	if ttl != 0 && (ttl < minTTL || ttl > maxSessionTTL) {
		return fmt.Errorf("Invalid Session TTL '%d', must be between [%v=%v]", ttl, minTTL, maxSessionTTL)
	}
	return nil
}
