//go:build go1.25

package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/config/source"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro/config"
)

// bubble runs a test in virtual time with a fake agent of each version. A goroutine
// that is left behind fails the test.
func bubble(t *testing.T, test func(t *testing.T, agent *consulmock.Server), with ...consulmock.Option) {
	t.Helper()
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, consulmock.New(t, append(with, consulmock.WithVersion(version))...))
			})
		})
	}
}

// open returns a source of the folder app, without its name in the tree.
func open(agent *consulmock.Server, opts ...source.Option) source.Source {
	opts = append([]source.Option{config.Client(agent.Client()), config.Prefix("app"), config.StripPrefix(true)}, opts...)
	return config.NewSource(opts...)
}

func set(agent *consulmock.Server, pairs ...string) {
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		agent.SetKey(key, []byte(value))
	}
}

// text returns a change set as one line.
func text(cs *source.ChangeSet, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return string(cs.Data)
}

// follow calls Next again and again until Stop. It returns what compares the next
// result, which is "waits" if there is none for two minutes.
func follow(t *testing.T, w source.Watcher) (want func(string)) {
	results := make(chan string)
	go func() {
		defer close(results)
		for {
			cs, err := w.Next()
			if errors.Is(err, source.ErrWatcherStopped) {
				return
			}
			results <- text(cs, err)
		}
	}()
	t.Cleanup(func() {
		w.Stop()
		for range results {
		}
	})
	return func(want string) {
		t.Helper()
		got := "waits"
		select {
		case got = <-results:
		case <-time.After(2 * time.Minute):
		}
		if got != want {
			t.Errorf("Next: %s; want %s", got, want)
		}
	}
}

func watch(t *testing.T, s source.Source) (want func(string)) {
	t.Helper()
	w, err := s.Watch()
	if err != nil {
		t.Fatal(err)
	}
	return follow(t, w)
}

// TestTree reads trees of all shapes.
func TestTree(t *testing.T) {
	for _, test := range []struct {
		keys []string
		want string
	}{
		{[]string{`app/a={"b":1}`}, `{"a":{"b":1}}`},
		{[]string{`app/a=[1,{"b":2}]`}, `{"a":[1,{"b":2}]}`},
		{[]string{`app/a=1`, `app/b="x"`, `app/c=true`, `app/d=null`}, `{"a":1,"b":"x","c":true,"d":null}`},
		{[]string{`app/a/b/c=1`, `app/a/d=2`}, `{"a":{"b":{"c":1},"d":2}}`},
		{[]string{`app/a={"b":1,"c":2}`, `app/a/b=3`}, `{"a":{"b":3,"c":2}}`},
		{[]string{`app/a=null`, `app/a/b=3`}, `{"a":{"b":3}}`},
		{[]string{`app/a/b=`, `app/c/=`, `app/d/e/=`}, `{"a":{}}`},
		{[]string{`app2/x=1`, `app=1`, `app/a=1`}, `{"a":1}`},
		{[]string{`app/a=[1]`, `app/a/b=2`}, `error: gomicro: key "app/a/b" is below "app/a", which is not an object`},
		{[]string{`app/a=1`, `app/a/b/c=2`}, `error: gomicro: key "app/a/b/c" is below "app/a", which is not an object`},
		{[]string{`app/a={"b":"s"}`, `app/a/b/c=2`}, `error: gomicro: key "app/a/b/c" is below "app/a/b", which is not an object`},
		{[]string{`app/a={"secret":`}, `error: gomicro: the value of key "app/a" is not in the format json`},
	} {
		bubble(t, func(t *testing.T, agent *consulmock.Server) {
			set(agent, test.keys...)
			if got := text(open(agent).Read()); got != test.want {
				t.Errorf("%q: got %s, want %s", test.keys, got, test.want)
			}
		})
	}
}

// TestPrefix has the prefix in the tree, or not, and a default one.
func TestPrefix(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "micro/config/db/host=1", "app/a=1")
		client := config.Client(agent.Client())
		for _, test := range []struct {
			want string
			opts []source.Option
		}{
			{`{"micro":{"config":{"db":{"host":1}}}}`, nil},
			{`{"db":{"host":1}}`, []source.Option{config.StripPrefix(true)}},
			{`{"app":{"a":1}}`, []source.Option{config.Prefix("app")}},
			{`{"a":1}`, []source.Option{config.Prefix("/app/"), config.StripPrefix(true)}},
			{`{"app":{"a":1},"micro":{"config":{"db":{"host":1}}}}`, []source.Option{config.Prefix("")}},
			{`error: gomicro: key "app/a" is below "app", which is not an object`, []source.Option{config.Prefix("/"), func(*source.Options) { set(agent, "app=1") }}},
		} {
			if got := text(config.NewSource(append(test.opts, client)...).Read()); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		}
	})
}

// TestChangeSet checks the other fields.
func TestChangeSet(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/b=1", "app/a=2")
		s := open(agent)
		first, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if first.Format != "json" || first.Source != "consul" || s.String() != "consul" || !first.Timestamp.Equal(time.Now()) || first.Checksum != first.Sum() {
			t.Errorf("%+v", first)
		}
		if second, err := s.Read(); err != nil || second.Checksum != first.Checksum {
			t.Errorf("%+v, %v", second, err)
		}
		if err := s.Write(first); err == nil {
			t.Error("Write does as if it had written")
		}
	})
}

// TestReadTriesAgain reads while there is no leader, and from an agent that hangs.
func TestReadTriesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/a=1")
		agent.Inject(consulmock.Fault{NoLeader: true, Times: 3})
		if got := text(open(agent).Read()); got != `{"a":1}` {
			t.Errorf("got %s", got)
		}
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang, Always: true})
		begin := time.Now()
		if got := text(open(agent).Read()); got != `error: gomicro: reading the folder "app": no response within 10s` || time.Since(begin) != 10*time.Second {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
	})
}

// TestEmpty has no keys, which is an error unless it is allowed.
func TestEmpty(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		if _, err := open(agent).Read(); !errors.Is(err, consul.ErrNotFound) || !strings.HasPrefix(err.Error(), "gomicro: source not found: app/") {
			t.Errorf("empty: %v", err)
		}
		if got := text(open(agent, config.EmptyIsError(false)).Read()); got != "{}" {
			t.Errorf("empty and allowed: %s", got)
		}
		set(agent, "app/a=1")
		keeps, follows := watch(t, open(agent)), watch(t, open(agent, config.EmptyIsError(false)))
		keeps(`{"a":1}`)
		follows(`{"a":1}`)
		agent.RemoveKey("app/a")
		follows(`{}`)
		keeps("waits")
		set(agent, "app/a=2")
		keeps(`{"a":2}`)
		follows(`{"a":2}`)
	})
}

// TestForbidden has a token that may read another folder, and none.
func TestForbidden(t *testing.T) {
	tokens := consulmock.WithTokens(consulmock.Token{SecretID: "other", Rules: `key_prefix "other/" { policy = "read" }`},
		consulmock.Token{SecretID: "app", Rules: `key_prefix "app/" { policy = "read" }`})
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/a=1")
		for token, allowed := range map[string]bool{"": false, "other": false, "app": true} {
			s := open(agent, config.QueryOptions(&consul.QueryOptions{Token: token}))
			begin := time.Now()
			if _, err := s.Read(); errors.Is(err, consul.ErrPermissionDenied) == allowed || time.Since(begin) != 0 {
				t.Errorf("token %q: %v after %s", token, err, time.Since(begin))
			}
			if printed := fmt.Sprintf("%v%+v%#v", s, s, s); token != "" && strings.Contains(printed, `"`+token+`"`) {
				t.Errorf("a token in %s", printed)
			}
		}
	}, tokens, consulmock.WithACLDefaultDeny())
}

// TestWatchAfterRead does not repeat what Read has returned, and misses nothing.
func TestWatchAfterRead(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/a=1")
		s := open(agent)
		read := func() {
			t.Helper()
			if _, err := s.Read(); err != nil {
				t.Fatal(err)
			}
		}
		read()
		want := watch(t, s)
		want("waits")
		set(agent, "app/a=2")
		want(`{"a":2}`)

		read()
		set(agent, "app/a=3")
		watch(t, s)(`{"a":3}`)

		// Two programs have read, and one does not know what the other has.
		read()
		set(agent, "app/a=4")
		read()
		watch(t, s)(`{"a":4}`)
		watch(t, s)(`{"a":4}`)
	})
}

// TestWatch begins with what there is, and returns each configuration once.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/a=1", "app/b=1")
		want := watch(t, open(agent))
		want(`{"a":1,"b":1}`)
		set(agent, "app/a=2")
		want(`{"a":2,"b":1}`)
		set(agent, "app/a= 2 ", "app2/x=1") // the same, spelt differently
		want("waits")
		agent.RemoveKey("app/b")
		want(`{"a":2}`)
	})
}

// TestWatchUsesTheClient checks that token and datacenter go with all queries.
func TestWatchUsesTheClient(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/a=1")
		s := config.NewSource(config.Prefix("app"), config.Config(consul.Config{Transport: agent.Transport(), Token: "good", Datacenter: "dc1"}))
		want := watch(t, s)
		if got := text(s.Read()); got != `{"app":{"a":1}}` {
			t.Errorf("got %s", got)
		}
		want(`{"app":{"a":1}}`)
		set(agent, "app/a=2")
		want(`{"app":{"a":2}}`)
		for _, r := range agent.Requests() {
			if r.Method == http.MethodGet && r.Query.Get("dc") != "dc1" {
				t.Errorf("%s %s: the datacenter is %q", r.Path, r.Query, r.Query.Get("dc"))
			}
		}
	}, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(consulmock.Token{SecretID: "good", Rules: `key_prefix "app/" { policy = "read" }`}))
}

// TestOutage has an agent that is away for an hour.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		set(agent, "app/a=1")
		var events []configuration.Event
		want := watch(t, open(agent, config.OnEvent(func(e configuration.Event) { events = append(events, e) })))
		want(`{"a":1}`)
		agent.Stop()
		for range 30 {
			want("waits")
		}
		agent.Start()
		set(agent, "app/a=2")
		begin := time.Now()
		want(`{"a":2}`)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("seen after %s", took)
		}
		if !slices.ContainsFunc(events, func(e configuration.Event) bool { _, ok := e.(configuration.WatchErrorEvent); return ok }) {
			t.Error("no event of the outage")
		}
	})
}

// TestBadValue keeps the last good configuration, and logs the key but not the value.
func TestBadValue(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		var log bytes.Buffer
		set(agent, "app/a=1", "app/b=1")
		want := watch(t, open(agent, config.Logger(slog.New(slog.NewTextHandler(&log, nil)))))
		want(`{"a":1,"b":1}`)
		set(agent, "app/a=secret")
		want("waits")
		set(agent, "app/b=2")
		want("waits")
		if got := log.String(); !strings.Contains(got, `key \"app/a\"`) || strings.Contains(got, "secret") {
			t.Errorf("logged %s", got)
		}
		set(agent, "app/a=2")
		want(`{"a":2,"b":2}`)
	})
}

// TestStop ends calls of Next that wait, and those that come later, however the agent
// is.
func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang, Always: true})
		s := open(agent)
		before, err := s.Watch()
		if err != nil {
			t.Fatal(err)
		}
		during, err := s.Watch()
		if err != nil {
			t.Fatal(err)
		}
		before.Stop()
		time.AfterFunc(10*time.Second, func() { during.Stop() })
		for _, w := range []source.Watcher{before, during} {
			for range 2 {
				if cs, err := w.Next(); cs != nil || !errors.Is(err, source.ErrWatcherStopped) {
					t.Errorf("%v, %v", cs, err)
				}
			}
			if err := w.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestStopWithoutNext stops a watcher whose changes nobody takes.
func TestStopWithoutNext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		w, err := open(agent).Watch()
		if err != nil {
			t.Fatal(err)
		}
		for n := range 10 {
			set(agent, fmt.Sprint("app/a=", n))
			time.Sleep(time.Second)
		}
		w.Stop()
	})
}

// TestInvalidOptions makes sources whose options are wrong.
func TestInvalidOptions(t *testing.T) {
	for _, test := range []struct {
		opts []source.Option
		want string
	}{
		{[]source.Option{config.Client(nil)}, "gomicro: the client of the option Client is nil"},
		{[]source.Option{config.Config(consul.Config{Address: "ftp://x"})}, "gomicro: consul: "},
	} {
		s := config.NewSource(append(test.opts, source.WithEncoder(nil), config.QueryOptions(nil), func(o *source.Options) {
			if o.Context == nil {
				t.Error("no context")
			}
		})...)
		if _, err := s.Read(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Read: %v; want %s", err, test.want)
		}
		if _, err := s.Watch(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Watch: %v; want %s", err, test.want)
		}
	}
	agent := consulmock.New(t)
	noContext := func(o *source.Options) { o.Context, o.Encoder = nil, nil }
	s := config.NewSource(noContext, config.Client(agent.Client()), config.EmptyIsError(false))
	if requests := agent.Requests(); len(requests) != 0 {
		t.Errorf("NewSource has sent %v", requests)
	}
	if got := text(s.Read()); got != "{}" {
		t.Errorf("without a context and an encoder: %s", got)
	}
	for _, test := range []struct {
		opt  source.Option
		want string
	}{
		{config.Prefix("a//b"), `prefix "a//b" is not the name of a folder`},
		{config.QueryOptions(&consul.QueryOptions{MaxAge: -1}), "Query.MaxAge is -1ns; want 0 or more"},
	} {
		s := open(agent, test.opt)
		if got := text(s.Read()); !strings.Contains(got, test.want) {
			t.Errorf("Read: %s; want %s", got, test.want)
		}
		if _, err := s.Watch(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Watch: %v; want %s", err, test.want)
		}
	}
}
