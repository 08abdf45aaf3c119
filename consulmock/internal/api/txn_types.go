package api

import (
	"net/http"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// txnJSON is the response to a transaction.
type txnJSON struct {
	Results []*txnResultJSON // null if the transaction failed
	Errors  []state.TxnError
}

// txnReadJSON is the response to one that only reads.
type txnReadJSON struct {
	txnJSON
	Index                 uint64
	LastContact           int
	KnownLeader           bool
	ConsistencyLevel      string
	NotModified           *bool `json:",omitempty"` // 1.21.4, and so the next two
	Backend               *int  `json:",omitempty"`
	ResultsFilteredByACLs *bool `json:",omitempty"`
}

// txnResultJSON is the result of one operation. One of the pointers is set.
type txnResultJSON struct {
	KV      *state.KVPair `json:",omitempty"`
	Node    *nodeJSON     `json:",omitempty"`
	Service *serviceJSON  `json:",omitempty"`
	Check   *checkJSON    `json:",omitempty"`
}

// txnAnswer returns a response whose status tells whether a transaction failed.
func txnAnswer(failed []state.TxnError, body any) any {
	if len(failed) > 0 {
		return &answer{status: http.StatusConflict, body: body}
	}
	return &answer{body: body}
}

// txnResults returns the results that the token may read, and whether it may not read
// some. Unlike other responses these have null for tags that there are not.
func (q *request) txnResults(results []state.TxnResult, authz *acl.Authorizer) (list []*txnResultJSON, filtered bool) {
	if results == nil {
		return nil, false
	}
	list = []*txnResultJSON{}
	for _, r := range results {
		if !mayRead(authz, r) {
			filtered = true
			continue
		}
		out := &txnResultJSON{KV: r.KV, Node: r.Node}
		if s := r.Service; s != nil {
			out.Service = newServiceJSON(q.v, s)
			out.Service.Tags = s.Tags
		}
		if c := r.Check; c != nil {
			out.Check = newCheckJSON(q.v, c)
			out.Check.ServiceTags = c.ServiceTags
		}
		list = append(list, out)
	}
	return list, filtered
}

func mayRead(authz *acl.Authorizer, r state.TxnResult) bool {
	switch {
	case r.KV != nil:
		return authz.Allows(acl.KeyRead, r.KV.Key)
	case r.Node != nil:
		return authz.Allows(acl.NodeRead, r.Node.Node)
	case r.Service != nil:
		return authz.Allows(acl.ServiceRead, r.Service.Name)
	}
	return authz.AllowsCheck(r.Check)
}
