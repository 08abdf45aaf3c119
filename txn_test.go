package consul

import (
	"context"
	"errors"
	"strings"
	"testing"
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
