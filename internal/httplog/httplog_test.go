package httplog

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
)

func TestStatusWriter(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    []int
	}{
		"header":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, []int{404}},
		"body":          {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x"); io.WriteString(w, "y") }, []int{200}},
		"both":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); io.WriteString(w, "x") }, []int{500}},
		"informational": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) }, []int{201}},
		"flush": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(202)
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, []int{202}},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, nil},
	} {
		var got []int
		test.handler(&StatusWriter{ResponseWriter: httptest.NewRecorder(), Report: func(status int) { got = append(got, status) }}, nil)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"/v1/agent/self":                    "/v1/agent/self",
		"/v1/agent/service/a%2Fb?ns=":       "/v1/agent/service/a%2Fb?ns=",
		"/v1/agent/self?token=a&x=%0A":      "/v1/agent/self?token=redacted&x=%0A",
		"/v1/agent/self?token=a&token=b":    "/v1/agent/self?token=redacted",
		"/v1/acl/info/a%2Fb?token=a":        "/v1/acl/info/redacted?token=redacted",
		"/v1/acl/destroy/anonymous":         "/v1/acl/destroy/anonymous",
		"/v1/acl/list":                      "/v1/acl/list",
		"/v1/agent/self?stale;token=secret": "/v1/agent/self", // 1.8.7 takes it for a token
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		if got := URL(u.EscapedPath(), query); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
		if token := query.Get("token"); token == "redacted" {
			t.Errorf("%s: the parameters were changed", in)
		}
	}
}
