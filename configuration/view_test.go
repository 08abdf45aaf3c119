//go:build go1.25

package configuration_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

// viewOf returns a View that is closed when the test ends.
func viewOf(agent *fakeAgent, prefix string, opts *configuration.Options) *configuration.View {
	agent.t.Helper()
	v, err := configuration.NewView(agent.t.Context(), agent.client, prefix, opts)
	if err != nil {
		agent.t.Fatal(err)
	}
	agent.t.Cleanup(func() { v.Close() })
	return v
}

// value returns the value of a key, "?" if there is none.
func value(v *configuration.View, key string) string {
	synctest.Wait()
	if b, ok := v.Get(key); ok {
		return string(b)
	}
	return "?"
}

func TestView(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/d/b=1", "app2/c=1")
		v := viewOf(agent, "app", nil)
		for key, want := range map[string]string{"a": "1", "d/b": "1", "c": "?", "": "?", "app/a": "?", "d/": "?"} {
			if got := value(v, key); got != want {
				t.Errorf("%q is %s, want %s", key, got, want)
			}
		}
		agent.set("app/a=2")
		if got := value(v, "a"); got != "2" {
			t.Errorf("after a change: %s", got)
		}
		agent.RemoveKey("app/a")
		if got := value(v, "a"); got != "?" {
			t.Errorf("after its deletion: %s", got)
		}
		if got := describe(v.Snapshot()); got != " -a (1)" {
			t.Errorf("the snapshot is%s", got)
		}
		if err := v.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestViewKeepsLastSnapshot has an agent that is away for an hour.
func TestViewKeepsLastSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		v := viewOf(agent, "app", nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		answered := v.Answered()
		if age := time.Since(answered); age > 64*time.Second {
			t.Errorf("the last response is %s old", age)
		}
		agent.Stop()
		time.Sleep(time.Hour)
		if got := value(v, "a"); got != "1" || v.Err() == nil || !v.Answered().Equal(answered) {
			t.Errorf("while the agent is away: %s, %v, %s", got, v.Err(), v.Answered())
		}
		agent.Start()
		agent.set("app/a=2")
		time.Sleep(10 * time.Second)
		if got := value(v, "a"); got != "2" || v.Err() != nil || time.Since(v.Answered()) > 10*time.Second {
			t.Errorf("when it is back: %s, %v, %s", got, v.Err(), v.Answered())
		}
	})
}

// TestViewSilentAgent has an agent that falls silent, without an end of the connection.
func TestViewSilentAgent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang, Always: true, Skip: 1})
		v := viewOf(agent, "app", nil)
		for _, after := range []time.Duration{83 * time.Second, 85 * time.Second} {
			time.Sleep(time.Until(v.Answered().Add(after)))
			synctest.Wait()
			if fails := after > 84*time.Second; (v.Err() != nil) != fails {
				t.Errorf("after %s: %v", after, v.Err())
			}
		}
		if got := value(v, "a"); got != "1" {
			t.Errorf("the value is %s", got)
		}
	})
}

// TestNewViewWaits waits for an agent that is not there yet, or whose servers have no
// leader, but not for one that refuses.
func TestNewViewWaits(t *testing.T) {
	bothVersions(t, func(t *testing.T, agent *fakeAgent) {
		agent.use("all")
		agent.Stop()
		time.AfterFunc(time.Minute, func() {
			agent.Start()
			agent.Inject(consulmock.Fault{NoLeader: true, Times: 3})
		})
		begin := time.Now()
		v := viewOf(agent, "app", nil)
		if took := time.Since(begin); took < time.Minute || took > 2*time.Minute {
			t.Errorf("a view after %s", took)
		}
		if got := describe(v.Snapshot()); got != " (0)" {
			t.Errorf("the snapshot of an empty folder is%s", got)
		}

		for _, token := range []string{"none", "unknown"} {
			agent.use(token)
			begin = time.Now()
			if v, err := configuration.NewView(t.Context(), agent.client, "app", nil); v != nil || !errors.Is(err, consul.ErrPermissionDenied) {
				t.Errorf("token %s: %v, %v", token, v, err)
			}
			if took := time.Since(begin); took != 0 {
				t.Errorf("token %s: an error after %s", token, took)
			}
		}

		agent.use("all")
		agent.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := configuration.NewView(ctx, agent.client, "app", nil)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `no response about folder "app/"`) || !strings.Contains(err.Error(), "last error") {
			t.Errorf("from an agent that stays away: %v", err)
		}
		agent.Start()
	}, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(
		consulmock.Token{SecretID: "all", Rules: `key_prefix "" { policy = "write" }`},
		consulmock.Token{SecretID: "none", Rules: `key_prefix "other/" { policy = "read" }`},
	))
}

// TestViewOutlivesContext ends the context of NewView.
func TestViewOutlivesContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx, cancel := context.WithCancel(t.Context())
		v, err := configuration.NewView(ctx, agent.client, "app", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		cancel()
		agent.set("app/a=1")
		if got := value(v, "a"); got != "1" {
			t.Errorf("after the end of the context: %s", got)
		}
	})
}

// TestViewWatch has several loops over a View: each is given the differences from what
// it was given before, and the agent has one query.
func TestViewWatch(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/b=1")
		v := viewOf(agent, "app", nil)
		loop := func(ctx context.Context) iter.Seq2[*configuration.Snapshot, error] { return v.Watch(ctx) }
		first := follow(t, loop)
		first.want("0s +a=1 +b=1 (2)")
		time.Sleep(10 * time.Second)
		second := follow(t, loop)
		second.want("0s +a=1 +b=1 (2)")
		before := len(agent.Requests())
		agent.set("app/a=2")
		first.want("10s ~a=2 (2)")
		second.want("0s ~a=2 (2)")
		if n := len(agent.Requests()) - before; n != 1 {
			t.Errorf("%d new requests, want 1: the next query", n)
		}
		second.stop()
		agent.RemoveKey("app/b")
		first.want("10s -b (1)")
		agent.Stop()
		first.after(10 * time.Minute)
		first.want("10s error")
		agent.Start()
		first.after(11 * time.Minute)
		first.want()
		agent.Stop()
		first.after(12 * time.Minute)
		first.want("11m0s error")
		agent.Start()
		first.after(13 * time.Minute)
		agent.set("app/c=1")
		first.want("13m0s +c=1 (2)")
		v.Close()
		first.want("13m0s closed")
	})
}

// TestViewWatchSlowLoop misses snapshots, but no difference, and not what is undone
// meanwhile.
func TestViewWatchSlowLoop(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1", "app/b=1", "app/c=1")
		v := viewOf(agent, "app", nil)
		var lines []string
		for s, err := range v.Watch(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, describe(s))
			switch len(lines) {
			case 1:
				for _, change := range []func(){
					func() { agent.set("app/a=2") }, func() { agent.RemoveKey("app/b") }, func() { agent.set("app/d=1") },
					func() { agent.set("app/a=3", "app/c=2") }, func() { agent.set("app/c=1", "app/b=1") },
				} {
					change()
					time.Sleep(time.Second)
				}
				continue
			case 2:
				agent.set("app/a=4")
				time.Sleep(time.Second)
				agent.set("app/a=3") // as it was
				time.Sleep(time.Second)
				time.AfterFunc(time.Second, func() { agent.set("app/e=1") })
				continue
			}
			break
		}
		if got, want := strings.Join(lines, ","), " +a=1 +b=1 +c=1 (3), +d=1 ~a=3 (4), +e=1 (5)"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestViewConcurrently uses a View in many goroutines while the folder is edited.
func TestViewConcurrently(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=0", "app/b=0")
		v := viewOf(agent, "app", &configuration.Options{MinInterval: time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 10 {
			all.Add(2)
			go func() {
				defer all.Done()
				for ctx.Err() == nil {
					_, found := v.Get("a")
					if s := v.Snapshot(); !found || len(s.Pairs) != 2 || v.Err() != nil || v.Answered().IsZero() {
						t.Errorf("%t, %v, %v, %v", found, s, v.Err(), v.Answered())
					}
					time.Sleep(time.Millisecond)
				}
			}()
			go func() {
				defer all.Done()
				last := ""
				for s, err := range v.Watch(ctx) {
					value, _ := s.Get("a")
					if last = string(value); err != nil || last == "100" {
						break
					}
				}
				if last != "100" {
					t.Errorf("the last value is %s", last)
				}
			}()
		}
		for n := range 101 {
			agent.set(fmt.Sprint("app/a=", n))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

// TestViewWatchNewOutage has an agent that comes back, with a change, and goes away again
// before the loop looks. The loop is given the change, and then the new error.
func TestViewWatchNewOutage(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		v := viewOf(agent, "app", nil)
		outage := func() {
			synctest.Wait()
			agent.Stop()
			time.Sleep(time.Minute)
		}
		outage()
		var lines []string
		for s, err := range v.Watch(t.Context()) {
			if err != nil {
				lines = append(lines, " error")
			} else {
				lines = append(lines, describe(s))
			}
			if len(lines) == 2 {
				agent.Start()
				agent.set("app/a=2")
				time.Sleep(time.Minute)
				outage()
			} else if len(lines) == 3 {
				time.AfterFunc(time.Hour, func() { v.Close() })
			}
		}
		if got, want := strings.Join(lines, ","), " +a=1 (1), error, ~a=2 (1), error, error"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// TestViewClose closes a View at any moment. What it was doing ends, and nothing is
// left behind.
func TestViewClose(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		v := viewOf(agent, "app", nil)
		synctest.Wait() // for the query that waits
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang, Always: true})
		agent.set("app/a=2") // ends the query that waits; the next one hangs
		synctest.Wait()
		d := follow(t, func(ctx context.Context) iter.Seq2[*configuration.Snapshot, error] { return v.Watch(ctx) })
		d.want("0s +a=2 (1)")
		var closing sync.WaitGroup
		for range 3 {
			closing.Add(1)
			go func() {
				defer closing.Done()
				if err := v.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		closing.Wait()
		d.want("0s closed")
		if got := value(v, "a"); got != "2" {
			t.Errorf("after Close: %s", got)
		}
		n := 0
		for s, err := range v.Watch(t.Context()) {
			if n++; n == 2 && (s != nil || !errors.Is(err, configuration.ErrClosed)) {
				t.Errorf("a loop that begins after Close: %v, %v", s, err)
			}
		}
		if n != 2 {
			t.Errorf("%d iterations after Close, want the snapshot and an error", n)
		}
	})
}

// doneHook is a context that calls a function whenever somebody begins to wait for it.
type doneHook struct {
	context.Context
	hook func()
}

func (c doneHook) Done() <-chan struct{} {
	c.hook()
	return c.Context.Done()
}

// TestViewWatchBeforeClose makes a change and closes the View while a loop is about to
// wait: the loop is given the change first.
func TestViewWatchBeforeClose(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/n=0")
		for n := range 30 { // because a select among several channels chooses at random
			v := viewOf(agent, "app", nil)
			want := fmt.Sprint(n + 1)
			ctx := doneHook{t.Context(), sync.OnceFunc(func() {
				synctest.Wait() // for the query that waits
				agent.set("app/n=" + want)
				synctest.Wait()
				v.Close()
			})}
			got := ""
			for s, err := range v.Watch(ctx) {
				if err == nil {
					b, _ := s.Get("n")
					got = string(b)
				}
			}
			if got != want {
				t.Fatalf("the last snapshot before ErrClosed has %s, want %s", got, want)
			}
		}
	})
}

// TestViewSince begins with a snapshot, which stays if nothing has changed.
func TestViewSince(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		s, err := configuration.Load(t.Context(), agent.client, "app", nil)
		if err != nil {
			t.Fatal(err)
		}
		v := viewOf(agent, "app", &configuration.Options{Since: s})
		if v.Snapshot() != s {
			t.Error("another snapshot, although nothing has changed")
		}
		agent.set("app/b=1")
		synctest.Wait()
		if got := describe(v.Snapshot()); got != " +b=1 (2)" {
			t.Errorf("the next snapshot is%s", got)
		}
	})
}

// TestViewForgetsSince does not keep the snapshot that it began with in memory.
func TestViewForgetsSince(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.set("app/a=1")
		since, err := configuration.Load(t.Context(), agent.client, "app", nil)
		if err != nil {
			t.Fatal(err)
		}
		kept := weak.Make(since.Pairs[0])
		viewOf(agent, "app", &configuration.Options{Since: since})
		agent.set("app/a=2", "app/a=3")
		synctest.Wait()
		runtime.GC()
		if kept.Value() != nil {
			t.Error("a pair is in memory that has been replaced")
		}
	})
}

// TestViewNilContext needs a context for a loop.
func TestViewNilContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var none context.Context
		for s, err := range viewOf(agent, "app", nil).Watch(none) {
			if s != nil || err == nil || err.Error() != "configuration: nil context" {
				t.Errorf("%v, %v", s, err)
			}
		}
	})
}

// TestTokenIsNotPrinted prints what has a token in it, in every way.
func TestTokenIsNotPrinted(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		opts := &configuration.Options{Query: consul.QueryOptions{Token: "secret"}}
		var b strings.Builder
		opts.OnEvent = func(e configuration.Event) { fmt.Fprintf(&b, "%+v", e) }
		v := viewOf(agent, "app", opts)
		agent.Inject(consulmock.Fault{Status: 403, Body: "no", Times: 2})
		agent.set("app/a=1")
		time.Sleep(5 * time.Second)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			fmt.Fprintf(&b, verb+verb+verb+verb, v, *opts, v.Err(), v.Snapshot())
		}
		if strings.Contains(b.String(), "secret") {
			t.Errorf("a token in %s", b.String())
		}
	})
}
