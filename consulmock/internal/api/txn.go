package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// txn serves PUT /v1/txn.
func txn(q *request) (any, error) {
	ops, err := q.readTxn()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(ops, func(op state.TxnOp) bool { return definition.IsWrite(&op) }) {
		return q.writeTxn(ops)
	}
	return q.readOnlyTxn(ops)
}

// readTxn reads the operations of a transaction. Empty ones are left out.
func (q *request) readTxn() ([]state.TxnOp, error) {
	const setting = "txn_max_req_len"
	most := max(q.api.config.MaxTxn, q.api.config.MaxValue)
	if err := q.limitBody(most, setting); err != nil {
		return nil, err
	}
	if int64(len(q.body)) > most {
		q.w.Header().Set("Connection", "close")
		return nil, refusal.New(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Request body too large, max size: %d bytes. See %s.", most, q.documentation(setting)))
	}
	given, err := definition.DecodeTxn(q.v, q.body)
	if err != nil {
		return nil, err
	}
	if limit := maxOperations(q.v); len(given) > limit {
		return nil, refusal.New(http.StatusRequestEntityTooLarge, fmt.Sprintf("Transaction contains too many operations (%d > %d)", len(given), limit))
	}
	var ops []state.TxnOp
	for _, g := range given {
		if g == nil {
			return nil, definition.ErrNull
		}
		op := g.Operation(q.v, q.config.Datacenter)
		if op == nil {
			continue
		}
		if kv := op.KV; kv != nil && int64(len(kv.Value)) > q.api.config.MaxValue {
			return nil, refusal.New(http.StatusRequestEntityTooLarge,
				fmt.Sprintf("Value for key %q is too large (%d > %d bytes)", kv.Key, len(kv.Value), q.api.config.MaxValue))
		}
		ops = append(ops, *op)
	}
	return ops, nil
}

func maxOperations(v release.Version) int {
	if v == release.V1_8_7 {
		return 64
	}
	return 128
}

// writeTxn performs a transaction that may change something.
func (q *request) writeTxn(ops []state.TxnOp) (any, error) {
	authz, failed, err := q.checkTxn(ops, false)
	if err != nil {
		return nil, err
	}
	var done []state.TxnResult
	if len(failed) == 0 {
		q.a.Store.Index++
		done, failed = q.a.Store.Txn(ops)
		q.a.CatalogChanged()
	}
	results, _ := q.txnResults(done, authz)
	return txnAnswer(failed, txnJSON{results, failed}), nil
}

// readOnlyTxn performs a transaction that changes nothing. It does not wait.
func (q *request) readOnlyTxn(ops []state.TxnOp) (any, error) {
	o, err := q.readOptions()
	if err != nil {
		return nil, err
	}
	authz, failed, err := q.checkTxn(ops, o.consistency == "stale")
	if err != nil {
		return nil, err
	}
	body := txnReadJSON{KnownLeader: len(failed) == 0 || q.v == release.V1_8_7}
	var found []state.TxnResult
	filtered := false
	if len(failed) == 0 {
		found, failed = q.a.Store.ReadTxn(ops)
	}
	body.Results, filtered = q.txnResults(found, authz)
	body.Errors = failed
	if q.v == release.V1_21_4 {
		if body.KnownLeader {
			body.Index = 1
		}
		body.NotModified, body.Backend = ptr(false), ptr(0)
		body.ResultsFilteredByACLs = ptr(filtered && !authz.Anonymous)
	}
	q.w.Header().Set("X-Consul-Knownleader", strconv.FormatBool(body.KnownLeader))
	q.w.Header().Set("X-Consul-Lastcontact", "0")
	return txnAnswer(failed, body), nil
}

// checkTxn returns what is refused of a transaction before anything is looked up.
func (q *request) checkTxn(ops []state.TxnOp, stale bool) (*acl.Authorizer, []state.TxnError, error) {
	if err := q.forward(q.query.Get("dc"), stale); err != nil {
		return nil, nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, nil, err
	}
	var failed []state.TxnError
	for i := range ops {
		if err := q.checkOp(&ops[i], authz); err != nil {
			failed = append(failed, state.TxnError{OpIndex: i, What: err.Error()})
		}
	}
	return authz, failed, nil
}

func (q *request) checkOp(op *state.TxnOp, authz *acl.Authorizer) error {
	if err := definition.ValidateOp(q.v, op); err != nil {
		return err
	}
	if op.KV == nil {
		return q.permitCatalogOp(op, authz)
	}
	if err := q.permitKeyOp(op, authz); err != nil {
		return err
	}
	if op.Verb == "lock" && q.a.Store.LockDelayed(op.KV.Key) {
		return fmt.Errorf("failed to lock key %q due to lock delay", op.KV.Key)
	}
	return nil
}

// permitKeyOp returns the refusal of an operation on a key. What a token may not read
// is left out of the results instead.
func (q *request) permitKeyOp(op *state.TxnOp, authz *acl.Authorizer) error {
	switch {
	case op.Verb == "delete-tree":
		return authz.RequireTree(q.v, op.KV.Key)
	case op.Verb == "get", op.Verb == "get-tree", op.Verb == "get-or-empty" && q.v == release.V1_21_4:
		return nil
	case op.Verb == "check-session", op.Verb == "check-index":
		return authz.Require(q.v, acl.KeyRead, op.KV.Key)
	}
	return authz.Require(q.v, acl.KeyWrite, op.KV.Key)
}

// permitCatalogOp returns the refusal of an operation on a node, a service or a check.
func (q *request) permitCatalogOp(op *state.TxnOp, authz *acl.Authorizer) error {
	switch {
	case op.Verb == "get":
		return nil
	case op.Node != nil:
		return authz.Require(q.v, acl.NodeWrite, op.Node.Node)
	case op.Service != nil:
		return authz.Require(q.v, acl.ServiceWrite, op.Service.Name)
	case op.Check.ServiceID != "":
		return authz.Require(q.v, acl.ServiceWrite, op.Check.ServiceName)
	}
	return authz.Require(q.v, acl.NodeWrite, op.Check.Node)
}
