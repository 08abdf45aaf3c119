package consul

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The conditions that callers branch on, for use with [errors.Is]. They mean
// the same on all agents, although agents of different versions say them with
// different status codes and words.
var (
	// ErrNotFound means that what was asked for does not exist: an ID, a key, or
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
	// that is one too many without an answer, which cannot be told from other
	// failures of the connection.
	ErrRateLimited = errors.New("rate limited")

	// ErrUnknownCheck means that the agent has no TTL check of that ID. Old agents
	// do not say whether it has another kind of check of that ID.
	ErrUnknownCheck = errors.New("unknown check")

	// ErrUnknownService means that the agent has no service of that ID or name.
	ErrUnknownService = errors.New("unknown service")

	// ErrResponseTooLarge means that an answer was longer than
	// [Config.MaxResponseBytes].
	ErrResponseTooLarge = errors.New("response too large")
)

const (
	maxErrorBody    = 4 << 10 // of StatusError.Body
	maxErrorMessage = 512     // of the body and of the path, in StatusError.Error
)

// StatusError is an answer with a status code that is not a success.
type StatusError struct {
	Method     string        // GET, PUT or DELETE
	Path       string        // as it was sent, escaped, without the query
	Code       int           // HTTP status code
	Body       string        // what the agent said, at most 4 KiB of it
	RetryAfter time.Duration // how long the agent asks to wait; 0 if it does not say
}

// Error returns one line with the method, the path, the code and what the agent
// said.
func (e *StatusError) Error() string {
	said := strings.Join(strings.Fields(e.Body), " ")
	if said == "" {
		said = http.StatusText(e.Code)
	}
	return fmt.Sprintf("consul: %s %s: %d %s", e.Method, shorten(e.Path, maxErrorMessage), e.Code, shorten(said, maxErrorMessage))
}

// Is reports whether the answer means the condition target, which is one of
// this package's errors.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Code == http.StatusNotFound || e.isUnknownCheck() || e.isUnknownService()
	case ErrPermissionDenied:
		return e.Code == http.StatusForbidden
	case ErrNoLeader:
		return e.Code == http.StatusInternalServerError && strings.Contains(e.Body, "No cluster leader")
	case ErrRateLimited:
		// A leader that refuses a write says 503, because no other server can take it.
		return e.Code == http.StatusTooManyRequests ||
			e.Code == http.StatusServiceUnavailable && strings.HasPrefix(e.Body, "rate limit exceeded")
	case ErrUnknownCheck:
		return e.isUnknownCheck()
	case ErrUnknownService:
		return e.isUnknownService()
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

// shorten cuts s to at most n bytes, at the boundary of a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
