package consul

import (
	"context"
	"errors"
	"fmt"
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
	want := StatusError{Method: "PUT", Path: "/some/prefix/v1/agent/join/a%20b", Code: 500,
		Body: "1 error occurred:\n\t* Failed to join", RetryAfter: 7 * time.Second}
	if *status != want {
		t.Errorf("got  %+v\nwant %+v", *status, want)
	}
	if got, want := err.Error(), "consul: PUT /some/prefix/v1/agent/join/a%20b: 500 1 error occurred: * Failed to join"; got != want {
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

// TestLocalHealth tells the codes that are answers from those that are errors.
func TestLocalHealth(t *testing.T) {
	ctx := context.Background()
	text := map[string]string{"Content-Type": "text/plain"}
	one := `{"AggregatedStatus":"%s","Service":{"ID":"w"},"Checks":[]}`
	for _, tt := range []struct {
		code   int
		status HealthStatus
	}{{200, HealthPassing}, {429, HealthWarning}, {503, HealthCritical}, {503, HealthMaintenance}} {
		body := fmt.Sprintf(one, tt.status)
		client, _ := newTestAgent(t, Config{}, canned{code: tt.code, body: body})
		health, err := client.Agent().ServiceHealthByID(ctx, "w")
		if err != nil || health.AggregatedStatus != tt.status {
			t.Errorf("by ID, %s: got %v, %v", tt.status, health, err)
		}
		client, _ = newTestAgent(t, Config{}, canned{code: tt.code, body: "[" + fmt.Sprintf(one, "passing") + "," + body + "]"})
		status, instances, err := client.Agent().ServiceHealthByName(ctx, "w")
		if err != nil || status != tt.status || len(instances) != 2 {
			t.Errorf("by name, %s: got %v, %v, %v", tt.status, status, instances, err)
		}
	}
	for _, tt := range []struct {
		answer canned
		is     error
	}{
		{canned{code: 404, body: "[]", header: map[string]string{"X-Consul-Reason": "ServiceName w Not Found"}}, ErrUnknownService},
		{canned{code: 404, body: "{}", header: map[string]string{"X-Consul-Reason": "ServiceId w not found"}}, ErrUnknownService},
		{canned{code: 429, body: "Your IP is issuing too many concurrent connections", header: text}, ErrRateLimited},
		{canned{code: 403, body: "Permission denied", header: text}, ErrPermissionDenied},
	} {
		client, _ := newTestAgent(t, Config{}, tt.answer)
		if _, err := client.Agent().ServiceHealthByID(ctx, "w"); !errors.Is(err, tt.is) {
			t.Errorf("by ID: %v is not %v", err, tt.is)
		}
		if _, _, err := client.Agent().ServiceHealthByName(ctx, "w"); !errors.Is(err, tt.is) {
			t.Errorf("by name: %v is not %v", err, tt.is)
		}
	}
}

// TestBadArguments gives each method what it must refuse before it sends anything.
func TestBadArguments(t *testing.T) {
	client, asked := newTestAgent(t, Config{}, canned{})
	ctx := context.Background()
	a, cat := client.Agent(), client.Catalog()
	for words, err := range map[string]error{
		"AgentServiceRegistration.Name is empty": a.ServiceRegister(ctx, &AgentServiceRegistration{ID: "x"}),
		"AgentServiceRegistration.Name":          a.ServiceRegister(ctx, nil),
		`service ID ".."`:                        a.ServiceRegister(ctx, &AgentServiceRegistration{ID: "..", Name: "x"}),
		`service ID "a/./b"`:                     a.ServiceRegister(ctx, &AgentServiceRegistration{Name: "a/./b"}),
		"AgentCheckRegistration.Name is empty":   a.CheckRegister(ctx, &AgentCheckRegistration{ID: "x"}),
		"AgentCheckRegistration.Name":            a.CheckRegister(ctx, nil),
		`check ID ".."`:                          a.CheckRegister(ctx, &AgentCheckRegistration{Name: "x", AgentServiceCheck: AgentServiceCheck{CheckID: ".."}}),
		`status "bogus": want passing`:           a.UpdateTTL(ctx, "c", "bogus", ""),
		"CatalogRegistration.Node is empty":      cat.Register(ctx, &CatalogRegistration{Address: "x"}),
		"CatalogRegistration.Node":               cat.Register(ctx, nil),
		"CatalogDeregistration.Node is empty":    cat.Deregister(ctx, &CatalogDeregistration{ServiceID: "x"}),
		"CatalogDeregistration.Node":             cat.Deregister(ctx, nil),
	} {
		wantError(t, err, "consul: ", words)
	}
	if asked.Method != "" {
		t.Errorf("%s %s was sent", asked.Method, asked.Path)
	}
}
