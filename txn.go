package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Txn performs transactions: several operations on keys, nodes, services and checks
// of which all are carried out, at one index, or none.
type Txn struct {
	c *Client
}

// TxnOp is one operation of a transaction. Exactly one of its fields is set.
type TxnOp struct {
	KV      *KVTxnOp      `json:",omitempty"`
	Node    *NodeTxnOp    `json:",omitempty"`
	Service *ServiceTxnOp `json:",omitempty"`
	Check   *CheckTxnOp   `json:",omitempty"`
}

// KVOp is what an operation does with a key.
type KVOp string

const (
	KVSet            KVOp = "set"              // write Value and Flags
	KVCAS            KVOp = "cas"              // the same, if ModifyIndex is Index; 0: if the key does not exist
	KVLock           KVOp = "lock"             // acquire for Session, and write Value and Flags
	KVUnlock         KVOp = "unlock"           // release for Session, and write Value and Flags
	KVDelete         KVOp = "delete"           // no error if there is no such key
	KVDeleteCAS      KVOp = "delete-cas"       // if ModifyIndex is Index
	KVDeleteTree     KVOp = "delete-tree"      // all keys that start with Key
	KVGet            KVOp = "get"              // fails if there is no such key
	KVGetTree        KVOp = "get-tree"         // all keys that start with Key
	KVGetOrEmpty     KVOp = "get-or-empty"     // a pair without indexes if there is no such key; since 1.14
	KVCheckIndex     KVOp = "check-index"      // fails unless ModifyIndex is Index
	KVCheckSession   KVOp = "check-session"    // fails unless Session holds the key; an empty one: unless nobody does
	KVCheckNotExists KVOp = "check-not-exists" // fails if there is such a key
)

// KVTxnOp is an operation on a key. What its verb does not use is ignored.
type KVTxnOp struct {
	Verb    KVOp
	Key     string // any UTF-8 text that is not empty
	Value   []byte `json:",omitempty"`
	Flags   uint64 `json:",omitempty"`
	Index   uint64 `json:",omitempty"`
	Session string `json:",omitempty"`

	Namespace string `json:",omitempty"` // Consul Enterprise only
	Partition string `json:",omitempty"` // Consul Enterprise only
}

// CatalogOp is what an operation does with a node, a service or a check.
type CatalogOp string

const (
	CatalogSet       CatalogOp = "set"        // register, or change
	CatalogCAS       CatalogOp = "cas"        // set if ModifyIndex is that of the record given
	CatalogGet       CatalogOp = "get"        // fails if there is none
	CatalogDelete    CatalogOp = "delete"     // no error if there is none
	CatalogDeleteCAS CatalogOp = "delete-cas" // if ModifyIndex is that of the record given
)

// NodeTxnOp is an operation on a node of the catalog.
type NodeTxnOp struct {
	Verb CatalogOp
	Node Node
}

// ServiceTxnOp is an operation on a service of the catalog. All but CatalogGet need
// the service's name.
type ServiceTxnOp struct {
	Verb    CatalogOp
	Node    string // the node's name
	Service AgentService
}

// CheckTxnOp is an operation on a check of the catalog.
type CheckTxnOp struct {
	Verb  CatalogOp
	Check HealthCheck
}

// TxnResponse is what a transaction has returned.
type TxnResponse struct {
	// Results do not line up with the operations: one that deletes, and
	// KVCheckNotExists, has none, KVGetTree has any number, and what the token may
	// not read is left out. Pairs have their Value only if the operation reads.
	Results []TxnResult

	// These are set if all operations only read or check.
	Index                 uint64
	LastContact           time.Duration
	KnownLeader           bool
	ResultsFilteredByACLs bool // since 1.11
}

// TxnResult is one result of a transaction. Exactly one of its fields is set.
type TxnResult struct {
	KV      *KVPair       `json:",omitempty"`
	Node    *Node         `json:",omitempty"`
	Service *AgentService `json:",omitempty"`
	Check   *HealthCheck  `json:",omitempty"`
}

// TxnError is a transaction that was refused as a whole: it has not changed
// anything. It lists all operations that failed. [errors.Is] reports a condition if
// one of them has it: [ErrLockHeld], [ErrLockDelay], [ErrStaleIndex],
// [ErrUnknownSession], [ErrNotFound], [ErrPermissionDenied].
type TxnError struct {
	Method  string // PUT
	Address string // the agent's, as in [StatusError]
	Path    string
	Errors  []TxnOpError

	// What messages meant before secrets were removed from them.
	meant []error
}

// TxnOpError is an operation that failed.
type TxnOpError struct {
	OpIndex int    // of the operation, from 0 on
	What    string // the agent's message
}

// Error returns one line with all operations that failed.
func (e *TxnError) Error() string {
	text := make([]string, len(e.Errors))
	for i, op := range e.Errors {
		text[i] = fmt.Sprintf("operation %d: %s", op.OpIndex, strings.Join(strings.Fields(op.What), " "))
	}
	return fmt.Sprintf("consul: %s %s%s: the transaction was refused: %s", e.Method, e.Address, e.Path, abridge(strings.Join(text, "; ")))
}

// Is reports whether one of the operations failed with the condition target.
func (e *TxnError) Is(target error) bool {
	for _, op := range e.Errors {
		if op.is(target) {
			return true
		}
	}
	return slices.Contains(e.meant, target)
}

// txnConditions are those that an operation can fail with.
var txnConditions = []error{ErrLockHeld, ErrLockDelay, ErrStaleIndex, ErrUnknownSession, ErrNotFound, ErrPermissionDenied}

func (e TxnOpError) is(target error) bool {
	switch target {
	case ErrLockHeld:
		return strings.HasSuffix(e.What, "lock is already held")
	case ErrLockDelay:
		return strings.HasSuffix(e.What, "due to lock delay")
	case ErrStaleIndex:
		return strings.HasSuffix(e.What, "index is stale") || strings.HasPrefix(e.What, "failed index check for key ")
	case ErrUnknownSession:
		return isInvalidSession(e.What)
	case ErrNotFound:
		return strings.HasSuffix(e.What, "doesn't exist")
	case ErrPermissionDenied:
		return strings.HasPrefix(e.What, "Permission denied")
	}
	return false
}

// Apply performs a transaction. Of the options, Datacenter, Namespace, Partition,
// Token and, if all operations only read or check, AllowStale and RequireConsistent
// count; the others are not sent. If an operation fails, nothing is changed and the
// error is a [*TxnError].
//
// Agents refuse more operations than 128 (64 in the 1.8 series) and more than 512 KiB
// of JSON, in which values take four thirds of their size, with [ErrTooLarge].
//
// PUT /v1/txn
func (t *Txn) Apply(ctx context.Context, ops []TxnOp, q *QueryOptions) (*TxnResponse, error) {
	for i, op := range ops {
		if err := op.check(); err != nil {
			return nil, fmt.Errorf("consul: operation %d of the transaction: %w", i, err)
		}
	}
	if q == nil {
		q = &QueryOptions{}
	}
	r, err := t.c.query(at("/v1/txn"), &QueryOptions{
		Datacenter: q.Datacenter, Namespace: q.Namespace, Partition: q.Partition, Token: q.Token,
		AllowStale: q.AllowStale, RequireConsistent: q.RequireConsistent,
	})
	if err != nil {
		return nil, err
	}
	if ops == nil {
		ops = []TxnOp{}
	}
	var body []byte
	r.method, r.in, r.out, r.accept = http.MethodPut, ops, &body, []int{http.StatusConflict}
	resp, err := t.c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	var w struct {
		TxnResponse
		Errors []TxnOpError
	}
	err = decode(body, mediaType(resp.header), &w)
	switch {
	case resp.status == http.StatusConflict && (err != nil || len(w.Errors) == 0):
		return nil, t.c.statusError(r, resp.status, resp.header, body)
	case err != nil:
		return nil, t.c.fail(ctx, r, err)
	case len(w.Errors) > 0:
		return nil, t.c.txnError(r, w.Errors)
	}
	return &w.TxnResponse, nil
}

func (c *Client) txnError(r *call, failed []TxnOpError) error {
	secrets := c.secrets(r)
	e := &TxnError{Method: r.method, Address: secrets.redact(c.agent), Path: secrets.redact(c.base.EscapedPath() + r.path), Errors: failed}
	for i, op := range failed {
		clean := secrets.redact(redactUserinfo(op.What))
		if clean == op.What {
			continue
		}
		for _, condition := range txnConditions {
			if op.is(condition) {
				e.meant = append(e.meant, condition)
			}
		}
		failed[i].What = clean
	}
	return e
}

// check refuses an operation that agents drop, or for which they break the
// connection, or that would delete everything.
func (op TxnOp) check() error {
	set := 0
	for _, is := range []bool{op.KV != nil, op.Node != nil, op.Service != nil, op.Check != nil} {
		if is {
			set++
		}
	}
	switch {
	case set == 0:
		return errors.New("it is empty; want one of KV, Node, Service and Check")
	case set > 1:
		return errors.New("it has several of KV, Node, Service and Check; want one")
	case op.KV != nil && op.KV.Key == "" && op.KV.Verb == KVDeleteTree:
		return errors.New("the prefix to delete is empty, which would delete all keys")
	case op.KV != nil && op.KV.Key == "" && op.KV.Verb != KVGetTree:
		return errors.New("key is empty")
	case op.KV != nil && !utf8.ValidString(op.KV.Key):
		return errors.New("key is not UTF-8; JSON would make another key of it")
	case op.KV != nil && op.KV.Verb == "":
		return errors.New("KVTxnOp.Verb is empty")
	}
	return nil
}
