package consulmock

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/api"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// newHostile returns a server of each version with something of everything in
// it.
func newHostile(t testing.TB) []*Server {
	var servers []*Server
	for _, v := range []string{"1.8.7", "1.21.4"} {
		for _, deny := range []bool{false, true} {
			opts := []Option{WithVersion(v), WithQueryTimes(time.Millisecond, time.Millisecond)}
			if deny {
				opts = append(opts, WithTokens(ManagementToken("root"), ServiceToken("web", "web")))
			}
			s := NewServer(opts...)
			t.Cleanup(s.Close)
			for _, body := range []string{
				`{"Name":"web","Port":80,"Tags":["a"],"Checks":[{"TTL":"1h"},{"HTTP":"http://127.0.0.1:1","Interval":"1h"}]}`,
				`{"Name":"mesh","Port":81,"Connect":{"SidecarService":{}}}`,
				`{"Name":"native","Port":82,"Connect":{"Native":true}}`,
			} {
				send(s, "PUT", "/v1/agent/service/register?token=root", body)
			}
			send(s, "PUT", "/v1/catalog/register?token=root", `{"Node":"ext","Address":"10.0.0.1","Service":{"Service":"web"},"Check":{"Name":"c"}}`)
			servers = append(servers, s)
		}
	}
	return servers
}

// send sends a request to the server's handler. It returns nil if the request is
// none that an HTTP server would pass on, and if the handler gave up on it.
func send(s *Server, method, target, body string) (answer *httptest.ResponseRecorder) {
	path, query, _ := strings.Cut(target, "?")
	u := &url.URL{Scheme: "http", Host: "127.0.0.1:8500", RawQuery: query}
	var err error
	if u.Path, err = url.PathUnescape(path); err != nil {
		return nil
	}
	u.RawPath = path
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	r := httptest.NewRequest("GET", "/", strings.NewReader(body)).WithContext(ctx)
	r.Method, r.URL, r.RequestURI = method, u, target
	r.Header.Set("X-Consul-Token", "root")
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				panic(v)
			}
			answer = nil
		}
	}()
	answer = httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, r)
	return answer
}

// Whatever is asked, the answer has a status and, if it is JSON, is JSON.
func FuzzRequests(f *testing.F) {
	for _, rt := range api.Routes {
		if strings.HasSuffix(rt.Path, "leave") {
			continue
		}
		method, _, _ := strings.Cut(rt.Method, ",")
		if method == "" {
			method = "GET"
		}
		f.Add(method, rt.Path, "", `{}`)
		f.Add(method, rt.Path+"web", "index=1&wait=1ms&passing&stale&near=_agent&tag=a&node-meta=a:b", `{"Name":"web"}`)
		f.Add(method, rt.Path+"%2e%2e/%00", "%zz;=&dc=x&ns=y", `[`)
		f.Add("PUT", rt.Path+"web", "enable=true&note=x", `{"Name":1,"Check":{"TTL":"x"},"Status":"passing"}`)
		f.Add("OPTIONS", rt.Path, "pretty", `null`)
	}
	f.Add("GET", "//v1/../..//", "filter=Node+==+x", "")
	f.Add("CONNECT", "*", "cached&consistent", "\xff")
	servers := newHostile(f)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		if strings.Contains(path, "leave") {
			return // it waits, and ends the server
		}
		for _, s := range servers {
			w := send(s, method, path+"?"+query, body)
			if w == nil {
				continue
			}
			if w.Code < 200 || w.Code > 599 {
				t.Errorf("%s %q: status %d", method, path, w.Code)
			}
			isJSON := strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Header().Get("Content-Encoding") == ""
			if isJSON && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %q: not JSON: %q", method, path, w.Body)
			}
		}
	})
}

// Whatever a service is registered with, the agent answers, and what it accepts
// it shows in every view.
func FuzzRegistration(f *testing.F) {
	for _, seed := range []string{
		`{"Name":"x"}`,
		`{"Name":"x","ID":"y","Tags":["a",null],"Meta":{"a":"b"},"Address":"10.0.0.1","Port":-1,"Weights":{"Passing":1}}`,
		`{"Name":"x","Check":{"TTL":1e9,"Status":"passing"},"Checks":[null,{"CheckID":"z","AliasService":"x"}]}`,
		`{"Name":"x","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"y","Upstreams":[null,{"a":1}],"Config":{"a":[1]}}}`,
		`{"Name":"x","Connect":{"SidecarService":{"Name":"y","Check":{"TTL":"1h"},"Proxy":{"Config":null}}}}`,
		`{"name":"x","enable_tag_override":true,"tagged_addresses":{"lan":{"address":"::1"}}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, s := range newHostile(t) {
			if strings.Contains(body, "AliasNode") && s.config.agent.Version == release.V1_8_7 {
				continue // an alias of a missing node ends the server
			}
			send(s, "PUT", "/v1/agent/service/register", body)
			send(s, "PUT", "/v1/catalog/register", body)
			for _, path := range []string{
				"/v1/agent/services", "/v1/agent/checks", "/v1/health/state/any", "/v1/catalog/nodes", "/v1/catalog/services",
				"/v1/catalog/node/node1", "/v1/health/service/x", "/v1/agent/health/service/name/x", "/v1/health/connect/x",
			} {
				w := send(s, "GET", path, "")
				if w == nil || w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
					t.Fatalf("%s after %q: %v", path, body, w)
				}
			}
			s.Dump()
		}
	})
}

// Whatever a session is created with, the agent answers, and what it accepts it shows,
// renews and ends.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, ``, ` `, `{"Name":"x","Node":"EXT","TTL":"10s","LockDelay":"1ms","Behavior":"delete","NodeChecks":["c"]}`,
		`{"LockDelay":1e308,"TTL":"2562047h","NodeChecks":[null]}`, `{"LockDelay":-1,"Checks":null,"ServiceChecks":[{"ID":"service:web"},null]}`,
		`{"LockDelay":"-2562047h47m16.854775808s","Checks":[]}`, `{"LockDelay":[{}],"ServiceChecks":{},"Behavior":1}`, `{"TTL":"0s"} trailing`,
	} {
		f.Add(seed)
	}
	servers := newHostile(f)
	f.Fuzz(func(t *testing.T, body string) {
		for _, s := range servers {
			created := send(s, "PUT", "/v1/session/create", body)
			if created == nil || created.Code != http.StatusOK {
				continue
			}
			var session struct{ ID string }
			if err := json.Unmarshal(created.Body.Bytes(), &session); err != nil {
				t.Fatalf("%q: %s, %v", body, created.Body, err)
			}
			for _, request := range []string{
				"GET /v1/session/list", "PUT /v1/kv/lock?acquire=" + session.ID, "PUT /v1/session/renew/" + session.ID,
				"GET /v1/session/info/" + strings.ToUpper(session.ID), "PUT /v1/session/destroy/" + session.ID,
			} {
				method, target, _ := strings.Cut(request, " ")
				w := send(s, method, target, "")
				if w == nil || w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
					t.Fatalf("%s after %q: %v", request, body, w)
				}
				s.Dump()
			}
			if w := send(s, "GET", "/v1/session/info/"+session.ID, ""); strings.TrimSpace(w.Body.String()) != "[]" {
				t.Fatalf("the session of %q has not ended: %s", body, w.Body)
			}
		}
	})
}

// Whatever a transaction is, it is carried out, refused, or breaks the connection; if
// it is not carried out, nothing has changed.
func FuzzTransactions(f *testing.F) {
	for _, seed := range []string{
		`[{"KV":{"Verb":"set","Key":"a","Value":"MQ=="}},{"KV":{"Verb":"get","Key":"missing"}}]`,
		`[{"KV":{"Verb":"delete-tree","Key":""}},{"KV":{"Verb":"get-tree","Key":"a"}},{"KV":{"Verb":"cas","Key":"b","Index":7}}]`,
		`[{"KV":{"Verb":"lock","Key":"a","Session":"x"}},{"KV":{"Verb":"check-session","Key":"a"}},null,{}]`,
		`[{"Node":{"Verb":"set","Node":{"Node":"n","ID":"40e4a748-2192-161a-0510-9bf59fe950b5"}}},{"Service":{"Verb":"set","Node":"n","Service":{"Service":"s","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"web"}}}}]`,
		`[{"Check":{"Verb":"set","Check":{"Node":"ext","Name":"c","Definition":{"Interval":"1s"}}}},{"Service":{"Verb":"delete","Node":"ext","Service":{"ID":"web","Service":"web"}}},{"Node":{"Verb":"delete","Node":{"Node":"ext"}}},{"KV":{"Verb":"bogus","Key":"a"}}]`,
		`[{"Service":{"Verb":"get","Node":"node1","Service":{"ID":"web"}}},{"Check":{"Verb":"get","Check":{}}},{"Node":{"Verb":"get","Node":{}}}]`,
	} {
		f.Add(seed)
	}
	state := func(s *Server) string {
		_, after, _ := strings.Cut(s.Dump(), "\n") // the first line has the index of the log
		before, _, _ := strings.Cut(after, "\nrequests\n")
		return before
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, s := range newHostile(t) {
			s.SetKey("a", []byte("1"))
			before := state(s)
			w := send(s, "PUT", "/v1/txn", body)
			switch {
			case w != nil && w.Code == http.StatusOK:
			case state(s) != before:
				t.Errorf("%q: %v, and before:\n%s\nafter:\n%s", body, w, before, state(s))
			}
			if w != nil && (w.Code == http.StatusOK || w.Code == http.StatusConflict) && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%q: not JSON: %q", body, w.Body)
			}
		}
	})
}

// Whatever key an agent accepts in a path, it has then, alone and in lists.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{"a", "a/b/", "x//y", "/lead", "..", "a/../b", "%2F%2F", " ", "ü", "\xff", "a\x00b", "a?b#c%zz", ""} {
		f.Add(seed, "value")
	}
	servers := newHostile(f)
	f.Fuzz(func(t *testing.T, key, value string) {
		for _, s := range servers {
			path := "/v1/kv/" + url.PathEscape(key)
			w := send(s, "PUT", path, value)
			if w == nil || w.Code != http.StatusOK {
				continue
			}
			if got := send(s, "GET", path+"?raw", ""); got.Body.String() != value {
				t.Errorf("%q: got %q, want %q", key, got.Body, value)
			}
			for _, list := range []string{"recurse", "keys", "keys&separator=/"} {
				if got := send(s, "GET", path+"?"+list, ""); got.Code != http.StatusOK || !json.Valid(got.Body.Bytes()) {
					t.Errorf("%q, %s: %v", key, list, got)
				}
			}
			send(s, "DELETE", path, "")
			if got := send(s, "GET", path, ""); got.Code != http.StatusNotFound {
				t.Errorf("%q: still there: %v", key, got)
			}
		}
	})
}
