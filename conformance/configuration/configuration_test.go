// Package configuration runs package configuration against real agents: changes of all
// kinds, deletions that agents report late, permissions that are taken away, restarts.
package configuration

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestMain lets tests run at once: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	explicit := false
	flag.Visit(func(f *flag.Flag) { explicit = explicit || f.Name == "test.parallel" })
	if !explicit {
		flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

// folder is a folder of a real agent that is followed.
type folder struct {
	t       *testing.T
	c       *consul.Client // that writes
	results chan string
}

// follow follows the folder app with a client until the end of the test.
func follow(t *testing.T, writer, reader *consul.Client, opts *configuration.Options) *folder {
	ctx, cancel := context.WithCancel(context.Background())
	f := &folder{t: t, c: writer, results: make(chan string, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s, err := range configuration.Watch(ctx, reader, "app", opts) {
			f.results <- describe(s, err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

func describe(s *configuration.Snapshot, err error) string {
	switch {
	case errors.Is(err, consul.ErrPermissionDenied):
		return "permission denied"
	case err != nil:
		return "error"
	}
	var parts []string
	for sign, keys := range map[string][]string{"+": s.Added, "~": s.Changed, "-": s.Removed} {
		for _, key := range keys {
			value, _ := s.Get(key)
			parts = append(parts, sign+key+"="+string(value))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// want waits for what the loop is given next, and returns how long that took. Errors
// of an agent that is away do not count.
func (f *folder) want(result string) time.Duration {
	f.t.Helper()
	begin := time.Now()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case got := <-f.results:
			switch {
			case got == result:
				return time.Since(begin)
			case got != "error":
				f.t.Fatalf("got %q, want %q", got, result)
			}
		case <-timeout:
			f.t.Fatalf("no %q within 30 s", result)
		}
	}
}

// drain forgets what the loop was given so far.
func (f *folder) drain() {
	for {
		select {
		case <-f.results:
		default:
			return
		}
	}
}

func (f *folder) put(key, value string) { put(f.t, f.c, key, value) }

func put(t *testing.T, c *consul.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	check(t, c.KV().Put(ctx, &consul.KVPair{Key: key, Value: []byte(value)}, nil))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon is longer than it takes to see a change.
const soon = 5 * time.Second

func TestChanges(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{})
	c := a.Client()
	for _, key := range []string{"app", "app/", "app/empty/", "app2/x", "ap"} {
		put(t, c, key, "")
	}
	put(t, c, "app/a", "1")
	f := follow(t, c, c, nil)
	steps := []struct {
		change func()
		want   string
	}{
		{func() {}, "+a=1"},
		{func() { f.put("app/d/b", "1") }, "+d/b=1"},
		{func() { f.put("app/a", "2") }, "~a=2"},
		{func() { check(t, c.KV().Put(ctx, &consul.KVPair{Key: "app/a", Value: []byte("2"), Flags: 7}, nil)) }, "~a=2"},
		{func() { check(t, c.KV().Delete(ctx, "app/a", nil)) }, "-a="},
		{func() { f.put("app/lock", "") }, "+lock="},
		{func() {
			id, err := c.Session().Create(ctx, nil, nil)
			check(t, err)
			for range 3 { // no change: neither the lock, nor what happens elsewhere
				for _, verb := range []func(context.Context, *consul.KVPair, *consul.WriteOptions) (bool, error){c.KV().Acquire, c.KV().Release} {
					if ok, err := verb(ctx, &consul.KVPair{Key: "app/lock", Session: id}, nil); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				f.put("app2/x", time.Now().String())
				f.put("app/empty/", time.Now().String())
			}
			f.put("app/lock", "x")
		}, "~lock=x"},
		{func() { check(t, c.KV().DeleteTree(ctx, "app/", nil)) }, "-d/b= -lock="},
		{func() { f.put("app/a", "1") }, "+a=1"},
	}
	for n, step := range steps {
		step.change()
		if took := f.want(step.want); took > soon {
			t.Errorf("step %d was seen after %s", n, took)
		}
	}
}

// TestTransactions writes two keys at once, again and again. They are never seen apart.
func TestTransactions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{})
	c := a.Client()
	const rounds = 300
	go func() {
		for n := range rounds {
			value := fmt.Appendf(nil, "%d", n)
			ops := []consul.TxnOp{
				{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/a", Value: value}},
				{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/z", Value: value}},
			}
			if n%10 == 9 {
				ops[0].KV = &consul.KVTxnOp{Verb: consul.KVDelete, Key: "app/a"}
				ops[1].KV = &consul.KVTxnOp{Verb: consul.KVDelete, Key: "app/z"}
			}
			if n == rounds-1 {
				ops[0].KV = &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/a", Value: []byte("end")}
				ops[1].KV = &consul.KVTxnOp{Verb: consul.KVSet, Key: "app/z", Value: []byte("end")}
			}
			if _, err := c.Txn().Apply(ctx, ops, nil); err != nil {
				t.Error(err)
			}
		}
	}()
	seen := 0
	for s, err := range configuration.Watch(ctx, c, "app", &configuration.Options{Burst: 1000, MinInterval: time.Millisecond}) {
		check(t, err)
		seen++
		first, hasFirst := s.Get("a")
		second, hasSecond := s.Get("z")
		if string(first) != string(second) || hasFirst != hasSecond {
			t.Errorf("half a transaction: %q and %q", first, second)
		}
		if string(first) == "end" {
			break
		}
	}
	t.Logf("%d states of %d", seen, rounds)
}

// TestDeletionOfParent deletes the folder above, which agents do not report to a query
// that waits if a key below was deleted before. The end of the wait bounds that.
func TestDeletionOfParent(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{})
	c := a.Client()
	for _, prefix := range []string{"ap", "app"} {
		put(t, c, "app/a", "1")
		put(t, c, "app/b", "1")
		check(t, c.KV().Delete(ctx, "app/b", nil))
		put(t, c, "app/a", "2")
		const wait = 8 * time.Second
		f := follow(t, c, c, &configuration.Options{Query: consul.QueryOptions{WaitTime: wait}})
		f.want("+a=2")
		time.Sleep(time.Second) // so that the query waits
		check(t, c.KV().DeleteTree(ctx, prefix, nil))
		took := f.want("-a=")
		t.Logf("%s: the deletion of %q was seen after %s", a.Version, prefix, took.Round(10*time.Millisecond))
		if took < wait/2 || took > wait+wait/16+soon {
			t.Errorf("the deletion of %q was seen after %s", prefix, took)
		}
	}
}

// tokenOf is a transport that sends the token of the moment.
type tokenOf struct {
	token atomic.Pointer[string]
	base  http.RoundTripper
}

func (tr *tokenOf) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("X-Consul-Token", *tr.token.Load())
	return tr.base.RoundTrip(req)
}

// TestPermissions changes the token, and then what the token allows. What cannot be
// seen is not taken for deleted.
func TestPermissions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{ACL: true})
	c := a.Client()
	newToken := func(name, rules string) string {
		t.Helper()
		check(t, c.Raw().Write(ctx, "/v1/acl/policy", map[string]string{"Name": name, "Rules": rules}, nil, nil))
		var token struct{ SecretID string }
		check(t, c.Raw().Write(ctx, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": name}}}, &token, nil))
		return token.SecretID
	}
	tokens := map[string]string{
		"all":    newToken("all", `key_prefix "app/" { policy = "read" }`),
		"public": newToken("public", `key_prefix "app/" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }`),
		"none":   newToken("none", `key_prefix "other/" { policy = "read" }`),
		"":       "",
	}
	put(t, c, "app/a", "1")
	put(t, c, "app/secret/x", "1")
	tr := &tokenOf{base: http.DefaultTransport}
	use := func(name string) { token := tokens[name]; tr.token.Store(&token) }
	use("all")
	cfg := a.Config()
	cfg.Transport = tr
	reader, err := consul.NewClient(cfg)
	check(t, err)
	f := follow(t, c, reader, &configuration.Options{MaxBackoff: time.Second})
	f.want("+a=1 +secret/x=1")
	for _, name := range []string{"none", "public", ""} {
		use(name)
		f.put("app/a", "by the query that was under way")
		f.want("~a=by the query that was under way")
		f.put("app/a", "with token "+name)
		f.want("permission denied")
		time.Sleep(2 * time.Second)
		f.drain()
		use("all")
		time.Sleep(2 * time.Second)
		got := ""
		for len(f.results) > 0 {
			got = <-f.results
		}
		if got != "~a=with token "+name {
			t.Errorf("with the token back: %q", got)
		}
	}

	for name, want := range map[string]string{"public": "+a=1", "none": "permission denied", "": "permission denied"} {
		use(name)
		f.put("app/a", "1")
		s, err := configuration.Load(ctx, reader, "app", nil)
		if got := describe(s, err); got != want {
			t.Errorf("with token %q: %s, want %s", name, got, want)
		}
		s, err = configuration.Load(ctx, reader, "app/secret", nil)
		if got := describe(s, err); got != "permission denied" {
			t.Errorf("with token %q, of the secret folder: %s", name, got)
		}
	}
}

// TestPartOfFolder has a token that may read a part of the folder. The last key of that
// part is deleted.
func TestPartOfFolder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{ACL: true})
	c := a.Client()
	rules := `key_prefix "app/" { policy = "read" } key_prefix "app/secret/" { policy = "deny" }`
	check(t, c.Raw().Write(ctx, "/v1/acl/policy", map[string]string{"Name": "part", "Rules": rules}, nil, nil))
	var token struct{ SecretID string }
	check(t, c.Raw().Write(ctx, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": "part"}}}, &token, nil))
	put(t, c, "app/a", "1")
	put(t, c, "app/secret/x", "1")
	f := follow(t, c, c, &configuration.Options{Query: consul.QueryOptions{Token: token.SecretID}})
	f.want("+a=1")
	check(t, c.KV().Delete(ctx, "app/a", nil))
	if took := f.want("-a="); took > soon {
		t.Errorf("the deletion was seen after %s", took)
	}
}

// TestNames deletes keys with characters of all kinds. Whether they exist can be found
// out of some only.
func TestNames(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{})
	c := a.Client()
	names := []string{"a b", "a%2fb", "a+b", "a?b", "a#b", "a;b", "a&b=c", "a%", "...", "é", "日本", "\U0001F600", "\U0001FAE8",
		"a//b", "./x", "x/../y", "\x01", "a\u00a0b", "<&>", `"`, `\`, "[x]", "^", "~", strings.Repeat("l", 3000)}
	apply := func(verb consul.KVOp, name string) {
		t.Helper()
		_, err := c.Txn().Apply(ctx, []consul.TxnOp{{KV: &consul.KVTxnOp{Verb: verb, Key: "app/" + name}}}, nil)
		check(t, err)
	}
	var all []string
	for _, name := range names {
		apply(consul.KVSet, name)
		all = append(all, "+"+name+"=")
	}
	f := follow(t, c, c, &configuration.Options{Burst: 1000, MinInterval: time.Millisecond})
	slices.Sort(all)
	f.want(strings.Join(all, " "))
	for _, name := range names {
		apply(consul.KVDelete, name)
		f.want("-" + name + "=")
	}
}

// TestBackup restores the state of the servers from a backup. No query ends then, so that
// the end of the wait bounds how late that is seen.
func TestBackup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := agenttest.Start(t, agenttest.Options{Role: agenttest.Server})
	c := a.Client()
	put(t, c, "app/a", "1")
	put(t, c, "app/b", "1")
	var backup bytes.Buffer
	_, err := c.Raw().Query(ctx, "/v1/snapshot", &backup, nil)
	check(t, err)
	put(t, c, "app/c", "1")
	check(t, c.KV().Delete(ctx, "app/b", nil))
	const wait = 8 * time.Second
	f := follow(t, c, c, &configuration.Options{Query: consul.QueryOptions{WaitTime: wait}})
	f.want("+a=1 +c=1")
	check(t, c.Raw().Write(ctx, "/v1/snapshot", &backup, nil, nil))
	if took := f.want("+b=1 -c="); took > wait+wait/16+soon {
		t.Errorf("the restored state was seen after %s", took)
	}
	f.put("app/d", "1")
	f.want("+d=1")
}

// TestRestarts kills an agent that keeps its data, and one that does not.
func TestRestarts(t *testing.T) {
	for _, role := range []agenttest.Role{agenttest.Server, agenttest.Dev} {
		t.Run(fmt.Sprint(role), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			a := agenttest.Start(t, agenttest.Options{Role: role})
			c := a.Client()
			put(t, c, "app/a", "1")
			var mu sync.Mutex
			var failed, recovered int
			view, err := configuration.NewView(ctx, c, "app", &configuration.Options{MaxBackoff: time.Second, OnEvent: func(e configuration.Event) {
				mu.Lock()
				defer mu.Unlock()
				switch e.(type) {
				case configuration.WatchErrorEvent:
					failed++
				case configuration.WatchRecoveredEvent:
					recovered++
				}
			}})
			check(t, err)
			defer view.Close()
			a.Kill()
			await(t, "an error", func() bool { return view.Err() != nil })
			if v, ok := view.Get("a"); !ok || string(v) != "1" {
				t.Errorf("while the agent is away: %q, %t", v, ok)
			}
			a.Restart(role == agenttest.Server)
			await(t, "a response", func() bool { return view.Err() == nil })
			if _, ok := view.Get("a"); ok != (role == agenttest.Server) {
				t.Errorf("after the restart: %t", ok)
			}
			put(t, c, "app/b", "1")
			await(t, "a change", func() bool { _, ok := view.Get("b"); return ok })
			mu.Lock()
			defer mu.Unlock()
			if failed == 0 || recovered == 0 {
				t.Errorf("%d failures and %d recoveries reported", failed, recovered)
			}
		})
	}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 30 s", what)
		case <-tick.C:
		}
	}
}
