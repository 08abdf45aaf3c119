//go:build go1.25

package coordination_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/coordination"
)

// recorder notes events and logs.
type recorder struct {
	mu     sync.Mutex
	events []coordination.Event
	log    bytes.Buffer
}

func (r *recorder) note(e coordination.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// take returns the events since the last call, in words.
func (r *recorder) take() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var said []string
	for _, e := range r.events {
		switch e := e.(type) {
		case coordination.AcquiredEvent:
			said = append(said, fmt.Sprintf("acquired %s in %s", e.Key, e.Took))
		case coordination.LostEvent:
			said = append(said, strings.Join(strings.Fields(fmt.Sprint("lost ", e.Key, " ", e.Err.Reason)), " "))
		case coordination.ReleasedEvent:
			said = append(said, fmt.Sprintf("released %s %v", e.Key, e.Err))
		case coordination.FailedEvent:
			if e.Failures == 1 {
				said = append(said, strings.TrimSpace("failed "+e.Key))
			}
			if e.Err == nil || e.RetryIn < 0 {
				said = append(said, "without a reason")
			}
		}
	}
	r.events = nil
	return strings.Join(said, ", ")
}

// Everything that happens to a lease is an event and a line in the log, and an outage is
// one warning for each kind of request.
func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		r := new(recorder)
		a := agent.host()
		logger := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		m := a.mutex(&coordination.MutexOptions{Logger: logger, OnEvent: r.note})
		want := func(events string) {
			t.Helper()
			if got := r.take(); got != events {
				t.Errorf("events: %s; want %s", got, events)
			}
		}
		lease := lock(t, m)
		want("acquired app/lock in 0s")
		must(t, lease.Release(context.Background()))
		must(t, lease.Release(context.Background()))
		want("released app/lock <nil>")

		lease = lock(t, m)
		agent.InvalidateSession(agent.holder(t, key))
		<-lease.Context().Done()
		want("acquired app/lock in 0s, lost app/lock session ended")
		must(t, lease.Release(context.Background()))
		want("")

		s := a.session(t, &coordination.SessionOptions{OnEvent: r.note})
		lease = lock(t, a.mutex(&coordination.MutexOptions{Session: s, OnEvent: r.note}))
		r.take()
		agent.Stop()
		<-lease.Context().Done()
		want("failed app/lock, failed, lost app/lock expired")
		<-s.Context().Done()
		want("lost expired")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Close(); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_ = lease.Release(ctx)
		agent.Start()

		lines := regexp.MustCompile(`session=\S+|token=\d+|took=\S+|cause=.*`).ReplaceAllString(r.log.String(), "")
		lines = strings.Join(strings.Fields(lines), " ")
		if want := `level=INFO msg="lease acquired" key=app/lock level=INFO msg="lease released" key=app/lock ` +
			`level=INFO msg="lease acquired" key=app/lock level=WARN msg="lease lost" key=app/lock`; lines != want {
			t.Errorf("logged\n%s\nwant\n%s", lines, want)
		}
	})
}

// What OnEvent calls may use the lease.
func TestEventsMayUseLease(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var lease *coordination.Lease
		valid := make(chan bool, 1)
		m := agent.host().mutex(&coordination.MutexOptions{OnEvent: func(e coordination.Event) {
			if _, ok := e.(coordination.LostEvent); ok {
				valid <- lease.Valid()
			}
		}})
		lease = lock(t, m)
		agent.RemoveKey(key)
		if <-valid {
			t.Error("a lost lease is valid")
		}
		must(t, lease.Release(context.Background()))
	})
}
