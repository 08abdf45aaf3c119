package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	officialconfig "github.com/go-micro/plugins/v4/config/source/consul"
	"github.com/hashicorp/consul/api"
	"go-micro.dev/v4/config"
	"go-micro.dev/v4/config/source"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	consulconfig "github.com/lictor-go/consul/integrations/gomicro/config"
	"github.com/lictor-go/consul/internal/agenttest"
)

// configOptions are those that both config sources have.
type configOptions struct {
	address, prefix, token string
	strip                  bool
	caFile                 string
	transport              http.RoundTripper
}

// configSources make a config source with options.
var configSources = map[string]func(configOptions) source.Source{
	"ours": func(o configOptions) source.Source {
		cfg := consul.Config{Address: o.address, Token: o.token, Transport: o.transport}
		if o.caFile != "" {
			cfg.TLS.CAFile, cfg.Scheme = o.caFile, "https"
		}
		return consulconfig.NewSource(consulconfig.Config(cfg), consulconfig.Prefix(o.prefix), consulconfig.StripPrefix(o.strip))
	},
	"theirs": func(o configOptions) source.Source {
		cfg := &api.Config{Address: o.address, Token: o.token}
		if o.transport != nil {
			cfg.HttpClient = &http.Client{Transport: o.transport}
		}
		if o.caFile != "" {
			cfg.Transport, cfg.TLSConfig.CAFile, cfg.Scheme = &http.Transport{}, o.caFile, "https"
		}
		return officialconfig.NewSource(officialconfig.WithConfig(cfg), officialconfig.WithPrefix(o.prefix), officialconfig.StripPrefix(o.strip))
	},
}

// configScenarios are the bugs of go-micro's plugin config/source/consul v1.2.0. Each
// returns what is wrong.
var configScenarios = []struct {
	bug string
	run func(t *testing.T, open func(configOptions) source.Source) error
}{
	{"a watch is without the token", watchWithoutToken},
	{"a key below a list is a panic", keyBelowList},
	{"numbers and texts cannot be values", scalar},
	{"the folder app has the keys of app2", neighbour},
	{"a client that cannot be made is a panic", badClient},
	{"Write does as if it had written", write},
	{"when the keys are gone for a moment, so is the configuration", emptied},
}

func TestConfigBugs(t *testing.T) {
	for _, s := range configScenarios {
		withBoth(t, s.bug, configSources, s.run)
	}
}

// withBoth runs a scenario with ours, which has to return nil, and with theirs, if there
// is one, which has to return an error, or the bug is fixed and the scenario can go.
func withBoth[W any](t *testing.T, bug string, ways map[string]W, run func(*testing.T, W) error) {
	for name, way := range ways {
		t.Run(bug+"/"+name, func(t *testing.T) {
			err := run(t, way)
			switch {
			case name == "ours" && err != nil:
				t.Error(err)
			case name == "theirs" && err == nil:
				t.Error("go-micro's plugin has this bug no more")
			case name == "theirs":
				t.Log(err)
			}
		})
	}
}

func addressOf(agent *consulmock.Server) string {
	u, err := url.Parse(agent.URL())
	if err != nil {
		panic(err)
	}
	return u.Host
}

// read is Read, with a panic as an error.
func read(s source.Source) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cs, err := s.Read()
	if err != nil {
		return "", err
	}
	return string(cs.Data), nil
}

// watchWithoutToken has keys that need a token to be read.
func watchWithoutToken(t *testing.T, open func(configOptions) source.Source) error {
	agent := consulmock.New(t, consulmock.WithACLDefaultDeny(),
		consulmock.WithTokens(consulmock.Token{SecretID: "good", Rules: `key_prefix "app/" { policy = "read" }`}))
	agent.SetKey("app/a", []byte(`{"x":1}`))
	var mu sync.Mutex
	without := 0
	waits := make(chan struct{}, 1000)
	agent.Inject(consulmock.Fault{Always: true, Match: func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("X-Consul-Token") == "" {
			without++
		}
		waits <- struct{}{}
		return false
	}})
	s := open(configOptions{address: addressOf(agent), token: "good", prefix: "app/", strip: true})
	if _, err := read(s); err != nil {
		return err
	}
	<-waits
	w, err := s.Watch()
	if err != nil {
		return err
	}
	defer w.Stop()
	<-waits // for the watch
	mu.Lock()
	defer mu.Unlock()
	if without > 0 {
		return errors.New("the queries of the watch have no token")
	}
	return nil
}

// keysOf returns an agent with keys, each given as key=value.
func keysOf(t *testing.T, pairs ...string) *consulmock.Server {
	agent := consulmock.New(t)
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		agent.SetKey(key, []byte(value))
	}
	return agent
}

func keyBelowList(t *testing.T, open func(configOptions) source.Source) error {
	agent := keysOf(t, "app/a=[1]", "app/a/b={}")
	_, err := read(open(configOptions{address: addressOf(agent), prefix: "app/"}))
	if err == nil || strings.HasPrefix(err.Error(), "panic") {
		return fmt.Errorf("Read: %v", err)
	}
	return nil
}

func scalar(t *testing.T, open func(configOptions) source.Source) error {
	agent := keysOf(t, "app/limit=10", `app/greeting="hello"`)
	got, err := read(open(configOptions{address: addressOf(agent), prefix: "app/", strip: true}))
	if err != nil || got != `{"greeting":"hello","limit":10}` {
		return fmt.Errorf("Read: %s, %v", got, err)
	}
	return nil
}

func neighbour(t *testing.T, open func(configOptions) source.Source) error {
	agent := keysOf(t, `app/a={"x":1}`, `app2/a={"x":2}`)
	got, err := read(open(configOptions{address: addressOf(agent), prefix: "app", strip: true}))
	if err != nil || got != `{"a":{"x":1}}` {
		return fmt.Errorf("Read: %s, %v", got, err)
	}
	return nil
}

func badClient(t *testing.T, open func(configOptions) source.Source) error {
	_, err := read(open(configOptions{address: "127.0.0.1:1", prefix: "app/", caFile: t.TempDir() + "/missing"}))
	if err == nil || strings.HasPrefix(err.Error(), "panic") {
		return fmt.Errorf("Read: %v", err)
	}
	return nil
}

func write(t *testing.T, open func(configOptions) source.Source) error {
	if err := open(configOptions{address: "127.0.0.1:1", prefix: "app/"}).Write(&source.ChangeSet{}); err == nil {
		return errors.New("Write returns no error")
	}
	return nil
}

// emptied deletes the keys and writes others. Only those are told.
func emptied(t *testing.T, open func(configOptions) source.Source) error {
	agent := keysOf(t, `app/a={"x":1}`)
	w, err := open(configOptions{address: addressOf(agent), prefix: "app/", strip: true}).Watch()
	if err != nil {
		return err
	}
	defer w.Stop()
	if _, err := w.Next(); err != nil {
		return err
	}
	queries := make(chan struct{}, 1000)
	agent.Inject(consulmock.Fault{Path: "/v1/kv/app/", Always: true, Match: func(r *http.Request) bool {
		if r.URL.Query().Has("recurse") {
			queries <- struct{}{}
		}
		return false
	}})
	agent.RemoveKey("app/a")
	go func() {
		<-queries // the next one, when the deletion has been seen
		agent.SetKey("app/a", []byte(`{"x":2}`))
	}()
	cs, err := w.Next()
	if err != nil || string(cs.Data) != `{"a":{"x":2}}` {
		return fmt.Errorf("Next: %s, %v", cs.Data, err)
	}
	return nil
}

// TestConfigOnTheWire reads the same keys with both sources, from the fake and from a
// real agent, if there is one.
func TestConfigOnTheWire(t *testing.T) {
	check := func(t *testing.T, c *consul.Client, address string) {
		for _, p := range []string{
			`micro/config/db={"host":"a","port":1,"ratio":0.25,"on":true,"none":null}`, `micro/config/list=[1,"two",{"three":3}]`,
			`micro/config/deep/er/key={"x":{"y":[]}}`, `micro/config/db/more={"z":1}`, "micro/config/empty=", "other=1",
		} {
			key, value, _ := strings.Cut(p, "=")
			if err := c.KV().Put(context.Background(), &consul.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, strip := range []bool{true, false} {
			var texts []string
			for _, name := range []string{"ours", "theirs"} {
				got, err := read(configSources[name](configOptions{address: address, prefix: "/micro/config/", strip: strip}))
				if err != nil {
					t.Fatal(name, err)
				}
				texts = append(texts, got)
			}
			if texts[0] != texts[1] {
				t.Errorf("ours\n\t%s\ntheirs\n\t%s", texts[0], texts[1])
			}
		}
	}
	t.Run("fake", func(t *testing.T) {
		agent := consulmock.New(t)
		check(t, agent.Client(), addressOf(agent))
	})
	t.Run("real", func(t *testing.T) {
		a := agenttest.Start(t, agenttest.Options{})
		check(t, a.Client(), a.Addr)
	})
}

// TestConfig follows a folder through go-micro's own package.
func TestConfig(t *testing.T) {
	check := func(t *testing.T, c *consul.Client) {
		put := func(key, value string) {
			t.Helper()
			if err := c.KV().Put(context.Background(), &consul.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		put("app/cart/db", `{"host": "first", "port": 1}`)
		put("app/cart/limit", "10")
		cfg, err := config.NewConfig()
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.Load(consulconfig.NewSource(consulconfig.Client(c), consulconfig.Prefix("app/cart"), consulconfig.StripPrefix(true))); err != nil {
			t.Fatal(err)
		}
		host, limit := cfg.Get("db", "host").String(""), cfg.Get("limit").Int(0)
		if host != "first" || limit != 10 {
			t.Errorf("host %q, limit %d", host, limit)
		}
		w, err := cfg.Watch("db", "host")
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
		put("app/cart/db", `{"host": "second", "port": 1}`)
		for {
			v, err := w.Next()
			if err != nil {
				t.Fatal(err)
			}
			if v.String("") == "second" {
				return
			}
		}
	}
	t.Run("fake", func(t *testing.T) { check(t, consulmock.New(t).Client()) })
	t.Run("real", func(t *testing.T) { check(t, agenttest.Start(t, agenttest.Options{}).Client()) })
}
