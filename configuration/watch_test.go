//go:build go1.25

package configuration_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

// TestWatchFolder follows a folder, whose neighbours have similar names.
func TestWatchFolder(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app=0", "app2/x=0", "ap=0", "app/", "app/empty/", "app/z=1", "app/db/host=2", "app/db.json=3", "app/A=4", "app/void")
		for _, prefix := range []string{"app", "app/"} {
			d := watchOf(agent, prefix, nil)
			d.want("0s +A=4 +db.json=3 +db/host=2 +void= +z=1 (5)")
			s := d.last()
			if s.Prefix != "app/" || s.Index == 0 {
				t.Errorf("prefix %q, index %d", s.Prefix, s.Index)
			}
			if v, ok := s.Get("void"); v != nil || !ok {
				t.Errorf("an empty value is %q, %t", v, ok)
			}
			d.stop()
		}
		d := watchOf(agent, "", nil)
		d.want("0s +ap=0 +app=0 +app/A=4 +app/db.json=3 +app/db/host=2 +app/void= +app/z=1 +app2/x=0 (8)")
		d = watchOf(agent, "app/empty", nil)
		d.want("0s (0)")
		d = watchOf(agent, "none", nil)
		d.want("0s (0)")
		agent.set("none/at last=1")
		d.want("0s +at last=1 (1)")
	})
}

// TestWatchChanges makes changes of all kinds, and some that are none.
func TestWatchChanges(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		ctx := t.Context()
		agent.set("app/a=1", "app/b=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +b=1 (2)")
		agent.set("app/c/d=1")
		d.want("0s +c/d=1 (3)")
		agent.set("app/a=2")
		d.want("0s ~a=2 (3)")
		if err := agent.client.KV().Put(ctx, &consul.KVPair{Key: "app/a", Value: []byte("2"), Flags: 7}, nil); err != nil {
			t.Fatal(err)
		}
		d.want("0s ~a=2 (3)")
		agent.RemoveKey("app/b")
		d.want("0s -b (2)")
		agent.set("app/empty/", "app2/x=1", "other=1")
		agent.RemoveKey("app/empty/")
		d.want()
		agent.deleteTree("app/c")
		d.want("0s -c/d (1)")
		agent.set("app/b=1")
		d.want("0s +b=1 (2)")
		agent.deleteTree("app/")
		d.want("0s -a -b (0)")
	})
}

// TestWatchTransactions writes two keys together, sixty times, and deletes them
// together. They are never seen apart.
func TestWatchTransactions(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			for n := range 60 {
				verb, value := consul.KVSet, fmt.Appendf(nil, "%d", n)
				if n%7 == 6 {
					verb = consul.KVDelete
				}
				if _, err := agent.client.Txn().Apply(t.Context(), []consul.TxnOp{
					{KV: &consul.KVTxnOp{Verb: verb, Key: "app/a", Value: value}},
					{KV: &consul.KVTxnOp{Verb: verb, Key: "app/z", Value: value}},
				}, nil); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		seen := 0
		for s, err := range configuration.Watch(t.Context(), agent.client, "app", &configuration.Options{MinInterval: time.Nanosecond}) {
			first, hasFirst := s.Get("a")
			second, hasSecond := s.Get("z")
			if err != nil || string(first) != string(second) || hasFirst != hasSecond {
				t.Errorf("half a transaction: %q and %q, %v", first, second, err)
			}
			if seen++; string(first) == "59" {
				break
			}
		}
		if seen < 50 {
			t.Errorf("%d states", seen)
		}
	})
}

// TestWatchLocks locks and unlocks a key. The next change has the pair as it is then.
func TestWatchLocks(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		ctx, kv := t.Context(), agent.client.KV()
		agent.set("app/a=1", "app/b=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +b=1 (2)")
		before := d.last().Pairs[0]
		id, err := agent.client.Session().Create(ctx, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []func(context.Context, *consul.KVPair, *consul.WriteOptions) (bool, error){kv.Acquire, kv.Release, kv.Acquire} {
			if ok, err := verb(ctx, &consul.KVPair{Key: "app/a", Value: []byte("1"), Session: id}, nil); !ok || err != nil {
				t.Fatal(ok, err)
			}
			d.want()
		}
		agent.set("app/b=2")
		d.want("0s ~b=2 (2)")
		if p := d.last().Pairs[0]; p.Session != id || p.ModifyIndex <= before.ModifyIndex || before.Session != "" {
			t.Errorf("the pair is %+v, before %+v", p, before)
		}
	})
}

// TestWatchKeepsPairs changes one of many keys. The pairs of the others are those from
// before.
func TestWatchKeepsPairs(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for n := range 100 {
			agent.set(fmt.Sprintf("app/%02d=1", n))
		}
		d := watchOf(agent, "app", nil)
		first := d.last()
		agent.set("app/50=2", "app/0=new")
		agent.RemoveKey("app/10")
		d.after(time.Second)
		next := d.last()
		same := 0
		for _, p := range next.Pairs {
			if slices.Contains(first.Pairs, p) {
				same++
			}
		}
		if len(next.Pairs) != 100 || same != 98 {
			t.Errorf("%d of %d pairs are those from before, want 98 of 100", same, len(next.Pairs))
		}
	})
}

// TestWatchDeletionOfParent deletes a folder above. Agents wake the watch only if no
// key of it was deleted in the last 15 minutes; else its wait bounds the delay.
func TestWatchDeletionOfParent(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("org/app/a=1", "org/app/b=1")
		d := watchOf(agent, "org/app", nil)
		d.want("0s +a=1 +b=1 (2)")
		agent.deleteTree("org/")
		d.want("0s -a -b (0)")

		agent.set("org/app/a=1", "org/app/b=1")
		d.last()
		agent.RemoveKey("org/app/b")
		agent.set("org/app/a=2")
		d.after(10 * time.Second)
		d.lines = nil
		agent.deleteTree("org/")
		d.want()
		d.after(74 * time.Second) // a minute, and the sixteenth that agents add
		if len(d.lines) != 1 || !strings.HasSuffix(d.lines[0], " -a (0)") {
			t.Errorf("%q", d.lines)
		}
	})
}

// TestWatchAfterReaping lets the servers forget a deletion, which lowers the index of
// the folder. The next change is seen at once.
func TestWatchAfterReaping(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		var resets []configuration.IndexResetEvent
		agent.set("app/a=1", "app/b=1", "app/c=1")
		d := watchOf(agent, "app", &configuration.Options{OnEvent: func(e configuration.Event) {
			if e, ok := e.(configuration.IndexResetEvent); ok {
				resets = append(resets, e)
			}
		}})
		d.want("0s +a=1 +b=1 +c=1 (3)")
		agent.RemoveKey("app/b")
		d.want("0s -b (2)")
		d.after(20 * time.Minute)
		d.want()
		agent.set("app/a=2")
		d.want("20m0s ~a=2 (2)")
		if len(resets) != 1 {
			t.Errorf("%d times the index went down, want 1", len(resets))
		}
	})
}

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
		watchOf(agent, "app", nil).want("0s (0)")
		agent.RemoveKey("app/secret/x")
		d.want()
	}, tokens, consulmock.WithACLDefaultDeny())
}

// TestWatchWithoutToken follows a folder of keys without a token that may see any.
// The folder does not look empty.
func TestWatchWithoutToken(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		watchOf(agent, "app", nil).want("0s permission denied")
		watchOf(agent, "none", nil).want("0s permission denied")
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

// TestWatchOutage has agents go away and come back.
func TestWatchOutage(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/b=1")
		d := watchOf(agent, "app", nil)
		d.want("0s +a=1 +b=1 (2)")
		agent.Stop()
		d.after(time.Hour)
		if n := len(d.lines); n < 360 || n > 3600 || strings.Count(strings.Join(d.lines, "\n"), " error") != n {
			t.Errorf("%d lines in an hour", n)
		}
		d.lines = nil
		agent.Start()
		d.after(time.Hour + 10*time.Second)
		if strings.Contains(strings.Join(d.lines, "\n"), "+") {
			t.Errorf("what has not changed is yielded: %q", d.lines)
		}
		d.lines = nil
		agent.Restart(true)
		d.after(time.Hour + 30*time.Second)
		d.lines = nil
		agent.set("app/a=2") // is seen at once again
		d.want("1h0m30s ~a=2 (2)")

		remove := agent.Inject(consulmock.Fault{NoLeader: true, Always: true})
		agent.set("app/a=3", "app/c=1")
		d.after(time.Hour + time.Minute)
		if n := len(d.lines); n < 2 || strings.Count(strings.Join(d.lines, "\n"), "no leader") != n-1 {
			t.Errorf("without a leader: %q", d.lines)
		}
		remove()
	})
}

// TestWatchEmptiedAgent restarts an agent without its data. That is seen as it is, and
// so is what is written next.
func TestWatchEmptiedAgent(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		for n := range 20 {
			agent.set(fmt.Sprint("app/a=", n))
		}
		d := watchOf(agent, "app", nil)
		d.want("0s +a=19 (1)")
		agent.Restart(false)
		d.after(30 * time.Second)
		if n := len(d.lines); n == 0 || !strings.HasSuffix(d.lines[n-1], " -a (0)") {
			t.Errorf("after the restart: %q", d.lines)
		}
		d.lines = nil
		agent.set("app/b=1")
		d.want("30s +b=1 (1)")
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
// always has an index. They do not empty a configuration.
func TestWatchNotAnAgent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		v := viewOf(agent, "app", nil)
		for _, body := range []string{"null", "[]", "[null]", `[{"Key": "other"}]`} {
			synctest.Wait()
			remove := agent.Inject(consulmock.Fault{Status: 200, Body: body, Always: true})
			agent.set("app/a=" + body) // ends the query that waits
			synctest.Wait()
			if got := value(v, "a"); got != body || v.Err() == nil || !strings.Contains(v.Err().Error(), "no X-Consul-Index") {
				t.Errorf("%s: the value is %s, the error %v", body, got, v.Err())
			}
			remove()
			time.Sleep(time.Minute)
		}
	})
}

// TestWatchSince begins with a snapshot that the program has.
func TestWatchSince(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := t.Context()
		agent.set("app/a=1", "app/b=1", "app/c=1")
		loaded, err := configuration.Load(ctx, agent.client, "app", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(loaded); got != " +a=1 +b=1 +c=1 (3)" {
			t.Errorf("loaded%s", got)
		}
		opts := &configuration.Options{Since: loaded}
		d := watchOf(agent, "app", opts)
		d.want()
		agent.set("app/b=2")
		d.want("0s ~b=2 (3)")
		if d.last().Pairs[0] != loaded.Pairs[0] {
			t.Error("a pair that has not changed is another one than in the snapshot before")
		}
		d.stop()

		agent.RemoveKey("app/c")
		watchOf(agent, "app", opts).want("0s ~b=2 -c (2)")
		again, err := configuration.Load(ctx, agent.client, "app/", opts)
		if err != nil || describe(again) != " ~b=2 -c (2)" {
			t.Errorf("loaded%s, %v", describe(again), err)
		}
	})
}

// TestLoad reads once, and repeats nothing.
func TestLoad(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		ctx := t.Context()
		s, err := configuration.Load(ctx, agent.client, "app", nil)
		if err != nil || describe(s) != " (0)" {
			t.Errorf("an empty folder: %v, %v", s, err)
		}
		agent.Inject(consulmock.Fault{NoLeader: true})
		if s, err := configuration.Load(ctx, agent.client, "app", nil); s != nil || !errors.Is(err, consul.ErrNoLeader) {
			t.Errorf("without a leader: %v, %v", s, err)
		}
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang})
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if s, err := configuration.Load(ctx, agent.client, "app", nil); s != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("from an agent that hangs: %v, %v", s, err)
		}
	})
}

// TestWatchSends checks what is sent: one query at a time, which waits a minute, and
// one request for each key that has disappeared.
func TestWatchSends(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/b=1", "app/d/c=1")
		before := len(agent.Requests())
		d := watchOf(agent, "app", &configuration.Options{Query: consul.QueryOptions{
			Datacenter: "dc1", WaitIndex: 7, WaitHash: "x", Previous: new(consul.Result),
		}})
		d.want("0s +a=1 +b=1 +d/c=1 (3)")
		agent.RemoveKey("app/a")
		agent.deleteTree("app/d")
		agent.RemoveKey("app/b")
		d.after(time.Second)
		d.stop()
		var sent []string
		for _, r := range agent.Requests()[before:] {
			q := r.Query
			if r.Method == http.MethodGet {
				sent = append(sent, fmt.Sprint(r.Path, " dc=", q.Get("dc"), " wait=", q.Get("wait"), " index:", q.Has("index"), " hash:", q.Has("hash")))
			}
		}
		slices.Sort(sent)
		sent = slices.Compact(sent)
		want := []string{
			"/v1/kv/app/ dc=dc1 wait= index:false hash:false",
			"/v1/kv/app/ dc=dc1 wait=60000ms index:false hash:false",
			"/v1/kv/app/ dc=dc1 wait=60000ms index:true hash:false",
			"/v1/kv/app/a dc=dc1 wait= index:false hash:false",
			"/v1/kv/app/b dc=dc1 wait= index:false hash:false",
			"/v1/kv/app/d/c dc=dc1 wait= index:false hash:false",
		}
		if !slices.Equal(sent, want) {
			t.Errorf("sent\n\t%s\nwant\n\t%s", strings.Join(sent, "\n\t"), strings.Join(want, "\n\t"))
		}
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

// TestWatchRate changes a folder ten times a second.
func TestWatchRate(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		d := watchOf(agent, "app", nil)
		for n := range 600 {
			agent.set(fmt.Sprint("app/a=", n))
			time.Sleep(100 * time.Millisecond)
		}
		d.after(62 * time.Second)
		if n := len(d.lines); n < 60 || n > 75 {
			t.Errorf("%d snapshots in a minute, want about 70", n)
		}
		if got := describe(d.last()); got != " ~a=599 (1)" {
			t.Errorf("the last one is%s", got)
		}
	})
}

// TestWatchExtremeOptions sets each number to what nobody would.
func TestWatchExtremeOptions(t *testing.T) {
	for _, n := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			d := time.Duration(n)
			agent.set("app/a=1")
			w := watchOf(agent, "app", &configuration.Options{
				Burst: int(n), MinInterval: d, MinBackoff: d, MaxBackoff: d, Query: consul.QueryOptions{WaitTime: d},
			})
			w.want("0s +a=1 (1)")
			w.stop()
		})
	}
}

// TestWatchBreak ends loops by a break and by their context, and ranges again.
func TestWatchBreak(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seq := configuration.Watch(ctx, agent.client, "app", nil)
		for range 3 {
			for s, err := range seq {
				if err != nil || describe(s) != " +a=1 (1)" {
					t.Errorf("%v, %v", s, err)
				}
				break
			}
		}
		n := 0
		time.AfterFunc(10*time.Second, cancel)
		for range seq {
			n++
		}
		for range seq {
			n++
		}
		if n != 1 {
			t.Errorf("%d iterations of loops that their context ends, want 1", n)
		}
	})
}

// TestInvalidArguments gets errors that tell what was wrong, and sends nothing.
func TestInvalidArguments(t *testing.T) {
	agent := consulmock.New(t)
	c, ctx := agent.Client(), context.Background()
	var none context.Context
	since := func(pairs ...*consul.KVPair) *configuration.Options {
		return &configuration.Options{Since: &configuration.Snapshot{Prefix: "app/", Pairs: pairs}}
	}
	for _, test := range []struct {
		ctx    context.Context
		client *consul.Client
		prefix string
		opts   *configuration.Options
		want   string
	}{
		{none, c, "app", nil, "nil context"},
		{ctx, nil, "app", nil, "nil client"},
		{ctx, c, "/app", nil, `prefix "/app" is not the name of a folder: it starts with a slash; want one such as app/web`},
		{ctx, c, "/", nil, `prefix "/" is not the name of a folder: it has an empty element; want one such as app/web`},
		{ctx, c, "app//", nil, `prefix "app//" is not the name of a folder: it has an empty element; want one such as app/web`},
		{ctx, c, "a//b", nil, `prefix "a//b" is not the name of a folder: it has an empty element; want one such as app/web`},
		{ctx, c, "a/../b", nil, `prefix "a/../b" is not the name of a folder: it has an element . or ..; want one such as app/web`},
		{ctx, c, "a\n", nil, `prefix "a\n" is not the name of a folder: it has a character that is not printable; want one such as app/web`},
		{ctx, c, "caf\xe9", nil, `prefix "caf\xe9" is not the name of a folder: it is not valid UTF-8; want one such as app/web`},
		{ctx, c, "app", &configuration.Options{Query: consul.QueryOptions{MaxAge: -1}}, "Options.Query.MaxAge is -1ns; want 0 or more"},
		{ctx, c, "app", &configuration.Options{Query: consul.QueryOptions{StaleIfError: -1}}, "Options.Query.StaleIfError is -1ns; want 0 or more"},
		{ctx, c, "app", &configuration.Options{Since: &configuration.Snapshot{Prefix: "b/"}}, `Options.Since is of folder "b/"; want one of "app/"`},
		{ctx, c, "app", since(nil), "Options.Since: pair 0 is nil"},
		{ctx, c, "app", since(&consul.KVPair{Key: "b"}, &consul.KVPair{Key: "a"}), `Options.Since: pair 1 has key "a" after "b"; want the order of their bytes`},
		{ctx, c, "app", since(&consul.KVPair{Key: "a"}, &consul.KVPair{Key: "a"}), `Options.Since: pair 1 has key "a" after "a"; want the order of their bytes`},
	} {
		want := "configuration: " + test.want
		if s, err := configuration.Load(test.ctx, test.client, test.prefix, test.opts); s != nil || err == nil || err.Error() != want {
			t.Errorf("Load: %v, %v; want %s", s, err, want)
		}
		if v, err := configuration.NewView(test.ctx, test.client, test.prefix, test.opts); v != nil || err == nil || err.Error() != want {
			t.Errorf("NewView: %v, %v; want %s", v, err, want)
		}
		n := 0
		for s, err := range configuration.Watch(test.ctx, test.client, test.prefix, test.opts) {
			if n++; s != nil || err == nil || err.Error() != want {
				t.Errorf("Watch: %v, %v; want %s", s, err, want)
			}
		}
		if n != 1 {
			t.Errorf("%d iterations, want 1", n)
		}
	}
	if sent := agent.Requests(); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
}
