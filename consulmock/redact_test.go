package consulmock

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lictor-go/consul/internal/har"
)

// secretExchange is an exchange that has secrets in it.
type secretExchange struct {
	path, body string
	header     [2]string   // of the request
	answer     http.Header // of the response
	answerBody string
	cut        bool // the agent dies in the middle of the response
}

// recordExchanges returns the recording of exchanges, one after the other.
func recordExchanges(t *testing.T, exchanges []secretExchange, opts ...RecordOption) (raw string, entries []har.Entry) {
	t.Helper()
	now := secretExchange{}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for name, values := range now.answer {
			w.Header()[name] = values
		}
		if now.cut {
			w.Header().Set("Content-Length", strconv.Itoa(len(now.answerBody)+1))
		}
		io.WriteString(w, now.answerBody)
	}))
	defer agent.Close()
	r, file := recorded(t, agent.URL, opts...)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, now = range exchanges {
		path, query, _ := strings.Cut(now.path, "?")
		req, err := http.NewRequest("PUT", r.URL(), strings.NewReader(now.body))
		if err != nil {
			t.Fatal(err)
		}
		if req.URL.Path, err = url.PathUnescape(path); err != nil {
			t.Fatal(err)
		}
		req.URL.RawPath, req.URL.RawQuery = path, query
		if now.header[0] != "" {
			req.Header[now.header[0]] = []string{now.header[1]}
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err = har.Read(file); err != nil {
		t.Fatal(err)
	}
	return string(data), entries
}

// everyString returns the strings in an entry, and what they are encodings of.
func everyString(t *testing.T, e har.Entry) []string {
	t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	list := []string{string(e.Request.Body), string(e.Answer.Body)}
	list = appendStrings(list, v)
	for i := 0; i < len(list); i++ {
		s := list[i]
		if plain, err := url.PathUnescape(s); err == nil && plain != s {
			list = append(list, plain)
		}
		if plain, err := url.QueryUnescape(s); err == nil && plain != s {
			list = append(list, plain)
		}
		if plain := html.UnescapeString(s); plain != s {
			list = append(list, plain)
		}
		if plain, err := base64.StdEncoding.DecodeString(s); err == nil && len(plain) > 0 {
			list = append(list, string(plain))
		}
		var inner any
		if json.Unmarshal([]byte(s), &inner) == nil {
			list = appendStrings(list, inner)
		}
	}
	return list
}

func appendStrings(list []string, v any) []string {
	switch v := v.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, e := range v {
			list = appendStrings(list, e)
		}
	case map[string]any:
		for name, e := range v {
			list = appendStrings(append(list, name), e)
		}
	}
	return list
}

const known = "99999999-aaaa-bbbb-cccc-dddddddddddd"

// Each way in which a token or another secret can get into a recording, and what
// must be there all the same.
func TestRecordRemovesSecrets(t *testing.T) {
	knows := secretExchange{path: "/v1/a", header: [2]string{"X-Consul-Token", known}}
	tests := map[string]struct {
		exchanges []secretExchange
		secrets   []string
		want      []string
	}{
		"authorization without a scheme": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"Authorization", "sekrit-1"}, answerBody: "bad sekrit-1"}},
			[]string{"sekrit-1"}, []string{"bad redacted"},
		},
		"legacy token in a path": {
			[]secretExchange{
				{path: "/v1/acl/destroy/sekrit-1?dc=x", answerBody: `true`}, {path: "/v1/acl/clone/s.1", answerBody: `{"ID":"sekrit-2"}`},
				{path: "/v1/acl/info/sekrit-3/", answerBody: "no sekrit-3"}, {path: "/v1/acl/info/anonymous"}, {path: "/v1/acl/destroyed/5"},
			},
			[]string{"sekrit-1", "sekrit-2", "sekrit-3", "s.1"},
			[]string{"/v1/acl/destroy/redacted?dc=x", "/v1/acl/clone/redacted", "/v1/acl/info/redacted/", "no redacted", "/v1/acl/info/anonymous", "/v1/acl/destroyed/5"},
		},
		"authorization with a tab": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"Authorization", "Bearer\tsekrit-1"}, answerBody: "bad sekrit-1"}},
			[]string{"sekrit-1"}, []string{"Bearer redacted", "bad redacted"},
		},
		"authorization with an unknown scheme": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"Authorization", "sekrit-0 sekrit-1"}, answerBody: "bad sekrit-1"}},
			[]string{"sekrit-0", "sekrit-1"}, []string{"bad redacted"},
		},
		"basic authorization": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("me:sekrit-1"))}, answerBody: "bad sekrit-1"}},
			[]string{"sekrit-1"}, []string{"Basic redacted", "bad redacted"},
		},
		"token in a response's header": {
			[]secretExchange{{path: "/v1/a", answer: http.Header{"X-Consul-Token": {"sekrit-1"}}, answerBody: "new sekrit-1"}},
			[]string{"sekrit-1"}, []string{"new redacted"},
		},
		"cookie of a response": {
			[]secretExchange{{path: "/v1/a", answer: http.Header{"Set-Cookie": {"session=sekrit-1; Path=/"}}}},
			[]string{"sekrit-1"}, []string{"Set-Cookie"},
		},
		"token of something else than Consul": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"X-Vault-Token", "s.1"}}, {path: "/v1/a", header: [2]string{"X-Api-Key", "k.1"}}},
			[]string{"s.1", "k.1"}, nil,
		},
		"cut off within a secret": {
			[]secretExchange{{path: "/v1/a", answerBody: `{"Name":"x","SecretID":"sekrit-1`, cut: true}},
			[]string{"sekrit-1"}, []string{`{"Name":"x","SecretID":"redacted`},
		},
		"cut off within a known token": {
			[]secretExchange{knows, {path: "/v1/a", answerBody: "no such token " + known[:20], cut: true}},
			[]string{known[:20]}, []string{"no such token redacted"},
		},
		"parameter after a semicolon": {
			[]secretExchange{{path: "/v1/a?stale;token=sekrit-1&x=1"}},
			[]string{"sekrit-1"}, []string{"stale;token=redacted&x=1"},
		},
		"parameter with a semicolon": {
			[]secretExchange{{path: "/v1/a?token=sekrit-1;sekrit-2&x=1"}},
			[]string{"sekrit-1", "sekrit-2"}, []string{"token=redacted&x=1"},
		},
		"parameter with an escaped name": {
			[]secretExchange{{path: "/v1/a?%74oken=s1"}},
			[]string{"s1"}, nil,
		},
		"short token in a redirect": {
			[]secretExchange{{path: "/v1/a?token=s1", answer: http.Header{"Location": {"/v1/b?stale&token=s1"}},
				answerBody: `<a href="/v1/b?stale&amp;token=s1">Moved</a>.`}},
			[]string{"token=s1"}, []string{`/v1/b?stale&token=redacted`, "Moved"},
		},
		"short token in a URL in JSON": {
			[]secretExchange{{path: "/v1/a", answerBody: `{"Output":"HTTP GET http://x/?a=1\u0026token=s1: 200 OK","HTTP":"http://x/?token=s1"}`}},
			[]string{"s1"}, []string{" 200 OK"},
		},
		"password in a URL": {
			[]secretExchange{{path: "/v1/a", body: `{"HTTP":"http://me:sekrit-1@x/health"}`, answer: http.Header{"Location": {"http://me:sekrit-2@x/"}}}},
			[]string{"sekrit-1", "sekrit-2"}, []string{"x/health"},
		},
		"request that is not UTF-8": {
			[]secretExchange{{path: "/v1/a", body: "{\"Name\":\"Caf\xe9\",\"Token\":\"sekrit-1\"}"}},
			[]string{"sekrit-1"}, nil,
		},
		"response that is not UTF-8": {
			[]secretExchange{knows, {path: "/v1/a", answerBody: "\xff\xfe " + known}},
			[]string{known}, nil,
		},
		"token as JSON writes it": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"X-Consul-Token", `sek"rit\1`}, body: `{"Notes":"my sek\"rit\\1"}`, answerBody: `{"E":"bad \u0073ek\"rit\u005c1"}`}},
			[]string{`sek"rit\1`, `sek\"rit`}, []string{"my redacted", "bad redacted"},
		},
		"token as a path writes it": {
			[]secretExchange{{path: "/v1/a/sek%20rit%2f1", header: [2]string{"X-Consul-Token", "sek rit/1"}, answerBody: "no path /v1/a/sek%20rit%2F1 or %2fv1%2fa%2fsek+rit%2f1"}},
			[]string{"sek%20rit%2f1", "sek%20rit%2F1", "sek+rit", "sek rit/1"}, []string{"/v1/a/redacted", "no path /v1/a/redacted or %2fv1%2fa%2fredacted"},
		},
		"token as HTML writes it": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"X-Consul-Token", "sek&rit<1>"}, answerBody: "<p>sek&amp;rit&lt;1&gt;</p>"}},
			[]string{"sek&"}, []string{`<p>redacted</p>`},
		},
		"token as Go quotes it": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"X-Consul-Token", "sek\u00a0rit\"1"}, answerBody: `bad token ` + strconv.Quote("sek\u00a0rit\"1")}},
			[]string{`sek`}, []string{`bad token "redacted"`},
		},
		"token in the value of a key": {
			[]secretExchange{knows, {path: "/v1/a", answerBody: `[{"Value":"` + base64.StdEncoding.EncodeToString([]byte("token="+known+"\n")) + `"}]`}},
			[]string{known}, []string{base64.StdEncoding.EncodeToString([]byte("token=redacted\n"))},
		},
		"header of a check": {
			[]secretExchange{{path: "/v1/a", body: `{"Check":{"HTTP":"http://x","Header":{"Authorization":["Bearer sekrit-1"],"X-Api-Key":["sekrit-2"],"Accept":["text/plain"]}}}`}},
			[]string{"sekrit-1", "sekrit-2"}, []string{"Bearer redacted", "text/plain"},
		},
		"names with underscores": {
			[]secretExchange{{path: "/v1/a", body: `{"private_key":"sekrit-1","secret_id":"sekrit-2","bearer_token":"sekrit-3"}`}},
			[]string{"sekrit-1", "sekrit-2", "sekrit-3"}, nil,
		},
		"names with escapes": {
			[]secretExchange{{path: "/v1/a", body: `{"\u0054oken":"sekrit-1"}`}},
			[]string{"sekrit-1"}, nil,
		},
		"other secrets of the API": {
			[]secretExchange{{path: "/v1/a", body: `{"PeeringToken":"sekrit-1","BootstrapSecret":"sekrit-2","Config":{"ServiceAccountJWT":"sekrit-3","OIDCClientSecret":"sekrit-4","Password":"sekrit-5"}}`}},
			[]string{"sekrit-1", "sekrit-2", "sekrit-3", "sekrit-4", "sekrit-5"}, nil,
		},
		"gossip keys": {
			[]secretExchange{{path: "/v1/operator/keyring", body: `{"Key":"cg8StVXbQJ0gPvMd9o7yrg=="}`, answerBody: `[{"Keys":{"pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvO7Iwd7nM=":1}}]`}},
			[]string{"cg8StVXbQJ0gPvMd9o7yrg", "pUqJrVyVRj5jsiYEkM"}, nil,
		},
		"legacy tokens": {
			[]secretExchange{{path: "/v1/acl/info/sekrit-1", answerBody: `[{"ID":"sekrit-1","Name":"x"},{"ID":"sekrit-2"},{"ID":"anonymous"}]`}},
			[]string{"sekrit-1", "sekrit-2"}, []string{"anonymous"},
		},
		"snapshot": {
			[]secretExchange{{path: "/v1/snapshot", body: "sekrit-1", answerBody: "sekrit-2"}},
			[]string{"sekrit-1", "sekrit-2"}, nil,
		},
		"content type": {
			[]secretExchange{{path: "/v1/a?token=" + known, header: [2]string{"Content-Type", "x/" + known}, body: "x", answer: http.Header{"Content-Type": {"y/" + known}}}},
			[]string{known}, nil,
		},
		"name of a header, parameter and member": {
			[]secretExchange{{path: "/v1/a?token=" + known + "&" + known, body: `{"` + known + `":1}`, header: [2]string{"x-" + known, "1"}, answer: http.Header{known: {"1"}}}},
			[]string{known}, nil,
		},
		"secrets of seven bytes and of eight": {
			[]secretExchange{{path: "/v1/a/seven77?token=seven77"}, {path: "/v1/a/eight888?token=eight888"}},
			[]string{"token=seven77", "eight888"}, []string{"/v1/a/seven77", "/v1/a/redacted"},
		},
		"a secret with another one in it": {
			[]secretExchange{{path: "/v1/a", header: [2]string{"X-Consul-Token", "aaaaaaaa"}}, {path: "/v1/a/aaaaaaaa/bbbbbbbb?x=1",
				header: [2]string{"X-Consul-Token", "aaaaaaaa/bbbbbbbb?token=c&dd"}, answerBody: "bad token aaaaaaaa/bbbbbbbb?token=c&dd"}},
			[]string{"aaaaaaaa", "&dd"}, []string{"bad token redacted"},
		},
		"what is kept": {
			[]secretExchange{{path: "/v1/kv/config?dc=dc1", header: [2]string{"User-Agent", "curl"}, body: `{"Name":"web","Address":"10.0.0.1","Meta":{"owner":"me@example.org"},"Tags":["a"]}`,
				answer: http.Header{"X-Consul-Index": {"7"}, "Www-Authenticate": {"Basic"}}, answerBody: `[{"Value":"aGVsbG8gd29ybGQ="}]`}},
			nil, []string{"/v1/kv/config?dc=dc1", "curl", `{"Name":"web","Address":"10.0.0.1","Meta":{"owner":"me@example.org"},"Tags":["a"]}`, "7", "Www-Authenticate", `[{"Value":"aGVsbG8gd29ybGQ="}]`},
		},
		"members and tags that are called as secrets are": {
			[]secretExchange{{path: "/v1/catalog/services", answerBody: `{"token":["a"],"authorization":["b"],"web":[]}`}},
			nil, []string{`{"token":["a"],"authorization":["b"],"web":[]}`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			raw, entries := recordExchanges(t, tt.exchanges)
			if len(entries) != len(tt.exchanges) {
				t.Fatalf("%d entries", len(entries))
			}
			var everywhere []string
			for _, e := range entries {
				where := everyString(t, e)
				everywhere = append(everywhere, where...)
				for _, secret := range tt.secrets {
					if i := slices.IndexFunc(where, func(s string) bool { return strings.Contains(s, secret) }); i >= 0 {
						t.Errorf("%s is in %q", secret, where[i])
					}
				}
			}
			for _, want := range tt.want {
				if !slices.ContainsFunc(everywhere, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("%s is not in\n%s", want, raw)
				}
			}
			if _, entries = recordExchanges(t, tt.exchanges, KeepTokens()); len(entries) != len(tt.exchanges) || !utf8.ValidString(raw) {
				t.Errorf("%d entries with tokens", len(entries))
			}
		})
	}
}

// What has the name of a secret is one, in headers, parameters and JSON, with dashes
// and capitals or without.
func TestRecordRemovesByName(t *testing.T) {
	for _, name := range []string{
		"Token", "X-Consul-Token", "access_token", "Secret", "client-secret", "SecretID", "secret_id", "Password", "apiKey", "X-API-KEY", "AccessKey",
		"SecretKey", "PrivateKey", "private_key", "PrivateKeyPEM", "ServiceAccountJWT", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
	} {
		raw, entries := recordExchanges(t, []secretExchange{{
			path: "/v1/a?" + name + "=s1", header: [2]string{name, "s2"}, body: `{"` + name + `":"s3"}`,
			answer: http.Header{http.CanonicalHeaderKey(name): {"s4"}}, answerBody: `{"a":{"` + name + `" : "s5"}}`,
		}})
		for i := 1; i <= 5; i++ {
			secret := fmt.Sprint("s", i)
			if slices.ContainsFunc(everyString(t, entries[0]), func(s string) bool { return strings.Contains(s, secret) }) {
				t.Errorf("%s: %s is in\n%s", name, secret, raw)
			}
		}
	}
}

// A token is known from its arrival on, also for responses to others that end
// before its own.
func TestRecordLearnsTokensOnArrival(t *testing.T) {
	agent := New(t)
	waits, release := &Observer{}, make(chan struct{})
	agent.Inject(Fault{Path: "/v1/waits", Hang: release, Observe: waits})
	agent.Inject(Fault{Path: "/v1/other", Body: "somebody used " + known})
	r, file := recorded(t, agent.URL())
	url, waited := r.URL(), make(chan error)
	go func() {
		_, _, err := sendTo(http.DefaultClient, "GET", url+"/v1/waits?token="+known, "")
		waited <- err
	}()
	waits.Wait(1, nil)
	if _, body, err := sendTo(http.DefaultClient, "GET", url+"/v1/other", ""); err != nil || !strings.Contains(body, known) {
		t.Errorf("got %q, %v", body, err)
	}
	close(release)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	data, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(data), known) || !strings.Contains(string(data), "somebody used redacted") {
		t.Errorf("%v:\n%s", err, data)
	}
}

// The transport quotes what it cannot read.
func TestRecordRemovesSecretsFromFailures(t *testing.T) {
	agent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	go func() {
		if c, err := agent.Accept(); err == nil {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+known+"\r\n\r\n")
			c.Close()
		}
	}()
	r, file := recorded(t, "http://"+agent.Addr().String())
	if resp, _, err := sendTo(http.DefaultClient, "GET", r.URL()+"/v1/x?token="+known, ""); err != nil || resp.StatusCode != http.StatusBadGateway {
		t.Errorf("got %v, %v", resp, err)
	}
	http.DefaultClient.CloseIdleConnections()
	if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), known) || !strings.Contains(string(data), "malformed") {
		t.Errorf("%v:\n%s", err, data)
	}
}

// A known token is nowhere in what is recorded, wherever it was and however it
// was written there.
func FuzzRedact(f *testing.F) {
	f.Add(known, "", "", byte(0), 0)
	f.Add(`sek"rit\1 &<%>`, `{"Notes":"`, `"}`, byte(3), 0)
	f.Add("sek/rit;1=2", "?token=", "&x", byte(1), 3)
	f.Add("sék rit+1", "http://me:", "@x/", byte(2), 9)
	f.Add("sekrit-1", "{[\"", "\",\"Token\":[[", byte(5), 200)
	f.Fuzz(func(t *testing.T, token, before, after string, how byte, cut int) {
		token = strings.TrimSpace(token)
		if len(token) < 8 || !utf8.ValidString(token) || mixesWithRedacted(token) {
			return
		}
		quoteJSON := func(s string, escapeHTML bool) string {
			var b strings.Builder
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(escapeHTML)
			e.Encode(s)
			return strings.TrimSuffix(b.String(), "\n")
		}
		escapes := []func(string) string{
			func(s string) string { return s }, url.QueryEscape, url.PathEscape, html.EscapeString, strconv.Quote,
			func(s string) string { return quoteJSON(s, true) },
			func(s string) string { return quoteJSON(s, false) },
		}
		written := before + escapes[int(how)%len(escapes)](token) + after
		asJSON := quoteJSON(written, true)
		isCut := cut > 0 && cut < len(written)
		e := &har.Entry{
			Request: har.Request{
				Method: "PUT", URL: "http://a/v1/" + url.PathEscape(token) + "?x=" + url.QueryEscape(before+token+after),
				Headers:  []har.Pair{{Name: "X-Consul-Token", Value: token}, {Name: "X-Other", Value: written}},
				PostData: &har.Post{MimeType: written},
				Body:     []byte(`{"Notes":` + asJSON + `,"Value":"` + base64.StdEncoding.EncodeToString([]byte(written)) + `"}`),
			},
			Answer:  har.Response{Headers: []har.Pair{{Name: "Location", Value: written}}, RedirectURL: written, Body: []byte(written)},
			Failure: written,
		}
		if isCut {
			e.Answer.Body, e.Answer.Content.Partial = []byte(written[:cut]), true
		}
		(&har.Redactor{}).Redact(e)
		e.EncodeBodies()
		for _, s := range everyString(t, *e) {
			if strings.Contains(s, token) {
				t.Errorf("%q is in %q", token, s)
			}
		}
		if body := string(e.Answer.Body); isCut && strings.HasSuffix(body, token[:len(token)-1]) {
			t.Errorf("%q ends in most of %q", body, token)
		}
	})
}

// mixesWithRedacted reports whether a token may be made up of what stands for
// another one and what is beside it.
func mixesWithRedacted(token string) bool {
	for i := range har.Redacted {
		if strings.HasPrefix(token, har.Redacted[i:]) || strings.HasSuffix(token, har.Redacted[:i+1]) {
			return true
		}
	}
	return strings.Contains(token, har.Redacted)
}
