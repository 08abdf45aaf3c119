package officialclient

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/internal/agenttest"
)

// onEveryAgent runs f against the fake of every release, and against a real agent if
// CONSUL_BIN names one.
func onEveryAgent(t *testing.T, f func(t *testing.T, ours *consul.Client, theirs *api.Client)) {
	connect := func(t *testing.T, address string) {
		ours, err := consul.NewClient(consul.Config{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(ours.CloseIdleConnections)
		cfg := api.DefaultConfig()
		cfg.Address, cfg.Token = address, ""
		theirs, err := api.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cfg.Transport.CloseIdleConnections)
		f(t, ours, theirs)
	}
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run("fake "+version, func(t *testing.T) {
			t.Parallel()
			connect(t, consulmock.New(t, consulmock.WithVersion(version)).URL())
		})
	}
	if os.Getenv("CONSUL_BIN") != "" {
		t.Run("agent "+agenttest.Version(t), func(t *testing.T) {
			t.Parallel()
			connect(t, "http://"+agenttest.Start(t, agenttest.Options{}).Addr)
		})
	}
}

// TestOfficialClient checks that locks and semaphores of the official client exclude ours,
// and ours exclude those.
func TestOfficialClient(t *testing.T) {
	onEveryAgent(t, func(t *testing.T, ours *consul.Client, theirs *api.Client) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		t.Run("Lock", func(t *testing.T) { officialLock(ctx, t, ours, theirs) })
		t.Run("Semaphore", func(t *testing.T) { officialSemaphore(ctx, t, ours, theirs) })
		sessions, _, err := ours.Session().List(ctx, nil)
		if err != nil || len(sessions) > 0 {
			t.Errorf("%d sessions are left, %v", len(sessions), err)
		}
	})
}

func officialLock(ctx context.Context, t *testing.T, ours *consul.Client, theirs *api.Client) {
	mutex := coordination.NewMutex(ours, "app/lock", &coordination.MutexOptions{Value: []byte("ours")})
	lock := func(once bool) *api.Lock {
		l, err := theirs.LockOpts(&api.LockOptions{Key: "app/lock", Value: []byte("theirs"), LockTryOnce: once, LockWaitTime: 100 * time.Millisecond})
		must(t, err)
		return l
	}

	lease, err := mutex.Lock(ctx)
	must(t, err)
	if lost, err := lock(true).Lock(nil); lost != nil || err != nil {
		t.Fatalf("the official client has the lock too: %v, %v", lost, err)
	}
	official := lock(false)
	locked := make(chan error)
	go func() {
		_, err := official.Lock(nil)
		locked <- err
	}()
	time.Sleep(300 * time.Millisecond)
	select {
	case err := <-locked:
		t.Fatalf("the official client has the lock too: %v", err)
	default:
	}
	must(t, lease.Release(ctx))
	must(t, <-locked)

	_, err = mutex.TryLock(ctx)
	var held *coordination.HeldError
	if !errors.As(err, &held) || string(held.Value) != "theirs" {
		t.Fatalf("TryLock while the official client has the lock: %v", err)
	}
	leader, err := coordination.NewElection(ours, "app/lock", nil).Leader(ctx)
	if must(t, err); string(leader.Value) != "theirs" || leader.Session == "" {
		t.Errorf("the leader is %+v", leader)
	}
	got := make(chan *coordination.Lease)
	go func() {
		l, err := mutex.Lock(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	time.Sleep(300 * time.Millisecond)
	select {
	case <-got:
		t.Fatal("we have the lock too")
	default:
	}
	must(t, official.Unlock())
	next := <-got
	if next.Token() <= lease.Token() {
		t.Errorf("token %d follows %d", next.Token(), lease.Token())
	}
	must(t, next.Release(ctx))
	if err := official.Destroy(); err != nil {
		t.Errorf("the official client cannot delete the key: %v", err)
	}
}

func officialSemaphore(ctx context.Context, t *testing.T, ours *consul.Client, theirs *api.Client) {
	semaphore := coordination.NewSemaphore(ours, "app/pool", 2, nil)
	official := func(limit int, once bool) *api.Semaphore {
		s, err := theirs.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "app/pool", Limit: limit, SemaphoreTryOnce: once, SemaphoreWaitTime: 100 * time.Millisecond})
		must(t, err)
		return s
	}
	first, err := semaphore.Acquire(ctx)
	must(t, err)
	second := official(2, false)
	_, err = second.Acquire(nil)
	must(t, err)
	if lost, err := official(2, true).Acquire(nil); lost != nil || err != nil {
		t.Fatalf("the official client has a third place: %v, %v", lost, err)
	}
	if _, err := semaphore.TryAcquire(ctx); !errors.Is(err, coordination.ErrHeld) {
		t.Fatalf("we have a third place: %v", err)
	}
	if !first.Valid() {
		t.Fatalf("lost: %v", context.Cause(first.Context()))
	}
	must(t, second.Release())
	third, err := semaphore.Acquire(ctx)
	must(t, err)
	if _, err := official(3, true).Acquire(nil); !errors.Is(err, api.ErrSemaphoreConflict) && err == nil {
		t.Errorf("the official client with another limit: %v", err)
	}
	if _, err := coordination.NewSemaphore(ours, "app/pool", 3, nil).Acquire(ctx); !errors.Is(err, coordination.ErrConflict) {
		t.Errorf("another limit: %v", err)
	}
	must(t, first.Release(ctx))
	must(t, third.Release(ctx))
	must(t, second.Destroy())
	keys, _, err := ours.KV().Keys(ctx, "app/pool", "", nil)
	if must(t, err); len(keys) > 0 {
		t.Errorf("left: %v", keys)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
