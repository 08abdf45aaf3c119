package client

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

func TestKV(t *testing.T) {
	t.Parallel()
	kv := agenttest.Start(t, agenttest.Options{}).Client().KV()
	ctx := limit(t)

	none, meta, err := kv.Get(ctx, "app/config", nil)
	check(t, err)
	if none != nil || meta.LastIndex == 0 {
		t.Errorf("a missing key: got %v, %+v", none, meta)
	}
	if _, err := kv.Value(ctx, "app/config", nil); !errors.Is(err, consul.ErrNotFound) {
		t.Errorf("the value of a missing key: %v", err)
	}
	keys, meta, err := kv.Keys(ctx, "app/", "/", nil)
	check(t, err)
	if len(keys) != 0 || meta.LastIndex == 0 {
		t.Errorf("an empty prefix: got %q, %+v", keys, meta)
	}

	value := []byte("\x00\xff a+b/ü\n")
	check(t, kv.Put(ctx, &consul.KVPair{Key: "app/config", Value: value, Flags: 1 << 63}, nil))
	pair, meta, err := kv.Get(ctx, "app/config", nil)
	check(t, err)
	if !bytes.Equal(pair.Value, value) || pair.Flags != 1<<63 || pair.ModifyIndex != meta.LastIndex {
		t.Errorf("got %+v, %+v", pair, meta)
	}
	raw, err := kv.Value(ctx, "app/config", nil)
	check(t, err)
	want(t, "value", string(raw), string(value))

	// Every name that a path can hold arrives as it is.
	for _, key := range []string{"a b", "a?b#c%d", "a+b;c&d=e", "ü/ö", "%2F", "folder/", "a.b/..c", "a:b@c", strings.Repeat("k", 3000)} {
		check(t, kv.Put(ctx, &consul.KVPair{Key: key, Value: []byte("x")}, nil))
		pair, _, err := kv.Get(ctx, key, nil)
		check(t, err)
		if pair == nil || pair.Key != key {
			t.Errorf("%q became %+v", key, pair)
		}
	}

	ok, err := kv.CAS(ctx, &consul.KVPair{Key: "app/config"}, nil)
	check(t, err)
	want(t, "cas of 0 on a key that exists", ok, false)
	ok, err = kv.CAS(ctx, &consul.KVPair{Key: "app/config", ModifyIndex: pair.ModifyIndex}, nil)
	check(t, err)
	want(t, "cas of the right index", ok, true)
	pair, _, err = kv.Get(ctx, "app/config", nil)
	check(t, err)
	want(t, "empty value", len(pair.Value), 0)
	ok, err = kv.DeleteCAS(ctx, &consul.KVPair{Key: "app/config", ModifyIndex: 1}, nil)
	check(t, err)
	want(t, "deletion with a wrong index", ok, false)
	check(t, kv.Put(ctx, &consul.KVPair{Key: "app/sub/a"}, nil))
	check(t, kv.Put(ctx, &consul.KVPair{Key: "app2/x"}, nil))
	keys, _, err = kv.Keys(ctx, "app/", "/", nil)
	check(t, err)
	want(t, "keys", keys, []string{"app/config", "app/sub/"})
	list, _, err := kv.List(ctx, "app", nil)
	check(t, err)
	want(t, "pairs", len(list), 3)
	check(t, kv.DeleteTree(ctx, "app/", nil))
	check(t, kv.Delete(ctx, "app/config", nil))
	list, _, err = kv.List(ctx, "app", nil)
	check(t, err)
	want(t, "pairs that are left", len(list), 1)

	large := make([]byte, 512<<10+1)
	if err := kv.Put(ctx, &consul.KVPair{Key: "large", Value: large}, nil); !errors.Is(err, consul.ErrTooLarge) {
		t.Errorf("a value that is too large: %v", err)
	}
}

func TestWaitForKey(t *testing.T) {
	t.Parallel()
	kv := agenttest.Start(t, agenttest.Options{}).Client().KV()
	ctx := limit(t)
	check(t, kv.Put(ctx, &consul.KVPair{Key: "other"}, nil))
	_, meta, err := kv.Get(ctx, "app", nil)
	check(t, err)
	seen := make(chan *consul.KVPair)
	go func() {
		pair, _, err := kv.Get(ctx, "app", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second})
		if err != nil {
			t.Error(err)
		}
		seen <- pair
	}()
	time.Sleep(200 * time.Millisecond)
	check(t, kv.Put(ctx, &consul.KVPair{Key: "app", Value: []byte("there")}, nil))
	if pair := <-seen; pair == nil || string(pair.Value) != "there" {
		t.Errorf("got %+v", pair)
	}
}

func TestSessionAndLock(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
	ctx := limit(t)
	kv, session := c.KV(), c.Session()

	entry := &consul.SessionEntry{
		Name: "worker", TTL: 10 * time.Second, LockDelay: consul.NoLockDelay, Behavior: consul.SessionDelete, NodeChecks: []string{},
	}
	id, err := session.Create(ctx, entry, nil)
	check(t, err)
	got, _, err := session.Info(ctx, id, nil)
	check(t, err)
	if got.Name != "worker" || got.TTL != entry.TTL || got.LockDelay != consul.NoLockDelay || got.Behavior != consul.SessionDelete || got.NodeChecks == nil || len(got.NodeChecks) != 0 {
		t.Errorf("got %+v", got)
	}
	plain, err := session.Create(ctx, nil, nil)
	check(t, err)
	got, err = session.Renew(ctx, plain, nil)
	check(t, err)
	if got.ID != plain || got.LockDelay != 15*time.Second || len(got.NodeChecks) != 1 || got.TTL != 0 || got.Behavior != consul.SessionRelease {
		t.Errorf("got %+v", got)
	}
	all, _, err := session.List(ctx, nil)
	check(t, err)
	onNode, _, err := session.Node(ctx, got.Node, nil)
	check(t, err)
	want(t, "sessions", []int{len(all), len(onNode)}, []int{2, 2})

	ok, err := kv.Acquire(ctx, &consul.KVPair{Key: "lock", Value: []byte("me"), Session: id}, nil)
	check(t, err)
	want(t, "acquired", ok, true)
	ok, err = kv.Acquire(ctx, &consul.KVPair{Key: "lock", Session: plain}, nil)
	check(t, err)
	want(t, "acquired by another session", ok, false)
	pair, _, err := kv.Get(ctx, "lock", nil)
	check(t, err)
	want(t, "holder", pair.Session, id)
	ok, err = kv.Release(ctx, &consul.KVPair{Key: "lock", Session: plain}, nil)
	check(t, err)
	want(t, "released by another session", ok, false)
	check(t, session.Destroy(ctx, id, nil))
	pair, _, err = kv.Get(ctx, "lock", nil)
	check(t, err)
	if pair != nil {
		t.Errorf("the key of a session with the behaviour delete: %+v", pair)
	}

	for name, err := range map[string]error{
		"renewal":               second(session.Renew(ctx, id, nil)),
		"renewal of no UUID":    second(session.Renew(ctx, "x", nil)),
		"acquisition":           second(kv.Acquire(ctx, &consul.KVPair{Key: "lock", Session: id}, nil)),
		"acquisition, no UUID":  second(kv.Acquire(ctx, &consul.KVPair{Key: "lock", Session: "x"}, nil)),
		"lock in a transaction": second(c.Txn().Apply(ctx, []consul.TxnOp{{KV: &consul.KVTxnOp{Verb: consul.KVLock, Key: "lock", Session: id}}}, nil)),
	} {
		if !errors.Is(err, consul.ErrUnknownSession) {
			t.Errorf("%s with a session that is gone: %v", name, err)
		}
	}
	gone, meta, err := session.Info(ctx, id, nil)
	check(t, err)
	if gone != nil || meta.LastIndex == 0 {
		t.Errorf("a session that is gone: %v, %+v", gone, meta)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTransaction(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
	ctx := limit(t)
	txn := c.Txn()
	set := func(key, value string) consul.TxnOp {
		return consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: key, Value: []byte(value), Flags: 7}}
	}
	get := func(key string) consul.TxnOp { return consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: key}} }
	resp, err := txn.Apply(ctx, []consul.TxnOp{set("/odd//name/..", "1"), set("b", "2"), get("b")}, nil)
	check(t, err)
	if len(resp.Results) != 3 || string(resp.Results[2].KV.Value) != "2" || resp.Results[0].KV.Key != "/odd//name/.." {
		t.Errorf("got %+v", resp)
	}
	resp, err = txn.Apply(ctx, []consul.TxnOp{get("/odd//name/..")}, nil)
	check(t, err)
	if !resp.KnownLeader || string(resp.Results[0].KV.Value) != "1" {
		t.Errorf("a transaction that only reads: %+v", resp)
	}

	session, err := c.Session().Create(ctx, nil, nil)
	check(t, err)
	other, err := c.Session().Create(ctx, nil, nil)
	check(t, err)
	lock := func(session string) consul.TxnOp {
		return consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVLock, Key: "lock", Session: session}}
	}
	resp, err = txn.Apply(ctx, []consul.TxnOp{lock(session)}, nil)
	check(t, err)
	want(t, "holder", resp.Results[0].KV.Session, session)

	_, err = txn.Apply(ctx, []consul.TxnOp{
		set("b", "3"), lock(other), {KV: &consul.KVTxnOp{Verb: consul.KVCAS, Key: "b", Index: 1}}, get("missing"),
	}, nil)
	var refused *consul.TxnError
	if !errors.As(err, &refused) || len(refused.Errors) != 3 || refused.Errors[0].OpIndex != 1 {
		t.Fatalf("got %v", err)
	}
	for _, is := range []error{consul.ErrLockHeld, consul.ErrStaleIndex, consul.ErrNotFound} {
		if !errors.Is(err, is) || errors.Is(err, consul.ErrLockDelay) {
			t.Errorf("%v is not %v", err, is)
		}
	}
	value, err := c.KV().Value(ctx, "b", nil)
	check(t, err)
	want(t, "what a refused transaction has changed", string(value), "2")
	check(t, c.Session().Destroy(ctx, session, nil))
	if _, err = txn.Apply(ctx, []consul.TxnOp{lock(other)}, nil); !errors.Is(err, consul.ErrLockDelay) {
		t.Errorf("during the lock-delay: %v", err)
	}

	resp, err = txn.Apply(ctx, []consul.TxnOp{
		{Node: &consul.NodeTxnOp{Verb: consul.CatalogSet, Node: consul.Node{Node: "ext", Address: "10.0.0.1"}}},
		{Service: &consul.ServiceTxnOp{Verb: consul.CatalogSet, Node: "ext", Service: consul.AgentService{ID: "db-1", Service: "db", Port: 5432}}},
		{Check: &consul.CheckTxnOp{Verb: consul.CatalogSet, Check: consul.HealthCheck{Node: "ext", CheckID: "c", Name: "c", ServiceID: "db-1", Status: consul.HealthPassing}}},
	}, nil)
	check(t, err)
	if len(resp.Results) != 3 || resp.Results[0].Node.Node != "ext" || resp.Results[1].Service.Port != 5432 || resp.Results[2].Check.Status != consul.HealthPassing {
		t.Errorf("got %+v", resp)
	}
	if _, err := txn.Apply(ctx, make([]consul.TxnOp, 1), nil); err == nil || !strings.Contains(err.Error(), "operation 0") {
		t.Errorf("an empty operation: %v", err)
	}
	many := make([]consul.TxnOp, 129)
	for i := range many {
		many[i] = set("many", "x")
	}
	if _, err := txn.Apply(ctx, many, nil); !errors.Is(err, consul.ErrTooLarge) {
		t.Errorf("129 operations: %v", err)
	}
}

func TestUserEvents(t *testing.T) {
	t.Parallel()
	event := agenttest.Start(t, agenttest.Options{}).Client().Event()
	ctx := limit(t)
	_, meta, err := event.List(ctx, "", nil)
	check(t, err)
	id, err := event.Fire(ctx, &consul.UserEvent{Name: "deploy", Payload: []byte("v1\x00"), NodeFilter: "node"}, nil)
	check(t, err)
	var events []*consul.UserEvent
	for len(events) == 0 { // until the gossip has brought it
		events, meta, err = event.List(ctx, "deploy", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Second})
		check(t, err)
	}
	if len(events) != 1 || events[0].ID != id || string(events[0].Payload) != "v1\x00" || events[0].LTime == 0 {
		t.Errorf("got %+v", events[0])
	}
	if _, err := event.Fire(ctx, &consul.UserEvent{Name: "deploy", Payload: make([]byte, 450)}, nil); !errors.Is(err, consul.ErrTooLarge) {
		t.Errorf("an event that is too large: %v", err)
	}
}
