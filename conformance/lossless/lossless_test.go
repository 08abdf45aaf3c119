// Package lossless proves that the client's types lose nothing: every answer and
// every registration in the recordings of real agents decodes into them and
// encodes back with every field.
package lossless

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/conformance/recording"
)

// answers are the types of the answers to GET by the beginning of the endpoint's
// path. The first that fits counts. Those of /v1/kv/ are in typeOf.
var answers = []answerType{
	{"/v1/agent/checks", map[string]*consul.AgentCheck{}},
	{"/v1/agent/services", map[string]*consul.AgentService{}},
	{"/v1/agent/service/", consul.AgentService{}},
	{"/v1/agent/health/service/name/", []*consul.AgentServiceHealth{}},
	{"/v1/agent/health/service/id/", consul.AgentServiceHealth{}},
	{"/v1/agent/host", consul.AgentHost{}},
	{"/v1/agent/members", []*consul.AgentMember{}},
	{"/v1/agent/metrics", consul.AgentMetrics{}},
	{"/v1/agent/self", consul.AgentSelf{}},
	{"/v1/agent/version", consul.AgentVersion{}},
	{"/v1/catalog/datacenters", []string{}},
	{"/v1/catalog/nodes", []*consul.Node{}},
	{"/v1/catalog/services", map[string][]string{}},
	{"/v1/catalog/service/", []*consul.CatalogService{}},
	{"/v1/catalog/connect/", []*consul.CatalogService{}},
	{"/v1/catalog/node/", consul.CatalogNode{}},
	{"/v1/catalog/node-services/", consul.CatalogNodeServiceList{}},
	{"/v1/catalog/gateway-services/", []*consul.GatewayService{}},
	{"/v1/health/service/", []*consul.ServiceEntry{}},
	{"/v1/health/connect/", []*consul.ServiceEntry{}},
	{"/v1/health/ingress/", []*consul.ServiceEntry{}},
	{"/v1/health/checks/", consul.HealthChecks{}},
	{"/v1/health/node/", consul.HealthChecks{}},
	{"/v1/health/state/", consul.HealthChecks{}},
	{"/v1/session/info/", []*consul.SessionEntry{}},
	{"/v1/session/list", []*consul.SessionEntry{}},
	{"/v1/session/node/", []*consul.SessionEntry{}},
	{"/v1/event/list", []*consul.UserEvent{}},
	{"/v1/status/leader", ""},
	{"/v1/status/peers", []string{}},
}

// written are the types of the answers to PUT. What is not here answers true, or
// nothing.
var written = []answerType{
	{"/v1/session/create", created{}},
	{"/v1/session/renew/", []*consul.SessionEntry{}},
	{"/v1/event/fire/", consul.UserEvent{}},
	{"/v1/txn", transaction{}},
}

type answerType struct {
	prefix string
	typ    any
}

// created is the ID that consul.Session.Create returns.
type created struct{ ID string }

// transaction is an answer that is a TxnResponse or a TxnError.
type transaction struct {
	consul.TxnResponse
	Errors []consul.TxnOpError
}

// typeOf returns the type of the answer to a request, nil if there is none.
func typeOf(method, path string, query url.Values) *answerType {
	types := written
	if method == http.MethodGet {
		types = answers
	}
	for i := range types {
		if strings.HasPrefix(path, types[i].prefix) {
			return &types[i]
		}
	}
	switch {
	case method != http.MethodGet || !strings.HasPrefix(path, "/v1/kv/"):
		return nil
	case query.Has("keys"):
		return &answerType{"/v1/kv/?keys", []string{}}
	}
	return &answerType{"/v1/kv/", []*consul.KVPair{}}
}

// noType are the endpoints without a type of their own: they are reached through
// consul.Raw, or answer true.
var noType = []string{"/v1/agent/connect/", "/v1/agent/monitor", "/v1/operator/"}

// bodies are the types of the registrations by endpoint.
var bodies = map[string]any{
	"/v1/agent/service/register": consul.AgentServiceRegistration{},
	"/v1/agent/check/register":   consul.AgentCheckRegistration{},
	"/v1/catalog/register":       consul.CatalogRegistration{},
	"/v1/catalog/deregister":     consul.CatalogDeregistration{},
	"/v1/txn":                    []consul.TxnOp{},
}

// leftOut are the fields that the types leave out on purpose.
var leftOut = map[field]string{
	{"/v1/agent/service/register", "Token"}:           "a struct that gets logged must not hold a secret; the token goes into the header",
	{"/v1/agent/service/register", "Connect.Nope"}:    "is no field; agents take unknown ones there",
	{"/v1/catalog/register", "Check.Definition.Nope"}: "is no field; agents take unknown ones there",
}

// refused are the registrations that agents take and the types do not, by
// scenario and entry.
var refused = map[string]string{
	"hostile e037": "a TTL of true; agents ignore it",
	"hostile e038": "a TTL of {}; agents ignore it",
	"hostile e039": "a TTL of 1.5; agents ignore the fraction of a nanosecond",
	"hostile e050": "a time of true; agents ignore it",
}

// field is a field of what an endpoint takes or answers. Elements of lists are
// written [].
type field struct{ endpoint, path string }

// TestAnswers decodes and encodes every JSON answer.
func TestAnswers(t *testing.T) {
	eachEntry(t, func(name string, e *recording.Entry, lost func(endpoint, path string, got, want any)) {
		switch e.Response.Status {
		case http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusConflict:
		default:
			return
		}
		body := e.Response.Body()
		if e.Error != "" || !json.Valid(body) || !strings.HasPrefix(e.Response.Content.MimeType, "application/json") {
			return
		}
		sent, err := url.Parse(e.Request.Target())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		path := sent.Path
		if a := typeOf(e.Request.Method, path, sent.Query()); a != nil {
			roundTrip(t, name, a.typ, body, func(path string, got, want any) { lost(a.prefix, path, got, want) })
			return
		}
		if e.Request.Method != http.MethodGet {
			return
		}
		for _, prefix := range noType {
			if strings.HasPrefix(path, prefix) {
				return
			}
		}
		t.Errorf("%s: no type for the answer of %s", name, path)
	})
}

// TestRegistrations decodes and encodes every registration that an agent
// accepted.
func TestRegistrations(t *testing.T) {
	eachEntry(t, func(name string, e *recording.Entry, lost func(endpoint, path string, got, want any)) {
		path := e.Request.Path()
		typ, ok := bodies[path]
		if !ok || e.Request.Method != http.MethodPut || e.Response.Status != http.StatusOK {
			return
		}
		_, id, _ := strings.Cut(name, "/")
		if refused[id] != "" {
			if json.Unmarshal(e.Request.Body(), reflect.New(reflect.TypeOf(typ)).Interface()) == nil {
				t.Errorf("%s: listed as refused, but is not", id)
			}
			return
		}
		roundTrip(t, name, typ, e.Request.Body(), func(field string, got, want any) { lost(path, field, got, want) })
	})
}

// eachEntry calls visit for every entry of every recording, and checks the list
// of fields that are left out against what visit reports as lost.
func eachEntry(t *testing.T, visit func(name string, e *recording.Entry, lost func(endpoint, path string, got, want any))) {
	versions, err := recording.Versions()
	if err != nil || len(versions) < 2 {
		t.Fatalf("versions %v, error %v; want at least two", versions, err)
	}
	found := map[field]string{}
	for _, v := range versions {
		recordings, err := recording.Load(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recordings {
			for _, e := range r.Entries {
				name := fmt.Sprintf("%s/%s %s", v, r.Scenario, e.ID)
				visit(name, e, func(endpoint, path string, got, want any) {
					f := field{endpoint, path}
					if found[f] == "" {
						found[f] = fmt.Sprintf("%s: got %s, want %s", name, encode(got), encode(want))
					}
				})
			}
		}
	}
	for f, example := range found {
		if leftOut[f] == "" {
			t.Errorf("%s: field %q is lost (%s)", f.endpoint, f.path, example)
		}
	}
	for f := range leftOut {
		if _, isBody := bodies[f.endpoint]; isBody == (t.Name() == "TestRegistrations") && found[f] == "" {
			t.Errorf("%s: field %q is listed as left out, but is not lost", f.endpoint, f.path)
		}
	}
}

// roundTrip decodes the first JSON value of data into a new value of the type,
// encodes that, and reports what differs.
func roundTrip(t *testing.T, name string, typ any, data []byte, lost func(path string, got, want any)) {
	first := json.RawMessage{}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&first); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	value := reflect.New(reflect.TypeOf(typ))
	if err := json.Unmarshal(first, value.Interface()); err != nil {
		t.Errorf("%s: decoding into %T: %v", name, typ, err)
		return
	}
	encoded, err := json.Marshal(value.Interface())
	if err != nil {
		t.Errorf("%s: encoding %T: %v", name, typ, err)
		return
	}
	compare("", generic(t, encoded), generic(t, first), lost)
}

func generic(t *testing.T, data []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// compare reports where got lacks what is in want. What is zero may be absent.
func compare(path string, got, want any, lost func(path string, got, want any)) {
	if isZero(want) && isZero(got) {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok && got != nil {
			break
		}
		names := make([]string, 0, len(w))
		for name := range w {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			if path == "" && isOverridden(g, w, name) {
				continue
			}
			compare(strings.TrimPrefix(path+"."+name, "."), lookup(g, name), w[name], lost)
		}
		return
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			compare(path+"[]", g[i], w[i], lost)
		}
		return
	}
	if reflect.DeepEqual(got, want) || isSameDuration(path, got, want) || isSameNumber(got, want) {
		return
	}
	lost(path, got, want)
}

// lookup finds a field as encoding/json does: the case of its name counts only
// if there are several.
func lookup(object map[string]any, name string) any {
	if v, ok := object[name]; ok {
		return v
	}
	for k, v := range object {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

// isOverridden reports whether the object says the field again in another case,
// and that one counts.
func isOverridden(got, object map[string]any, name string) bool {
	if _, ok := got[name]; ok {
		return false
	}
	for k := range object {
		if _, ok := got[k]; ok && k != name && strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}

// isZero reports whether a JSON value is one that may be left out.
func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == "" || v == "0s"
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, e := range v {
			if !isZero(e) {
				return false
			}
		}
		return true
	}
	return false
}

// isSameDuration reports whether both values of a field that is a duration mean
// the same, one as "90s" and the other as "1m30s", or as nanoseconds. A LockDelay
// that is negative is none, as one of 0 is.
func isSameDuration(path string, a, b any) bool {
	name := path[strings.LastIndexByte(path, '.')+1:]
	da, okA := duration(a)
	db, okB := duration(b)
	switch strings.ToLower(strings.TrimSuffix(name, "[]")) {
	case "ttl", "interval", "timeout", "deregistercriticalserviceafter":
	case "lockdelay":
		da, db = max(da, 0), max(db, 0)
	default:
		return false
	}
	return okA && okB && da == db
}

func duration(v any) (time.Duration, bool) {
	switch v := v.(type) {
	case string:
		if v == "" {
			return 0, true
		}
		d, err := time.ParseDuration(v)
		return d, err == nil
	case json.Number:
		n, err := v.Int64()
		return time.Duration(n), err == nil
	}
	return 0, false
}

// isSameNumber reports whether two numbers are the same in other digits, as
// 1e3 and 1000 are.
func isSameNumber(a, b any) bool {
	na, okA := a.(json.Number)
	nb, okB := b.(json.Number)
	if !okA || !okB {
		return false
	}
	if !strings.ContainsAny(na.String()+nb.String(), ".eE") {
		return false // floating point would round large integers
	}
	fa, errA := na.Float64()
	fb, errB := nb.Float64()
	return errA == nil && errB == nil && fa == fb
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// TestCompare makes sure that what is lost is noticed.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		got, want string
		lost      string // path, or empty
	}{
		{`{}`, `{"A":null,"B":"","C":0,"D":false,"E":[],"F":{"G":"0s"}}`, ""},
		{`{"A":1}`, `{"a":1}`, ""},
		{`{"A":1}`, `{"a":2,"A":1}`, ""},
		{`{"TTL":"1m30s"}`, `{"TTL":"90s"}`, ""},
		{`{"TTL":"1s"}`, `{"TTL":1000000000}`, ""},
		{`{"TTL":""}`, `{"TTL":"0"}`, ""},
		{`{"LockDelay":0}`, `{"LockDelay":-1}`, ""},
		{`{"LockDelay":1}`, `{"LockDelay":-1}`, "LockDelay"},
		{`{"N":1000}`, `{"N":1e3}`, ""},
		{`{"A":1}`, `{"A":1,"B":2}`, "B"},
		{`{"A":{}}`, `{"A":{"B":["x"]}}`, "A.B"},
		{`{"A":[{"B":1},{}]}`, `{"A":[{"B":1},{"B":2}]}`, "A[].B"},
		{`{"A":["x"]}`, `{"A":["x",""]}`, "A"},
		{`{"A":"90s"}`, `{"A":"1m30s"}`, "A"},
		{`{"M":{"a":"1"}}`, `{"M":{"a":"1","A":"2"}}`, "M.A"},
		{`{"A":18446744073709551615}`, `{"A":18446744073709551614}`, "A"},
		{`{"A":1}`, `{"A":0}`, "A"},
	} {
		lost := ""
		compare("", generic(t, []byte(c.got)), generic(t, []byte(c.want)), func(path string, got, want any) { lost = path })
		if lost != c.lost {
			t.Errorf("of %s, %s has lost %q; want %q", c.want, c.got, lost, c.lost)
		}
	}
}
