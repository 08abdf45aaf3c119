//go:build go1.25

package consulmock_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// inBothVersions runs a test in virtual time on a server of each version.
func inBothVersions(t *testing.T, test func(t *testing.T, s *consulmock.Server, kv *consul.KV, isOld bool)) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run(version, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
				test(t, s, c.KV(), version == "1.8.7")
			}, consulmock.WithVersion(version))
		})
	}
}

// waited is how a wait has ended.
type waited struct {
	after time.Duration
	moved int // whether the index is higher than it was: 1, 0, or -1 for a lower one
	found int
}

// waitFor begins to wait for a change of what a query has found, and returns a function
// that gives the result.
func waitFor(t *testing.T, wait time.Duration, query func(*consul.QueryOptions) (int, *consul.QueryMeta, error)) func() waited {
	t.Helper()
	_, meta, err := query(nil)
	must(t, err)
	results := make(chan waited, 1)
	begin := time.Now()
	go func() {
		n, m, err := query(&consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: wait})
		if err != nil {
			close(results)
			return
		}
		results <- waited{time.Since(begin), cmp.Compare(m.LastIndex, meta.LastIndex), n}
	}()
	synctest.Wait()
	return func() waited { return <-results }
}

func listing(kv *consul.KV, prefix string) func(*consul.QueryOptions) (int, *consul.QueryMeta, error) {
	return func(q *consul.QueryOptions) (int, *consul.QueryMeta, error) {
		pairs, meta, err := kv.List(context.Background(), prefix, q)
		return len(pairs), meta, err
	}
}

func getting(kv *consul.KV, key string) func(*consul.QueryOptions) (int, *consul.QueryMeta, error) {
	return func(q *consul.QueryOptions) (int, *consul.QueryMeta, error) {
		pair, meta, err := kv.Get(context.Background(), key, q)
		if pair == nil {
			return 0, meta, err
		}
		return 1, meta, err
	}
}

// The deletion of a tree reaches who waits for a part of it, unless a key of that part
// was deleted a short time before: then it is missed until the wait is over, and the
// index is the one before it.
func TestTreeDeletionIsMissed(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, _ bool) {
		ctx := context.Background()
		deleteTree := func() waited {
			s.SetKey("app/x", []byte("1"))
			result := waitFor(t, time.Minute, listing(kv, "app/"))
			time.Sleep(time.Second)
			must(t, kv.DeleteTree(ctx, "ap", nil))
			return result()
		}
		if got := deleteTree(); got != (waited{time.Second, 1, 0}) {
			t.Errorf("without a tombstone: %+v", got)
		}
		s.SetKey("app/old", nil)
		s.RemoveKey("app/old")
		if got := deleteTree(); got.after < time.Minute || got.moved > 0 || got.found != 0 {
			t.Errorf("with a tombstone: %+v", got)
		}
		time.Sleep(16 * time.Minute)
		if got := deleteTree(); got != (waited{time.Second, 1, 0}) {
			t.Errorf("16 minutes later: %+v", got)
		}
	})
}

// Deleted keys are remembered for 15 minutes, to the end of the half minute. Then the
// index of a prefix falls, which wakes nobody.
func TestTombstonesAreReaped(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, _ bool) {
		index := func() uint64 {
			_, meta, err := kv.List(context.Background(), "app/", nil)
			must(t, err)
			return meta.LastIndex
		}
		s.SetKey("app/x", nil)
		before := index()
		s.SetKey("app/gone", nil)
		time.Sleep(10 * time.Second)
		s.RemoveKey("app/gone")
		deleted := index()
		time.Sleep(15*time.Minute + 20*time.Second - 1)
		result := waitFor(t, time.Minute, listing(kv, "app/"))
		if index() != deleted || deleted <= before {
			t.Errorf("just before: index %d, want %d", index(), deleted)
		}
		time.Sleep(time.Nanosecond)
		if got := index(); got != before {
			t.Errorf("after 15 minutes: index %d, want %d", got, before)
		}
		if got := result(); got.after < time.Minute {
			t.Errorf("the wait ended after %s", got.after)
		}
	})
}

// Whoever waits for a key that does not exist is not woken by writes far from it. Those
// near it end the wait on an old agent; on a modern one, they only count at its end.
func TestWaitingForAMissingKey(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, isOld bool) {
		s.SetKey("app/x", nil)
		s.SetKey("app/y", nil)
		wait := func(write func()) waited {
			result := waitFor(t, time.Minute, getting(kv, "app/z"))
			time.Sleep(time.Second)
			write()
			return result()
		}
		if got := wait(func() { s.SetKey("zebra", nil) }); got.after < time.Minute || got.moved != 0 {
			t.Errorf("a write elsewhere: %+v", got)
		}
		got := wait(func() { s.SetKey("app/x", []byte("1")) })
		if got.moved != 1 || got.found != 0 || (got.after == time.Second) != isOld {
			t.Errorf("a write near it: %+v", got)
		}
		if got := wait(func() { s.SetKey("app/z", nil) }); got != (waited{time.Second, 1, 1}) {
			t.Errorf("its creation: %+v", got)
		}
		if got := wait(func() { s.SetKey("app/z", nil) }); got.after < time.Minute {
			t.Errorf("the same value again: %+v", got)
		}
		if got := wait(func() { s.RemoveKey("app/z") }); got != (waited{time.Second, 1, 0}) {
			t.Errorf("its deletion: %+v", got)
		}
	})
}

// After the end of the session that held it, nobody can hold a key for a while, by its
// name: a new key of that name included.
func TestLockDelay(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, _ bool) {
		ctx, c := context.Background(), s.Client()
		for _, test := range []struct {
			given, want time.Duration
			behavior    consul.SessionBehavior
		}{
			{0, 15 * time.Second, consul.SessionRelease}, // the agent's default
			{-1, 0, consul.SessionRelease},               // none
			{2 * time.Second, 2 * time.Second, consul.SessionRelease},
			{2 * time.Second, 2 * time.Second, consul.SessionDelete},
			{5 * time.Minute, time.Minute, consul.SessionRelease}, // the maximum
		} {
			t.Log(test)
			holder := newSession(t, c, consul.SessionEntry{LockDelay: test.given, Behavior: test.behavior})
			other := newSession(t, c, consul.SessionEntry{})
			acquire := func(id, key string) bool {
				ok, err := kv.Acquire(ctx, &consul.KVPair{Key: key, Session: id, Value: []byte("v")}, nil)
				must(t, err)
				return ok
			}
			for _, key := range []string{"kept", "deleted", "released"} {
				if !acquire(holder, key) {
					t.Fatalf("%s is not acquired", key)
				}
			}
			_, err := kv.Release(ctx, &consul.KVPair{Key: "released", Session: holder}, nil)
			must(t, err)
			must(t, c.Session().Destroy(ctx, holder, nil))
			pair, _, err := kv.Get(ctx, "kept", nil)
			must(t, err)
			if (pair == nil) != (test.behavior == consul.SessionDelete) || pair != nil && (pair.Session != "" || string(pair.Value) != "v" || pair.LockIndex == 0) {
				t.Errorf("the key is %+v", pair)
			}
			must(t, kv.Delete(ctx, "deleted", nil))
			must(t, kv.Put(ctx, &consul.KVPair{Key: "deleted"}, nil))
			if !acquire(other, "released") {
				t.Error("a key that was released before has a lock-delay")
			}
			time.Sleep(test.want - 1)
			if test.want > 0 && (acquire(other, "kept") || acquire(other, "deleted")) {
				t.Error("acquired before the end of the lock-delay")
			}
			time.Sleep(time.Nanosecond)
			if !acquire(other, "kept") || !acquire(other, "deleted") {
				t.Error("not acquired after the lock-delay")
			}
			for _, key := range []string{"kept", "deleted", "released"} {
				s.RemoveKey(key)
			}
		}
	})
}

// A transaction that fails leaves no trace, also if it would have ended a session, and
// wakes nobody. One that succeeds is one change.
func TestTransactionsAreAllOrNothing(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, _ bool) {
		ctx, c := context.Background(), s.Client()
		s.AddNode(&consul.CatalogRegistration{Node: "ext", Address: "10.0.0.1", Service: &consul.AgentService{Service: "web"}, Check: &consul.AgentCheck{Name: "up", Status: consul.HealthPassing}})
		id := newSession(t, c, consul.SessionEntry{Node: "ext", NodeChecks: []string{"up"}})
		if ok, err := kv.Acquire(ctx, &consul.KVPair{Key: "lock", Session: id}, nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		ops := []consul.TxnOp{
			{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/x", Value: []byte("1")}},
			{Check: &consul.CheckTxnOp{Verb: consul.CatalogDelete, Check: consul.HealthCheck{Node: "ext", CheckID: "up"}}},
			{Service: &consul.ServiceTxnOp{Verb: consul.CatalogSet, Node: "ext", Service: consul.AgentService{Service: "db"}}},
			{KV: &consul.KVTxnOp{Verb: consul.KVCheckSession, Key: "lock"}}, // the end of the session has freed it
		}
		before := s.Dump()
		result := waitFor(t, time.Minute, listing(kv, ""))
		_, err := c.Txn().Apply(ctx, append(ops, consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "missing"}}), nil)
		wantRefusal(t, err, `operation 4: key "missing" doesn't exist`)
		if got := catalogAndKeys(s.Dump()); got != catalogAndKeys(before) {
			t.Errorf("before:\n%s\nafter:\n%s", catalogAndKeys(before), got)
		}
		wantSession(t, c, id, true)
		if got := result(); got.after < time.Minute {
			t.Errorf("woken: %+v", got)
		}
		result = waitFor(t, time.Minute, listing(kv, ""))
		resp, err := c.Txn().Apply(ctx, ops, nil)
		must(t, err)
		if n := len(resp.Results); n != 3 { // a deletion has none
			t.Errorf("%d results: %+v", n, resp.Results)
		}
		wantSession(t, c, id, false)
		if got := result(); got.found != 2 || got.after != 0 {
			t.Errorf("waited: %+v", got)
		}
	})
}

// While there is no leader, only stale reads go on. Keys and lock-delays outlast it.
func TestKeysWithoutALeader(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, _ bool) {
		ctx, c := context.Background(), s.Client()
		s.SetKey("a", []byte("1"))
		id := newSession(t, c, consul.SessionEntry{LockDelay: 5 * time.Second})
		_, err := kv.Acquire(ctx, &consul.KVPair{Key: "lock", Session: id}, nil)
		must(t, err)
		must(t, c.Session().Destroy(ctx, id, nil))
		s.ElectLeader()
		get := []consul.TxnOp{{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "a"}}}
		_, _, err = kv.Get(ctx, "a", nil)
		wantRefusal(t, err, "No cluster leader")
		wantRefusal(t, kv.Put(ctx, &consul.KVPair{Key: "a"}, nil), "No cluster leader")
		wantRefusal(t, kv.DeleteTree(ctx, "a", nil), "No cluster leader")
		_, err = c.Txn().Apply(ctx, get, nil)
		wantRefusal(t, err, "No cluster leader")
		stale := &consul.QueryOptions{AllowStale: true}
		pair, _, err := kv.Get(ctx, "a", stale)
		must(t, err)
		resp, err := c.Txn().Apply(ctx, get, stale)
		must(t, err)
		if string(pair.Value) != "1" || len(resp.Results) != 1 {
			t.Errorf("got %+v, %+v", pair, resp)
		}

		time.Sleep(4 * time.Second)
		id = newSession(t, c, consul.SessionEntry{})
		lock := []consul.TxnOp{{KV: &consul.KVTxnOp{Verb: consul.KVLock, Key: "lock", Session: id}}}
		_, err = c.Txn().Apply(ctx, lock, nil)
		wantRefusal(t, err, "due to lock delay")
		time.Sleep(time.Second)
		_, err = c.Txn().Apply(ctx, lock, nil)
		must(t, err)
	})
}

// catalogAndKeys is the part of a dump that a transaction can change.
func catalogAndKeys(dump string) string {
	_, rest, _ := strings.Cut(dump, "\ncatalog\n")
	part, _, _ := strings.Cut(rest, "\nrequests\n")
	return part
}

// The deletion of many keys is one change to who waits for a list of them.
func TestManyKeys(t *testing.T) {
	inBothVersions(t, func(t *testing.T, s *consulmock.Server, kv *consul.KV, _ bool) {
		const n = 10_000
		for i := range n {
			s.SetKey(fmt.Sprintf("many/%d/%d", i%100, i), nil)
		}
		result := waitFor(t, time.Minute, listing(kv, "many/"))
		must(t, kv.DeleteTree(context.Background(), "many/5", nil))
		if got := result(); got.found != n-11*n/100 || got.after != 0 {
			t.Errorf("found %+v", got)
		}
		must(t, kv.DeleteTree(context.Background(), "m", nil))
	})
}
