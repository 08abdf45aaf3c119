package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestSentinels holds what agents of both versions were seen to say against what
// it means.
func TestSentinels(t *testing.T) {
	all := []error{ErrNotFound, ErrPermissionDenied, ErrNoLeader, ErrRateLimited, ErrUnknownCheck, ErrUnknownService, ErrResponseTooLarge}
	check, service := []error{ErrNotFound, ErrUnknownCheck}, []error{ErrNotFound, ErrUnknownService}
	for _, tt := range []struct {
		code  int
		body  string
		means []error
	}{
		// 1.21.4
		{404, `Unknown check ID "x". Ensure that the check ID is passed, not the check name.`, check},
		{404, `Unknown service ID "x". Ensure that the service ID is passed, not the service name.`, service},
		{404, `ServiceID "x" does not exist`, service},
		{403, `Permission denied: token with AccessorID '…' lacks permission 'service:write' on "db"`, []error{ErrPermissionDenied}},
		{429, "Your IP is issuing too many concurrent connections, please rate limit your calls\n", []error{ErrRateLimited}},
		{404, "Invalid URL path: not a recognized HTTP API endpoint\n", []error{ErrNotFound}},
		{503, "error reading from server: EOF", nil},
		{503, "rate limit exceeded for operation that can only be performed by the leader, try again later", []error{ErrRateLimited}},
		// 1.8.7
		{500, `CheckID "x" does not have associated TTL`, check},
		{500, `Unknown check "x"`, check},
		{500, `Unknown service {"x" {}}`, service},
		{500, `ServiceID "x" does not exist`, service},
		{404, `No service registered with ID "x"`, service},
		{403, "Permission denied", []error{ErrPermissionDenied}},
		{404, "", []error{ErrNotFound}},
		{500, `CheckID missing`, nil},
		// both
		{404, "unknown service ID: x", service},
		{404, "ServiceName x Not Found", service},
		{404, "ServiceId x not found", service},
		{403, "ACL not found", []error{ErrPermissionDenied}},
		{401, "ACL support disabled", nil},
		{500, "No cluster leader", []error{ErrNoLeader}},
		{500, "rpc error making call: No cluster leader", []error{ErrNoLeader}},
		{500, "No path to datacenter", nil},
		{400, "Missing service name", nil},
		{500, "", nil},
		{200, "Unknown check ID", nil},
	} {
		err := error(&StatusError{Code: tt.code, Body: tt.body})
		for _, sentinel := range all {
			want := false
			for _, m := range tt.means {
				want = want || m == sentinel
			}
			if got := errors.Is(fmt.Errorf("wrapped: %w", err), sentinel); got != want {
				t.Errorf("%d %s: Is(%v) = %t", tt.code, tt.body, sentinel, got)
			}
		}
	}
}

func TestStatusError(t *testing.T) {
	client, _ := newTestAgent(t, Config{}, canned{code: 500, body: "1 error occurred:\n\t* Failed to join\n\n", header: map[string]string{"Retry-After": "7"}})
	err := client.Agent().Join(context.Background(), "a b", JoinOptions{})
	var status *StatusError
	if !errors.As(err, &status) {
		t.Fatalf("%T is not a *StatusError", err)
	}
	want := StatusError{Method: "PUT", Address: client.agent, Path: "/some/prefix/v1/agent/join/a%20b", Code: 500,
		Body: "1 error occurred:\n\t* Failed to join", RetryAfter: 7 * time.Second}
	if *status != want {
		t.Errorf("got  %+v\nwant %+v", *status, want)
	}
	if got, want := err.Error(), "consul: PUT "+client.agent+"/some/prefix/v1/agent/join/a%20b: 500 1 error occurred: * Failed to join"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := (&StatusError{Method: "GET", Path: "/v1/x", Code: 404}).Error(), "consul: GET /v1/x: 404 Not Found"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	long := &StatusError{Path: strings.Repeat("p", 9999), Body: strings.Repeat("ü", 9999)}
	if got := long.Error(); len(got) > 1200 || !strings.Contains(got, "…") || strings.Contains(got, "\ufffd") {
		t.Errorf("message of %d bytes: %s", len(got), got)
	}
}

// TestErrorsNameTheAgent fails at several agents. In one log they have to be told
// apart.
func TestErrorsNameTheAgent(t *testing.T) {
	refuse := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut {
			return nil, errors.New("connection refused")
		}
		return &http.Response{StatusCode: 500, Body: io.NopCloser(strings.NewReader("No cluster leader")), Request: r}, nil
	})
	for address, want := range map[string]string{
		"":                           "http://127.0.0.1:8500",
		"10.0.0.7":                   "http://10.0.0.7:8500",
		"https://consul.example":     "https://consul.example",
		"https://proxy:8443/dc1%20a": "https://proxy:8443",
		"[fe80::1%eth0]:8500":        "http://[fe80::1%25eth0]:8500",
		"unix:///run/consul.sock":    "unix:///run/consul.sock",
	} {
		client, err := NewClient(Config{Address: address, Transport: refuse, Token: "s3cr3t", BasicAuth: url.UserPassword("user", "passw0rd")})
		if err != nil {
			t.Fatal(err)
		}
		path := client.base.EscapedPath() // of the address
		_, err = client.Status().Leader(context.Background())
		var status *StatusError
		if !errors.As(err, &status) || status.Address != want || status.Path != path+"/v1/status/leader" {
			t.Errorf("%q: got %+v, want the address %s", address, status, want)
		}
		if got, want := err.Error(), "consul: GET "+want+path+"/v1/status/leader: 500 No cluster leader"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		err = client.Agent().Reload(context.Background())
		if got, want := err.Error(), "consul: PUT "+want+path+"/v1/agent/reload: connection refused"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-1": 0, "soon": 0, "99999999999": 0,
		"Sat, 21 Nov 2026 12:01:00 GMT": time.Minute,
		"Sat, 21 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := parseRetryAfter(v, now); got != want {
			t.Errorf("%q: got %s, want %s", v, got, want)
		}
	}
}

// What secrets are removed from still means what it meant, and is one line.
func TestTxnErrorWithoutSecrets(t *testing.T) {
	body := `{"Errors":[{"OpIndex":0,"What":"failed to lock key \"k\",\n\t* lock is already held"},{"OpIndex":1,"What":"key \"k\" doesn't exist"}]}`
	for _, token := range []string{"", "lock", "held", "exist"} {
		client, _ := newTestAgent(t, Config{Token: token}, canned{code: 409, body: body})
		_, err := client.Txn().Apply(context.Background(), nil, nil)
		if !errors.Is(err, ErrLockHeld) || !errors.Is(err, ErrNotFound) || errors.Is(err, ErrStaleIndex) || errors.Is(err, nil) {
			t.Errorf("token %q: %v", token, err)
		}
		if strings.Contains(err.Error(), "\n") || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %q", token, err)
		}
	}
}

// A conflict that names no operation is not a transaction's.
func TestConflictWithoutOperations(t *testing.T) {
	client, _ := newTestAgent(t, Config{}, canned{code: 409, body: `{"message":"conflict of a proxy"}`})
	_, err := client.Txn().Apply(context.Background(), nil, nil)
	var refused *TxnError
	var status *StatusError
	if errors.As(err, &refused) || !errors.As(err, &status) || status.Code != 409 {
		t.Errorf("got %T", err)
	}
	wantError(t, err, "conflict of a proxy")
}
