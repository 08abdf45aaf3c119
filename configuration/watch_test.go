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

// TestEvents lists the events of changes, an outage and a restart without data.
func TestEvents(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		var log []string
		opts := &configuration.Options{Query: consul.QueryOptions{Datacenter: "dc1"}, OnEvent: func(e configuration.Event) {
			switch e := e.(type) {
			case configuration.ChangedEvent:
				log = append(log, fmt.Sprintf("changed %s %s +%v ~%v -%v %d", e.Watch, e.Datacenter, e.Added, e.Changed, e.Removed, e.Total))
			case configuration.WatchErrorEvent:
				log = append(log, fmt.Sprintf("failed %s %s %d %t", e.Watch, e.Datacenter, e.Failures, e.Err != nil))
			case configuration.WatchRecoveredEvent:
				log = append(log, fmt.Sprintf("recovered %s %s %d", e.Watch, e.Datacenter, e.Failures))
			case configuration.IndexResetEvent:
				log = append(log, fmt.Sprintf("reset %s %s %t", e.Watch, e.Datacenter, e.To < e.From))
			}
		}}
		want := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(log, lines) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(log, "\n\t"), strings.Join(lines, "\n\t"))
			}
			log = nil
		}
		watchOf(agent, "app", opts)
		want() // no keys
		agent.set("app/a=1")
		want("changed app/ dc1 +[a] ~[] -[] 1")
		agent.set("app/a=2")
		want("changed app/ dc1 +[] ~[a] -[] 1")
		agent.Inject(consulmock.Fault{NoLeader: true, Times: 2})
		agent.RemoveKey("app/a") // which is not certain before its own request has succeeded
		time.Sleep(10 * time.Second)
		want("failed app/ dc1 1 true", "failed app/ dc1 2 true", "recovered app/ dc1 2", "changed app/ dc1 +[] ~[] -[a] 0")
		agent.Inject(consulmock.Fault{Index: 1})
		agent.set("app/c=1")
		time.Sleep(10 * time.Second)
		agent.set("app/d=1")
		time.Sleep(2 * time.Minute)
		want("changed app/ dc1 +[c] ~[] -[] 1", "reset app/ dc1 true", "changed app/ dc1 +[d] ~[] -[] 2")
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
		agent.set("app/a=1")
		before := len(agent.Requests())
		if s, err := configuration.Load(ctx, agent.client, "app", nil); err != nil || describe(s) != " +a=1 (1)" {
			t.Errorf("a key: %v, %v", s, err)
		}
		if n := len(agent.Requests()) - before; n != 1 {
			t.Errorf("%d requests, want 1", n)
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
