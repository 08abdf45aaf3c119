//go:build go1.25

package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos/source"
)

// bubble runs a test in virtual time with a fake agent of each version and a source of
// the folder app. A goroutine that is left behind fails the test.
func bubble(t *testing.T, opts *source.Options, test func(t *testing.T, agent *consulmock.Server, s *source.Source), with ...consulmock.Option) {
	t.Helper()
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent := consulmock.New(t, append(with, consulmock.WithVersion(version))...)
				s, err := source.New(agent.Client(), "app", opts)
				if err != nil {
					t.Fatal(err)
				}
				test(t, agent, s)
			})
		})
	}
}

func set(agent *consulmock.Server, pairs ...string) {
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		agent.SetKey(key, []byte(value))
	}
}

// text returns a list as one line.
func text(list []*source.KeyValue, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var parts []string
	for _, kv := range list {
		parts = append(parts, fmt.Sprintf("%s:%s=%s", kv.Key, kv.Format, kv.Value))
	}
	return strings.Join(parts, " ")
}

// next is what Next returns, "waits" if that takes longer than a minute.
type next struct {
	t       *testing.T
	results chan string
}

// follow calls Next again and again until Stop.
func follow(t *testing.T, w *source.Watcher) *next {
	n := &next{t, make(chan string)}
	go func() {
		for {
			list, err := w.Next()
			n.results <- text(list, err)
			if errors.Is(err, context.Canceled) {
				close(n.results)
				return
			}
		}
	}()
	t.Cleanup(func() {
		w.Stop()
		for range n.results {
		}
	})
	return n
}

func (n *next) want(want string) {
	n.t.Helper()
	got := "waits"
	select {
	case got = <-n.results:
	case <-time.After(time.Minute):
	}
	if got != want && !(strings.HasSuffix(want, "...") && strings.HasPrefix(got, strings.TrimSuffix(want, "..."))) {
		n.t.Errorf("Next: %s; want %s", got, want)
	}
}

func TestLoad(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		if got := text(s.Load()); got != "" {
			t.Errorf("of an empty folder: %s", got)
		}
		set(agent, "app/", "app/b.yaml=b: 1", "app/a/db.json={}", "app/limit=10", "app/dir/", "app2/x=1", "app=1", "app/a.b/c=1", "app/.env=1")
		want := ".env:env=1 a.b/c:=1 a/db.json:json={} b.yaml:yaml=b: 1 limit:=10"
		if got := text(s.Load()); got != want {
			t.Errorf("loaded %s, want %s", got, want)
		}
	})
}

// TestFormat chooses formats that are not extensions.
func TestFormat(t *testing.T) {
	opts := &source.Options{Format: func(key string) string { return "json" }}
	bubble(t, opts, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a.b={}")
		if got := text(s.Load()); got != "a.b:json={}" {
			t.Errorf("loaded %s", got)
		}
	})
}

// TestLoadTriesAgain loads while there is no leader, and from an agent that stays away.
func TestLoadTriesAgain(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=1")
		agent.Inject(consulmock.Fault{NoLeader: true, Times: 3})
		if got := text(s.Load()); got != "a:=1" {
			t.Errorf("loaded %s", got)
		}
		agent.Stop()
		begin := time.Now()
		if got := text(s.Load()); !strings.HasPrefix(got, `error: kratos: loading the folder "app": `) {
			t.Errorf("loaded %s", got)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("gave up after %s", took)
		}
		agent.Start()
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang, Always: true})
		if got := text(s.Load()); got != `error: kratos: loading the folder "app": no response within 10s` {
			t.Errorf("loaded %s", got)
		}
	})
}

// TestForbidden has a token that may read another folder.
func TestForbidden(t *testing.T) {
	bubble(t, &source.Options{Query: consul.QueryOptions{Token: "none"}}, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=1")
		begin := time.Now()
		if list, err := s.Load(); list != nil || !errors.Is(err, consul.ErrPermissionDenied) || time.Since(begin) != 0 {
			t.Errorf("%s after %s", text(list, err), time.Since(begin))
		}
		if printed := fmt.Sprintf("%v%+v%#v", s, s, s); strings.Contains(printed, "none") {
			t.Errorf("a token in %s", printed)
		}
	}, consulmock.WithACLDefaultDeny(), consulmock.WithTokens(consulmock.Token{SecretID: "none", Rules: `key_prefix "other/" { policy = "read" }`}))
}

// TestNext returns all keys after each change, and nothing without one.
func TestNext(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a.yaml=x: 1", "app/b.yaml=x: 2")
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
		n := follow(t, s.Watch())
		n.want("waits") // Load is not repeated
		set(agent, "app/a.yaml=x: 3")
		n.want("a.yaml:yaml=x: 3 b.yaml:yaml=x: 2")
		set(agent, "app/a.yaml=x: 3", "app2/x=1", "app/dir/", "other=1")
		n.want("waits")
		set(agent, "app/c=1")
		n.want("a.yaml:yaml=x: 3 b.yaml:yaml=x: 2 c:=1")
		agent.RemoveKey("app/b.yaml")
		n.want("a.yaml:yaml=x: 3 c:=1")
	})
}

// TestChangeBetweenLoadAndWatch loses nothing that happens between them.
func TestChangeBetweenLoadAndWatch(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=1")
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
		set(agent, "app/a=2")
		w := follow(t, s.Watch())
		w.want("a:=2")
		set(agent, "app/a=3")
		w.want("a:=3")
	})
}

// TestWatchWithoutLoad returns what there is.
func TestWatchWithoutLoad(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=1")
		follow(t, s.Watch()).want("a:=1")
	})
}

// TestOutage has an agent that is away for an hour, twice. Each time one error is
// returned, and changes are seen soon when the agent is back.
func TestOutage(t *testing.T) {
	var failures atomic.Int64
	opts := &source.Options{OnEvent: func(e configuration.Event) {
		if _, ok := e.(configuration.WatchErrorEvent); ok {
			failures.Add(1)
		}
	}}
	bubble(t, opts, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=0")
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
		n := follow(t, s.Watch())
		n.want("waits")
		for round := range 2 {
			failures.Store(0)
			agent.Stop()
			n.want(`error: kratos: following the folder "app": ...`)
			for range 60 {
				n.want("waits")
			}
			if n := failures.Load(); n < 1000 {
				t.Errorf("%d events of failures", n)
			}
			agent.Start()
			n.want("waits") // nothing has changed
			set(agent, fmt.Sprint("app/a=", round+1))
			n.want(fmt.Sprint("a:=", round+1))
		}
	})
}

// TestDeletions reports deleted keys in the log, since kratos cannot be told.
func TestDeletions(t *testing.T) {
	var log bytes.Buffer
	opts := &source.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	bubble(t, opts, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=secret", "app/b=secret", "app/d/c=secret")
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
		n := follow(t, s.Watch())
		n.want("waits")
		log.Reset()
		agent.Restart(false) // without its data
		n.want(`error: kratos: following the folder "app": ...`)
		n.want("")
		if got := log.String(); !strings.Contains(got, `level=WARN msg="keys were deleted, but kratos keeps their values until the program is restarted" folder=app/ keys="[a b d/c]"`) {
			t.Errorf("logged %s", got)
		}
		if strings.Contains(log.String(), "secret") {
			t.Errorf("a value in %s", log.String())
		}
	})
}

// TestStop ends calls of Next that wait, and those that come later, however the agent
// is.
func TestStop(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		hang := make(chan struct{})
		defer close(hang)
		agent.Inject(consulmock.Fault{Hang: hang, Always: true})
		before, during := s.Watch(), s.Watch()
		before.Stop()
		time.AfterFunc(10*time.Second, func() { during.Stop() })
		for _, w := range []*source.Watcher{before, during} {
			for range 2 {
				if list, err := w.Next(); list != nil || !errors.Is(err, context.Canceled) {
					t.Errorf("%v, %v", list, err)
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
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		w := s.Watch()
		for n := range 10 {
			set(agent, fmt.Sprint("app/a=", n))
			time.Sleep(time.Second)
		}
		w.Stop()
	})
}

// TestValuesAreCopies changes what Load has returned, as kratos may.
func TestValuesAreCopies(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		set(agent, "app/a=1", "app/b=1")
		list, err := s.Load()
		if err != nil {
			t.Fatal(err)
		}
		clear(list[0].Value)
		n := follow(t, s.Watch())
		n.want("waits")
		set(agent, "app/b=2")
		n.want("a:=1 b:=2")
	})
}

func TestInvalid(t *testing.T) {
	agent := consulmock.New(t)
	for _, test := range []struct {
		client *consul.Client
		prefix string
		want   string
	}{
		{nil, "app", "kratos: nil client"},
		{agent.Client(), "", "kratos: the prefix is empty; want the name of a folder of keys, such as app/web"},
	} {
		if s, err := source.New(test.client, test.prefix, nil); s != nil || err == nil || err.Error() != test.want {
			t.Errorf("%q: %v, %v; want %s", test.prefix, s, err, test.want)
		}
	}
	s, err := source.New(agent.Client(), "/app", nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `configuration: prefix "/app" is not the name of a folder: it starts with a slash; want one such as app/web`
	if _, err := s.Load(); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Load: %v", err)
	}
	w := s.Watch()
	if _, err := w.Next(); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("Next: %v", err)
	}
	time.AfterFunc(time.Millisecond, func() { w.Stop() })
	if _, err := w.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
}

// TestSharedSource has two configurations that load at the same time. The one that has
// loaded first does not miss what only the other one has loaded.
func TestSharedSource(t *testing.T) {
	bubble(t, nil, func(t *testing.T, agent *consulmock.Server, s *source.Source) {
		for n := range 2 {
			if _, err := s.Load(); err != nil {
				t.Fatal(err)
			}
			set(agent, fmt.Sprint("app/a=", n))
		}
		if got := text(s.Load()); got != "a:=1" {
			t.Errorf("loaded %s", got)
		}
		for range 3 {
			follow(t, s.Watch()).want("a:=1")
		}
	})
}
