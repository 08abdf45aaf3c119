package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The conditions that callers branch on, for use with [errors.Is]. They mean
// the same on all agents, although agents of different versions use different
// status codes and words.
var (
	// ErrNotFound means that what was requested does not exist: an ID, a key, or
	// an endpoint that the agent does not have. An unknown check or service is
	// also ErrNotFound.
	ErrNotFound = errors.New("not found")

	// ErrPermissionDenied means that the token does not exist or does not allow
	// the request.
	ErrPermissionDenied = errors.New("permission denied")

	// ErrNoLeader means that the servers have no leader at the moment.
	ErrNoLeader = errors.New("no cluster leader")

	// ErrRateLimited means that the agent refused the request because there are
	// too many of them, or too many connections. Old agents close a connection
	// that is one too many without a response, which cannot be told from other
	// failures of the connection.
	ErrRateLimited = errors.New("rate limited")

	// ErrUnknownCheck means that the agent has no TTL check of that ID. Old agents
	// do not tell whether it has another kind of check of that ID.
	ErrUnknownCheck = errors.New("unknown check")

	// ErrUnknownService means that the agent has no service of that ID or name.
	ErrUnknownService = errors.New("unknown service")

	// ErrUnknownSession means that there is no session of that ID, or not any more.
	ErrUnknownSession = errors.New("unknown session")

	// ErrLockHeld means that another session holds a key.
	ErrLockHeld = errors.New("lock is held")

	// ErrLockDelay means that a key cannot be acquired yet, because the session that
	// held it has ended a short time ago.
	ErrLockDelay = errors.New("lock-delay is not over")

	// ErrStaleIndex means that a key, node, service or check has changed since the
	// index that a write depends on.
	ErrStaleIndex = errors.New("index is stale")

	// ErrTooLarge means that what was sent is larger than the agent accepts: a value,
	// a transaction or an event.
	ErrTooLarge = errors.New("too large")

	// ErrResponseTooLarge means that a response was longer than
	// [Config.MaxResponseBytes].
	ErrResponseTooLarge = errors.New("response too large")
)

const (
	maxErrorBody    = 4 << 10 // of StatusError.Body
	maxErrorMessage = 512     // of the body and of the path, in StatusError.Error
)

// StatusError is a response with a status code other than success.
type StatusError struct {
	Method     string        // GET, PUT or DELETE
	Address    string        // the agent's: http://host:port, https://host:port or unix:///path
	Path       string        // as it was sent, escaped, without the query
	Code       int           // HTTP status code
	Body       string        // the agent's message, at most 4 KiB of it
	RetryAfter time.Duration // from the header Retry-After; 0 without one

	// What the body meant before secrets were removed from it, which can be words of
	// the agent's; nil if none were.
	meant error
}

// Error returns one line with the method, the agent's address, the path, the code
// and the agent's message.
func (e *StatusError) Error() string {
	said := strings.Join(strings.Fields(e.Body), " ")
	if said == "" {
		said = http.StatusText(e.Code)
	}
	return fmt.Sprintf("consul: %s %s%s: %d %s",
		e.Method, e.Address, shorten(e.Path, maxErrorMessage), e.Code, abridge(said))
}

// Is reports whether the response means the condition target, which is one of
// this package's errors.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Code == http.StatusNotFound || e.Is(ErrUnknownCheck) || e.Is(ErrUnknownService) || e.Is(ErrUnknownSession)
	case ErrPermissionDenied:
		return e.Code == http.StatusForbidden
	case nil:
		return false
	case e.meant:
		return true
	case ErrNoLeader:
		return e.Code == http.StatusInternalServerError && strings.Contains(e.Body, "No cluster leader")
	case ErrRateLimited:
		// A leader that refuses a write responds with 503, because no other server can take it.
		return e.Code == http.StatusTooManyRequests ||
			e.Code == http.StatusServiceUnavailable && strings.HasPrefix(e.Body, "rate limit exceeded")
	case ErrUnknownCheck:
		return e.isUnknownCheck()
	case ErrUnknownService:
		return e.isUnknownService()
	case ErrUnknownSession:
		return e.isUnknownSession()
	case ErrTooLarge:
		return e.Code == http.StatusRequestEntityTooLarge ||
			e.Code == http.StatusInternalServerError && strings.Contains(e.Body, "user event exceeds configured limit")
	}
	return false
}

// isUnknownCheck knows the words of 1.21.4 (404), of 1.8.7 (500), and of 1.8.7
// with ACLs on (500).
func (e *StatusError) isUnknownCheck() bool {
	switch e.Code {
	case http.StatusNotFound:
		return strings.HasPrefix(e.Body, "Unknown check ID ")
	case http.StatusInternalServerError:
		return strings.HasSuffix(e.Body, "does not have associated TTL") || strings.HasPrefix(e.Body, `Unknown check "`)
	}
	return false
}

// isUnknownService knows the words of the same three, and those of the local
// health endpoints, of check/register, and of agent/service.
func (e *StatusError) isUnknownService() bool {
	switch e.Code {
	case http.StatusNotFound:
		for _, said := range []string{"Unknown service ID ", "unknown service ID: ", "No service registered with ID "} {
			if strings.HasPrefix(e.Body, said) {
				return true
			}
		}
		return strings.HasPrefix(e.Body, `ServiceID "`) && strings.HasSuffix(e.Body, "does not exist") ||
			strings.HasPrefix(e.Body, "ServiceName ") && strings.HasSuffix(e.Body, " Not Found") ||
			strings.HasPrefix(e.Body, "ServiceId ") && strings.HasSuffix(e.Body, " not found")
	case http.StatusInternalServerError:
		return strings.HasPrefix(e.Body, `Unknown service {"`) ||
			strings.HasPrefix(e.Body, `ServiceID "`) && strings.HasSuffix(e.Body, "does not exist")
	}
	return false
}

// isUnknownSession knows the words of a renewal (404), of 1.8.7 about an ID that is
// none (500), and of an acquisition (500).
func (e *StatusError) isUnknownSession() bool {
	switch e.Code {
	case http.StatusNotFound:
		return strings.HasPrefix(e.Body, "Session id '") && strings.HasSuffix(e.Body, "' not found")
	case http.StatusInternalServerError:
		return isInvalidSession(e.Body)
	}
	return false
}

// isInvalidSession reports whether the message of a write or of an operation is
// about a session that does not exist. What agents write before it differs.
func isInvalidSession(message string) bool {
	return strings.Contains(message, "invalid session \"") || strings.Contains(message, "failed session lookup: ")
}

// fail turns what went wrong before or after the status into an error that
// stands alone.
func (c *Client) fail(ctx context.Context, r *call, err error) error {
	var outer *url.Error // repeats the URL with its query
	if errors.As(err, &outer) {
		err = outer.Err
	}
	switch ended := ctx.Err(); {
	case ended == nil && r.lost != nil && r.lost.Load():
		err = fmt.Errorf("the connection ended before the response: %w", io.ErrUnexpectedEOF)
	case ended != nil && !errors.Is(err, ended):
		// Package net/http returns the cause of the end instead, if there is one.
		err = fmt.Errorf("%w: %w", ended, err)
	case ended == nil && r.timeout > 0 && errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no response within %s, which is the wait and %s more: %w", r.timeout, waitSlack, err)
	}
	where := fmt.Sprintf("consul: %s %s%s: ", r.method, c.agent, shorten(c.base.EscapedPath()+r.path, maxErrorMessage))
	said := where + err.Error()
	if clean := c.secrets(r).redact(where + redactUserinfo(err.Error())); clean != said {
		return &scrubbedError{clean, func(target error) bool { return errors.Is(err, target) }}
	}
	return fmt.Errorf("%s%w", where, err)
}

// scrubbedError is an error whose text had a secret in it. It does not give out
// what it wraps, which would print the secret, but is still what that is: a token
// can be a word that is in every error.
type scrubbedError struct {
	said string
	is   func(target error) bool
}

func (e *scrubbedError) Error() string { return e.said }

func (e *scrubbedError) Is(target error) bool { return e.is(target) }

// statusError returns the error for a response to the call, of whose body the
// beginning has been read.
func (c *Client) statusError(r *call, status int, header http.Header, body []byte) *StatusError {
	secrets := c.secrets(r)
	said := string(body)
	if len(body) == maxErrorRead {
		said += ellipsis // there may be more, and half of a secret before it
	}
	if reason := header.Get("X-Consul-Reason"); reason != "" {
		// The local health endpoints respond with JSON in which the reason is missing.
		said = reason
	}
	clean := secrets.redact(redactUserinfo(said))
	e := &StatusError{
		Method:     r.method,
		Address:    secrets.redact(c.agent),
		Path:       secrets.redact(c.base.EscapedPath() + r.path),
		Code:       status,
		Body:       shorten(strings.TrimSpace(clean), maxErrorBody),
		RetryAfter: parseRetryAfter(header.Get("Retry-After"), time.Now()),
	}
	if clean != said {
		e.meant = condition(status, strings.TrimSpace(said))
	}
	return e
}

// condition returns what a body means, if it takes the body to know.
func condition(status int, body string) error {
	e := &StatusError{Code: status, Body: body}
	for _, condition := range []error{ErrNoLeader, ErrRateLimited, ErrUnknownCheck, ErrUnknownService, ErrUnknownSession, ErrTooLarge} {
		if e.Is(condition) {
			return condition
		}
	}
	return nil
}

// parseRetryAfter reads the header of RFC 9110, section 10.2.3: seconds, or a
// date. What it cannot read is 0, since an error is being reported already.
func parseRetryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseUint(v, 10, 32); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// ellipsis follows what has been cut. Secrets that were cut are recognised by it.
const ellipsis = "…"

// shorten cuts s to at most n bytes, at the boundary of a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + ellipsis
}

// abridge cuts out the middle of a long message. Agents quote what they refuse
// before they give the reason.
func abridge(message string) string {
	if len(message) <= maxErrorMessage {
		return message
	}
	end := len(message) - maxErrorMessage/4
	for end < len(message) && message[end]&0xC0 == 0x80 {
		end++
	}
	return shorten(message, maxErrorMessage*3/4) + message[end:]
}
