package consul_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// An endpoint that has no method of its own is read into what the caller likes.
func TestRawQuery(t *testing.T) {
	agent := consulmock.New(t)
	raw := agent.Client().Raw()
	agent.Inject(consulmock.Fault{Path: "/v1/kv/app/size", Body: "large", Header: http.Header{"X-Consul-Index": {"7"}}, Always: true})
	const path = "/v1/kv/app/size?raw"

	var value []byte
	meta, err := raw.Query(ctx, path, &value, nil)
	succeed(t, err)
	want(t, "bytes", string(value), "large")
	want(t, "index", meta.LastIndex, 7)
	var text strings.Builder
	_, err = raw.Query(ctx, path, &text, nil)
	succeed(t, err)
	want(t, "written", text.String(), "large")
	_, err = raw.Query(ctx, path, nil, nil)
	succeed(t, err)

	var self struct{ Config struct{ NodeName string } }
	_, err = raw.Query(ctx, "/v1/agent/self", &self, nil)
	succeed(t, err)
	want(t, "decoded", self.Config.NodeName, "node1")

	// Parameters are those of the options and those of the path.
	_, err = raw.Query(ctx, "/v1/kv/app/size?recurse&separator=%2F", nil, &consul.QueryOptions{WaitIndex: 7, AllowStale: true, Token: "t"})
	succeed(t, err)
	sent := agent.Requests()
	last := sent[len(sent)-1]
	want(t, "parameters", last.Query.Encode(), "index=7&recurse=&separator=%2F&stale=")
	want(t, "token", last.Header.Get("X-Consul-Token"), "t")
}

// A key that does not exist is an error, and can be waited for all the same.
func TestRawMissingKey(t *testing.T) {
	agent := consulmock.New(t)
	raw := agent.Client().Raw()
	agent.Inject(consulmock.Fault{Status: 404, Header: http.Header{"X-Consul-Index": {"12"}}})
	var value []byte
	meta, err := raw.Query(ctx, "/v1/kv/none?raw", &value, nil)
	wantError(t, err, consul.ErrNotFound, "/v1/kv/none: 404")
	if meta == nil || meta.LastIndex != 12 || value != nil {
		t.Fatalf("got %q, %+v", value, meta)
	}
	agent.Inject(consulmock.Fault{Body: "now"})
	_, err = raw.Query(ctx, "/v1/kv/none?raw", &value, &consul.QueryOptions{WaitIndex: meta.LastIndex})
	succeed(t, err)
	want(t, "value", string(value), "now")
	sent := agent.Requests()
	want(t, "parameters of the wait", sent[1].Query.Get("index"), "12")

	// An endpoint that does not exist has no index.
	meta, err = raw.Query(ctx, "/v1/none", nil, nil)
	wantError(t, err, consul.ErrNotFound, "404 Invalid URL path")
	if meta != nil {
		t.Errorf("got %+v", meta)
	}
}

// What is written is sent as it is, or as JSON.
func TestRawWrite(t *testing.T) {
	agent := consulmock.New(t)
	raw := agent.Client().Raw()
	agent.Inject(consulmock.Fault{Path: "/v1/kv/**", Body: "true", Always: true})
	for _, tt := range []struct {
		what string
		in   any
		want string
	}{
		{"nothing", nil, ""},
		{"bytes", []byte("<raw>"), "<raw>"},
		{"a reader", strings.NewReader("<raw>"), "<raw>"},
		{"a buffer", bytes.NewBufferString("<raw>"), "<raw>"},
		{"a reader that does not tell its length", io.MultiReader(strings.NewReader("<r"), strings.NewReader("aw>")), "<raw>"},
		{"an empty one", io.MultiReader(), ""},
		{"anything else", map[string]int{"a": 1}, `{"a":1}`},
	} {
		var ok bool
		succeed(t, raw.Write(ctx, "/v1/kv/a?cas=0", tt.in, &ok, &consul.WriteOptions{Datacenter: "dc1"}))
		want(t, tt.what, ok, true)
		sent := agent.Requests()
		last := sent[len(sent)-1]
		want(t, tt.what, string(last.Body), tt.want)
		want(t, "parameters", last.Query, url.Values{"cas": {"0"}, "dc": {"dc1"}})
	}
	var text strings.Builder
	succeed(t, raw.Delete(ctx, "/v1/kv/a", &text, nil))
	want(t, "deleted", text.String(), "true")
	sent := agent.Requests()
	want(t, "method", sent[len(sent)-1].Method, "DELETE")
}

func TestRawWriteErrors(t *testing.T) {
	agent := consulmock.New(t)
	raw := agent.Client().Raw()
	wantError(t, raw.Write(ctx, "/v1/kv/a", make(chan int), nil, nil), nil, "/v1/kv/a: encoding the request: ")
	broken := errors.New("disk error")
	wantError(t, raw.Write(ctx, "/v1/kv/a", failingReader{broken}, nil, nil), broken, "/v1/kv/a: reading the body to send: disk error")
	wantSent(t, agent)
	wantError(t, raw.Write(ctx, "/v1/kv/", nil, nil, nil), nil, "/v1/kv/: 400 Missing key name")
	wantError(t, raw.Delete(ctx, "/v1/kv/", nil, nil), nil, "/v1/kv/: 400 Missing key name")
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// What nothing can be decoded into, or read from, is an error before anything is
// sent.
func TestRawUnusable(t *testing.T) {
	agent := consulmock.New(t)
	raw := agent.Client().Raw()
	for _, out := range []any{
		[]string{}, map[string]any{}, 5, struct{}{}, (*[]string)(nil), (*[]byte)(nil), (*[]*consul.Node)(nil), (*consul.HealthChecks)(nil),
		(*map[string][]string)(nil), (*strings.Builder)(nil),
	} {
		for _, q := range []*consul.QueryOptions{nil, {WaitIndex: 1}, {Previous: new(consul.Result)}} {
			_, err := raw.Query(ctx, "/v1/catalog/nodes", out, q)
			wantError(t, err, nil, "consul: out is ", fmt.Sprintf("%T", out), "want nil, a pointer, or an io.Writer")
		}
		wantError(t, raw.Write(ctx, "/v1/kv/a", nil, out, nil), nil, "consul: out is ")
		wantError(t, raw.Delete(ctx, "/v1/kv/a", out, nil), nil, "consul: out is ")
	}
	for _, in := range []any{(*bytes.Buffer)(nil), (*bytes.Reader)(nil), (*strings.Reader)(nil), (*closedReader)(nil)} {
		wantError(t, raw.Write(ctx, "/v1/kv/a", in, nil, nil), nil, fmt.Sprintf("consul: in is a nil %T", in))
	}
	wantSent(t, agent)
}

// closedReader is a reader of a few bytes, or of more than are read before they
// are sent, that can be closed.
type closedReader struct {
	io.Reader
	closed int
}

func (r *closedReader) Close() error { r.closed++; return nil }

// A reader is closed, whatever becomes of the request.
func TestRawClosesReaders(t *testing.T) {
	agent := consulmock.New(t)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	good := agent.Client()
	var noContext context.Context
	for name, call := range map[string]func(in io.Reader) error{
		"a success":         func(in io.Reader) error { return good.Raw().Write(ctx, "/v1/agent/reload", in, nil, nil) },
		"a malformed path":  func(in io.Reader) error { return good.Raw().Write(ctx, "/v1/a b", in, nil, nil) },
		"an unusable out":   func(in io.Reader) error { return good.Raw().Write(ctx, "/v1/kv/a", in, 5, nil) },
		"no context":        func(in io.Reader) error { return good.Raw().Write(noContext, "/v1/kv/a", in, nil, nil) },
		"a context at end":  func(in io.Reader) error { return good.Raw().Write(ended, "/v1/kv/a", in, nil, nil) },
		"a malformed token": func(in io.Reader) error { return good.WithToken("a b").Raw().Write(ctx, "/v1/kv/a", in, nil, nil) },
	} {
		for _, size := range []int{3, 2 << 20} {
			in := &closedReader{Reader: strings.NewReader(strings.Repeat("x", size))}
			err := call(in)
			if (err == nil) != (name == "a success") || in.closed == 0 {
				t.Errorf("%s, %d bytes: closed %d times; error %v", name, size, in.closed, err)
			}
		}
	}
}

// A path is the caller's, who has to escape it.
func TestRawPaths(t *testing.T) {
	agent := consulmock.New(t)
	raw := agent.Client().Raw()
	for path, words := range map[string]string{
		"":                      "/v1/",
		"kv/a":                  "/v1/",
		"/v2/kv":                "/v1/",
		"http://other/v1/":      "/v1/",
		"/v1/kv/%zz":            "malformed escape",
		"/v1/a#b":               "%23",
		"/v1/kv/../agent/leave": "element",
		"/v1/kv/%2e%2e/x":       "element",
		"/v1/kv?a;b":            "malformed parameters",
		"/v1/kv?%zz":            "malformed parameters",
		"/v1/kv/a%2Fb c":        "special characters have to be escaped", // not a/b%20c
		"/v1/kv/a b":            "special characters have to be escaped",
		"/v1/kv/ü":              "special characters have to be escaped",
		`/v1/kv/"a"`:            "special characters have to be escaped",
		"/v1/kv/a\n":            "special characters have to be escaped",
	} {
		_, err := raw.Query(ctx, path, nil, nil)
		wantError(t, err, nil, "consul: path", words)
		wantError(t, raw.Write(ctx, path, nil, nil, nil), nil, words)
		wantError(t, raw.Delete(ctx, path, nil, nil), nil, words)
	}
	wantSent(t, agent)

	agent.Inject(consulmock.Fault{Path: "/v1/kv/**", Status: 200, Always: true})
	for _, path := range []string{
		"/v1/kv/a", "/v1/kv/a%2Fb%20c", "/v1/kv/a+b;c=d,e@f:g!h$i&j'k(l)m*n~o[p]", "/v1/kv/" + url.PathEscape("ü/ %?#"), "/v1/kv/", "/v1/kv/a//b",
	} {
		_, err := raw.Query(ctx, path, nil, nil)
		succeed(t, err)
		sent := agent.Requests()
		want(t, "path", sent[len(sent)-1].Path, path)
	}
}
