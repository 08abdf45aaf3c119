package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kratos/kratos/v2/config"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	consulconfig "github.com/lictor-go/consul/integrations/kratos/kratosv2/config"
)

// configScene is what a scenario of a config source happens in: an agent in a bubble of
// virtual time, and what makes a source of a folder.
type configScene struct {
	t     *testing.T
	agent *consulmock.Server
	open  func(prefix string) config.Source
}

// configSources make a config source for the agent behind a transport.
var configSources = map[string]func(http.RoundTripper, string) (config.Source, error){
	"ours": func(transport http.RoundTripper, prefix string) (config.Source, error) {
		c, err := consul.NewClient(consul.Config{Transport: transport})
		if err != nil {
			return nil, err
		}
		return consulconfig.New(c, prefix, nil)
	},
}

// The scenarios are the bugs of contrib/config/consul/v2 as of kratos v2.9.2, which is
// not available as a Go module. Its source (commit b9fab9a5a, and 668db92c2 for v3,
// which differs in the import only) fails each of them. Each returns what is wrong.
var configScenarios = []struct {
	bug string
	run func(*configScene) error
}{
	{"a neighbour's keys are in the configuration", neighbour},
	{"markers of folders are in the configuration", markers},
	{"a folder that may not be read is an empty configuration", forbidden},
	{"Load waits for ever", hungLoad},
	{"the first Next repeats Load", repeatedLoad},
	{"a change overrides keys that come later", order},
	{"a deletion does not bring back what the key has overridden", deletion},
	{"after an outage changes are seen late", lateAfterOutage},
	{"locks are changes", lockIsChange},
}

func TestConfigBugs(t *testing.T) {
	for _, s := range configScenarios {
		for name, source := range configSources {
			t.Run(s.bug+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var opts []consulmock.Option
					if s.bug == "a folder that may not be read is an empty configuration" {
						opts = append(opts, consulmock.WithACLDefaultDeny())
					}
					agent := consulmock.New(t, opts...)
					open := func(prefix string) config.Source {
						s, err := source(agent.Transport(), prefix)
						if err != nil {
							t.Fatal(err)
						}
						return s
					}
					err := s.run(&configScene{t, agent, open})
					switch {
					case name == "ours" && err != nil:
						t.Error(err)
					case name == "theirs" && err == nil:
						t.Error("kratos's source has this bug no more")
					case name == "theirs":
						t.Log(err)
					}
				})
			})
		}
	}
}

func (s *configScene) set(pairs ...string) {
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		s.agent.SetKey(key, []byte(value))
	}
}

func (s *configScene) load(source config.Source) (keys []string) {
	s.t.Helper()
	list, err := source.Load()
	if err != nil {
		s.t.Fatal(err)
	}
	return keysOf(list)
}

func keysOf(list []*config.KeyValue) (keys []string) {
	for _, kv := range list {
		keys = append(keys, kv.Key)
	}
	return keys
}

// neighbour has a folder whose name begins like that of another one.
func neighbour(s *configScene) error {
	s.set("app/a=1", "app2/b=1")
	if keys := s.load(s.open("app")); len(keys) != 1 {
		return fmt.Errorf("the keys of app are %q", keys)
	}
	return nil
}

func markers(s *configScene) error {
	s.set("app/", "app/a=1", "app/dir/")
	if keys := s.load(s.open("app/")); len(keys) != 1 {
		return fmt.Errorf("the keys of app are %q", keys)
	}
	return nil
}

func forbidden(s *configScene) error {
	s.set("app/a=1")
	if list, err := s.open("app/").Load(); err == nil {
		return fmt.Errorf("no error, but %d keys", len(list))
	}
	return nil
}

func hungLoad(s *configScene) error {
	hang := make(chan struct{})
	s.agent.Inject(consulmock.Fault{Hang: hang, Always: true})
	source, done := s.open("app/"), make(chan error, 1)
	go func() {
		_, err := source.Load()
		done <- err
	}()
	select {
	case err := <-done:
		close(hang)
		if err == nil {
			return errors.New("no error")
		}
		return nil
	case <-time.After(time.Hour):
		close(hang)
		<-done
		return errors.New("Load has not returned within an hour")
	}
}

// follow sends the keys of each change of a source until the end of the scenario.
func (s *configScene) follow(source config.Source) <-chan []string {
	w, err := source.Watch()
	if err != nil {
		s.t.Fatal(err)
	}
	changes, done := make(chan []string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for {
			list, err := w.Next()
			switch {
			case errors.Is(err, context.Canceled):
				return
			case err != nil:
				time.Sleep(time.Second) // as kratos does
			default:
				changes <- keysOf(list)
			}
		}
	}()
	s.t.Cleanup(func() {
		w.Stop()
		<-done
	})
	return changes
}

// settle lets what has been started get under way.
func settle() { time.Sleep(20 * time.Second) }

func repeatedLoad(s *configScene) error {
	s.set("app/a=1")
	source := s.open("app/")
	s.load(source)
	changes := s.follow(source)
	settle()
	if len(changes) > 0 {
		return fmt.Errorf("Next has returned %q, but nothing has changed", <-changes)
	}
	return nil
}

// configOf returns the configuration of kratos with a source.
func (s *configScene) configOf(source config.Source) config.Config {
	c := config.New(config.WithSource(source))
	if err := c.Load(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		c.Close()
		time.Sleep(time.Minute) // until its goroutines have noticed
	})
	settle()
	return c
}

func order(s *configScene) error {
	s.set(`app/a.json={"x": "first"}`, `app/b.json={"x": "second"}`)
	c := s.configOf(s.open("app/"))
	s.set(`app/a.json={"x": "first again"}`)
	settle()
	if x, _ := c.Value("x").String(); x != "second" {
		return fmt.Errorf("x is %s, although it is second for every program that starts now", x)
	}
	return nil
}

func deletion(s *configScene) error {
	s.set(`app/a.json={"x": "first"}`, `app/b.json={"x": "second"}`)
	c := s.configOf(s.open("app/"))
	s.agent.RemoveKey("app/b.json")
	settle()
	if x, _ := c.Value("x").String(); x != "first" {
		return fmt.Errorf("x is %s, although it is first for every program that starts now", x)
	}
	return nil
}

// lateAfterOutage has an agent that is away for ten minutes.
func lateAfterOutage(s *configScene) error {
	s.set("app/a=1")
	source := s.open("app/")
	s.load(source)
	changes := s.follow(source)
	settle()
	s.agent.Stop()
	time.Sleep(10 * time.Minute)
	for len(changes) > 0 {
		<-changes
	}
	s.agent.Start()
	s.set("app/a=2")
	begin := time.Now()
	<-changes
	if took := time.Since(begin); took > 5*time.Second {
		return fmt.Errorf("a change is seen after %s", took)
	}
	return nil
}

// lockIsChange has a key that is locked and unlocked by others.
func lockIsChange(s *configScene) error {
	ctx := s.t.Context()
	s.set("app/a=1")
	source := s.open("app/")
	s.load(source)
	changes := s.follow(source)
	settle()
	for len(changes) > 0 {
		<-changes
	}
	c := s.agent.Client()
	id, err := c.Session().Create(ctx, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if ok, err := c.KV().Acquire(ctx, &consul.KVPair{Key: "app/a", Value: []byte("1"), Session: id}, nil); !ok || err != nil {
		s.t.Fatal(ok, err)
	}
	settle()
	if len(changes) > 0 {
		return fmt.Errorf("Next has returned %q, but no value has changed", <-changes)
	}
	return nil
}
