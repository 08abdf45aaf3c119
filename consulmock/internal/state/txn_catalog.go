package state

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

var errMissingNode = errors.New("Missing node registration")

// performOnNode performs an operation on a node, which get finds by its ID as well.
func (st *Store) performOnNode(op *TxnOp) ([]TxnResult, error) {
	n, what := st.Node(op.Node.Node), fmt.Sprintf("node %q", op.Node.Node)
	matches := n == nil && op.Index == 0 || n != nil && n.ModifyIndex == op.Index
	switch op.Verb {
	case "get":
		if op.Node.ID != "" {
			n = st.nodeWithID(op.Node.ID)
		}
		if n == nil {
			return nil, fmt.Errorf("%s doesn't exist", what)
		}
		return []TxnResult{{Node: n.NodeRecord}}, nil
	case "cas":
		if !matches {
			return nil, stale("set", what)
		}
		fallthrough
	case "set":
		if err := st.RefuseNode(op.Node); err != nil {
			return nil, err
		}
		return []TxnResult{{Node: st.EnsureNode(*op.Node).NodeRecord}}, nil
	case "delete-cas":
		if n == nil || !matches {
			return nil, stale("delete", what)
		}
		fallthrough
	case "delete":
		st.DeleteNode(op.Node.Node)
		return nil, nil
	}
	return nil, fmt.Errorf("unknown Node verb %q", op.Verb)
}

// nodeWithID returns the node of an ID, or nil.
func (st *Store) nodeWithID(id string) *Node {
	if id == "" {
		return nil
	}
	for _, n := range st.Nodes {
		if strings.EqualFold(n.ID, id) {
			return n
		}
	}
	return nil
}

// performOnService performs an operation on a service of a node.
func (st *Store) performOnService(op *TxnOp) ([]TxnResult, error) {
	n, what := st.Node(op.On), fmt.Sprintf("service %q on node %q", op.Service.ID, op.On)
	var s *Service
	if n != nil {
		s = n.Services[strings.ToLower(op.Service.ID)]
	}
	matches := s == nil && op.Index == 0 || s != nil && s.ModifyIndex == op.Index
	switch op.Verb {
	case "get":
		if s == nil {
			return nil, fmt.Errorf("%s doesn't exist", what)
		}
		return []TxnResult{{Service: s.ServiceRecord}}, nil
	case "cas":
		if !matches {
			return nil, stale("set", what)
		}
		fallthrough
	case "set":
		switch {
		case n == nil:
			return nil, errMissingNode
		case op.Service.ID == "": // only 1.8.7 has come this far
			return nil, errors.New("failed inserting service: object missing primary index")
		}
		rec := st.WithVirtualIP(*op.Service)
		rec.OnNode = op.On
		return []TxnResult{{Service: st.EnsureService(n, rec).ServiceRecord}}, nil
	case "delete-cas":
		if s == nil || !matches {
			return nil, stale("delete", what)
		}
		fallthrough
	case "delete":
		if s != nil {
			st.DeleteService(n, s.ID)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("unknown Service verb %q", op.Verb)
}

// performOnCheck performs an operation on a check.
func (st *Store) performOnCheck(op *TxnOp) ([]TxnResult, error) {
	n, what := st.Node(op.Check.Node), fmt.Sprintf("check %q on node %q", op.Check.CheckID, op.Check.Node)
	if err := st.checkLookupError(op); err != nil {
		return nil, err
	}
	var c *Check
	if n != nil {
		c = n.Checks[strings.ToLower(op.Check.CheckID)]
	}
	matches := c == nil && op.Index == 0 || c != nil && c.ModifyIndex == op.Index
	switch op.Verb {
	case "get":
		if c == nil {
			return nil, fmt.Errorf("%s doesn't exist", what)
		}
		return []TxnResult{{Check: c.CheckRecord}}, nil
	case "cas":
		if !matches {
			return nil, stale("set", what)
		}
		if st.setCheck(n, op.Check) != nil {
			break // a success all the same
		}
		c = n.Checks[strings.ToLower(op.Check.CheckID)]
	case "set":
		if err := st.setCheck(n, op.Check); err != nil {
			return nil, err
		}
		c = n.Checks[strings.ToLower(op.Check.CheckID)]
	case "delete-cas":
		if c == nil || !matches {
			return nil, stale("delete", what)
		}
		fallthrough
	case "delete":
		if c != nil {
			st.DeleteCheck(n, c.CheckID)
		}
		return nil, nil
	default:
		return nil, fmt.Errorf("unknown Check verb %q", op.Verb)
	}
	if c == nil {
		return nil, nil
	}
	return []TxnResult{{Check: c.CheckRecord}}, nil
}

// setCheck inserts or changes a check of a node, which may be nil.
func (st *Store) setCheck(n *Node, rec *CheckRecord) error {
	switch {
	case n == nil:
		return errMissingNode
	case rec.CheckID == "":
		return errors.New("failed inserting check: object missing primary index")
	}
	return st.EnsureCheck(n, *rec)
}

// checkLookupError returns what 1.21.4 reports of a check without an ID or a node.
func (st *Store) checkLookupError(op *TxnOp) error {
	if st.Version == release.V1_8_7 || op.Check.Node != "" && op.Check.CheckID != "" {
		return nil
	}
	doing := map[string]string{"set": "failed health check lookup", "delete": "check lookup failed"}[op.Verb]
	if doing == "" {
		doing = "failed check lookup"
	}
	return errors.New(doing + ": index error: object is missing a value for this index")
}
