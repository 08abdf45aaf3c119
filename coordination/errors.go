package coordination

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/lictor-go/consul"
)

// The conditions that callers branch on, for use with [errors.Is].
var (
	// ErrHeld means that others hold the lock, or as many as may. The error is a
	// [*HeldError].
	ErrHeld = errors.New("lock is held")

	// ErrDelayed means that nobody holds the key, but it cannot be acquired yet: the
	// session of the last holder has ended a short time ago, and the holder may not
	// have noticed.
	ErrDelayed = errors.New("lock-delay is not over")

	// ErrLost means that a lease or a session has ended, or may have, before it was
	// released or closed. The error is a [*LostError].
	ErrLost = errors.New("lease is lost")

	// ErrConflict means that the key is in use for something else: what is stored
	// there is no lock, or no semaphore, or a semaphore with another limit.
	ErrConflict = errors.New("key is used for something else")
)

// HeldError reports who holds a lock. It is [ErrHeld].
type HeldError struct {
	Key      string
	Sessions []string // the IDs of the sessions that hold it
	Value    []byte   // of the key, for a mutex: what the holder wrote there
}

// Error returns the sessions, and what is in the key.
func (e *HeldError) Error() string {
	said := "held by session " + strings.Join(e.Sessions, ", ")
	if len(e.Value) > 0 {
		said += fmt.Sprintf(" (%.100q)", e.Value)
	}
	return said
}

// Is reports whether the target is ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// LossReason is why a lease or a session was lost.
type LossReason string

const (
	// LossExpired means that no renewal of the session, or no read of the key, has
	// succeeded for so long that others may have the lock soon.
	LossExpired LossReason = "expired"

	// LossSession means that the session has ended, so that nobody holds the key: it
	// was destroyed, it expired, one of its checks turned critical, or its node was
	// deregistered.
	LossSession LossReason = "session ended"

	// LossDeleted means that the key does not exist any more: somebody deleted it, or
	// the session has ended and its Behavior is to delete.
	LossDeleted LossReason = "deleted"

	// LossTaken means that the lock has another holder.
	LossTaken LossReason = "taken"

	// LossOverwritten means that somebody wrote to the key, or acquired it again with
	// the same session.
	LossOverwritten LossReason = "overwritten"
)

// LostError reports why a lease or a session was lost. It is [ErrLost].
type LostError struct {
	Reason LossReason
	Key    string // of the lease; empty for a session
	Err    error  // the last error, for LossExpired and LossSession; nil if there was none
}

// Error returns one line with the reason and, if there is one, the error.
func (e *LostError) Error() string {
	what := "session"
	if e.Key != "" {
		what = fmt.Sprintf("lease of %q", e.Key)
	}
	said := fmt.Sprintf("coordination: %s is lost: %s", what, e.Reason)
	if e.Err != nil {
		said += ": " + e.Err.Error()
	}
	return said
}

// Is reports whether the target is ErrLost.
func (e *LostError) Is(target error) bool { return target == ErrLost }

// Unwrap returns Err.
func (e *LostError) Unwrap() error { return e.Err }

// acquireError tells which lock could not be acquired.
type acquireError struct {
	key string
	err error
}

// Error names the package once, although the errors of sessions do so too.
func (e *acquireError) Error() string {
	return fmt.Sprintf("coordination: acquiring %q: %s", e.key, strings.TrimPrefix(e.err.Error(), "coordination: "))
}

func (e *acquireError) Unwrap() error { return e.err }

var (
	errNilContext = errors.New("coordination: nil context")
	errNilClient  = errors.New("coordination: nil client")
	errClosed     = errors.New("coordination: session is closed")
	errReleased   = errors.New("coordination: lease is released")

	errOtherServers = errors.New("coordination: the lock and its Session have clients of different servers")
)

// isPermanent reports whether the request would fail however often it is sent.
// Everything else, from a connection that is refused to servers without a leader, can
// pass.
func isPermanent(err error) bool {
	var status *consul.StatusError
	var refused *consul.TxnError
	switch {
	case errors.Is(err, consul.ErrRateLimited):
		return false
	case errors.As(err, &refused), errors.Is(err, consul.ErrPermissionDenied):
		return true
	case errors.As(err, &status):
		return status.Code/100 == 4 && status.Code != http.StatusRequestTimeout ||
			strings.Contains(status.Body, "Invalid Session TTL") // comes with 500
	}
	return false
}

// ended returns the error of an operation that the end of ctx has cut off, with the
// error that it had met before, if any.
func ended(ctx context.Context, last error) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	if last == nil || errors.Is(last, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w (the last error was: %w)", err, last)
}
