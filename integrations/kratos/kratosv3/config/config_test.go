package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-kratos/kratos/v3/config"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	consulconfig "github.com/lictor-go/consul/integrations/kratos/kratosv3/config"
	"github.com/lictor-go/consul/internal/agenttest"
)

// onEachAgent runs the test with the fake and with a real agent, if there is one.
func onEachAgent(t *testing.T, test func(t *testing.T, c *consul.Client)) {
	t.Run("fake", func(t *testing.T) { test(t, consulmock.New(t).Client()) })
	t.Run("real", func(t *testing.T) { test(t, agenttest.Start(t, agenttest.Options{}).Client()) })
}

func put(t *testing.T, c *consul.Client, key, value string) {
	t.Helper()
	if err := c.KV().Put(t.Context(), &consul.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatal(err)
	}
}

// await waits for what kratos tells an observer.
func await(t *testing.T, seen <-chan string, want string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for got := ""; got != want; {
		select {
		case got = <-seen:
		case <-timeout:
			t.Fatalf("not %q within a minute, but %q", want, got)
		}
	}
}

// TestConfig runs the configuration of kratos on a folder that is edited.
func TestConfig(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		put(t, c, "app/cart/a.yaml", "server:\n  addr: first\n  timeout: 1s\n")
		put(t, c, "app/cart/b.json", `{"server": {"addr": "second"}}`)
		put(t, c, "app/cart/greeting", "hello")
		put(t, c, "app/cart/", "")
		put(t, c, "app/cart2/z.yaml", "server:\n  addr: neighbour\n")
		source, err := consulconfig.New(c, "app/cart", nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg := config.New(config.WithSource(source))
		if err := cfg.Load(); err != nil {
			t.Fatal(err)
		}
		defer cfg.Close()
		var settings struct {
			Server struct{ Addr, Timeout string }
		}
		scan := func(want string) {
			t.Helper()
			if err := cfg.Scan(&settings); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(settings.Server); got != want {
				t.Errorf("settings %s, want %s", got, want)
			}
		}
		scan("{second 1s}")
		if greeting, err := cfg.Value("greeting").String(); err != nil || greeting != "hello" {
			t.Errorf("%q, %v", greeting, err)
		}
		seen := make(chan string, 100)
		for _, key := range []string{"server.timeout", "server.addr", "greeting"} {
			if err := cfg.Watch(key, func(_ string, v config.Value) {
				s, _ := v.String()
				seen <- s
			}); err != nil {
				t.Fatal(err)
			}
		}

		// A key that comes later in the order still wins.
		put(t, c, "app/cart/a.yaml", "server:\n  addr: first again\n  timeout: 2s\n")
		await(t, seen, "2s")
		scan("{second 2s}")
		put(t, c, "app/cart/greeting", "good morning")
		await(t, seen, "good morning")
		put(t, c, "app/cart/c.yaml", "server:\n  addr: third\n")
		await(t, seen, "third")
		scan("{third 2s}")
		if err := c.KV().Delete(t.Context(), "app/cart/c.yaml", nil); err != nil {
			t.Fatal(err)
		}
		await(t, seen, "second") // what the others have is merged again
		if err := cfg.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLoadFails names the folder.
func TestLoadFails(t *testing.T) {
	agent := consulmock.New(t, consulmock.WithACLDefaultDeny())
	source, err := consulconfig.New(agent.Client(), "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := config.New(config.WithSource(source)).Load(); err == nil {
		t.Error("loaded a folder that may not be read")
	}
	if s, err := consulconfig.New(agent.Client(), "", nil); s != nil || err == nil {
		t.Errorf("without a prefix: %v, %v", s, err)
	}
}
