package state

import (
	"fmt"
	"maps"
	"slices"
)

// This file holds transactions. The operations on keys are in txn_kv.go, and those on
// nodes, services and checks in txn_catalog.go.

// TxnOp is an operation of a transaction: what is done, and to what. One of the
// pointers is set.
type TxnOp struct {
	Verb    string
	Index   uint64 // of the last change, for the verbs that look at it
	KV      *KVPair
	Node    *NodeRecord
	On      string // the node of Service
	Service *ServiceRecord
	Check   *CheckRecord
}

// TxnResult is what one operation found or has written. One of the pointers is set.
type TxnResult struct {
	KV      *KVPair
	Node    *NodeRecord
	Service *ServiceRecord
	Check   *CheckRecord
}

// TxnError is why an operation failed.
type TxnError struct {
	OpIndex int
	What    string
}

// Txn performs all of the operations, or none if one of them fails.
func (st *Store) Txn(ops []TxnOp) ([]TxnResult, []TxnError) {
	trial := st.trial(slices.ContainsFunc(ops, func(op TxnOp) bool { return op.KV == nil }))
	if _, failed := trial.performAll(ops); len(failed) > 0 {
		return nil, failed
	}
	return st.performAll(ops)
}

// ReadTxn performs operations that only read.
func (st *Store) ReadTxn(ops []TxnOp) ([]TxnResult, []TxnError) { return st.performAll(ops) }

// performAll performs operations one after the other. One that fails does not keep those
// after it from being performed.
func (st *Store) performAll(ops []TxnOp) (results []TxnResult, failed []TxnError) {
	results = []TxnResult{}
	for i := range ops {
		found, err := st.perform(&ops[i])
		if err != nil {
			failed = append(failed, TxnError{i, err.Error()})
		}
		results = append(results, found...)
	}
	if len(failed) > 0 {
		return nil, failed
	}
	return results, nil
}

func (st *Store) perform(op *TxnOp) ([]TxnResult, error) {
	switch {
	case op.KV != nil:
		return st.performOnKey(op)
	case op.Node != nil:
		return st.performOnNode(op)
	case op.Service != nil:
		return st.performOnService(op)
	}
	return st.performOnCheck(op)
}

// trial returns a copy of the store to try operations on: nobody waits for its changes,
// and nobody is told of sessions that end in it. Without the catalog, the copy shares
// its nodes with the store.
func (st *Store) trial(withCatalog bool) *Store {
	t := NewStore(st.Version)
	t.Index, t.Indexes = st.Index, maps.Clone(st.Indexes)
	t.keys, t.tombstones, t.lockDelays = maps.Clone(st.keys), maps.Clone(st.tombstones), maps.Clone(st.lockDelays)
	if x := st.records[keysByName]; x != nil {
		t.records[keysByName] = &recordIndex{slices.Clone(x.keys)}
	}
	t.Sessions, t.Nodes = st.Sessions, st.Nodes
	if withCatalog {
		t.Sessions, t.Nodes, t.virtualIPs = maps.Clone(st.Sessions), make(map[string]*Node), maps.Clone(st.virtualIPs)
		for name, n := range st.Nodes {
			t.Nodes[name] = t.copyNode(n)
		}
	}
	return t
}

// copyNode returns a copy of a node for another store.
func (st *Store) copyNode(n *Node) *Node {
	c := &Node{NodeRecord: n.NodeRecord, Services: make(map[string]*Service), Checks: maps.Clone(n.Checks), NodeChecks: maps.Clone(n.NodeChecks)}
	for id, s := range n.Services {
		s = &Service{ServiceRecord: s.ServiceRecord, Node: c, Checks: maps.Clone(s.Checks)}
		c.Services[id] = s
		addTo(st.ByName, s.Name, s)
		if mesh := s.meshName(); mesh != "" {
			addTo(st.byMesh, mesh, s)
		}
	}
	return c
}

// stale is the failure of an operation on something that was last changed at another
// index.
func stale(verb, what string) error { return fmt.Errorf("failed to %s %s, index is stale", verb, what) }
