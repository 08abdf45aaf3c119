//go:build go1.25

package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
)

func (h *host) semaphore(limit int) *coordination.Semaphore {
	return coordination.NewSemaphore(h.client, "pool", limit, nil)
}

func acquire(t *testing.T, s *coordination.Semaphore) *coordination.Lease {
	t.Helper()
	l, err := s.Acquire(context.Background())
	must(t, err)
	return l
}

// There are never more leases than the limit, and all who want one get one.
func TestSemaphoreLimit(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		const limit = 3
		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			inside int
			most   int
		)
		for range 10 {
			h := agent.host()
			wg.Go(func() {
				for range 5 {
					l := acquire(t, h.semaphore(limit))
					mu.Lock()
					inside++
					most = max(most, inside)
					mu.Unlock()
					time.Sleep(time.Second)
					if !l.Valid() {
						t.Errorf("lost: %v", context.Cause(l.Context()))
					}
					mu.Lock()
					inside--
					mu.Unlock()
					must(t, l.Release(context.Background()))
				}
			})
		}
		wg.Wait()
		if most != limit {
			t.Errorf("%d had a place at a time; want %d", most, limit)
		}
		agent.wantNothing(t)
		keys, _, err := agent.client.KV().Keys(context.Background(), "", "", nil)
		if must(t, err); fmt.Sprint(keys) != "[pool/.lock]" {
			t.Errorf("left: %v", keys)
		}
	})
}

// TryAcquire reports who has the places.
func TestTryAcquire(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		first, second := acquire(t, agent.host().semaphore(2)), acquire(t, agent.host().semaphore(2))
		if second.Token() <= first.Token() {
			t.Errorf("token %d follows %d", second.Token(), first.Token())
		}
		_, err := agent.host().semaphore(2).TryAcquire(context.Background())
		var held *coordination.HeldError
		if !errors.Is(err, coordination.ErrHeld) || !errors.As(err, &held) || len(held.Sessions) != 2 || held.Key != "pool" {
			t.Errorf("got %v", err)
		}
		must(t, first.Release(context.Background()))
		third, err := agent.host().semaphore(2).TryAcquire(context.Background())
		must(t, err)
		must(t, third.Release(context.Background()))
		must(t, second.Release(context.Background()))
		agent.wantNothing(t)
	})
}

// All have to agree on the limit, and a folder in other use is no semaphore.
func TestSemaphoreConflict(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		lease := acquire(t, agent.host().semaphore(2))
		if _, err := agent.host().semaphore(3).Acquire(context.Background()); !errors.Is(err, coordination.ErrConflict) {
			t.Errorf("another limit: %v", err)
		}
		must(t, lease.Release(context.Background()))
		agent.SetKey("pool/.lock", []byte("{}"))
		if _, err := agent.host().semaphore(2).Acquire(context.Background()); !errors.Is(err, coordination.ErrConflict) {
			t.Errorf("another use of the key: %v", err)
		}
	})
}

// Holders that have died do not count. If nobody tells the servers, that takes until
// twice the TTL is over, and the lease has ended before.
func TestSemaphoreHolderDies(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		dead := acquire(t, a.semaphore(1))
		releaseAtEnd(t, dead)
		time.Sleep(time.Minute)
		synctest.Wait()
		a.wire.fail(silent, nil)
		defer a.wire.fail(none, nil)
		renewed := a.wire.lastSent("renew")
		next := acquire(t, agent.host().semaphore(1))
		wantBetween(t, "another one has the place", renewed, 2*ttl, 2*ttl+time.Second)
		if dead.Valid() || next.Token() <= dead.Token() {
			t.Errorf("the old lease is valid: %t; token %d follows %d", dead.Valid(), next.Token(), dead.Token())
		}
		must(t, next.Release(context.Background()))
	})
}

// Every way to lose a place ends the lease at once.
func TestSemaphoreLosses(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(agent *fakeAgent, session string) error
		reason  coordination.LossReason
	}{
		"session destroyed": {func(agent *fakeAgent, session string) error {
			return agent.client.Session().Destroy(context.Background(), session, nil)
		}, coordination.LossDeleted},
		"key of the holder deleted": {func(agent *fakeAgent, session string) error {
			agent.RemoveKey("pool/" + session)
			return nil
		}, coordination.LossDeleted},
		"key of the holder overwritten": {func(agent *fakeAgent, session string) error {
			agent.SetKey("pool/"+session, []byte("operator"))
			return nil
		}, coordination.LossOverwritten},
		"list deleted": {func(agent *fakeAgent, session string) error {
			agent.RemoveKey("pool/.lock")
			return nil
		}, coordination.LossDeleted},
		"list overwritten": {func(agent *fakeAgent, session string) error {
			agent.SetKey("pool/.lock", []byte("operator"))
			return nil
		}, coordination.LossOverwritten},
		"struck off the list": {func(agent *fakeAgent, session string) error {
			return agent.client.KV().Put(context.Background(), &consul.KVPair{Key: "pool/.lock", Value: []byte(`{"Limit":2,"Holders":{}}`), Flags: 0xe0f69a2baa414de0}, nil)
		}, coordination.LossTaken},
		"all deleted": {func(agent *fakeAgent, session string) error {
			return agent.client.KV().DeleteTree(context.Background(), "pool/", nil)
		}, coordination.LossDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				a := agent.host()
				lease := acquire(t, a.semaphore(2))
				time.Sleep(time.Minute)
				wantValid(t, lease)
				sessions, _, err := agent.client.Session().List(context.Background(), nil)
				must(t, err)
				start := time.Now()
				must(t, test.happens(agent, sessions[0].ID))
				wantLost(t, lease, test.reason)
				wantBetween(t, "the lease has ended", start, 0, 0)
				must(t, lease.Release(context.Background()))
				agent.wantNothing(t)
			})
		})
	}
}

// A session has one place in a semaphore at a time.
func TestSemaphoreOfSharedSession(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := coordination.NewSemaphore(a.client, "pool/", 2, &coordination.SemaphoreOptions{Session: a.session(t, nil)})
		lease := acquire(t, s)
		if _, err := s.TryAcquire(context.Background()); !errors.Is(err, coordination.ErrHeld) {
			t.Errorf("a second place: %v", err)
		}
		must(t, lease.Release(context.Background()))
		again := acquire(t, s)
		if again.Token() <= lease.Token() {
			t.Errorf("token %d follows %d", again.Token(), lease.Token())
		}
		must(t, again.Release(context.Background()))
	})
}

// A holder that has lost its own key has lost its place, whatever else it holds in the
// folder.
func TestSemaphoreAndOtherLocks(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		session := a.session(t, nil)
		lease := acquire(t, coordination.NewSemaphore(a.client, "pool", 1, &coordination.SemaphoreOptions{Session: session}))
		inner := lock(t, coordination.NewMutex(a.client, "pool/task", &coordination.MutexOptions{Session: session}))
		agent.RemoveKey("pool/" + session.ID())
		wantLost(t, lease, coordination.LossDeleted)
		next, err := agent.host().semaphore(1).TryAcquire(context.Background())
		must(t, err)
		wantValid(t, inner)
		must(t, next.Release(context.Background()))
	})
}
