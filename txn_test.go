package consul

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// A transaction that is refused lists each operation that failed, with its reason.
func TestTxnError(t *testing.T) {
	ctx := context.Background()
	op := []TxnOp{{KV: &KVTxnOp{Verb: KVGet, Key: "a"}}}
	for what, is := range map[string]error{
		`failed to lock key "k", lock is already held`:                     ErrLockHeld,
		`failed to lock key "k" due to lock delay`:                         ErrLockDelay,
		`failed to set key "k", index is stale`:                            ErrStaleIndex,
		`failed index check for key "k", current modify index 18 != 1`:     ErrStaleIndex,
		`invalid session "s"`:                                              ErrUnknownSession,
		`failed session lookup: index error: UUID must be 36 characters`:   ErrUnknownSession,
		`key "k" doesn't exist`:                                            ErrNotFound,
		`node "n" doesn't exist`:                                           ErrNotFound,
		`Permission denied: token with AccessorID 'x' lacks permission`:    ErrPermissionDenied,
		`failed session check for key "k", current session "a" != "b"`:     nil,
		`failed to unlock key "k", lock isn't held, or is held by another`: nil,
	} {
		client, _ := newTestAgent(t, Config{Token: "s3cret"}, canned{code: 409, body: `{"Results":null,"Errors":[{"OpIndex":0,"What":"said s3cret"},{"OpIndex":3,"What":` + show(what)[:strings.LastIndex(show(what), " ")] + `}]}`})
		_, err := client.Txn().Apply(ctx, op, nil)
		var refused *TxnError
		if !errors.As(err, &refused) || len(refused.Errors) != 2 || refused.Errors[1] != (TxnOpError{3, what}) {
			t.Fatalf("got %#v", err)
		}
		wantError(t, err, "consul: PUT http://", "/v1/txn: ", "operation 0: said [redacted]; operation 3: "+what)
		for _, target := range []error{ErrLockHeld, ErrLockDelay, ErrStaleIndex, ErrUnknownSession, ErrNotFound, ErrPermissionDenied, ErrTooLarge} {
			if errors.Is(err, target) != (target == is) {
				t.Errorf("%s is %v: %t", what, target, errors.Is(err, target))
			}
		}
	}
	for name, answer := range map[string]canned{
		"a conflict of somebody else": {code: 409, body: "<html>"},
		"no JSON":                     {body: "true?"},
		"nothing":                     {body: ""},
	} {
		client, _ := newTestAgent(t, Config{}, answer)
		if resp, err := client.Txn().Apply(ctx, op, nil); err == nil || resp != nil {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
}

// TestTxnRefusesBadOperations sends nothing that an agent would drop, or that would
// break its connection or delete everything.
func TestTxnRefusesBadOperations(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{body: `{"Results":null,"Errors":null}`})
	good := TxnOp{KV: &KVTxnOp{Verb: KVGet, Key: "a"}}
	for problem, op := range map[string]TxnOp{
		"it is empty":           {},
		"several":               {KV: good.KV, Check: &CheckTxnOp{}},
		"key is empty":          {KV: &KVTxnOp{Verb: KVSet}},
		"not UTF-8":             {KV: &KVTxnOp{Verb: KVGet, Key: "a\xff"}},
		"Verb is empty":         {KV: &KVTxnOp{Key: "a"}},
		"would delete all keys": {KV: &KVTxnOp{Verb: KVDeleteTree}},
	} {
		_, err := client.Txn().Apply(context.Background(), []TxnOp{good, op}, nil)
		wantError(t, err, "operation 1", problem)
	}
	if asked.Count > 0 {
		t.Errorf("%d requests were sent", asked.Count)
	}
	if _, err := client.Txn().Apply(context.Background(), nil, nil); err != nil || asked.Body != "[]" {
		t.Errorf("no operations: sent %q, %v", asked.Body, err)
	}
}

// What secrets are removed from still means what it meant, and is one line.
func TestTxnErrorWithoutSecrets(t *testing.T) {
	body := `{"Errors":[{"OpIndex":0,"What":"failed to lock key \"k\",\n\t* lock is already held"},{"OpIndex":1,"What":"key \"k\" doesn't exist"}]}`
	for _, token := range []string{"", "lock", "held", "exist"} {
		client, _ := newTestAgent(t, Config{Token: token}, canned{code: 409, body: body})
		_, err := client.Txn().Apply(context.Background(), nil, nil)
		if !errors.Is(err, ErrLockHeld) || !errors.Is(err, ErrNotFound) || errors.Is(err, ErrStaleIndex) || errors.Is(err, nil) {
			t.Errorf("token %q: %v", token, err)
		}
		if strings.Contains(err.Error(), "\n") || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %q", token, err)
		}
	}
}

// A conflict that names no operation is not a transaction's.
func TestConflictWithoutOperations(t *testing.T) {
	client, _ := newTestAgent(t, Config{}, canned{code: 409, body: `{"message":"conflict of a proxy"}`})
	_, err := client.Txn().Apply(context.Background(), nil, nil)
	var refused *TxnError
	var status *StatusError
	if errors.As(err, &refused) || !errors.As(err, &status) || status.Code != 409 {
		t.Errorf("got %T", err)
	}
	wantError(t, err, "conflict of a proxy")
}

// Only the options that count are sent.
func TestTxnOptions(t *testing.T) {
	client, asked := newTestAgent(t, Config{WaitTime: time.Minute}, canned{body: `{}`})
	_, err := client.Txn().Apply(context.Background(), nil, &QueryOptions{
		Datacenter: "dc2", Namespace: "team", Partition: "east", Token: "t", AllowStale: true, WaitIndex: 5, WaitHash: "h", WaitTime: time.Hour,
		Filter: "x", Near: "x", Peer: "x", SamenessGroup: "x", Tags: []string{"x"}, NodeMeta: map[string]string{"a": "b"}, UseCache: true, MaxAge: time.Hour,
		PassingOnly: true, MergeCentralConfig: true,
	})
	if err != nil || asked.Query.Encode() != "dc=dc2&ns=team&partition=east&stale=" || asked.Header.Get("Cache-Control") != "" || asked.Header.Get("X-Consul-Token") != "t" {
		t.Errorf("sent %v %v, %v", asked.Query, asked.Header, err)
	}
}
