//go:build go1.25

package gomicro

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// Init without anything new for the client must not take nodes away: go-micro's
// caches would drop them for a moment.
func TestInitWithoutChangeLeavesNodesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t)
		t.Setenv("CONSUL_HTTP_TOKEN", "of the environment, and not used")
		r := NewRegistry(Config(consul.Config{Transport: fake.Transport()}), registry.Addrs("agent:1"))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		told := collecting(t, r)
		if got := told(); !slices.Equal(got, []string{"create greeter 1"}) {
			t.Fatalf("at first: %v", got)
		}
		for name, opts := range map[string][]registry.Option{
			"nothing":            nil,
			"nil":                {nil},
			"the same addresses": {registry.Addrs("agent:1")},
			"what is not for the client": {registry.Timeout(5 * time.Second), AllowStale(false), Tags(),
				QueryOptions(&consul.QueryOptions{Datacenter: "dc1"}), EmptyGrace(time.Second)},
		} {
			check(t, r.Init(opts...))
			check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
			if got := told(); len(got) != 0 {
				t.Errorf("Init with %s: %v", name, got)
			}
		}
		// Options that make no sense leave the nodes alone, too.
		if err := r.Init(registry.Addrs("a", "b", "http://c")); err == nil {
			t.Error("no error")
		}
		check(t, r.Init(registry.Addrs("agent:1")))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		if got := told(); len(got) != 0 {
			t.Errorf("after options that made no sense: %v", got)
		}
		if n := count(fake, registerPath); n != 1 {
			t.Errorf("registered %d times", n)
		}
		check(t, r.Deregister(greeter("1")))
	})
}

// twoAgents returns two agents, and the option that names each of them.
func twoAgents(t *testing.T) (first, second *consulmock.Server, at func(*consulmock.Server) registry.Option) {
	return consulmock.New(t), consulmock.New(t), func(s *consulmock.Server) registry.Option {
		return Config(consul.Config{Transport: s.Transport()})
	}
}

func TestInitMovesToAnotherAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, at := twoAgents(t)
		r := NewRegistry(at(first))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		check(t, r.Init(at(second)))
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("before a refresh the second agent has %v", got)
		}
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("the second agent has %v", got)
		}
		synctest.Wait()
		if n := count(first, deregisterPath("1")); n != 1 {
			t.Errorf("deregistered %d times at the first agent", n)
		}
		check(t, r.Deregister(greeter("1")))
		for i, agent := range []*consulmock.Server{first, second} {
			if got := nodes(t, NewRegistry(at(agent))); len(got) != 0 {
				t.Errorf("left at agent %d: %v", i+1, got)
			}
		}
	})
}

// Watches that are under way keep the old agent.
func TestInitLeavesWatchesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, at := twoAgents(t)
		r := NewRegistry(at(first))
		told := collecting(t, r, registry.WatchService("greeter"))
		check(t, r.Init(at(second)))
		second.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "2", Port: 80, Address: "10.0.0.2"})
		first.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "1", Port: 80, Address: "10.0.0.1"})
		if got := told(); !slices.Equal(got, []string{"create greeter 1"}) {
			t.Errorf("told %v", got)
		}
		if got := nodes(t, r); !slices.Equal(got, []string{"2"}) {
			t.Errorf("found %v", got)
		}
	})
}

// A node that moves is somewhere all the time.
func TestMovingNodeIsNeverGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, at := twoAgents(t)
		r := NewRegistry(at(first))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		second.Inject(consulmock.Fault{Path: registerPath, Latency: time.Second})
		first.Inject(consulmock.Fault{Path: deregisterPath("1"), Latency: 2 * time.Second})
		check(t, r.Init(at(second)))
		start := time.Now()
		go r.Register(greeter("1"), registry.RegisterTTL(time.Minute))
		for time.Since(start) < 4*time.Second {
			if len(nodes(t, NewRegistry(at(first))))+len(nodes(t, NewRegistry(at(second)))) == 0 {
				t.Fatalf("%s after the refresh there is no node", time.Since(start))
			}
			time.Sleep(100 * time.Millisecond)
		}
		check(t, r.Deregister(greeter("1")))
	})
}

// A node stays where it is while the new agent does not take it, and goes when
// nobody refreshes it.
func TestNodeStaysWhileTheNewAgentIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, at := twoAgents(t)
		old := NewRegistry(at(first))
		r := NewRegistry(at(first))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		second.Stop()
		check(t, r.Init(at(second)))
		for range 10 {
			if err := r.Register(greeter("1"), registry.RegisterTTL(time.Minute)); err == nil {
				t.Error("no error without the new agent")
			}
			time.Sleep(30 * time.Second)
			if got := nodes(t, old); len(got) != 1 {
				t.Fatalf("the first agent has %v", got)
			}
		}
		time.Sleep(time.Minute)
		if got := nodes(t, old); len(got) != 0 {
			t.Errorf("without a refresh the first agent has %v", got)
		}
	})
}

// The old agent may be gone for good: nobody waits for it.
func TestMovingDoesNotWaitForTheOldAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, at := twoAgents(t)
		r := NewRegistry(at(first))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		first.Inject(consulmock.Fault{Hang: make(chan struct{}), Always: true})
		check(t, r.Init(at(second)))
		start := time.Now()
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		took(t, "moving", start, 0)
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		took(t, "the next refresh", start, 5*time.Second) // the timeout of the move
		check(t, r.Deregister(greeter("1")))
	})
}

// The new way may lead to the same agent: with another token, for example.
func TestInitWithAnotherWayToTheSameAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithTokens(
			consulmock.ServiceToken("old", "greeter"), consulmock.ServiceToken("new", "greeter")))
		file := filepath.Join(t.TempDir(), "token")
		config := func(token string) registry.Option {
			check(t, os.WriteFile(file, []byte(token), 0o600))
			return Config(consul.Config{Transport: fake.Transport(), TokenFile: file})
		}
		r := NewRegistry(config("old"))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		check(t, r.Init(config("new"))) // the same options, but another file
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		synctest.Wait()
		if got := nodes(t, r); len(got) != 1 {
			t.Errorf("found %v", got)
		}
		before := len(fake.Requests())
		time.Sleep(50 * time.Second)
		for _, request := range fake.Requests()[before:] {
			if token := request.Header.Get("X-Consul-Token"); token != "new" {
				t.Errorf("%s with the token %q", request.Path, token)
			}
		}
		check(t, r.Deregister(greeter("1")))
		time.Sleep(time.Minute)
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// A token is in no printed value and in no error.
func TestTokensAreNotPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithACLDefaultDeny())
		t.Setenv("CONSUL_HTTP_TOKEN", "sesame")
		t.Setenv("CONSUL_HTTP_AUTH", "me:sesame")
		for name, opts := range map[string][]registry.Option{
			"environment": nil,
			"Config":      {Config(consul.Config{Token: "sesame", Transport: fake.Transport()})},
			"Client":      {Client(fake.Client().WithToken("sesame"))},
			"query":       {Client(fake.Client()), QueryOptions(&consul.QueryOptions{Token: "sesame"})},
			"malformed":   {Config(consul.Config{Token: "sesame and more"})},
			"address":     {registry.Addrs("http://me:sesame@agent")},
			"addresses":   {registry.Addrs("a", "me:sesame@agent")},
		} {
			r := NewRegistry(opts...)
			values := []any{r, r.Options().Context}
			if !strings.HasPrefix(name, "address") { // which are go-micro's own to print
				values = append(values, r.Options(), struct{ r registry.Registry }{r})
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				for _, value := range values {
					if printed := fmt.Sprintf(verb, value); strings.Contains(printed, "sesame") {
						t.Errorf("%s: %s of %T prints the token: %s", name, verb, value, printed)
					}
				}
			}
			if name == "environment" {
				continue // whose agent is not this one
			}
			err := r.Register(greeter("1"), registry.RegisterTTL(time.Minute))
			_, again := r.GetService("greeter")
			if err = errors.Join(err, again); err == nil || strings.Contains(err.Error(), "sesame") {
				t.Errorf("%s: error %v", name, err)
			}
		}
	})
}
