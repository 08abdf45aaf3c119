//go:build go1.25

package coordination_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

// The times of the default options.
const (
	ttl       = 15 * time.Second
	lifetime  = 12 * time.Second // of a lease without a renewal
	lockDelay = 15 * time.Second
	jitter    = 1500 * time.Millisecond // at most, of those who wait for the end of a lock-delay
)

// nilContext is what a caller must not give.
var nilContext context.Context

// bubble runs a test in virtual time with a fake agent. A goroutine that is left behind
// fails the test.
func bubble(t *testing.T, test func(t *testing.T, agent *fakeAgent), opts ...consulmock.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := consulmock.New(t, opts...)
		agent := &fakeAgent{Server: s, t: t}
		agent.client = agent.host().client
		test(t, agent)
	})
}

// fakeAgent is a fake agent, with a client on a host where nothing goes wrong.
type fakeAgent struct {
	*consulmock.Server
	t      *testing.T
	client *consul.Client
}

// host is a machine with a client and a network of its own.
type host struct {
	client *consul.Client
	wire   *wire
}

func (a *fakeAgent) host() *host {
	w := &wire{base: a.Transport()}
	c, err := consul.NewClient(consul.Config{Transport: w})
	must(a.t, err)
	a.t.Cleanup(c.CloseIdleConnections)
	return &host{c, w}
}

// must fails the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failure is what happens to a request.
type failure int

const (
	none         failure = iota
	silent               // the request never arrives
	mute                 // the response never arrives
	lostRequest          // the connection ends before the request has arrived
	lostResponse         // the connection ends before the response has arrived
	lateRequest          // the connection ends, and the request arrives late
)

// late is how late.
const late = 3 * time.Second

// wire is a network that can fail, and that notes when requests are sent.
type wire struct {
	base http.RoundTripper

	mu      sync.Mutex
	slow    time.Duration // how long responses take
	failure failure
	only    func(*http.Request) bool // nil means all
	times   int                      // negative means without end
	sent    map[string]time.Time     // the last one with a good response, by kind
	counts  map[string]int           // of all of them
}

// fail makes requests fail until it is called again.
func (w *wire) fail(tr failure, only func(*http.Request) bool) { w.failTimes(tr, -1, only) }

func (w *wire) failTimes(tr failure, times int, only func(*http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failure, w.only, w.times = tr, only, times
}

func (w *wire) take(r *http.Request) failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.counts == nil {
		w.counts, w.sent = make(map[string]int), make(map[string]time.Time)
	}
	w.counts[kind(r)]++
	if w.failure == none || w.times == 0 || w.only != nil && !w.only(r) {
		return none
	}
	w.times--
	return w.failure
}

// kind tells what a request is about: create, renew, destroy, txn, confirm (a read that
// the leader responds to), wait, or read.
func kind(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case strings.HasPrefix(path, "session/"):
		return strings.Split(path, "/")[1]
	case path == "txn":
		return path
	case r.URL.Query().Has("consistent"):
		return "confirm"
	case r.URL.Query().Has("index"):
		return "wait"
	}
	return "read"
}

// is selects requests of some kinds.
func is(kinds ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		for _, k := range kinds {
			if kind(r) == k {
				return true
			}
		}
		return false
	}
}

var errConnection = errors.New("connection reset by test")

// RoundTrip implements [http.RoundTripper].
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	tr := w.take(r)
	switch tr {
	case silent:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case lostRequest:
		return nil, errConnection
	case lateRequest:
		w.deliverLate(r)
		return nil, errConnection
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch tr {
	case mute, lostResponse:
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if tr == lostResponse {
			return nil, errConnection
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w.mu.Lock()
	slow := w.slow
	w.mu.Unlock()
	time.Sleep(slow)
	if err := r.Context().Err(); err != nil {
		resp.Body.Close()
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		w.mu.Lock()
		w.sent[kind(r)] = start
		w.mu.Unlock()
	}
	return resp, nil
}

// deliverLate delivers a request that its client has given up.
func (w *wire) deliverLate(r *http.Request) {
	r = r.Clone(context.Background())
	if r.GetBody != nil {
		r.Body, _ = r.GetBody()
	}
	time.AfterFunc(late, func() {
		if resp, err := w.base.RoundTrip(r); err == nil {
			resp.Body.Close()
		}
	})
}

// lastSent returns when the last request of a kind was sent that has succeeded.
func (w *wire) lastSent(kind string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[kind]
}

// count returns how many requests of a kind were sent.
func (w *wire) count(kind string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[kind]
}

// mutex returns a mutex at the key that the tests use.
func (h *host) mutex(opts *coordination.MutexOptions) *coordination.Mutex {
	return coordination.NewMutex(h.client, key, opts)
}

const key = "app/lock"

// lock acquires a mutex.
func lock(t *testing.T, m *coordination.Mutex) *coordination.Lease {
	t.Helper()
	l, err := m.Lock(context.Background())
	must(t, err)
	return l
}

// session makes a session that is closed when the test ends.
func (h *host) session(t *testing.T, opts *coordination.SessionOptions) *coordination.Session {
	t.Helper()
	s, err := coordination.NewSession(context.Background(), h.client, opts)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// release releases a lease when the test ends.
func releaseAtEnd(t *testing.T, l *coordination.Lease) {
	t.Cleanup(func() { l.Release(context.Background()) })
}

// wantLost waits until a lease is lost, and fails the test unless that is for the
// reason.
func wantLost(t *testing.T, l *coordination.Lease, reason coordination.LossReason) {
	t.Helper()
	<-l.Context().Done()
	cause := context.Cause(l.Context())
	var lost *coordination.LostError
	if !errors.Is(cause, coordination.ErrLost) || !errors.As(cause, &lost) || lost.Reason != reason {
		t.Errorf("the cause is %v; want %q", cause, reason)
	}
	if l.Valid() || l.Deadline().After(time.Now()) {
		t.Errorf("a lost lease is valid: %t, until %s", l.Valid(), time.Until(l.Deadline()))
	}
}

// wantValid fails the test unless a lease is valid.
func wantValid(t *testing.T, l *coordination.Lease) {
	t.Helper()
	synctest.Wait()
	if !l.Valid() || l.Context().Err() != nil {
		t.Fatalf("the lease is lost: %v", context.Cause(l.Context()))
	}
}

// wantNothing fails the test unless nobody holds a key and there is no session.
func (a *fakeAgent) wantNothing(t *testing.T) {
	t.Helper()
	synctest.Wait()
	pairs, _, err := a.client.KV().List(context.Background(), "", nil)
	must(t, err)
	for _, p := range pairs {
		if p.Session != "" {
			t.Errorf("%s holds %s", p.Session, p.Key)
		}
	}
	sessions, _, err := a.client.Session().List(context.Background(), nil)
	must(t, err)
	if len(sessions) > 0 {
		t.Errorf("%d sessions are left", len(sessions))
	}
}

// since returns how long ago a moment was, and fails the test unless that is from least
// to most.
func wantBetween(t *testing.T, what string, since time.Time, least, most time.Duration) {
	t.Helper()
	if got := time.Since(since); got < least || got > most {
		t.Errorf("%s after %s; want %s to %s", what, got, least, most)
	}
}

// holder returns the session that holds a key, as the agent has it.
func (a *fakeAgent) holder(t *testing.T, key string) string {
	t.Helper()
	p, _, err := a.client.KV().Get(context.Background(), key, nil)
	must(t, err)
	if p == nil {
		return ""
	}
	return p.Session
}
