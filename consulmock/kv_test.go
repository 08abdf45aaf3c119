package consulmock

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
)

// Only the length that a request announces counts: what comes in chunks may be larger
// than the limit of values, but not than that of transactions.
func TestKeyLimits(t *testing.T) {
	s := New(t, WithKeyLimits(10, 100))
	put := func(target, body string, inChunks bool) string {
		r := httptest.NewRequest("PUT", target, strings.NewReader(body))
		if inChunks {
			r = httptest.NewRequest("PUT", target, io.MultiReader(strings.NewReader(body)))
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return text(t, w.Result())
	}
	const value, see = "12345678901", " See https://developer.hashicorp.com/docs/agent/config/config-files#"
	operation := func(value string) string { return `[{"KV":{"Verb":"set","Key":"t","Value":"` + value + `"}}]` }
	for _, test := range []struct {
		target, body string
		inChunks     bool
		want         string
	}{
		{"/v1/kv/a", value[1:], false, "200 true"},
		{"/v1/kv/a", value, false, "413 Request body(11 bytes) too large, max size: 10 bytes." + see + "kv_max_value_size."},
		{"/v1/kv/a", value, true, "200 true"},
		{"/v1/kv/a?cas=x", value, false, `500 strconv.ParseUint: parsing "x": invalid syntax`},
		{"/v1/txn", operation("MTIzNDU2Nzg5MDE="), false, `413 Value for key "t" is too large (11 > 10 bytes)`},
		{"/v1/txn", operation(strings.Repeat("MTIz", 30)), false, "413 Request body(164 bytes) too large, max size: 100 bytes." + see + "txn_max_req_len."},
		{"/v1/txn", operation(strings.Repeat("MTIz", 30)), true, "413 Request body too large, max size: 100 bytes." + see + "txn_max_req_len."},
	} {
		if got := put(test.target, test.body, test.inChunks); got != test.want {
			t.Errorf("%s %s: got %s, want %s", test.target, test.body, got, test.want)
		}
	}
}

// With the list policy a list needs a rule with list or write for its very prefix;
// without it, a list has what the token may read.
func TestKeyListPolicy(t *testing.T) {
	ctx := context.Background()
	rules := `key_prefix "app/" { policy = "list" } key_prefix "app/secret/" { policy = "deny" } key_prefix "pub/" { policy = "read" }`
	for _, on := range []bool{false, true} {
		s := New(t, WithTokens(Token{SecretID: "t", Rules: rules}), WithKeyListPolicy(on))
		for _, key := range []string{"app/a", "app/secret/b", "pub/c"} {
			s.SetKey(key, nil)
		}
		kv := s.Client().WithToken("t").KV()
		keys, meta, err := kv.Keys(ctx, "app/", "", nil)
		if err != nil || !slices.Equal(keys, []string{"app/a"}) || !meta.ResultsFilteredByACLs {
			t.Errorf("%t: %v, %+v, %v", on, keys, meta, err)
		}
		for prefix, want := range map[string][]string{"pub/": {"pub/c"}, "": {"app/a", "pub/c"}, "app/secret/": nil, "ap": {"app/a"}} {
			keys, _, err := kv.Keys(ctx, prefix, "", nil)
			switch {
			case on && !errors.Is(err, consul.ErrPermissionDenied):
				t.Errorf("with the policy, %q: %v, %v", prefix, keys, err)
			case !on && (err != nil || !slices.Equal(keys, want)):
				t.Errorf("without the policy, %q: %v, %v", prefix, keys, err)
			}
		}
	}
}

// What a token may not read is left out of a transaction's results; what it may not
// write is an error of the operation.
func TestTransactionsAndTokens(t *testing.T) {
	ctx := context.Background()
	s := New(t, WithTokens(Token{SecretID: "t", Rules: `key_prefix "app/" { policy = "write" }`}))
	s.SetKey("app/a", []byte("1"))
	s.SetKey("other", []byte("2"))
	txn := s.Client().WithToken("t").Txn()
	get := func(key string) consul.TxnOp { return consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVGet, Key: key}} }
	resp, err := txn.Apply(ctx, []consul.TxnOp{get("other"), get("app/a")}, nil)
	if err != nil || len(resp.Results) != 1 || resp.Results[0].KV.Key != "app/a" || !resp.ResultsFilteredByACLs {
		t.Errorf("got %+v, %v", resp, err)
	}
	_, err = txn.Apply(ctx, []consul.TxnOp{
		get("app/a"), {KV: &consul.KVTxnOp{Verb: consul.KVDelete, Key: "other"}}, {KV: &consul.KVTxnOp{Verb: consul.KVDeleteTree, Key: "app/x"}},
	}, nil)
	var refused *consul.TxnError
	if !errors.As(err, &refused) || len(refused.Errors) != 1 || refused.Errors[0].OpIndex != 1 || !errors.Is(err, consul.ErrPermissionDenied) {
		t.Errorf("got %v", err)
	}
}

// A null among the operations breaks the connection, as an agent's handler does.
func TestNullInATransaction(t *testing.T) {
	s := New(t)
	if w := send(s, "PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"a"}},null]`); w != nil {
		t.Errorf("got %v", w)
	}
	if w := send(s, "GET", "/v1/kv/a", ""); w.Code != http.StatusNotFound {
		t.Errorf("the key is there: %v", w)
	}
}

// So does a check in the catalog whose definition is null.
func TestNullDefinition(t *testing.T) {
	s := New(t)
	for target, body := range map[string]string{
		"/v1/catalog/register": `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":null}}`,
		"/v1/txn":              `[{"Check":{"Verb":"set","Check":{"Node":"n","CheckID":"c","Definition":null}}}]`,
	} {
		if w := send(s, "PUT", target, body); w != nil {
			t.Errorf("%s: got %v", target, w)
		}
	}
	if s.agent.Store.Node("n") != nil {
		t.Error("the node is there")
	}
}
