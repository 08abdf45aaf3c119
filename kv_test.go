package consul_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// A key is written, read, listed and deleted.
func TestKV(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		kv := agent.Client().KV()
		succeed(t, kv.Put(ctx, &consul.KVPair{Key: "app/colour", Value: []byte("blue"), Flags: 1<<64 - 1}, nil))
		pair, meta, err := kv.Get(ctx, "app/colour", nil)
		succeed(t, err)
		want(t, "pair", *pair, consul.KVPair{
			Key: "app/colour", Value: []byte("blue"), Flags: 1<<64 - 1, CreateIndex: meta.LastIndex, ModifyIndex: meta.LastIndex,
		})
		value, err := kv.Value(ctx, "app/colour", nil)
		succeed(t, err)
		want(t, "value", string(value), "blue")

		for _, key := range []string{"app/db/host", "app/db/port", "app2", "a key?/with 100%"} {
			succeed(t, kv.Put(ctx, &consul.KVPair{Key: key}, nil))
		}
		pairs, _, err := kv.List(ctx, "app", nil)
		succeed(t, err)
		want(t, "all with the prefix", names(pairs), []string{"app/colour", "app/db/host", "app/db/port", "app2"})
		want(t, "an empty value", pairs[1].Value, nil)
		folder, _, err := kv.Keys(ctx, "app/", "/", nil)
		succeed(t, err)
		want(t, "keys and folders in a folder", folder, []string{"app/colour", "app/db/"})

		succeed(t, kv.Delete(ctx, "app/colour", nil))
		succeed(t, kv.Delete(ctx, "app/colour", nil)) // it is no error if there is none
		succeed(t, kv.DeleteTree(ctx, "app/", nil))
		pairs, _, err = kv.List(ctx, "", nil)
		succeed(t, err)
		want(t, "what is left", names(pairs), []string{"a key?/with 100%", "app2"})
	})
}

// names returns the names of keys.
func names(pairs []*consul.KVPair) (list []string) {
	for _, p := range pairs {
		list = append(list, p.Key)
	}
	return list
}

// Two writers that read the same pair do not overwrite each other.
func TestCheckAndSet(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		kv := agent.Client().KV()
		cas := func(p *consul.KVPair, written bool) {
			t.Helper()
			ok, err := kv.CAS(ctx, p, nil)
			succeed(t, err)
			want(t, "written", ok, written)
		}
		cas(&consul.KVPair{Key: "counter", Value: []byte("0")}, true)
		cas(&consul.KVPair{Key: "counter", Value: []byte("0")}, false) // an index of 0 means to create it
		pair, _, err := kv.Get(ctx, "counter", nil)
		succeed(t, err)
		pair.Value = []byte("1")
		cas(pair, true)
		cas(pair, false)
		gone, err := kv.DeleteCAS(ctx, pair, nil)
		succeed(t, err)
		want(t, "deleted with the old index", gone, false)
		pair, _, err = kv.Get(ctx, "counter", nil)
		succeed(t, err)
		for range 2 { // what does not exist any more counts as deleted
			gone, err = kv.DeleteCAS(ctx, pair, nil)
			succeed(t, err)
			want(t, "deleted", gone, true)
		}
	})
}

// A key is a lock that one session holds. It is only advisory, and its LockIndex, which
// any write resets, does not tell holders apart; the ModifyIndex does.
func TestLock(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		client := agent.Client()
		kv := client.KV()
		var sessions []string
		for range 2 {
			id, err := client.Session().Create(ctx, &consul.SessionEntry{LockDelay: consul.NoLockDelay}, nil)
			succeed(t, err)
			sessions = append(sessions, id)
		}
		step := func(what string, call func(p *consul.KVPair) (bool, error), session string, done bool) *consul.KVPair {
			t.Helper()
			ok, err := call(&consul.KVPair{Key: "leader", Value: []byte("me"), Session: session})
			succeed(t, err)
			want(t, what, ok, done)
			pair, _, err := kv.Get(ctx, "leader", nil)
			succeed(t, err)
			return pair
		}
		acquire := func(p *consul.KVPair) (bool, error) { return kv.Acquire(ctx, p, nil) }
		release := func(p *consul.KVPair) (bool, error) { return kv.Release(ctx, p, nil) }

		first := step("acquired", acquire, sessions[0], true)
		want(t, "holder", first.Session, sessions[0])
		want(t, "acquisitions", first.LockIndex, 1)
		again := step("acquired again", acquire, sessions[0], true)
		want(t, "after that", again, first)
		step("acquired by the other", acquire, sessions[1], false)
		step("released by the other", release, sessions[1], false)
		released := step("released", release, sessions[0], true)
		want(t, "holder after the release", released.Session, "")
		second := step("acquired by the other now", acquire, sessions[1], true)
		want(t, "acquisitions", second.LockIndex, 2)

		succeed(t, kv.Put(ctx, &consul.KVPair{Key: "leader", Value: []byte("anybody")}, nil))
		overwritten, _, err := kv.Get(ctx, "leader", nil)
		succeed(t, err)
		want(t, "holder after a write of somebody else", overwritten.Session, sessions[1])
		want(t, "acquisitions after it", overwritten.LockIndex, 0)

		succeed(t, client.Session().Destroy(ctx, sessions[1], nil))
		third := step("acquired after the end of the session", acquire, sessions[0], true)
		if third.ModifyIndex <= second.ModifyIndex || third.LockIndex > second.LockIndex {
			t.Errorf("%+v, and before %+v", third, second)
		}
		_, err = kv.Acquire(ctx, &consul.KVPair{Key: "leader", Session: sessions[1]}, nil)
		wantError(t, err, consul.ErrUnknownSession)
	})
}

// What no path can hold is an error before anything is sent, which names the key and
// the way to write it all the same.
func TestKeysThatNoPathCanHold(t *testing.T) {
	agent := consulmock.New(t)
	kv := agent.Client().KV()
	for key, problem := range map[string]string{
		"":        "key is empty",
		"/a":      "starts with a slash",
		"a//b":    "empty element",
		"a/./b":   "element . or ..",
		"..":      "element . or ..",
		"a/..":    "element . or ..",
		"a\nb":    "not printable",
		"a\x00":   "not printable",
		"a\u2028": "not printable",
	} {
		_, _, err := kv.Get(ctx, key, nil)
		wantError(t, err, nil, problem)
		wantError(t, kv.Put(ctx, &consul.KVPair{Key: key}, nil), nil, problem)
		wantError(t, kv.Delete(ctx, key, nil), nil, problem)
		if key != "" {
			_, _, err = kv.List(ctx, key, nil)
			wantError(t, err, nil, problem, "Txn")
		}
	}
	wantError(t, kv.DeleteTree(ctx, "", nil), nil, "would delete all keys")
	for name, call := range map[string]func(*consul.KVPair) error{
		"Put":       func(p *consul.KVPair) error { return kv.Put(ctx, p, nil) },
		"CAS":       func(p *consul.KVPair) error { _, err := kv.CAS(ctx, p, nil); return err },
		"Acquire":   func(p *consul.KVPair) error { _, err := kv.Acquire(ctx, p, nil); return err },
		"Release":   func(p *consul.KVPair) error { _, err := kv.Release(ctx, p, nil); return err },
		"DeleteCAS": func(p *consul.KVPair) error { _, err := kv.DeleteCAS(ctx, p, nil); return err },
	} {
		wantError(t, call(nil), nil, "nil KVPair")
		if name == "Acquire" || name == "Release" {
			wantError(t, call(&consul.KVPair{Key: "a"}), nil, "KVPair.Session is empty")
		}
	}
	wantSent(t, agent)
}

// A key that does not exist has an index to wait on, and so has a prefix without keys.
// A 404 without one is not an agent's.
func TestMissingKey(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		kv := agent.Client().KV()
		pair, meta, err := kv.Get(ctx, "a", nil)
		if pair != nil || err != nil || meta.LastIndex != 1 {
			t.Errorf("Get: %v, %+v, %v", pair, meta, err)
		}
		pairs, meta, err := kv.List(ctx, "a/", nil)
		if len(pairs) != 0 || err != nil || meta.LastIndex != 1 {
			t.Errorf("List: %v, %+v, %v", pairs, meta, err)
		}
		_, err = kv.Value(ctx, "a", nil)
		wantError(t, err, consul.ErrNotFound)

		agent.Inject(consulmock.Fault{Path: "/v1/kv/*", Always: true, Status: http.StatusNotFound, Body: "404 page not found"})
		_, meta, err = kv.Get(ctx, "a", nil)
		wantError(t, err, nil, "404 page not found", "without X-Consul-Index")
		if _, err := kv.Value(ctx, "a", nil); meta != nil || err == nil || errors.Is(err, consul.ErrNotFound) {
			t.Errorf("from a proxy: %+v, %v", meta, err)
		}
	})
}

// Agents respond 404 when there is no pair, so a 200 without one comes from something
// else, such as a gateway. It is not taken for a key that does not exist: who holds a lock
// would give it up. A list of keys is empty, but never null: that of the root is.
func TestResponseWithoutPair(t *testing.T) {
	agent := consulmock.New(t)
	kv := agent.Client().KV()
	for body, problem := range map[string]string{
		`null`:               "no pair",
		`[]`:                 "no pair",
		` [ ] `:              "no pair",
		`[null]`:             "null instead of a pair",
		`[{"Key":"a"},null]`: "null instead of a pair",
	} {
		agent.Inject(consulmock.Fault{Path: "/v1/kv/**", Times: 2, Body: body, Header: http.Header{"X-Consul-Index": {"7"}}})
		pair, meta, err := kv.Get(ctx, "a", nil)
		if pair != nil || meta != nil {
			t.Errorf("Get of %s: %v, %+v", body, pair, meta)
		}
		wantError(t, err, nil, "GET http://127.0.0.1:8500/v1/kv/a: ", problem)
		pairs, meta, err := kv.List(ctx, "a", nil)
		if pairs != nil || meta != nil {
			t.Errorf("List of %s: %v, %+v", body, pairs, meta)
		}
		wantError(t, err, nil, "GET http://127.0.0.1:8500/v1/kv/a: ", problem)
	}
	agent.Inject(consulmock.Fault{Path: "/v1/kv/a", Body: `null`})
	_, _, err := kv.Keys(ctx, "a", "", nil)
	wantError(t, err, nil, "null instead of a list")
	keys, meta, err := kv.Keys(ctx, "", "", nil)
	if len(keys) != 0 || err != nil || meta.LastIndex != 1 {
		t.Errorf("Keys of the root: %v, %+v, %v", keys, meta, err)
	}
}

// A value that is too large is refused. A response of false is not taken for success.
func TestPutIsRefused(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		kv := agent.Client().KV()
		err := kv.Put(ctx, &consul.KVPair{Key: "a", Value: []byte(strings.Repeat("x", 512<<10+1))}, nil)
		wantError(t, err, consul.ErrTooLarge, "max size: 524288 bytes")
		agent.Inject(consulmock.Fault{Path: "/v1/kv/a", Body: "false"})
		wantError(t, kv.Put(ctx, &consul.KVPair{Key: "a"}, nil), nil, `key "a"`, "false")
	})
}
