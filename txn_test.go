package consul_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// A transaction is carried out as a whole, at one index. Its results do not line up with
// its operations: those that delete have none, and those that read a tree several.
func TestTxn(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		client := agent.Client()
		agent.SetKey("old/x", nil)
		resp, err := client.Txn().Apply(ctx, []consul.TxnOp{
			{KV: &consul.KVTxnOp{Verb: consul.KVCheckNotExists, Key: "new/x"}},
			{KV: &consul.KVTxnOp{Verb: consul.KVDeleteTree, Key: "old/"}},
			{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "new/x", Value: []byte("1"), Flags: 7}},
			{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "/any//name", Value: []byte("2")}},
			{KV: &consul.KVTxnOp{Verb: consul.KVGetTree, Key: "new/"}},
			{Node: &consul.NodeTxnOp{Verb: consul.CatalogSet, Node: consul.Node{Node: "node2", Address: "10.0.0.2"}}},
			{Service: &consul.ServiceTxnOp{Verb: consul.CatalogSet, Node: "node2", Service: consul.AgentService{Service: "web", Port: 80}}},
			{Check: &consul.CheckTxnOp{Verb: consul.CatalogSet, Check: consul.HealthCheck{Node: "node2", CheckID: "up", ServiceID: "web", Status: consul.HealthPassing}}},
		}, nil)
		succeed(t, err)
		want(t, "results", len(resp.Results), 6)
		index := resp.Results[0].KV.ModifyIndex
		pair := consul.KVPair{Key: "new/x", Flags: 7, CreateIndex: index, ModifyIndex: index}
		want(t, "what was written", *resp.Results[0].KV, pair)
		pair.Value = []byte("1")
		want(t, "what was read", *resp.Results[2].KV, pair)
		want(t, "node", resp.Results[3].Node.ModifyIndex, index)
		want(t, "service", resp.Results[4].Service.ModifyIndex, index)
		want(t, "check", resp.Results[5].Check.ModifyIndex, index)

		all, _, err := client.KV().Keys(ctx, "", "", nil)
		succeed(t, err)
		want(t, "keys", all, []string{"/any//name", "new/x"})
		entries, _, err := client.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
		succeed(t, err)
		want(t, "instances", ids(entries), []string{"web"})
	})
}

// A write that only counts as long as a lock is held.
func TestGuardedWrite(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		client := agent.Client()
		id, err := client.Session().Create(ctx, nil, nil)
		succeed(t, err)
		lock := consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVLock, Key: "leader", Session: id}}
		_, err = client.Txn().Apply(ctx, []consul.TxnOp{lock}, nil)
		succeed(t, err)
		guarded := []consul.TxnOp{
			{KV: &consul.KVTxnOp{Verb: consul.KVCheckSession, Key: "leader", Session: id}},
			{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "result", Value: []byte("mine")}},
		}
		_, err = client.Txn().Apply(ctx, guarded, nil)
		succeed(t, err)
		succeed(t, client.Session().Destroy(ctx, id, nil))
		_, err = client.Txn().Apply(ctx, guarded, nil)
		wantError(t, err, nil, `operation 0: failed session check for key "leader"`)
		_, err = client.Txn().Apply(ctx, []consul.TxnOp{lock}, nil)
		wantError(t, err, consul.ErrLockDelay, "due to lock delay")
	})
}

// txnSentinels are the errors that an operation of a transaction may be.
var txnSentinels = []error{
	consul.ErrLockHeld, consul.ErrLockDelay, consul.ErrStaleIndex, consul.ErrUnknownSession, consul.ErrNotFound, consul.ErrPermissionDenied, consul.ErrTooLarge,
}

// A transaction that is refused lists each operation that failed, with its reason.
func TestTxnError(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		client := agent.Client()
		agent.SetKey("a", []byte("1"))
		for range 2 {
			id, err := client.Session().Create(ctx, &consul.SessionEntry{Name: "s", NodeChecks: []string{}}, nil)
			succeed(t, err)
			_, err = client.KV().Acquire(ctx, &consul.KVPair{Key: "held", Session: id}, nil)
			succeed(t, err)
		}
		sessions, _, err := client.Session().List(ctx, nil)
		succeed(t, err)
		holder, _, err := client.KV().Get(ctx, "held", nil)
		succeed(t, err)
		other := sessions[0].ID
		if other == holder.Session {
			other = sessions[1].ID
		}
		const unknown = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"
		for _, test := range []struct {
			op   consul.KVTxnOp
			what string
			is   error
		}{
			{consul.KVTxnOp{Verb: consul.KVLock, Key: "held", Session: other}, `failed to lock key "held", lock is already held`, consul.ErrLockHeld},
			{consul.KVTxnOp{Verb: consul.KVCAS, Key: "a", Index: 1}, `failed to set key "a", index is stale`, consul.ErrStaleIndex},
			{consul.KVTxnOp{Verb: consul.KVCheckIndex, Key: "a", Index: 1}, `failed index check for key "a", current modify index`, consul.ErrStaleIndex},
			{consul.KVTxnOp{Verb: consul.KVLock, Key: "a", Session: unknown}, `invalid session "` + unknown + `"`, consul.ErrUnknownSession},
			{consul.KVTxnOp{Verb: consul.KVLock, Key: "a", Session: "s"}, `session`, consul.ErrUnknownSession},
			{consul.KVTxnOp{Verb: consul.KVGet, Key: "k"}, `key "k" doesn't exist`, consul.ErrNotFound},
			{consul.KVTxnOp{Verb: consul.KVCheckSession, Key: "held", Session: other}, `failed session check for key "held", current session`, nil},
			{consul.KVTxnOp{Verb: consul.KVUnlock, Key: "a", Session: other}, `failed to unlock key "a", lock isn't held, or is held by another session`, nil},
		} {
			_, err := client.Txn().Apply(ctx, []consul.TxnOp{
				{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "b"}}, {KV: &test.op}, {KV: &consul.KVTxnOp{Verb: consul.KVCheckNotExists, Key: "a"}},
			}, nil)
			wantError(t, err, test.is, "/v1/txn: ", "operation 1: ", test.what, `; operation 2: key "a" exists`)
			var refused *consul.TxnError
			if !errors.As(err, &refused) || len(refused.Errors) != 2 || refused.Errors[0].OpIndex != 1 {
				t.Fatalf("got %#v", err)
			}
			for _, target := range txnSentinels {
				if errors.Is(err, target) != (target == test.is) {
					t.Errorf("%s is %v: %t", test.what, target, errors.Is(err, target))
				}
			}
		}
		_, _, err = client.KV().Get(ctx, "b", nil)
		succeed(t, err)
	})
}

// What a token is does not show, even if a response repeats it. A conflict that is
// somebody else's is no TxnError.
func TestTxnResponsesOfOthers(t *testing.T) {
	agent := consulmock.New(t)
	txn := agent.Client().WithToken("s3cret").Txn()
	op := []consul.TxnOp{{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "a"}}}
	denied := "Permission denied: token with AccessorID 'x' lacks permission"
	agent.Inject(consulmock.Fault{Path: "/v1/txn", Status: http.StatusConflict,
		Body: `{"Results":null,"Errors":[{"OpIndex":0,"What":"said s3cret"},{"OpIndex":3,"What":` + strconv.Quote(denied) + `}]}`})
	_, err := txn.Apply(ctx, op, nil)
	wantError(t, err, consul.ErrPermissionDenied, "operation 0: said [redacted]; operation 3: "+denied)
	for name, fault := range map[string]consulmock.Fault{
		"a conflict of somebody else": {Status: http.StatusConflict, Body: "<html>"},
		"no JSON":                     {Body: "true?"},
		"nothing":                     {Status: http.StatusNoContent},
	} {
		fault.Path = "/v1/txn"
		agent.Inject(fault)
		var refused *consul.TxnError
		if resp, err := txn.Apply(ctx, op, nil); err == nil || resp != nil || errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
}

// TestTxnRefusesBadOperations sends nothing that an agent would drop, or that would
// break its connection or delete everything.
func TestTxnRefusesBadOperations(t *testing.T) {
	agent := consulmock.New(t)
	txn := agent.Client().Txn()
	good := consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "a"}}
	for problem, op := range map[string]consul.TxnOp{
		"it is empty":           {},
		"several":               {KV: good.KV, Check: &consul.CheckTxnOp{}},
		"key is empty":          {KV: &consul.KVTxnOp{Verb: consul.KVSet}},
		"not UTF-8":             {KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: "a\xff"}},
		"Verb is empty":         {KV: &consul.KVTxnOp{Key: "a"}},
		"would delete all keys": {KV: &consul.KVTxnOp{Verb: consul.KVDeleteTree}},
	} {
		_, err := txn.Apply(ctx, []consul.TxnOp{good, op}, nil)
		wantError(t, err, nil, "operation 1", problem)
	}
	wantSent(t, agent)
	_, err := txn.Apply(ctx, nil, nil)
	succeed(t, err)
	want(t, "body of no operations", string(agent.Requests()[0].Body), "[]")
}
