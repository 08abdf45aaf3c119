//go:build go1.25

package coordination_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

// Options that cannot keep the promises are errors that say what was wrong.
func TestSessionOptions(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		tests := []struct {
			options coordination.SessionOptions
			want    string // of the error; empty if there is none
		}{
			{coordination.SessionOptions{}, ""},
			{coordination.SessionOptions{TTL: 30 * time.Second}, ""}, // the lock-delay follows
			{coordination.SessionOptions{TTL: 75 * time.Second}, ""}, // D is 60 s
			{coordination.SessionOptions{TTL: 2 * time.Minute, Grace: time.Minute}, ""},
			{coordination.SessionOptions{TTL: time.Hour, AllowOverlap: true}, ""},
			{coordination.SessionOptions{TTL: time.Hour, AllowOverlap: true, LockDelay: -1}, ""},
			{coordination.SessionOptions{LockDelay: 12 * time.Second}, ""},
			{coordination.SessionOptions{TTL: -1}, "SessionOptions.TTL is -1ns; want 100ms to 24h0m0s, or 0 for 15s"},
			{coordination.SessionOptions{TTL: 1}, "TTL is 1ns"},
			{coordination.SessionOptions{TTL: 24*time.Hour + 1, AllowOverlap: true}, "TTL is 24h0m0.000000001s"},
			{coordination.SessionOptions{TTL: math.MaxInt64}, "TTL is"},
			{coordination.SessionOptions{TTL: math.MinInt64}, "TTL is"},
			{coordination.SessionOptions{Grace: -1}, "Grace is -1ns"},
			{coordination.SessionOptions{Grace: 8 * time.Second}, "Grace is 8s; want at most half of the TTL, which is 15s"},
			{coordination.SessionOptions{Grace: math.MaxInt64}, "Grace is"},
			{coordination.SessionOptions{LockDelay: 12*time.Second - 1}, "LockDelay is 11.999999999s and TTL - Grace is 12s; want a LockDelay that is not shorter, or AllowOverlap"},
			{coordination.SessionOptions{LockDelay: consul.NoLockDelay}, "LockDelay is 0s and TTL - Grace is 12s"},
			{coordination.SessionOptions{LockDelay: time.Minute + 1}, "servers allow at most 1m0s"},
			{coordination.SessionOptions{LockDelay: math.MaxInt64}, "servers allow at most 1m0s"},
			{coordination.SessionOptions{TTL: 76 * time.Second}, "TTL - Grace is 1m0.8s; want at most 1m0s, the longest LockDelay of servers, or AllowOverlap"},
			{coordination.SessionOptions{NodeChecks: []string{""}}, "NodeChecks has an empty ID"},
			{coordination.SessionOptions{Behavior: "forget"}, `Behavior is "forget"`},
		}
		for _, test := range tests {
			s, err := coordination.NewSession(context.Background(), agent.client, &test.options)
			if test.want == "" {
				must(t, err)
				must(t, s.Close())
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: got %v; want %s", test.options, err, test.want)
			}
		}
	})
}

// An error names the package once, however deep it comes from.
func TestErrorsNameThePackageOnce(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := context.Background()
		tooShort := &coordination.SessionOptions{TTL: time.Second}
		_, created := coordination.NewSession(ctx, agent.client, tooShort)
		_, locked := coordination.NewMutex(agent.client, "key", &coordination.MutexOptions{SessionOptions: tooShort}).Lock(ctx)
		closed, err := coordination.NewSession(ctx, agent.client, nil)
		must(t, err)
		must(t, closed.Close())
		_, late := coordination.NewMutex(agent.client, "key", &coordination.MutexOptions{Session: closed}).Lock(ctx)
		for _, err := range []error{created, locked, late} {
			if err == nil || !strings.HasPrefix(err.Error(), "coordination: ") || strings.Count(err.Error(), "coordination: ") != 1 {
				t.Error(err)
			}
		}
	})
}

// What is created is what the options are. Without options there are no checks.
func TestNewSession(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		info := func(o *coordination.SessionOptions) *consul.SessionEntry {
			s := agent.host().session(t, o)
			e, _, err := agent.client.Session().Info(context.Background(), s.ID(), nil)
			must(t, err)
			return e
		}
		e := info(nil)
		if e.TTL != ttl || e.LockDelay != lockDelay || len(e.NodeChecks) != 0 || e.Behavior != consul.SessionRelease {
			t.Errorf("the default is %+v", e)
		}
		e = info(&coordination.SessionOptions{Name: "me", Node: "node1", TTL: time.Minute, Grace: 30 * time.Second, LockDelay: 30 * time.Second,
			NodeChecks: []string{"serfHealth"}, Behavior: consul.SessionDelete})
		if e.Name != "me" || e.Node != "node1" || e.TTL != time.Minute || e.LockDelay != 30*time.Second ||
			len(e.NodeChecks) != 1 || e.Behavior != consul.SessionDelete {
			t.Errorf("created %+v", e)
		}
		remove := agent.Inject(consulmock.Fault{Path: "/v1/session/create", NoLeader: true})
		defer remove()
		if _, err := coordination.NewSession(context.Background(), agent.client, nil); !errors.Is(err, consul.ErrNoLeader) {
			t.Errorf("without a leader: %v", err)
		}
	})
}

// A session is renewed every third of its TTL, or up to 20 % earlier, and lives.
func TestRenewal(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		const long = 30 * time.Minute
		time.Sleep(long)
		wantOpen(t, s)
		if n := a.wire.count("renew"); n < int(long/(ttl/3)) || n > int(long/(ttl/3)*10/8) {
			t.Errorf("%d renewals in %s", n, long)
		}
	})
}

// The context of a session ends when it has ended, or when it was not renewed for so
// long that it may have.
func TestSessionContext(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(agent *fakeAgent, a *host, s *coordination.Session)
		reason  coordination.LossReason
		from    time.Duration
		to      time.Duration
	}{
		"destroyed": {func(agent *fakeAgent, _ *host, s *coordination.Session) {
			agent.client.Session().Destroy(context.Background(), s.ID(), nil)
		}, coordination.LossSession, 0, ttl / 3},
		"silent network": {func(_ *fakeAgent, a *host, _ *coordination.Session) { a.wire.fail(silent, nil) },
			coordination.LossExpired, 2*ttl - ttl/3, 2 * ttl},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				a := agent.host()
				s := a.session(t, nil)
				time.Sleep(100 * time.Second)
				start := time.Now()
				test.happens(agent, a, s)
				<-s.Context().Done()
				var lost *coordination.LostError
				if cause := context.Cause(s.Context()); !errors.Is(cause, coordination.ErrLost) || !errors.As(cause, &lost) || lost.Reason != test.reason {
					t.Errorf("the cause is %v", cause)
				}
				wantBetween(t, "the session has ended", start, test.from, test.to)
				a.wire.fail(none, nil)
				if _, err := a.mutex(&coordination.MutexOptions{Session: s}).Lock(context.Background()); !errors.Is(err, coordination.ErrLost) {
					t.Errorf("Lock with a lost session: %v", err)
				}
				must(t, s.Close())
			})
		})
	}
}

// Many locks share a session: they are renewed by one request, and lost together.
func TestSharedSession(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		var leases []*coordination.Lease
		for _, k := range []string{"a", "b", "c", "d", "e"} {
			l := lock(t, coordination.NewMutex(a.client, k, &coordination.MutexOptions{Session: s}))
			leases = append(leases, l)
		}
		place, err := coordination.NewSemaphore(a.client, "pool", 2, &coordination.SemaphoreOptions{Session: s}).Acquire(context.Background())
		must(t, err)
		leases = append(leases, place)
		time.Sleep(10 * time.Minute)
		for _, l := range leases {
			wantValid(t, l)
		}
		if n := a.wire.count("renew"); n > int(10*time.Minute/(ttl/3)*10/8) {
			t.Errorf("%d renewals", n)
		}
		start := time.Now()
		must(t, agent.client.Session().Destroy(context.Background(), s.ID(), nil))
		for _, l := range leases {
			<-l.Context().Done()
		}
		wantBetween(t, "all leases have ended", start, 0, 0)
	})
}

// Close releases what the session holds, without a lock-delay, and leaves nothing
// behind. Leases end, and calls that wait return.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a, b := agent.host(), agent.host()
		s := a.session(t, nil)
		m := a.mutex(&coordination.MutexOptions{Session: s})
		lease := lock(t, m)
		place, err := coordination.NewSemaphore(a.client, "pool", 2, &coordination.SemaphoreOptions{Session: s}).Acquire(context.Background())
		must(t, err)
		waiting := make(chan error)
		go func() {
			_, err := m.Lock(context.Background())
			waiting <- err
		}()
		time.Sleep(time.Minute)
		start := time.Now()
		must(t, s.Close())
		must(t, s.Close())
		if err := <-waiting; err == nil || errors.Is(err, coordination.ErrLost) {
			t.Errorf("who waited got %v", err)
		}
		for _, l := range []*coordination.Lease{lease, place} {
			if cause := context.Cause(l.Context()); l.Valid() || cause == nil || errors.Is(cause, coordination.ErrLost) {
				t.Errorf("valid: %t, cause: %v", l.Valid(), cause)
			}
			must(t, l.Release(context.Background()))
		}
		next := lock(t, b.mutex(nil))
		wantBetween(t, "another one has the lock", start, 0, 0)
		must(t, next.Release(context.Background()))
		agent.wantNothing(t)
		if p, _, _ := agent.client.KV().Keys(context.Background(), "pool/", "", nil); len(p) != 1 || p[0] != "pool/.lock" {
			t.Errorf("of the semaphore there is %v", p)
		}
	})
}

// Close tries for 5 s. Another call tries again.
func TestCloseWithoutAgent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		lock(t, a.mutex(&coordination.MutexOptions{Session: s}))
		agent.Stop()
		start := time.Now()
		if err := s.Close(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close returned %v", err)
		}
		wantBetween(t, "Close has ended", start, 5*time.Second, 5*time.Second)
		agent.Start()
		must(t, s.Close())
		agent.wantNothing(t)
	})
}

// A session whose keys may not be released any more, because its token has lost the
// permission, is destroyed all the same, and that is no success.
func TestCloseRefused(t *testing.T) {
	for _, shared := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			opts := &coordination.MutexOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			lease := lock(t, a.mutex(opts))
			remove := agent.Inject(consulmock.Fault{Path: "/v1/txn", Always: true, Status: 403, Body: "Permission denied"})
			end := func() error { return lease.Release(context.Background()) }
			if shared {
				end = opts.Session.Close
			}
			start := time.Now()
			if err := end(); !errors.Is(err, consul.ErrPermissionDenied) {
				t.Errorf("shared: %t: %v", shared, err)
			}
			must(t, end())
			agent.wantNothing(t)
			remove()
			must(t, lock(t, agent.host().mutex(nil)).Release(context.Background()))
			wantBetween(t, "another one has the lock", start, lockDelay, lockDelay+jitter)
		})
	}
}

// Close while a lock is being acquired leaves nothing held.
func TestCloseDuringAcquisition(t *testing.T) {
	for _, k := range []string{"read", "txn"} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			s := a.session(t, nil)
			a.wire.failTimes(mute, 1, is(k))
			waiting := make(chan error)
			go func() {
				_, err := a.mutex(&coordination.MutexOptions{Session: s}).Lock(context.Background())
				waiting <- err
			}()
			synctest.Wait()
			go func() { must(t, s.Close()) }()
			if err := <-waiting; err == nil {
				t.Error("Lock has succeeded")
			}
			time.Sleep(time.Second)
			agent.wantNothing(t)
		})
	}
}

// Close reports what it has released.
func TestCloseReports(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		var events []coordination.Event
		m := a.mutex(&coordination.MutexOptions{Session: s, OnEvent: func(e coordination.Event) { events = append(events, e) }})
		lease := lock(t, m)
		must(t, s.Close())
		must(t, lease.Release(context.Background()))
		if len(events) != 2 || events[1] != (coordination.ReleasedEvent{Key: key, Session: s.ID(), Token: lease.Token()}) {
			t.Errorf("events: %+v", events)
		}
		s = a.session(t, nil)
		m = a.mutex(&coordination.MutexOptions{Session: s, OnEvent: func(e coordination.Event) { events = append(events, e) }})
		lock(t, m)
		agent.Stop()
		err := s.Close()
		agent.Start()
		if e, ok := events[len(events)-1].(coordination.ReleasedEvent); !ok || e.Err != err || err == nil {
			t.Errorf("Close returned %v; events: %+v", err, events)
		}
	})
}
