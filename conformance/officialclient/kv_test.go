package officialclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

// onAgents runs f at the fake of every release, and at a real agent if there is one.
func onAgents(t *testing.T, f func(t *testing.T, c *api.Client)) {
	t.Parallel()
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run("fake "+version, func(t *testing.T) {
			t.Parallel()
			f(t, newClient(t, consulmock.New(t, consulmock.WithVersion(version)), nil))
		})
	}
	t.Run("agent", func(t *testing.T) {
		t.Parallel()
		addr := agenttest.Start(t, agenttest.Options{}).Addr
		f(t, newClientAt(t, addr, nil))
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantEqual[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestKV(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		kv := c.KV()
		pair, meta, err := kv.Get("app/name", nil)
		check(t, err)
		if pair != nil || meta.LastIndex == 0 {
			t.Errorf("a missing key: %+v, %+v", pair, meta)
		}
		woken := make(chan *api.KVPair)
		go func() {
			pair, _, err := kv.Get("app/name", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
			if err != nil {
				t.Error(err)
			}
			woken <- pair
		}()
		_, err = kv.Put(&api.KVPair{Key: "app/name", Value: []byte("web"), Flags: 1 << 63}, nil)
		check(t, err)
		if pair = <-woken; pair == nil || string(pair.Value) != "web" || pair.Flags != 1<<63 {
			t.Fatalf("got %+v", pair)
		}
		for _, key := range []string{"app/sub/a b", "app/sub/ü?%", "app2/x"} {
			_, err = kv.Put(&api.KVPair{Key: key}, nil)
			check(t, err)
		}
		keys, _, err := kv.Keys("app/", "/", nil)
		check(t, err)
		wantEqual(t, "keys", keys, []string{"app/name", "app/sub/"})
		list, _, err := kv.List("app", nil)
		check(t, err)
		wantEqual(t, "list", len(list), 4)
		pair.Value = []byte("shop")
		ok, _, err := kv.CAS(pair, nil)
		check(t, err)
		wantEqual(t, "cas", ok, true)
		ok, _, err = kv.CAS(pair, nil)
		check(t, err)
		wantEqual(t, "cas with an old index", ok, false)
		ok, _, err = kv.DeleteCAS(pair, nil)
		check(t, err)
		wantEqual(t, "deletion with an old index", ok, false)
		_, err = kv.DeleteTree("app/", nil)
		check(t, err)
		_, err = kv.Delete("app2/x", nil)
		check(t, err)
		list, _, err = kv.List("", nil)
		check(t, err)
		wantEqual(t, "list after the deletion", len(list), 0)
	})
}

func TestTransaction(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		set := func(verb api.KVOp, key, value string, index uint64) *api.TxnOp {
			return &api.TxnOp{KV: &api.KVTxnOp{Verb: verb, Key: key, Value: []byte(value), Index: index}}
		}
		ok, resp, _, err := c.Txn().Txn(api.TxnOps{set(api.KVSet, "a", "1", 0), set(api.KVCAS, "b", "2", 0), set(api.KVGet, "a", "", 0)}, nil)
		check(t, err)
		if !ok || len(resp.Results) != 3 || string(resp.Results[2].KV.Value) != "1" || resp.Results[0].KV.ModifyIndex != resp.Results[1].KV.ModifyIndex {
			t.Errorf("got %t, %+v", ok, resp)
		}
		ok, resp, _, err = c.Txn().Txn(api.TxnOps{set(api.KVSet, "a", "x", 0), set(api.KVCAS, "b", "x", 1), set(api.KVGet, "c", "", 0)}, nil)
		check(t, err)
		if ok || len(resp.Errors) != 2 || resp.Errors[0].OpIndex != 1 || !strings.Contains(resp.Errors[1].What, `key "c" doesn't exist`) {
			t.Errorf("got %t, %+v", ok, resp)
		}
		pair, _, err := c.KV().Get("a", nil)
		check(t, err)
		wantEqual(t, "value after the refused transaction", string(pair.Value), "1")
	})
}

func TestSession(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		session := c.Session()
		id, _, err := session.Create(&api.SessionEntry{Name: "worker", TTL: "10s", LockDelay: time.Millisecond, Behavior: api.SessionBehaviorDelete}, nil)
		check(t, err)
		bare, _, err := session.CreateNoChecks(nil, nil)
		check(t, err)
		got, _, err := session.Info(id, nil)
		check(t, err)
		if got.Name != "worker" || got.TTL != "10s" || got.LockDelay != time.Millisecond || got.Behavior != "delete" || !slices.Equal(got.NodeChecks, []string{"serfHealth"}) {
			t.Errorf("got %+v", got)
		}
		got, _, err = session.Info(bare, nil)
		check(t, err)
		wantEqual(t, "checks", len(got.NodeChecks), 0)
		list, _, err := session.List(nil)
		check(t, err)
		node, _, err := session.Node("node1", nil)
		check(t, err)
		wantEqual(t, "sessions", []int{len(list), len(node)}, []int{2, 2})
		got, _, err = session.Renew(id, nil)
		check(t, err)
		wantEqual(t, "renewed", got.ID, id)

		ok, _, err := c.KV().Acquire(&api.KVPair{Key: "k", Session: id}, nil)
		check(t, err)
		wantEqual(t, "acquired", ok, true)
		ok, _, err = c.KV().Acquire(&api.KVPair{Key: "k", Session: bare}, nil)
		check(t, err)
		wantEqual(t, "acquired by another", ok, false)

		// The loop that renews ends the session when it is done.
		done, ended := make(chan struct{}), make(chan error)
		go func() { ended <- session.RenewPeriodic("10s", id, nil, done) }()
		close(done)
		check(t, <-ended)
		got, _, err = session.Info(id, nil)
		check(t, err)
		pair, _, err := c.KV().Get("k", nil)
		check(t, err)
		if got != nil || pair != nil {
			t.Errorf("the session is %+v, its key %+v", got, pair)
		}
		if got, _, err = session.Renew(id, nil); got != nil || err != nil {
			t.Errorf("renewing what has ended: %+v, %v", got, err)
		}
		if _, err := session.Destroy(bare, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestLock(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		newLock := func(try time.Duration) *api.Lock {
			t.Helper()
			l, err := c.LockOpts(&api.LockOptions{Key: "locks/job", Value: []byte("me"), LockTryOnce: try > 0, LockWaitTime: try, LockDelay: time.Millisecond})
			check(t, err)
			return l
		}
		first, second := newLock(0), newLock(0)
		lost, err := first.Lock(nil)
		check(t, err)
		if lost == nil {
			t.Fatal("not locked")
		}
		if _, err := first.Lock(nil); !errors.Is(err, api.ErrLockHeld) {
			t.Errorf("locking twice: %v", err)
		}
		if lost, err := newLock(50 * time.Millisecond).Lock(nil); lost != nil || err != nil {
			t.Errorf("a lock that is held was acquired: %v, %v", lost, err)
		}
		// Who waits gets it when it is free.
		type locked struct {
			lost <-chan struct{}
			err  error
		}
		acquired := make(chan locked)
		go func() {
			lost, err := second.Lock(nil)
			acquired <- locked{lost, err}
		}()
		check(t, first.Unlock())
		got := <-acquired
		check(t, got.err)
		if err := first.Destroy(); !errors.Is(err, api.ErrLockInUse) {
			t.Errorf("destroying a lock that is held: %v", err)
		}
		// Who loses the session is told.
		pair, _, err := c.KV().Get("locks/job", nil)
		check(t, err)
		if pair == nil || pair.Session == "" || pair.Flags != api.LockFlagValue || string(pair.Value) != "me" {
			t.Fatalf("got %+v", pair)
		}
		_, err = c.Session().Destroy(pair.Session, nil)
		check(t, err)
		<-got.lost
		check(t, second.Unlock())
		check(t, second.Destroy())
		pair, _, err = c.KV().Get("locks/job", nil)
		check(t, err)
		if pair != nil {
			t.Errorf("after Destroy there is %+v", pair)
		}
	})
}

func TestSemaphore(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		newSemaphore := func(try time.Duration) *api.Semaphore {
			t.Helper()
			s, err := c.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "locks/pool", Limit: 2, SemaphoreTryOnce: try > 0, SemaphoreWaitTime: try})
			check(t, err)
			return s
		}
		first, second, third := newSemaphore(0), newSemaphore(0), newSemaphore(0)
		for _, s := range []*api.Semaphore{first, second} {
			lost, err := s.Acquire(nil)
			check(t, err)
			if lost == nil {
				t.Fatal("not acquired")
			}
		}
		if lost, err := newSemaphore(50 * time.Millisecond).Acquire(nil); lost != nil || err != nil {
			t.Errorf("a third one got in: %v, %v", lost, err)
		}
		acquired := make(chan error)
		go func() {
			_, err := third.Acquire(nil)
			acquired <- err
		}()
		check(t, first.Release())
		check(t, <-acquired)
		if err := first.Destroy(); !errors.Is(err, api.ErrSemaphoreInUse) {
			t.Errorf("destroying a semaphore that is held: %v", err)
		}
		check(t, second.Release())
		check(t, third.Release())
		check(t, third.Destroy())
	})
}

func TestEvent(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		events, meta, err := c.Event().List("deploy", nil)
		check(t, err)
		wantEqual(t, "events", len(events), 0)
		id, _, err := c.Event().Fire(&api.UserEvent{Name: "deploy", Payload: []byte("v2"), NodeFilter: "node.*"}, nil)
		check(t, err)
		for len(events) == 0 {
			events, meta, err = c.Event().List("deploy", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Second})
			check(t, err)
		}
		if e := events[0]; e.ID != id || string(e.Payload) != "v2" || e.LTime == 0 || c.Event().IDToIndex(id) != meta.LastIndex {
			t.Errorf("got %+v, %+v", e, meta)
		}
	})
}

// Watch plans of a key and of a prefix report what is there, and then each change.
func TestKeyPlans(t *testing.T) {
	onAgents(t, func(t *testing.T, c *api.Client) {
		seen := map[string]chan string{"key": make(chan string, 10), "keyprefix": make(chan string, 10)}
		for kind, params := range map[string]map[string]any{
			"key":       {"type": "key", "key": "app/name"},
			"keyprefix": {"type": "keyprefix", "prefix": "app/"},
		} {
			plan, err := watch.Parse(params)
			check(t, err)
			plan.Handler = func(_ uint64, v any) {
				text := "none"
				switch v := v.(type) {
				case *api.KVPair:
					text = string(v.Value)
				case api.KVPairs:
					text = fmt.Sprint(len(v))
				}
				seen[kind] <- text
			}
			ended := make(chan error, 1)
			go func() { ended <- plan.RunWithClientAndHclog(c, nil) }()
			t.Cleanup(func() { plan.Stop(); <-ended })
		}
		want := func(kind, text string) {
			t.Helper()
			for {
				select {
				case got := <-seen[kind]:
					if got == text {
						return
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: no change to %s", kind, text)
				}
			}
		}
		_, err := c.KV().Put(&api.KVPair{Key: "app/name", Value: []byte("web")}, nil)
		check(t, err)
		want("key", "web")
		want("keyprefix", "1")
		_, err = c.KV().Put(&api.KVPair{Key: "app/port"}, nil)
		check(t, err)
		want("keyprefix", "2")
		_, err = c.KV().DeleteTree("app/", nil)
		check(t, err)
		want("key", "none")
		want("keyprefix", "0")
	})
}
