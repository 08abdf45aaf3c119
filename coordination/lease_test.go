//go:build go1.25

package coordination_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

// When the holder's network is silent, its lease ends D after the last renewal, or read
// of the key, that succeeded was sent. Others have the lock 2T + L after the last
// renewal.
func TestSilentPartition(t *testing.T) {
	for _, test := range []struct{ age, slow time.Duration }{
		{0, 0}, {time.Second, 0}, {4 * time.Second, 0}, {100 * time.Second, 0}, {100 * time.Second, time.Second}, {102 * time.Second, 2 * time.Second},
	} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a, b := agent.host(), agent.host()
			a.wire.slow = test.slow
			lease := lock(t, a.mutex(nil))
			releaseAtEnd(t, lease)
			time.Sleep(test.age)
			synctest.Wait()
			a.wire.fail(silent, nil)
			time.Sleep(test.slow) // responses that are under way arrive
			synctest.Wait()
			defer a.wire.fail(none, nil)
			created, renewed, confirmed := a.wire.lastSent("create"), a.wire.lastSent("renew"), a.wire.lastSent("confirm")
			if renewed.IsZero() {
				renewed = created
			}
			if confirmed.IsZero() {
				confirmed = a.wire.lastSent("txn")
			}
			other := make(chan *coordination.Lease)
			go func() { other <- lock(t, b.mutex(nil)) }()

			wantLost(t, lease, coordination.LossExpired)
			first := renewed
			if confirmed.Before(first) {
				first = confirmed
			}
			wantBetween(t, "the lease has ended", first, lifetime, lifetime)

			next := <-other
			releaseAtEnd(t, next)
			wantBetween(t, "another one has the lock", renewed, 2*ttl+lockDelay, 2*ttl+lockDelay+jitter)
			if next.Token() <= lease.Token() {
				t.Errorf("token %d follows %d", next.Token(), lease.Token())
			}
		})
	}
}

// When requests arrive, but no response does, the lease ends as early, although the
// servers renew the session.
func TestSilentResponses(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		lease := lock(t, a.mutex(nil))
		releaseAtEnd(t, lease)
		start := time.Now()
		a.wire.fail(mute, nil)
		defer a.wire.fail(none, nil)
		wantLost(t, lease, coordination.LossExpired)
		wantBetween(t, "the lease has ended", start, lifetime, lifetime)
	})
}

// Responses that are slow, all of them, do not end a lease.
func TestSlowResponses(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		lease := lock(t, a.mutex(nil))
		respond := func(in time.Duration) {
			a.wire.mu.Lock()
			defer a.wire.mu.Unlock()
			a.wire.slow = in
		}
		respond(3 * time.Second)
		time.Sleep(time.Hour)
		wantValid(t, lease)
		respond(0) // or the release may take too long
		must(t, lease.Release(context.Background()))
		agent.wantNothing(t)
	})
}

// Every way to lose the session or the key ends the lease at once, for its reason, and
// others have the lock after the lock-delay if there is one.
func TestLosses(t *testing.T) {
	tests := []struct {
		name      string
		options   coordination.SessionOptions
		happens   func(agent *fakeAgent, session string) error
		reason    coordination.LossReason
		lockDelay time.Duration
	}{
		{"session destroyed", coordination.SessionOptions{}, func(agent *fakeAgent, session string) error {
			return agent.client.Session().Destroy(context.Background(), session, nil)
		}, coordination.LossSession, lockDelay},
		{"session destroyed with its keys", coordination.SessionOptions{Behavior: consul.SessionDelete}, func(agent *fakeAgent, session string) error {
			return agent.client.Session().Destroy(context.Background(), session, nil)
		}, coordination.LossDeleted, lockDelay},
		{"check critical", coordination.SessionOptions{NodeChecks: []string{"disk"}}, func(agent *fakeAgent, session string) error {
			agent.SetCheckStatus("disk", consul.HealthCritical, "full")
			return nil
		}, coordination.LossSession, lockDelay},
		{"check deregistered", coordination.SessionOptions{NodeChecks: []string{"disk"}}, func(agent *fakeAgent, session string) error {
			return agent.client.Agent().CheckDeregister(context.Background(), "disk")
		}, coordination.LossSession, lockDelay},
		{"node deregistered", coordination.SessionOptions{Node: "node2"}, func(agent *fakeAgent, session string) error {
			agent.RemoveNode(&consul.CatalogDeregistration{Node: "node2"})
			return nil
		}, coordination.LossSession, lockDelay},
		{"released in its name", coordination.SessionOptions{}, func(agent *fakeAgent, session string) error {
			_, err := agent.client.KV().Release(context.Background(), &consul.KVPair{Key: key, Session: session, Flags: 0x2ddccbc058a50c18}, nil)
			return err
		}, coordination.LossSession, 0},
		{"key deleted", coordination.SessionOptions{}, func(agent *fakeAgent, session string) error {
			agent.RemoveKey(key)
			return nil
		}, coordination.LossDeleted, 0},
		{"all keys deleted", coordination.SessionOptions{}, func(agent *fakeAgent, session string) error {
			return agent.client.KV().DeleteTree(context.Background(), "app", nil)
		}, coordination.LossDeleted, 0},
		{"another session has it", coordination.SessionOptions{}, func(agent *fakeAgent, session string) error {
			id, err := agent.client.Session().Create(context.Background(), &consul.SessionEntry{LockDelay: consul.NoLockDelay}, nil)
			if err != nil {
				return err
			}
			_, err = agent.client.Txn().Apply(context.Background(), []consul.TxnOp{
				{KV: &consul.KVTxnOp{Verb: consul.KVDelete, Key: key}},
				{KV: &consul.KVTxnOp{Verb: consul.KVLock, Key: key, Session: id, Flags: 0x2ddccbc058a50c18}},
			}, nil)
			go func() { // so that it can be acquired again
				time.Sleep(time.Minute)
				agent.client.Session().Destroy(context.Background(), id, nil)
			}()
			return err
		}, coordination.LossTaken, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				agent.AddCheck(&consul.AgentCheckRegistration{ID: "disk", Name: "disk", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthPassing}})
				agent.AddNode(&consul.CatalogRegistration{Node: "node2", Address: "10.0.0.2"})
				a, b := agent.host(), agent.host()
				lease := lock(t, a.mutex(&coordination.MutexOptions{SessionOptions: &test.options}))
				time.Sleep(100 * time.Second)
				wantValid(t, lease)
				start := time.Now()
				must(t, test.happens(agent, agent.holder(t, key)))
				wantLost(t, lease, test.reason)
				wantBetween(t, "the lease has ended", start, 0, 0)
				must(t, lease.Release(context.Background()))
				next := lock(t, b.mutex(nil))
				wantBetween(t, "another one has the lock", start, test.lockDelay, test.lockDelay+jitter)
				if next.Token() <= lease.Token() && test.reason != coordination.LossDeleted {
					t.Errorf("token %d follows %d", next.Token(), lease.Token())
				}
				must(t, next.Release(context.Background()))
			})
		})
	}
}

// An agent that has restarted without its data knows neither session nor key.
func TestRestartWithoutData(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a, b := agent.host(), agent.host()
		lease := lock(t, a.mutex(nil))
		time.Sleep(100 * time.Second)
		start := time.Now()
		agent.Restart(false)
		<-lease.Context().Done()
		if cause := context.Cause(lease.Context()); !errors.Is(cause, coordination.ErrLost) {
			t.Errorf("the cause is %v", cause)
		}
		wantBetween(t, "the lease has ended", start, 0, 50*time.Millisecond)
		must(t, lock(t, b.mutex(nil)).Release(context.Background()))
		must(t, lease.Release(context.Background()))
		agent.wantNothing(t)
	})
}

// Somebody who writes to the key ends the lease, although the session still has the key.
// Those who wait go on waiting, and Release makes a lock of the key again.
func TestOverwritten(t *testing.T) {
	for _, shared := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a, b := agent.host(), agent.host()
			opts := &coordination.MutexOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			lease := lock(t, a.mutex(opts))
			other := make(chan *coordination.Lease)
			go func() { other <- lock(t, b.mutex(nil)) }()
			time.Sleep(time.Minute)
			agent.SetKey(key, []byte("operator"))
			wantLost(t, lease, coordination.LossOverwritten)
			must(t, lease.Release(context.Background()))
			start := time.Now()
			next := <-other
			wantBetween(t, "another one has the lock", start, 0, 100*time.Millisecond)
			must(t, next.Release(context.Background()))
		})
	}
}

// When the session ends while the holder's network is silent, the lease ends before the
// lock-delay is over, whenever that is.
func TestUnseenEndOfSession(t *testing.T) {
	for _, age := range []time.Duration{0, time.Second, 3 * time.Second, 100 * time.Second} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			lease := lock(t, a.mutex(nil))
			time.Sleep(age)
			synctest.Wait()
			a.wire.fail(silent, nil)
			start := time.Now()
			agent.InvalidateSession(agent.holder(t, key))
			next := lock(t, agent.host().mutex(nil))
			if lease.Valid() {
				t.Error("two leases are valid")
			}
			wantLost(t, lease, coordination.LossExpired)
			wantBetween(t, "another one has the lock", start, lockDelay, lockDelay+jitter)
			a.wire.fail(none, nil)
			must(t, next.Release(context.Background()))
			must(t, lease.Release(context.Background()))
			agent.wantNothing(t)
		})
	}
}

// Without responses to reads the holder cannot see that its key was deleted. The lease
// ends D after the last read that succeeded.
func TestUnseenDeletion(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		lease := lock(t, a.mutex(nil))
		releaseAtEnd(t, lease)
		time.Sleep(100 * time.Second)
		synctest.Wait()
		a.wire.fail(silent, is("read", "wait", "confirm"))
		defer a.wire.fail(none, nil)
		confirmed := a.wire.lastSent("confirm")
		agent.RemoveKey(key)
		wantLost(t, lease, coordination.LossExpired)
		if renewed := a.wire.lastSent("renew"); !renewed.After(confirmed) {
			t.Error("the session was not renewed meanwhile")
		}
		wantBetween(t, "the lease has ended", confirmed, lifetime, lifetime)
	})
}

// Without renewals a lease ends, although reads find it in order.
func TestUnrenewed(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		lease := lock(t, a.mutex(nil))
		releaseAtEnd(t, lease)
		time.Sleep(100 * time.Second)
		synctest.Wait()
		a.wire.fail(silent, is("renew"))
		defer a.wire.fail(none, nil)
		renewed := a.wire.lastSent("renew")
		wantLost(t, lease, coordination.LossExpired)
		wantBetween(t, "the lease has ended", renewed, lifetime, lifetime)
	})
}

// A lease that was lost and is not released ends with its session, when the TTL is over.
func TestLostAndNotReleased(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		lease := lock(t, agent.host().mutex(nil))
		agent.RemoveKey(key)
		wantLost(t, lease, coordination.LossDeleted)
		time.Sleep(2 * ttl)
		agent.wantNothing(t)
	})
}

// When a session still has the key of a lease that it has lost, it acquires it anew: with
// a greater token, so that the guard of the old lease refuses. So with a place in a
// semaphore.
func TestAcquiredAnew(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := context.Background()
		a := agent.host()
		s := a.session(t, nil)
		m := a.mutex(&coordination.MutexOptions{Session: s})
		pool := coordination.NewSemaphore(a.client, "pool", 1, &coordination.SemaphoreOptions{Session: s})
		old, oldPlace := lock(t, m), acquire(t, pool)
		time.Sleep(time.Minute)
		a.wire.fail(silent, is("confirm", "wait", "read"))
		wantLost(t, old, coordination.LossExpired)
		wantLost(t, oldPlace, coordination.LossExpired)
		if agent.holder(t, key) != s.ID() {
			t.Fatal("the session has released the key")
		}
		a.wire.fail(none, nil)
		start := time.Now()
		next, nextPlace := lock(t, m), acquire(t, pool)
		wantBetween(t, "acquired anew", start, 0, ttl/15) // the session may be about to release what it has lost
		for _, pair := range [][2]*coordination.Lease{{old, next}, {oldPlace, nextPlace}} {
			if pair[1].Token() <= pair[0].Token() {
				t.Errorf("token %d follows %d", pair[1].Token(), pair[0].Token())
			}
			if _, err := a.client.Txn().Apply(ctx, pair[0].Guard(), nil); !errors.Is(err, consul.ErrStaleIndex) {
				t.Errorf("the guard of the old lease: %v", err)
			}
			must(t, pair[0].Release(ctx))
			wantValid(t, pair[1])
			must(t, pair[1].Release(ctx))
		}
	})
}

// A release that arrives late does not end a later lease of the same session.
func TestLateRelease(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		m := a.mutex(&coordination.MutexOptions{Session: a.session(t, nil)})
		lease := lock(t, m)
		var late []byte
		remove := agent.Inject(consulmock.Fault{Path: "/v1/txn", Always: true, Drop: consulmock.DropRequest})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := lease.Release(ctx); err == nil {
			t.Error("Release has succeeded")
		}
		remove()
		for _, r := range agent.Requests() {
			if r.Path == "/v1/txn" {
				late = r.Body
			}
		}
		next := lock(t, m)
		err := a.client.Raw().Write(context.Background(), "/v1/txn", late, nil, nil)
		var refused *consul.StatusError
		if !errors.As(err, &refused) || refused.Code != http.StatusConflict {
			t.Errorf("the late release %s: %v", late, err)
		}
		wantValid(t, next)
		must(t, next.Release(context.Background()))
	})
}

// An outage that is shorter than D - 2T/5 loses nothing, whatever fails.
func TestShortOutage(t *testing.T) {
	const short = lifetime - 2*ttl/5
	outages := map[string]func(agent *fakeAgent, a *host){
		"agent away":                    func(agent *fakeAgent, _ *host) { agent.Stop(); time.Sleep(short); agent.Start() },
		"agent restarted with its data": func(agent *fakeAgent, _ *host) { agent.Restart(true) },
		"agent hangs": func(agent *fakeAgent, _ *host) {
			hang := make(chan struct{})
			remove := agent.Inject(consulmock.Fault{Always: true, Hang: hang})
			time.Sleep(short)
			remove()
			close(hang)
		},
		"no leader": func(agent *fakeAgent, _ *host) {
			remove := agent.Inject(consulmock.Fault{Always: true, NoLeader: true})
			time.Sleep(short)
			remove()
		},
		"election": func(agent *fakeAgent, _ *host) { agent.ElectLeader(); time.Sleep(short) },
		"rate limit": func(agent *fakeAgent, _ *host) {
			remove := agent.Inject(consulmock.Fault{Always: true, RateLimit: time.Second})
			time.Sleep(short)
			remove()
		},
		"requests lost in silence": func(_ *fakeAgent, a *host) {
			a.wire.fail(silent, nil)
			time.Sleep(lifetime - 2*ttl/3 - time.Second)
			a.wire.fail(none, nil)
		},
		"responses lost": func(_ *fakeAgent, a *host) {
			a.wire.fail(lostResponse, nil)
			time.Sleep(short)
			a.wire.fail(none, nil)
		},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				a := agent.host()
				lease := lock(t, a.mutex(nil))
				for range 5 { // at several points of the cycle
					outage(agent, a)
					time.Sleep(16*time.Second + 300*time.Millisecond)
					wantValid(t, lease)
				}
				must(t, lease.Release(context.Background()))
				agent.wantNothing(t)
			})
		})
	}
}

// An outage right after a renewal may be as long as D.
func TestOutageOfD(t *testing.T) {
	for _, test := range []struct {
		outage time.Duration
		lost   bool
	}{{lifetime - time.Second, false}, {lifetime + time.Second, true}} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			lease := lock(t, agent.host().mutex(nil))
			synctest.Wait()
			agent.Stop()
			time.Sleep(test.outage)
			agent.Start()
			time.Sleep(time.Minute)
			if lost := !lease.Valid(); lost != test.lost {
				t.Errorf("outage of %s: lost: %t", test.outage, lost)
			}
			must(t, lease.Release(context.Background()))
			agent.wantNothing(t)
		})
	}
}

// After an outage longer than D the lease has ended. If the session has lived, it
// acquires the lock again without waiting for the lock-delay, with a greater token.
func TestLongOutage(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		m := a.mutex(&coordination.MutexOptions{Session: s})
		lease := lock(t, m)
		time.Sleep(time.Minute)
		start := time.Now()
		remove := agent.Inject(consulmock.Fault{Always: true, NoLeader: true})
		wantLost(t, lease, coordination.LossExpired)
		next := make(chan *coordination.Lease)
		go func() { next <- lock(t, m) }()
		time.Sleep(time.Until(start.Add(lifetime + time.Second)))
		remove()
		start = time.Now()
		again := <-next
		wantBetween(t, "acquired again", start, 0, ttl/3)
		if again.Token() <= lease.Token() {
			t.Errorf("token %d follows %d", again.Token(), lease.Token())
		}
		if s.Context().Err() != nil {
			t.Errorf("the session has ended: %v", context.Cause(s.Context()))
		}
		must(t, again.Release(context.Background()))
	})
}

// A session that lived through an outage does not hold a key for nobody: what it has
// lost is released as soon as it is renewed.
func TestLostKeyIsReleased(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		lease := lock(t, a.mutex(&coordination.MutexOptions{Session: s}))
		remove := agent.Inject(consulmock.Fault{Always: true, NoLeader: true})
		wantLost(t, lease, coordination.LossExpired)
		remove()
		time.Sleep(ttl / 3)
		synctest.Wait()
		if h := agent.holder(t, key); h != "" {
			t.Errorf("%s holds the key", h)
		}
		wantOpen(t, s)
	})
}

func wantOpen(t *testing.T, s *coordination.Session) {
	t.Helper()
	if s.Context().Err() != nil {
		t.Errorf("the session has ended: %v", context.Cause(s.Context()))
	}
}

// Tokens grow, whoever acquires the lock, and after its key was deleted.
func TestTokens(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a, b := agent.host(), agent.host()
		s := a.session(t, nil)
		last := uint64(0)
		for i := range 20 {
			m := b.mutex(nil)
			if i%3 > 0 {
				m = a.mutex(&coordination.MutexOptions{Session: s})
			}
			lease := lock(t, m)
			if lease.Token() <= last {
				t.Errorf("token %d follows %d", lease.Token(), last)
			}
			last = lease.Token()
			if i%5 == 4 {
				agent.RemoveKey(key)
				wantLost(t, lease, coordination.LossDeleted)
			}
			must(t, lease.Release(context.Background()))
		}
	})
}

// A transaction that begins with Guard is carried out as long as the lease holds, and
// then never again, not even when the same session has the lock again.
func TestGuard(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		m := a.mutex(&coordination.MutexOptions{Session: s})
		write := func(l *coordination.Lease) error {
			ops := append(l.Guard(), consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "state", Value: []byte("x")}})
			_, err := a.client.Txn().Apply(context.Background(), ops, nil)
			return err
		}
		refused := func(l *coordination.Lease) {
			t.Helper()
			if err := write(l); !errors.Is(err, consul.ErrStaleIndex) && !errors.Is(err, consul.ErrNotFound) {
				t.Errorf("a write with an old lease: %v", err)
			}
		}
		lease := lock(t, m)
		must(t, write(lease))
		time.Sleep(time.Minute)
		must(t, write(lease))
		must(t, lease.Release(context.Background()))
		refused(lease)
		again := lock(t, m)
		refused(lease)
		must(t, write(again))
		agent.RemoveKey(key)
		refused(again)
		must(t, again.Release(context.Background()))
	})
}

// Release frees the lock at once, may be called again, also by several goroutines, and
// is harmless after somebody else has the lock.
func TestRelease(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := context.Background()
		a, b := agent.host(), agent.host()
		lease := lock(t, a.mutex(&coordination.MutexOptions{Value: []byte("a")}))
		errs := make(chan error)
		for range 3 {
			go func() { errs <- lease.Release(ctx) }()
		}
		for range 3 {
			must(t, <-errs)
		}
		if cause := context.Cause(lease.Context()); lease.Valid() || cause == nil || errors.Is(cause, coordination.ErrLost) {
			t.Errorf("after Release: valid: %t, cause: %v", lease.Valid(), cause)
		}
		agent.wantNothing(t)
		p, _, err := agent.client.KV().Get(ctx, key, nil)
		if must(t, err); string(p.Value) != "a" || p.Flags != 0x2ddccbc058a50c18 {
			t.Errorf("the key is %+v; want value and flags to stay", p)
		}
		next := lock(t, b.mutex(nil))
		must(t, lease.Release(ctx))
		wantValid(t, next)
		must(t, next.Release(ctx))
		agent.wantNothing(t)
	})
}

// Release with a context that has ended, as in a deferred call, still releases.
func TestReleaseAfterContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		lease := lock(t, agent.host().mutex(nil))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		must(t, lease.Release(ctx))
		agent.wantNothing(t)
	})
}

// Release tries again until its context ends. Then the session ends by itself, and
// another call can still release what is left.
func TestReleaseFails(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, shared := range []bool{false, true} {
			a := agent.host()
			opts := &coordination.MutexOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			lease := lock(t, a.mutex(opts))
			agent.Stop()
			for timeout, want := range map[time.Duration]time.Duration{0: time.Second, 3 * time.Second: 3 * time.Second, time.Hour: ttl} {
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				start := time.Now()
				if err := lease.Release(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Release returned %v", err)
				}
				cancel()
				wantBetween(t, "Release has ended", start, want, want)
			}
			if lease.Valid() {
				t.Error("the lease is valid")
			}
			agent.Start()
			must(t, lease.Release(context.Background()))
			if h := agent.holder(t, key); h != "" {
				t.Errorf("shared: %t: %s holds the key", shared, h)
			}
		}
	})
}

// A value that somebody has written to the key, and that fits into no transaction, does
// not keep the key from being released, and stays.
func TestReleaseOfLargeValue(t *testing.T) {
	for _, shared := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			opts := &coordination.MutexOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			lease := lock(t, a.mutex(opts))
			value := bytes.Repeat([]byte("x"), 500<<10)
			must(t, agent.client.KV().Put(context.Background(), &consul.KVPair{Key: key, Value: value}, nil))
			wantLost(t, lease, coordination.LossOverwritten)
			must(t, lease.Release(context.Background()))
			p, _, err := agent.client.KV().Get(context.Background(), key, nil)
			if must(t, err); p.Session != "" || !bytes.Equal(p.Value, value) {
				t.Errorf("shared: %t: session %q holds the key, which has %d bytes", shared, p.Session, len(p.Value))
			}
			start := time.Now()
			must(t, lock(t, agent.host().mutex(nil)).Release(context.Background()))
			wantBetween(t, "another one has the lock", start, 0, 0)
		})
	}
}

// A key that Release could not give back is given back by the session.
func TestSessionReleases(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		lease := lock(t, a.mutex(&coordination.MutexOptions{Session: s}))
		a.wire.fail(lostRequest, is("txn"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := lease.Release(ctx); err == nil {
			t.Error("Release has succeeded")
		}
		a.wire.fail(none, nil)
		time.Sleep(ttl / 3)
		synctest.Wait()
		if h := agent.holder(t, key); h != "" {
			t.Errorf("%s holds the key", h)
		}
	})
}

// Release that is called while the session itself tries to give the key back does not
// return before that has succeeded.
func TestReleaseWhileSessionReleases(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		lease := lock(t, a.mutex(&coordination.MutexOptions{Session: a.session(t, nil)}))
		release := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			return lease.Release(ctx)
		}
		a.wire.fail(silent, is("txn", "confirm"))
		for range 100 { // at some time the session, which has been renewed, is at it
			if err := release(); err == nil {
				t.Fatalf("Release has succeeded; %s holds the key", agent.holder(t, key))
			}
			time.Sleep(100 * time.Millisecond)
		}
		a.wire.fail(none, nil)
		must(t, release())
		if h := agent.holder(t, key); h != "" {
			t.Errorf("%s holds the key", h)
		}
	})
}

// roundTripper is a function that is one.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A token that may not read keys any more finds no keys, or an error: neither is a loss
// that is known, nor a release that has succeeded. When it may again, the session gives
// back what it holds.
func TestPermissionLost(t *testing.T) {
	const rules = `node_prefix "" { policy = "read" } session_prefix "" { policy = "write" }`
	for _, version := range []string{"1.8.7", "1.21.4"} {
		for _, kind := range []string{"mutex", "semaphore"} {
			t.Run(version+" "+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T, agent *fakeAgent) {
					a := agent.host()
					var token atomic.Value // what the host sends
					token.Store("locks")
					base := a.wire.base
					a.wire.base = roundTripper(func(r *http.Request) (*http.Response, error) {
						r = r.Clone(r.Context())
						r.Header.Set("X-Consul-Token", token.Load().(string))
						return base.RoundTrip(r)
					})
					s := a.session(t, nil)
					acquire := a.mutex(&coordination.MutexOptions{Session: s}).Lock
					if kind == "semaphore" {
						acquire = coordination.NewSemaphore(a.client, "pool", 1, &coordination.SemaphoreOptions{Session: s}).Acquire
					}
					lease, err := acquire(context.Background())
					must(t, err)
					time.Sleep(time.Minute)
					synctest.Wait()
					token.Store("sessions")
					wantLost(t, lease, coordination.LossExpired)
					if cause := context.Cause(lease.Context()); !errors.Is(cause, consul.ErrPermissionDenied) {
						t.Errorf("the cause is %v", cause)
					}
					if err := lease.Release(context.Background()); !errors.Is(err, consul.ErrPermissionDenied) {
						t.Errorf("Release returned %v", err)
					}
					if _, err := acquire(context.Background()); !errors.Is(err, consul.ErrPermissionDenied) {
						t.Errorf("without the permission: %v", err)
					}
					token.Store("locks")
					time.Sleep(ttl / 3)
					synctest.Wait()
					wantOpen(t, s)
					pairs, _, err := agent.client.WithToken("root").KV().List(context.Background(), "", nil)
					must(t, err)
					for _, p := range pairs {
						if p.Session != "" {
							t.Errorf("%s is held", p.Key)
						}
					}
					must(t, s.Close())
				}, consulmock.WithVersion(version), consulmock.WithACLDefaultDeny(), consulmock.WithTokens(consulmock.ManagementToken("root"),
					consulmock.Token{SecretID: "locks", Rules: rules + `key_prefix "" { policy = "write" }`},
					consulmock.Token{SecretID: "sessions", Rules: rules}))
			})
		}
	}
}

// A context that ends while Release is under way leaves it a second.
func TestContextEndsDuringRelease(t *testing.T) {
	for _, k := range []string{"confirm", "txn", "destroy"} {
		for _, shared := range []bool{false, true} {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				a := agent.host()
				opts := &coordination.MutexOptions{}
				if shared {
					opts.Session = a.session(t, nil)
				}
				lease := lock(t, a.mutex(opts))
				synctest.Wait()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second/2)
				defer cancel()
				a.wire.failTimes(silent, 1, is(k))
				must(t, lease.Release(ctx))
				a.wire.fail(none, nil)
				if h := agent.holder(t, key); h != "" {
					t.Errorf("%s: shared: %t: %s holds the key", k, shared, h)
				}
			})
		}
	}
}

// Release that could not even begin in time, because an OnEvent blocks, can be called
// again.
func TestReleaseWhileEventBlocks(t *testing.T) {
	for range 10 { // what a call that is late does may be chance
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			s := a.session(t, nil)
			block := make(chan struct{})
			m := a.mutex(&coordination.MutexOptions{Session: s, OnEvent: func(e coordination.Event) {
				if _, ok := e.(coordination.FailedEvent); ok {
					<-block
				}
			}})
			lease := lock(t, m)
			time.Sleep(time.Second)
			a.wire.failTimes(lostRequest, 1, is("confirm"))
			time.Sleep(ttl / 3)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = lease.Release(ctx)
			close(block)
			must(t, lease.Release(context.Background()))
			if h := agent.holder(t, key); h != "" {
				t.Fatalf("%s holds the key", h)
			}
			ctx, cancel = context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			again, err := m.Lock(ctx)
			must(t, err)
			must(t, again.Release(ctx))
		})
	}
}

// A response to the release that no agent gives is no success.
func TestOddResponseToRelease(t *testing.T) {
	for _, shared := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			opts := &coordination.MutexOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			lease := lock(t, a.mutex(opts))
			agent.Inject(consulmock.Fault{Path: "/v1/txn", Status: 200, Body: "{}"})
			must(t, lease.Release(context.Background()))
			start := time.Now()
			must(t, lock(t, agent.host().mutex(nil)).Release(context.Background()))
			wantBetween(t, "another one has the lock", start, 0, 0)
		})
	}
}
