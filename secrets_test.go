package consul

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestSecretsDoNotShow prints everything that holds a token or that comes of a
// request with one, in every way.
func TestSecretsDoNotShow(t *testing.T) {
	const secret = "5ecre7-token"
	echo := func(w http.ResponseWriter, r *http.Request) {
		said := r.Header.Get("X-Consul-Token")
		w.Header().Set("X-Consul-Index", said)
		if strings.HasSuffix(r.URL.Path, "nodes") {
			w.WriteHeader(403)
		}
		if strings.HasSuffix(r.URL.Path, "leader") {
			w.Header().Set("X-Consul-Reason", said)
			w.WriteHeader(500)
		}
		fmt.Fprintf(w, "you said %s", said)
	}
	cfg := Config{
		Token: secret, BasicAuth: url.UserPassword("u", secret), TLS: TLSConfig{KeyPEM: []byte(secret), Base: &tls.Config{ServerName: secret}},
		Header: http.Header{"Authorization": {secret}},
	}
	plain := cfg
	plain.TLS = TLSConfig{}
	client := newTestServer(t, plain, echo)
	bad := newTestServer(t, Config{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("cannot send %v", r.Header)
	})}, echo).WithToken(secret)
	ctx := context.Background()

	_, _, forbidden := client.Catalog().Nodes(ctx, nil)
	_, failed := client.Status().Leader(ctx)
	_, _, undecodable := client.Catalog().Services(ctx, nil)
	_, inPath := client.Raw().Query(ctx, "/v1/acl/info/"+secret, new([]int), nil)
	_, badHeader := client.Raw().Query(ctx, "/v1/x", new([]byte), nil)
	transport := bad.Agent().Reload(ctx)
	_, _, ofOptions := client.Catalog().Nodes(ctx, &QueryOptions{Token: secret + "\n"})
	unsent := client.WithToken(secret + " x").Agent().Reload(ctx)
	for name, v := range map[string]any{
		"Config": cfg, "*Config": &cfg,
		"printed address":        fmt.Sprint(Config{Address: "http://u:" + secret + "@h?token=" + secret}, Config{Address: "u:" + secret + "@h"}),
		"transport that reloads": newReloadingTransport(TLSConfig{KeyPEM: []byte(secret)}, tlsFiles{key: []byte(secret)}, &tls.Config{}, func(*tls.Config) closingTransport { return nil }),
		"TLSConfig":              cfg.TLS, "Client": client, "Client by value": *client, "Agent": client.Agent(), "*Client copy": client.WithDatacenter("x"),
		"struct with a client": struct{ C *Client }{client}, "struct with a private client": struct{ c *Client }{client},
		"QueryOptions": QueryOptions{Token: secret, Filter: "x"}, "*QueryOptions": &QueryOptions{Token: secret}, "WriteOptions": &WriteOptions{Token: secret},
		"403": forbidden, "500": failed, "undecodable": undecodable, "in path": inPath, "bad header": badHeader,
		"transport": transport, "options": ofOptions, "unsent": unsent,
	} {
		if err, ok := v.(error); ok && err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			said := fmt.Sprintf(verb, v)
			if strings.Contains(said, secret) || strings.Contains(said, fmt.Sprintf("%x", secret)) || strings.Contains(said, "bad verb") {
				t.Errorf("%s printed with %s: %s", name, verb, said)
			}
		}
		if v == nil {
			t.Errorf("%s is nil", name)
		}
		if said := show(v); strings.Contains(said, secret) {
			t.Errorf("%s as JSON: %s", name, said)
		}
	}
}

// TestTokenThatIsAWord has tokens that are part of every error. To leave them out
// of the text must not change what the error is.
func TestTokenThatIsAWord(t *testing.T) {
	for _, token := range []string{"root", "GET", "consul", "context", "web"} {
		client := newTestServer(t, Config{Token: token, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("root: %w", context.DeadlineExceeded)
		})}, nil)
		_, _, err := client.Health().Service(context.Background(), "web", nil)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("token %q: %v is not the error that it was", token, err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), token) && token != "consul" && token != "context" {
			t.Errorf("token %q: the error %#v shows it", token, err)
		}
	}
}

// TestTokenInWordsOfTheAgent has tokens that are part of what the agent says, which
// tells what an error means.
func TestTokenInWordsOfTheAgent(t *testing.T) {
	for _, tt := range []struct {
		token string
		code  int
		body  string
		means error
	}{
		{"leader", 500, "No cluster leader", ErrNoLeader},
		{"rate", 503, "rate limit exceeded for operation", ErrRateLimited},
		{"Unknown", 404, `Unknown check ID "x".`, ErrUnknownCheck},
		{"associated", 500, `CheckID "x" does not have associated TTL`, ErrUnknownCheck},
		{"service", 404, `Unknown service ID "x".`, ErrUnknownService},
	} {
		client, _ := newTestAgent(t, Config{Token: tt.token}, canned{code: tt.code, body: tt.body})
		err := client.Agent().PassTTL(context.Background(), "x", "")
		wantError(t, err, "[redacted]")
		for _, condition := range []error{ErrNoLeader, ErrRateLimited, ErrUnknownCheck, ErrUnknownService} {
			if is := errors.Is(err, condition); is != (condition == tt.means) {
				t.Errorf("token %q: %v is %q: %t", tt.token, err, condition, is)
			}
		}
		if isUnknown := tt.means == ErrUnknownCheck || tt.means == ErrUnknownService; errors.Is(err, ErrNotFound) != isUnknown {
			t.Errorf("token %q: %v is %q: %t", tt.token, err, ErrNotFound, !isUnknown)
		}
		if strings.Contains(fmt.Sprintf("%#v", err), tt.token) {
			t.Errorf("%#v shows the token", err)
		}
	}
}

// echoed returns what errors show of a text that comes back in every place where
// something can come back: bodies of errors, reasons, headers, responses that are
// no JSON or the wrong JSON, redirects, and errors of the transport.
func echoed(t *testing.T, cfg Config, text string) []string {
	t.Helper()
	ctx := context.Background()
	inJSON, _ := json.Marshal(text)
	var said []string
	note := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
			return
		}
		for _, verb := range []string{"%v", "%#v"} {
			said = append(said, fmt.Sprintf(verb, err))
		}
		var status *StatusError
		if errors.As(err, &status) {
			said = append(said, status.Body, status.Path)
		}
	}
	for _, answer := range []canned{
		{code: 500, body: text},
		{code: 400, body: "said: " + string(inJSON)},
		{code: 503, header: map[string]string{"X-Consul-Reason": text}},
		{code: 302, header: map[string]string{"Location": "http://[" + text}},
		{body: text},
		{body: `{"` + text + `":`},
		{body: `[{"Node":{"Meta":{` + string(inJSON) + `:7}}}]`},
		{body: `[{"Checks":[{"Timeout":` + string(inJSON) + `}]}]`},
		{body: "null", header: map[string]string{"X-Consul-Index": text}},
		{body: "null", header: map[string]string{"X-Consul-Knownleader": text}},
		{body: "x", header: map[string]string{"Content-Type": "text/" + text}},
	} {
		client := newCannedClient(t, cfg, answer)
		_, _, err := client.Health().Service(ctx, "web", nil)
		note(err)
		_, err = client.Agent().ServiceHealthByID(ctx, "web")
		note(err)
		_, err = client.Raw().Query(ctx, "/v1/acl/info/"+url.PathEscape(text), new([]int), nil)
		note(err)
	}
	cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("cannot send %s: %q, %v", text, text, r.Header)
	})
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	note(client.Agent().Reload(ctx))
	return said
}

// TestCredentialsAreNotEchoed has a credential in each place where one can stand,
// and an agent, or whatever is in front of it, that says it again.
func TestCredentialsAreNotEchoed(t *testing.T) {
	for _, secret := range []string{"5ecre7-0f-the-agent", `5ec"re7\0f<the>&agent`, "5ecre7/0f%the+agent"} {
		basic := base64.StdEncoding.EncodeToString([]byte("user:" + secret))
		for name, tt := range map[string]struct {
			cfg  Config
			text string
		}{
			"token":           {Config{Token: secret}, secret},
			"header":          {Config{Header: http.Header{"X-Consul-Token": {secret}}}, secret},
			"bearer":          {Config{Header: http.Header{"Authorization": {"Bearer " + secret}}}, secret},
			"all of a bearer": {Config{Header: http.Header{"authorization": {"Bearer " + secret}}}, "Bearer " + secret},
			"another header":  {Config{Header: http.Header{"X-Gateway-Key": {"other", secret}}}, secret},
			"password":        {Config{BasicAuth: url.UserPassword("user", secret)}, secret},
			"basic":           {Config{BasicAuth: url.UserPassword("user", secret)}, basic},
		} {
			secret := secret
			if name == "basic" {
				secret = basic
			}
			// Wherever the text is cut, no part of the secret must be left.
			for _, before := range []int{0, 30, 48, 56, 60, 63, 500} {
				for _, said := range echoed(t, tt.cfg, strings.Repeat("-", before)+tt.text) {
					if part := longestPart(said, secret); len(part) >= minPart {
						t.Fatalf("%s after %d bytes: %q is in %s", name, before, part, said)
					}
				}
			}
		}
	}
}

// longestPart returns the longest beginning of a secret, in one of its forms, that
// is in a text.
func longestPart(text, secret string) string {
	longest := ""
	for _, form := range forms(secret) {
		for n := len(form); n > len(longest); n-- {
			if strings.Contains(text, form[:n]) {
				longest = form[:n]
			}
		}
	}
	return longest
}

// TestOtherSecretsAreNotEchoed has credentials that the client does not know.
func TestOtherSecretsAreNotEchoed(t *testing.T) {
	const secret = "0f-some60dy-else"
	for name, text := range map[string]string{
		"a user in a URL":         "dial http://user:" + secret + "@proxy:3128",
		"a password with a slash": "dial http://user:a/" + secret + "@proxy:3128",
		"a new token":             `{"SecretID":"` + secret + `"}`,
		"an indented one":         `{ "SecretID" : "` + secret + `"}`,
	} {
		for _, said := range echoed(t, Config{}, text) {
			// Paths are the caller's, who has escaped them.
			if strings.Contains(strings.ReplaceAll(said, url.PathEscape(text), ""), secret) {
				t.Errorf("%s: %s", name, said)
			}
		}
	}
	// What a URL in a path looks like is no secret.
	client, _ := newTestAgent(t, Config{}, canned{code: 500, body: "no"})
	_, _, err := client.Health().Service(context.Background(), "me@home", nil)
	wantError(t, err, client.agent+"/some/prefix/v1/health/service/me@home: 500 no")
}

// TestShortHeadersAreNoSecrets has values that are in every error.
func TestShortHeadersAreNoSecrets(t *testing.T) {
	client, _ := newTestAgent(t, Config{Header: http.Header{"X-Key": {"1"}, "Cookie": {"lang=e; theme=de"}}}, canned{code: 500, body: "1 error"})
	wantError(t, client.Agent().Reload(context.Background()), client.agent+"/some/prefix/v1/agent/reload: 500 1 error")
}

// TestTokenInAPath has a token where the caller has put it: in the parameters of a
// path for Raw, and in one that is malformed.
func TestTokenInAPath(t *testing.T) {
	client, _ := newTestAgent(t, Config{Token: "5ecre7"}, canned{code: 500, body: "no token=0th3r here"})
	_, err := client.Raw().Query(context.Background(), "/v1/kv/a?token=0th3r", nil, nil)
	wantError(t, err, "/v1/kv/a: 500 no token=[redacted] here")
	_, err = client.Raw().Query(context.Background(), "/v1/acl/info/5ecre7/%zz", nil, nil)
	wantError(t, err, `consul: path "/v1/acl/info/[redacted]/%zz": malformed escape`)
}

// A key that is a token, or has one in it, is not printed.
func TestTokenAsKey(t *testing.T) {
	ctx := context.Background()
	client, _ := newTestAgent(t, Config{Token: "s3cret"}, canned{body: "false"})
	for _, key := range []string{"s3cret", "s3cret//", "a/../s3cret"} {
		err := client.KV().Put(ctx, &KVPair{Key: key}, nil)
		wantError(t, err, "[redacted]")
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
