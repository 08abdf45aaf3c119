//go:build go1.25

package gomicro

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/registry/cache"
	"go-micro.dev/v4/selector"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// The context of a watch ends it as Stop does.
func TestWatchContext(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		for _, opts := range [][]registry.WatchOption{{registry.WatchService("greeter")}, nil} {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			w, err := r.Watch(append(opts, registry.WatchContext(ctx))...)
			check(t, err)
			time.Sleep(time.Hour)
			cancel()
			if result, err := w.Next(); err != registry.ErrWatcherStopped {
				t.Errorf("got %v, error %v", result, err)
			}
		}
	})
}

// Agents allow a client 200 connections, of which heartbeats need some too.
func TestWatchOfMoreServicesThanConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithMaxConnsPerClient(200))
		c := fake.Client()
		defer c.CloseIdleConnections()
		const services = 300
		for i := range services {
			fake.AddService(&consul.AgentServiceRegistration{Name: fmt.Sprintf("s%d", i), Port: 80, Address: "10.0.0.1",
				Check: &consul.AgentServiceCheck{TTL: 1000 * time.Hour, Status: consul.HealthPassing}})
		}
		w, err := NewRegistry(Client(c)).Watch()
		check(t, err)
		defer w.Stop()
		seen := make(map[string]bool)
		for len(seen) < services+1 { // consul itself is one
			result, err := w.Next()
			check(t, err)
			if result.Action == "create" {
				seen[result.Service.Name] = true
			}
		}
		synctest.Wait()
		open := 0
		for _, request := range fake.Requests() {
			if request.Status == 0 {
				open++
			}
		}
		if open != 112+1 { // and one for the list of all
			t.Errorf("%d queries wait, want 112 for services", open)
		}
		for _, name := range []string{"s0", "s150", "s299"} {
			start := time.Now()
			fake.SetCheckStatus("service:"+name, consul.HealthCritical, "")
			result, err := w.Next()
			check(t, err)
			if result.Action != "delete" || result.Service.Name != name {
				t.Errorf("%s of %s, want delete of %s", result.Action, result.Service.Name, name)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		}
	})
}

// go-micro's clients see the registry through a cache and a selector.
func TestSelector(t *testing.T) {
	for name, strategy := range map[string]selector.Strategy{"random": selector.Random, "round robin": selector.RoundRobin} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
				s := selector.NewSelector(selector.Registry(r), selector.SetStrategy(strategy))
				picked := func() (ids []string) {
					next, err := s.Select("greeter")
					if err != nil {
						return []string{err.Error()}
					}
					for range 20 {
						n, err := next()
						check(t, err)
						ids = append(ids, n.Id)
					}
					slices.Sort(ids)
					return slices.Compact(ids)
				}
				if got := picked(); !slices.Equal(got, []string{selector.ErrNotFound.Error()}) {
					t.Errorf("without a service: %v", got)
				}
				for _, id := range []string{"1", "2", "3"} {
					check(t, r.Register(greeter(id)))
				}
				time.Sleep(time.Second)
				if got := picked(); !slices.Equal(got, []string{"1", "2", "3"}) {
					t.Errorf("with three nodes: %v", got)
				}
				fake.AddCheck(&consul.AgentCheckRegistration{Name: "broken", ServiceID: "2",
					AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}})
				time.Sleep(time.Second)
				if got := picked(); !slices.Equal(got, []string{"1", "3"}) {
					t.Errorf("without the second: %v", got)
				}
				check(t, r.Deregister(greeter("1")))
				check(t, r.Deregister(greeter("3")))
				time.Sleep(time.Second)
				if got := picked(); !slices.Equal(got, []string{selector.ErrNotFound.Error()}) {
					t.Errorf("without all: %v", got)
				}
				check(t, r.Deregister(greeter("2")))
				check(t, s.Close())
				time.Sleep(time.Second)
			})
		})
	}
}

// While the agent is away the cache keeps what it has, however long.
func TestCacheDuringOutage(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		c := cache.New(r)
		fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "1", Port: 80, Address: "10.0.0.1"})
		_, err := c.GetService("greeter")
		check(t, err)
		time.Sleep(time.Second)
		fake.Stop()
		time.Sleep(time.Hour)
		services, err := c.GetService("greeter")
		if err != nil || len(services) != 1 {
			t.Errorf("during the outage: %v, error %v", services, err)
		}
		fake.Start()
		time.Sleep(31 * time.Second)
		fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "2", Port: 80, Address: "10.0.0.2"})
		time.Sleep(time.Second)
		services, err = c.GetService("greeter")
		if err != nil || len(services) != 1 || len(services[0].Nodes) != 2 {
			t.Errorf("afterwards: %v, error %v", services, err)
		}
		c.Stop()
		time.Sleep(time.Second)
	})
}

// What a consumer does with a result is its own business: go-micro's cache and the
// programs above it change what they are given.
func TestResultsShareNothing(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		s := greeter("1")
		s.Nodes[0].Metadata["zone"] = "a"
		s.Endpoints = []*registry.Endpoint{{
			Name: "Greeter.Hello", Metadata: map[string]string{"stream": "false"},
			Request: &registry.Value{Name: "Request", Values: []*registry.Value{{Name: "name", Type: "string"}}},
		}}
		check(t, r.Register(s))
		w, err := r.Watch(registry.WatchService("greeter"))
		check(t, err)
		defer w.Stop()
		spoil := func(s *registry.Service) {
			s.Nodes[0].Metadata["zone"] = "spoilt"
			s.Endpoints[0].Metadata["stream"] = "spoilt"
			s.Endpoints[0].Request.Name = "spoilt"
			s.Endpoints[0].Request.Values[0].Name = "spoilt"
			s.Endpoints[0], s.Nodes[0] = nil, nil
		}
		unspoilt := func(result *registry.Result, action string, id string) *registry.Service {
			t.Helper()
			got := result.Service
			if result.Action != action || got.Nodes[0].Id != id || got.Nodes[0].Metadata["zone"] != "a" ||
				got.Endpoints[0].Metadata["stream"] != "false" || got.Endpoints[0].Request.Values[0].Name != "name" {
				t.Errorf("%s of %+v, want %s of %s", result.Action, got, action, id)
			}
			return got
		}
		next := func() *registry.Result {
			t.Helper()
			result, err := w.Next()
			check(t, err)
			return result
		}
		spoil(unspoilt(next(), "create", "1"))
		two := greeter("2")
		two.Nodes[0].Metadata["zone"], two.Endpoints = "a", s.Endpoints
		check(t, r.Register(two))
		spoil(unspoilt(next(), "update", "1"))
		found, err := r.GetService("greeter")
		check(t, err)
		spoil(found[0])
		check(t, r.Deregister(s))
		spoil(unspoilt(next(), "delete", "1"))
		spoil(unspoilt(next(), "update", "2"))
		check(t, r.Deregister(two))
		unspoilt(next(), "delete", "2")
	})
}

// collecting returns a watcher whose results are in a list, as "action name id",
// when everything has come to rest.
func collecting(t *testing.T, r registry.Registry, opts ...registry.WatchOption) (told func() []string) {
	t.Helper()
	w, err := r.Watch(opts...)
	check(t, err)
	t.Cleanup(w.Stop)
	var mu sync.Mutex
	var list []string
	go func() {
		for {
			result, err := w.Next()
			if err != nil {
				return
			}
			mu.Lock()
			for _, n := range result.Service.Nodes {
				if result.Service.Name != "consul" {
					list = append(list, result.Action+" "+result.Service.Name+" "+n.Id)
				}
			}
			mu.Unlock()
		}
	}()
	return func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		defer func() { list = nil }()
		return list
	}
}

// EmptyGrace keeps the last nodes for exactly as long as it says, of one service and
// of all.
func TestEmptyGrace(t *testing.T) {
	for name, opts := range map[string][]registry.WatchOption{"one service": {registry.WatchService("greeter")}, "all services": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := consulmock.New(t)
				add := func(id string) {
					fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: id, Port: 80, Address: "10.0.0.1"})
					time.Sleep(5 * time.Second) // queries may pause after failures
				}
				told := collecting(t, NewRegistry(Client(fake.Client()), EmptyGrace(time.Minute)), opts...)
				want := func(when string, want ...string) {
					t.Helper()
					if got := told(); !slices.Equal(got, want) {
						t.Errorf("%s: %q, want %q", when, got, want)
					}
				}
				add("1")
				want("at first", "create greeter 1")
				add("2")
				want("a second node", "update greeter 1", "update greeter 2")
				fake.RemoveService("1")
				want("one of two is gone", "delete greeter 1", "update greeter 2")

				// The agent comes back and knows nothing.
				fake.Restart(false)
				time.Sleep(50 * time.Second)
				want("the agent is empty")
				add("2")
				want("the same node is back")
				time.Sleep(time.Hour)
				want("an hour later")
				fake.Restart(false)
				time.Sleep(50 * time.Second)
				add("3")
				want("another node is there", "delete greeter 2", "update greeter 3")

				// It stays empty.
				fake.RemoveService("3")
				time.Sleep(59 * time.Second)
				want("empty for 59 s")
				time.Sleep(2 * time.Second)
				want("empty for 61 s", "delete greeter 3")
				add("4")
				want("afterwards", "create greeter 4")
				fake.RemoveService("4")
				synctest.Wait() // Stop does not wait for the end of the time
			})
		})
	}
}

// A client whose agent forgets everything goes on calling the last nodes until they
// have been registered again.
func TestSelectorWhileTheAgentIsEmpty(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		s := selector.NewSelector(selector.Registry(NewRegistry(Client(fake.Client()), EmptyGrace(30*time.Second))))
		selected := func() (failed int) {
			for range 100 {
				if _, err := s.Select("greeter"); err != nil {
					failed++
				}
				time.Sleep(time.Second)
				if failed == 0 {
					check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
				}
			}
			return failed
		}
		if failed := selected(); failed > 0 {
			t.Errorf("%d of 100 failed at first", failed)
		}
		fake.Restart(false)
		if services, err := r.GetService("greeter"); err != registry.ErrNotFound { // which has no memory
			t.Errorf("GetService: %v, error %v", services, err)
		}
		for range 20 {
			time.Sleep(time.Second)
			if _, err := s.Select("greeter"); err != nil {
				t.Fatalf("while the agent is empty: %v", err)
			}
		}
		if failed := selected(); failed > 0 {
			t.Errorf("%d of 100 failed afterwards", failed)
		}
		check(t, r.Deregister(greeter("1")))
		time.Sleep(31 * time.Second)
		if _, err := s.Select("greeter"); err != selector.ErrNotFound {
			t.Errorf("when the time is over: %v", err)
		}
		check(t, s.Close())
		time.Sleep(time.Second)
	})
}

// When the agent is back, however long it was away, what has changed is told within
// 5 s.
func TestWatchAfterAnOutage(t *testing.T) {
	for name, opts := range map[string][]registry.WatchOption{"one service": {registry.WatchService("greeter")}, "all services": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := consulmock.New(t)
				fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "1", Port: 80, Address: "10.0.0.1"})
				told := collecting(t, NewRegistry(Client(fake.Client())), opts...)
				told()
				for _, away := range []time.Duration{time.Second, time.Minute, time.Hour} {
					fake.Stop()
					time.Sleep(away)
					if got := told(); len(got) != 0 {
						t.Errorf("during an outage of %s: %v", away, got)
					}
					fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: away.String(), Port: 80, Address: "10.0.0.2"})
					fake.Start()
					time.Sleep(5 * time.Second)
					if got := told(); !slices.Contains(got, "update greeter "+away.String()) {
						t.Errorf("5 s after an outage of %s: %v", away, got)
					}
				}
			})
		})
	}
}

// Each Select of go-micro starts at a random node, with RoundRobin too.
func TestSelectStartsAtRandom(t *testing.T) {
	bubble(t, func(t *testing.T, fake *consulmock.Server, r registry.Registry) {
		check(t, r.Register(greeter("1")))
		check(t, r.Register(greeter("2")))
		s := selector.NewSelector(selector.Registry(r), selector.SetStrategy(selector.RoundRobin))
		inTurn, last := 0, ""
		const selects = 200
		for range selects {
			next, err := s.Select("greeter")
			check(t, err)
			one, err := next()
			check(t, err)
			two, err := next()
			check(t, err)
			if one.Id == two.Id {
				t.Fatal("the function that Select returns does not go on")
			}
			if one.Id != last {
				inTurn++
			}
			last = one.Id
		}
		if inTurn > selects*3/4 {
			t.Errorf("%d of %d calls went to another node than the one before", inTurn, selects)
		}
		check(t, s.Close())
		check(t, r.Deregister(greeter("1")))
		check(t, r.Deregister(greeter("2")))
		time.Sleep(time.Second)
	})
}

// go-micro's cache, which is in front of the registry in selectors and in the router of the API
// gateway, makes ErrNotFound of an empty answer by itself.
func TestCacheMakesErrNotFound(t *testing.T) {
	for name, r := range map[string]registry.Registry{
		"nil and no error, as the plugin": nothing{},
		"this registry":                   NewRegistry(Client(consulmock.New(t).Client())),
	} {
		c := cache.New(r, cache.WithTTL(0)) // which does not watch
		if services, err := c.GetService("greeter"); err != registry.ErrNotFound {
			t.Errorf("%s: %v, error %v", name, services, err)
		}
	}
}

// nothing is a registry that answers as the official plugin does about unknown
// services.
type nothing struct{ registry.Registry }

func (nothing) GetService(string, ...registry.GetOption) ([]*registry.Service, error) {
	return nil, nil
}

// A list of all services that lacks one for a moment, as that of a server that lags
// behind, is forgotten when the next list has it again: its nodes are there.
func TestServiceThatIsNotListedForAMoment(t *testing.T) {
	for name, grace := range map[string]time.Duration{"no grace": 0, "grace": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := consulmock.New(t)
				fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "1", Port: 80, Address: "10.0.0.1"})
				told := collecting(t, NewRegistry(Client(fake.Client()), EmptyGrace(grace)))
				if got := told(); !slices.Equal(got, []string{"create greeter 1"}) {
					t.Fatalf("at first: %v", got)
				}
				fake.Inject(consulmock.Fault{Path: "/v1/catalog/services", Body: `{"consul":[]}`, Index: 1_000_000})
				time.Sleep(time.Hour)
				want := []string{"delete greeter 1", "create greeter 1"}
				if grace > 0 {
					want = nil
				}
				if got := told(); !slices.Equal(got, want) {
					t.Errorf("told %v, want %v", got, want)
				}
			})
		})
	}
}
