package scenario

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lictor-go/consul/conformance/recording"
)

// ownTarget leaves everything as it is.
type ownTarget struct{ target }

func (ownTarget) rewrite(text string) string { return text }

// answered is an exchange that is over.
func answered(body string) *flight {
	f := &flight{answer: &answer{header: http.Header{"X-Consul-Index": {"30"}}, body: []byte(body)}, done: make(chan struct{})}
	close(f.done)
	return f
}

// TestRequest fills in what the target's own answers have given.
func TestRequest(t *testing.T) {
	p := &player{target: ownTarget{}, flights: map[string]*flight{
		"e1": answered(`{"ID":"abc-own"}`),
		"e2": answered(`{"Results":[{"KV":{"ModifyIndex":18446744073709551615}}]}`),
		"e3": answered(`no JSON`),
	}}
	session := recording.Var{Name: "s", From: "e1", Path: "ID", Value: "recorded"}
	for _, c := range []struct {
		name         string
		vars         []recording.Var
		refs         []recording.Ref
		target, body string // of the template
		want         string // target, a blank and the body
	}{
		{"nothing", nil, nil, "", "", "/v1/kv/k?index=7 recorded"},
		{"ID", []recording.Var{session}, nil, "/v1/kv/k?acquire=${s}", "${s}${s}", "/v1/kv/k?acquire=abc-own abc-ownabc-own"},
		{"capitals", []recording.Var{{Name: "s", From: "e1", Path: "ID", Form: "upper"}}, nil, "/${s}", "", "/ABC-OWN "},
		{"number in a list", []recording.Var{{Name: "i", From: "e2", Path: "Results.0.KV.ModifyIndex"}}, nil, "/x", `{"Index":${i}}`, `/x {"Index":18446744073709551615}`},
		{"with a reference", []recording.Var{session}, []recording.Ref{{Param: "index", From: "e1", Header: "X-Consul-Index", Plus: 1, Value: "7"}}, "/${s}?index=7", "", "/abc-own?index=31 "},
		{"not in the answer", []recording.Var{{Name: "i", From: "e2", Path: "Results.1.KV"}}, nil, "/${i}", "", "/missing "},
		{"not in a text", []recording.Var{{Name: "i", From: "e3", Path: "ID"}}, nil, "/${i}", "", "/missing "},
	} {
		e := &recording.Entry{Vars: c.vars, Refs: c.refs, Request: recording.Request{
			Method: "PUT", URL: "http://a/v1/kv/k?index=7", PostData: &recording.PostData{Text: "recorded"},
		}}
		if c.vars != nil {
			e.Template = &recording.Template{Target: c.target, Body: c.body}
		}
		r, err := p.request(e)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := r.target + " " + string(r.body); got != c.want {
			t.Errorf("%s: sent %s, want %s", c.name, got, c.want)
		}
	}
	unsent := &recording.Entry{Vars: []recording.Var{{Name: "s", From: "e9", Path: "ID"}}, Template: &recording.Template{Target: "/${s}"}}
	if _, err := p.request(unsent); err == nil || !strings.Contains(err.Error(), "e9") {
		t.Errorf("a variable of an answer that is not there: %v", err)
	}
}

// TestChunks writes a body as recorded, with its length or in chunks.
func TestChunks(t *testing.T) {
	p := &player{target: ownTarget{}}
	for _, c := range []struct {
		name, encoding, body string
		want                 string // after the host
	}{
		{"length", "", "abc", "Content-Length: 3\r\n\r\nabc"},
		{"small", "chunked", "abc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"empty", "chunked", "", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"large", "chunked", strings.Repeat("x", 65537), "Transfer-Encoding: chunked\r\n\r\n10000\r\n" + strings.Repeat("x", 65536) + "\r\n1\r\nx\r\n0\r\n\r\n"},
	} {
		e := &recording.Entry{Request: recording.Request{Method: "PUT", URL: "http://a/x", PostData: &recording.PostData{Text: c.body}}}
		if c.encoding != "" {
			e.Request.Headers = []recording.Pair{{Name: "Transfer-Encoding", Value: c.encoding}}
		}
		r, err := p.request(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(string(r.bytes()), "Host: \r\n"); got != c.want {
			t.Errorf("%s: wrote %.100q, want %.100q", c.name, got, c.want)
		}
	}
}
