//go:build go1.25

package configuration_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

// TestWatchLosesPermission takes a token away that may read the folder, or a part of
// it. What cannot be seen is not taken for deleted.
func TestWatchLosesPermission(t *testing.T) {
	tokens := consulmock.WithTokens(
		consulmock.Token{SecretID: "all", Rules: `key_prefix "" { policy = "write" }`},
		consulmock.Token{SecretID: "public", Rules: `key_prefix "app/" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }`},
		consulmock.Token{SecretID: "none", Rules: `key_prefix "other/" { policy = "read" }`},
	)
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.use("all")
		agent.set("app/a=1", "app/b=1", "app/secret/x=1", "app/secret/y=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +b=1 +secret/x=1 +secret/y=1 (4)")
		for _, token := range []string{"none", "public", "unknown"} {
			agent.use(token)
			agent.set("app/a=seen by the query that was under way")
			d.after(time.Since(d.begin))
			agent.set("app/a=" + token)
			d.after(time.Since(d.begin) + 30*time.Second)
			if n := len(d.lines); n < 4 || strings.Count(strings.Join(d.lines[1:], "\n"), "permission denied") != n-1 {
				t.Errorf("token %s: %q", token, d.lines)
			}
			d.lines = nil
			agent.use("all")
			d.after(time.Since(d.begin) + 30*time.Second)
			if n := len(d.lines); n == 0 || !strings.HasSuffix(d.lines[n-1], "s ~a="+token+" (4)") {
				t.Errorf("after token %s: %q", token, d.lines)
			}
			d.lines = nil
		}
		// A key that is deleted at the same time does not hide those that cannot be read.
		agent.use("public")
		agent.set("app/a=2")
		d.want("3m0s ~a=2 (4)")
		agent.RemoveKey("app/b")
		d.after(time.Since(d.begin) + 30*time.Second)
		if n := len(d.lines); n < 3 || strings.Count(strings.Join(d.lines, "\n"), "permission denied") != n {
			t.Errorf("with a deletion: %q", d.lines)
		}
	}, tokens, consulmock.WithACLDefaultDeny())
}

// TestWatchLosesPermissionForKey deletes a key in the moment in which the token may not
// read its neighbour any more. Only a modern agent reports that something was left out.
func TestWatchLosesPermissionForKey(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.use("all")
		agent.set("app/a=1", "app/b=1", "app/c=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +b=1 +c=1 (3)")
		agent.use("few")
		agent.set("app/c=2")
		d.want("0s ~c=2 (3)")
		agent.RemoveKey("app/a")
		d.after(10 * time.Second)
		if n := len(d.lines); n == 0 || strings.Count(strings.Join(d.lines, "\n"), "permission denied") != n {
			t.Errorf("got %q", d.lines)
		}
	}, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(
		consulmock.Token{SecretID: "all", Rules: `key_prefix "app/" { policy = "read" }`},
		consulmock.Token{SecretID: "few", Rules: `key_prefix "app/" { policy = "read" } key "app/b" { policy = "deny" }`},
	))
}

// TestWatchWithFewPermissions has a token that may read a part of the folder, and has
// never had more. Deletions in that part are reported.
func TestWatchWithFewPermissions(t *testing.T) {
	tokens := consulmock.WithTokens(
		consulmock.Token{SecretID: "public", Rules: `key_prefix "app/" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }`},
	)
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.use("public")
		agent.set("app/a=1", "app/b=1", "app/secret/x=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +b=1 (2)")
		agent.RemoveKey("app/b")
		d.want("0s -b (1)")
		agent.RemoveKey("app/a") // the last one that the token may read
		d.want("0s -a (0)")
		agent.RemoveKey("app/secret/x")
		d.want()
	}, tokens, consulmock.WithACLDefaultDeny())
}

// TestWatchHiddenContent has tokens that may read nothing of what there is, though they
// may read the folder's own name, or there is none. Modern agents report that.
func TestWatchHiddenContent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/secret/x=1")
		agent.use("public")
		watchOf(agent, "app", nil).want("0s permission denied")
		agent.use("other")
		watchOf(agent, "", nil).want("0s permission denied")
	}, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(
		consulmock.Token{SecretID: "public", Rules: `key_prefix "app/" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }`},
		consulmock.Token{SecretID: "other", Rules: `key_prefix "other/" { policy = "read" }`},
	))
}

// TestWatchWithoutToken follows a folder of keys without a token that may see any.
// The folder does not look empty.
func TestWatchWithoutToken(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		watchOf(agent, "app", nil).want("0s permission denied")
		watchOf(agent, "none", nil).want("0s permission denied")
		_, err := configuration.Load(context.Background(), agent.Client(), "app", nil)
		if want := `configuration: folder "app/" has no keys, or the token may not read them: consul: GET `; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s...", err, want)
		}
	}, consulmock.WithACLDefaultDeny())
}

// TestWatchAnyName deletes a key that no path can name, so that it cannot be requested.
func TestWatchAnyName(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.SetKey("app//odd", nil)
		d := watchOf(agent, "app", nil)
		d.want("0s +/odd= (1)")
		agent.RemoveKey("app//odd")
		d.want("0s -/odd (0)")
	})
}

// TestWatchStale reads from any server. One that has lost the keys is not believed.
func TestWatchStale(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		d := watchOf(agent, "app", &configuration.Options{Query: consul.QueryOptions{AllowStale: true}})
		d.want("0s +a=1 (1)")
		agent.Inject(consulmock.Fault{
			Match:  func(r *http.Request) bool { return r.URL.Query().Has("stale") },
			Status: 404, Index: 1, Times: 3,
		})
		agent.set("app/a=2")
		d.after(10 * time.Second)
		d.want("0s ~a=2 (1)")
		agent.RemoveKey("app/a")
		d.want("10s -a (0)")
	})
}

// TestWatchManyDeletions deletes more keys than are requested one by one.
func TestWatchManyDeletions(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for n := range 100 {
			agent.set(fmt.Sprintf("app/%02d/a=1", n), fmt.Sprintf("app/%02d/b=1", n))
		}
		d := watchOf(agent, "app", nil)
		d.last()
		d.lines = nil
		before := len(agent.Requests())
		agent.deleteTree("app/")
		d.after(time.Second)
		if n := len(d.last().Removed); n != 200 {
			t.Errorf("%d keys removed, want 200", n)
		}
		probes := 0
		for _, r := range agent.Requests()[before:] {
			if r.Method == http.MethodGet && !r.Query.Has("recurse") {
				probes++
			}
		}
		if probes != 10 {
			t.Errorf("%d keys were requested, want 10", probes)
		}
	})
}

// TestWatchPermissionComesBack takes a permission away for a single response. When it is
// found out whether the key that is missing exists, the token may read it again.
func TestWatchPermissionComesBack(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.use("all")
		agent.set("app/a=1", "app/secret/x=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +secret/x=1 (2)")
		defer agent.Inject(consulmock.Fault{Always: true, Match: func(r *http.Request) bool {
			agent.use("all") // from the next request on
			return false
		}})()
		agent.use("public")
		agent.set("app/a=2") // is seen by the query that was under way; the next one has the other token
		d.want("0s ~a=2 (2)")
		agent.set("app/a=3")
		d.after(2 * time.Second)
		if n := len(d.lines); n != 2 || d.lines[0] != "0s permission denied" || !strings.HasSuffix(d.lines[1], " ~a=3 (2)") {
			t.Errorf("got %q", d.lines)
		}
		d.lines = nil
		agent.RemoveKey("app/secret/x")
		d.want("2s -secret/x (1)")
	}, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(
		consulmock.Token{SecretID: "all", Rules: `key_prefix "app/" { policy = "read" }`},
		consulmock.Token{SecretID: "public", Rules: `key_prefix "app/" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }`},
	))
}

// TestWatchRefusedName deletes a key whose name the agent takes for one that no path can
// have, as old agents do with characters that are newer than they are.
func TestWatchRefusedName(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/\U0001FAE8=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +\U0001FAE8=1 (2)")
		agent.Inject(consulmock.Fault{Path: "/v1/kv/app/\U0001FAE8", Status: 400, Body: "Invalid URL path: not decodable or contains non-printable characters", Always: true})
		agent.RemoveKey("app/\U0001FAE8")
		d.want("0s -\U0001FAE8 (1)")
	})
}

// TestWatchStaleKeepsPairs reads keys from the leader that another server does not have.
// The pairs are those from before.
func TestWatchStaleKeepsPairs(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/b=1")
		d := watchOf(agent, "app", &configuration.Options{Query: consul.QueryOptions{AllowStale: true}})
		first := d.last()
		remove := agent.Inject(consulmock.Fault{
			Match:  func(r *http.Request) bool { return r.URL.Query().Has("stale") },
			Status: 404, Index: 1, Times: 3,
		})
		agent.set("app/a=2") // ends the query that waits; those that follow find nothing
		d.after(10 * time.Second)
		remove()
		agent.set("app/a=3")
		d.after(20 * time.Second)
		if next := d.last(); describe(next) != " ~a=3 (2)" || next.Pairs[1] != first.Pairs[1] {
			t.Errorf("%s; the pair that has not changed is %p, before %p", describe(next), next.Pairs[1], first.Pairs[1])
		}
	})
}

// TestWatchNotAnAgent gets responses that have no keys and are none of an agent, which
// responds 404 then, and always has an index. They do not empty a configuration.
func TestWatchNotAnAgent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		v := viewOf(agent, "app", nil)
		for _, body := range []string{"null", "[]", "[null]", `[{"Key": "other"}]`} {
			synctest.Wait()
			remove := agent.Inject(consulmock.Fault{Status: 200, Body: body, Always: true})
			agent.set("app/a=" + body) // ends the query that waits
			synctest.Wait()
			if got := value(v, "a"); got != body || v.Err() == nil || !strings.Contains(v.Err().Error(), "not the response of an agent") {
				t.Errorf("%s: the value is %s, the error %v", body, got, v.Err())
			}
			remove()
			time.Sleep(time.Minute)
		}
	})
}

// TestWatchStaleBehind deletes a key that a server still has which is behind the one that
// has responded. The leader knows better.
func TestWatchStaleBehind(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/b=1")
		d := watchOf(agent, "app", &configuration.Options{Query: consul.QueryOptions{AllowStale: true}})
		d.want("0s +a=1 +b=1 (2)")
		agent.Inject(consulmock.Fault{
			Path:   "/v1/kv/app/b",
			Match:  func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("stale") },
			Status: 200, Body: `[{"Key": "app/b", "Value": "MQ==", "CreateIndex": 2, "ModifyIndex": 2}]`, Index: 2, Always: true,
		})
		agent.RemoveKey("app/b")
		d.want("0s -b (1)")
	})
}
