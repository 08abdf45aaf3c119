package consul

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// What no path can hold is an error before anything is sent, which names the key and
// the way to write it all the same.
func TestKeysThatNoPathCanHold(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{body: "true"})
	ctx, kv := context.Background(), client.KV()
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
		wantError(t, err, problem)
		wantError(t, kv.Put(ctx, &KVPair{Key: key}, nil), problem)
		wantError(t, kv.Delete(ctx, key, nil), problem)
		if key != "" {
			_, _, err = kv.List(ctx, key, nil)
			wantError(t, err, problem, "Txn")
		}
	}
	wantError(t, kv.DeleteTree(ctx, "", nil), "would delete all keys")
	for name, call := range map[string]func(*KVPair) error{
		"Put":       func(p *KVPair) error { return kv.Put(ctx, p, nil) },
		"CAS":       func(p *KVPair) error { _, err := kv.CAS(ctx, p, nil); return err },
		"Acquire":   func(p *KVPair) error { _, err := kv.Acquire(ctx, p, nil); return err },
		"Release":   func(p *KVPair) error { _, err := kv.Release(ctx, p, nil); return err },
		"DeleteCAS": func(p *KVPair) error { _, err := kv.DeleteCAS(ctx, p, nil); return err },
	} {
		wantError(t, call(nil), "nil KVPair")
		if strings.HasSuffix(name, "e") && name != "" { // Acquire and Release
			wantError(t, call(&KVPair{Key: "a"}), "KVPair.Session is empty")
		}
	}
	if asked.Count > 0 {
		t.Errorf("%d requests were sent", asked.Count)
	}
}

// A key that does not exist has an index. A 404 without one is not an agent's.
func TestMissingKey(t *testing.T) {
	ctx := context.Background()
	client, _ := newTestAgent(t, Config{}, canned{code: 404, header: map[string]string{"X-Consul-Index": "7"}})
	pair, meta, err := client.KV().Get(ctx, "a", nil)
	if pair != nil || err != nil || meta.LastIndex != 7 {
		t.Errorf("Get: %v, %+v, %v", pair, meta, err)
	}
	pairs, meta, err := client.KV().List(ctx, "a/", nil)
	if len(pairs) != 0 || err != nil || meta.LastIndex != 7 {
		t.Errorf("List: %v, %+v, %v", pairs, meta, err)
	}
	if _, err := client.KV().Value(ctx, "a", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("Value: %v", err)
	}

	client, _ = newTestAgent(t, Config{}, canned{code: 404, body: "404 page not found"})
	_, meta, err = client.KV().Get(ctx, "a", nil)
	wantError(t, err, "404 page not found", "without X-Consul-Index")
	if _, err := client.KV().Value(ctx, "a", nil); meta != nil || err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("from a proxy: %+v, %v", meta, err)
	}
}

// TestPutOfWhatWasRefused does not take false for success.
func TestPutOfWhatWasRefused(t *testing.T) {
	client, _ := newTestAgent(t, Config{}, canned{body: "false"})
	wantError(t, client.KV().Put(context.Background(), &KVPair{Key: "a"}, nil), `key "a"`, "false")
}

// A key that is a token, or has one in it, is not printed.
func TestTokenAsKey(t *testing.T) {
	ctx := context.Background()
	client, _ := newTestAgent(t, Config{Token: "s3cret"}, canned{body: "false"})
	for _, key := range []string{"s3cret", "s3cret//", "a/../s3cret"} {
		err := client.KV().Put(ctx, &KVPair{Key: key}, nil)
		wantError(t, err, "[redacted]")
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
