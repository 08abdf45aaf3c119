package consulmock

import (
	"net/url"
	"testing"

	"github.com/lictor-go/consul/internal/har"
)

// Requests that agents understand alike are the same request, and no others are.
func TestReplaySpelling(t *testing.T) {
	asked := func(path, body string) string {
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		a := newRequestKey(new(har.Redactor), "PUT", u, []byte(body))
		return a.key + a.waitsOn
	}
	const health, register = "/v1/health/service/web", "/v1/agent/service/register"
	const key, session, txn = "/v1/kv/a/b", "/v1/session/create", "/v1/txn"
	for _, tt := range []struct {
		a, bodyA, b, bodyB string
		same               bool
	}{
		{health + "?wait=2m0s&stale=1&cached", "", health + "?cached=&stale=&wait=120000ms", "", true},
		{health + "?merge-central-config=1&consistent=true", "", health + "?consistent&merge-central-config=", "", true},
		{health + "?passing=true&sg=x", "", health + "?passing&sameness-group=x", "", true},
		{health + "?passing=0&wait=0s&index=0&filter=&dc=&near=&format=json", "", health, "", true},
		{"/v1/agent/check/pass/c?note=", "", "/v1/agent/check/pass/c", "", true},
		{"/v1/agent/members?segment=&wan=1", "", "/v1/agent/members?wan=true", "", true},
		{register + "?replace-existing-checks", "{}", register + "?replace-existing-checks=true", "{}", true},
		{register + "?replace-existing-checks=1", "{}", register, "{}", true}, // which agents take for off
		{register, `{"Name":"web","Check":null,"Checks":[],"ID":"","Port":0}`, register, `{"Name":"web"}`, true},
		{register, `{"Check":{"TTL":"1m","Interval":""}}`, register, `{"Check":{"TTL":60000000000}}`, true},
		{"/v1/catalog/register", `{"Service":{"Weights":{"Passing":0}}}`, "/v1/catalog/register", `{"Service":{}}`, true},
		{key + "?recurse=1&separator=", "", key + "?recurse", "", true},
		{key + "?keys=true&raw=false", "", key + "?keys&raw=", "", true},
		{key + "?flags=0", "v", key, "v", true},
		{session, `{"TTL":"90s","LockDelay":"1000ms"}`, session, `{"TTL":"1m30s","LockDelay":"1s"}`, true},
		{txn, `[{"KV":{"Verb":"get","Key":"k","Value":null,"Flags":0,"Index":0,"Session":""},"Node":null}]`, txn, `[{"KV":{"Verb":"get","Key":"k"}}]`, true},

		{key + "?cas=0", "", key, "", false},
		{key + "?flags=1", "", key, "", false},
		{key + "?separator=/", "", key, "", false},
		{session, `{"NodeChecks":[]}`, session, `{}`, false}, // none, and serfHealth
		{session, `{"LockDelay":"0s"}`, session, `{}`, false},
		{txn, `[{"KV":{"Verb":"get","Key":"k"}},{}]`, txn, `[{"KV":{"Verb":"get","Key":"l"}},{}]`, false},
		{txn, `[null]`, txn, `[]`, false},
		{health + "?wait=1s", "", health + "?wait=2s", "", false},
		{health + "?wait=soon", "", health, "", false}, // refused
		{health + "?passing=x", "", health, "", false},
		{health + "?tag=", "", health, "", false}, // matches nothing
		{health + "?stale", "", health, "", false},
		{"/v1/agent/health/service/id/x?format=text", "", "/v1/agent/health/service/id/x", "", false},
		{register, `{"Weights":{"Passing":0}}`, register, `{}`, false},
		{register, `{"Meta":{"k":""}}`, register, `{"Meta":{}}`, false},
		{register, `{"Check":{"H2PingUseTLS":false}}`, register, `{"Check":{}}`, false},
		{register, `{"Check":{"TTL":"x"}}`, register, `{"Check":{}}`, false},
		{register, `{"Port":1}`, register, `{"Port":2}`, false},
		{"/v1/kv/a", `{"a":null}`, "/v1/kv/a", `{}`, false}, // a value of the caller's
	} {
		a, b := asked(tt.a, tt.bodyA), asked(tt.b, tt.bodyB)
		if (a == b) != tt.same {
			t.Errorf("%s %s and %s %s: the same is %t, want %t", tt.a, tt.bodyA, tt.b, tt.bodyB, a == b, tt.same)
		}
	}
}
