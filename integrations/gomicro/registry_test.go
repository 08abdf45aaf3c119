package gomicro

import (
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/gomicro/internal/registrytest"
)

func TestRegistry(t *testing.T) {
	adapter := registrytest.Adapter{
		New:        NewRegistry,
		TCPCheck:   TCPCheck,
		Connect:    Connect,
		Datacenter: func(dc string) registry.Option { return QueryOptions(&consul.QueryOptions{Datacenter: dc}) },
	}
	registrytest.OnAgents(t, func(t *testing.T, c *consul.Client, address string) {
		registrytest.Run(t, adapter, c, address)
	})
}

// TestQueryOptions looks at what reads and watches ask the agent.
func TestQueryOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opts  []registry.Option
		dc    string
		stale bool
	}{
		"default":                  {nil, "", true},
		"nil":                      {[]registry.Option{QueryOptions(nil)}, "", true},
		"options":                  {[]registry.Option{QueryOptions(&consul.QueryOptions{Datacenter: "dc1"})}, "dc1", false},
		"options, stale":           {[]registry.Option{QueryOptions(&consul.QueryOptions{AllowStale: true})}, "", true},
		"not stale":                {[]registry.Option{AllowStale(false)}, "", false},
		"options, AllowStale wins": {[]registry.Option{AllowStale(false), QueryOptions(&consul.QueryOptions{AllowStale: true})}, "", false},
		"what is not for reads": {[]registry.Option{QueryOptions(&consul.QueryOptions{
			WaitIndex: 1 << 62, WaitHash: "x", WaitTime: time.Hour, AllowStale: true})}, "", true},
	} {
		fake := consulmock.New(t)
		fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", Port: 80})
		r := NewRegistry(append([]registry.Option{Client(fake.Client())}, c.opts...)...)
		if n := len(fake.Requests()); n > 0 {
			t.Errorf("%s: %d requests before there was a call", name, n)
		}
		_, getErr := r.GetService("greeter")
		list, listErr := r.ListServices()
		w, watchErr := r.Watch()
		if err := errors.Join(getErr, listErr, watchErr); err != nil {
			t.Fatal(err)
		}
		// By their names, and with nothing else.
		if want := []*registry.Service{{Name: "consul"}, {Name: "greeter"}}; !reflect.DeepEqual(list, want) {
			t.Errorf("%s: listed %v", name, list)
		}
		for range 2 {
			if _, err := w.Next(); err != nil {
				t.Error(err)
			}
		}
		w.Stop()
		paths := map[string]int{}
		for _, request := range fake.Requests() {
			q := request.Query
			if q.Get("dc") != c.dc || q.Has("stale") != c.stale || q.Has("hash") || q.Get("index") == "4611686018427387904" {
				t.Errorf("%s: asked for %s?%s", name, request.Path, q.Encode())
			}
			paths[request.Path]++
		}
		if paths["/v1/catalog/services"] < 2 || paths["/v1/health/service/greeter"] < 2 || len(paths) != 3 {
			t.Errorf("%s: asked for %v", name, paths)
		}
	}
}

// TestClientOption has a client and other options about the agent, which then have
// no effect, whatever they are.
func TestClientOption(t *testing.T) {
	fake := consulmock.New(t)
	t.Setenv("CONSUL_HTTP_SSL", "maybe")
	r := NewRegistry(Client(fake.Client()), Config(consul.Config{Address: "a b"}), registry.Addrs("a", "http://b"), registry.Secure(true))
	if _, err := r.ListServices(); err != nil {
		t.Error(err)
	}
}

// TestServiceMetadata is not stored: the official plugin has no place for it.
func TestServiceMetadata(t *testing.T) {
	r := NewRegistry(Client(consulmock.New(t).Client()))
	s := greeterAt("1", "10.0.0.1:80")
	s.Metadata = map[string]string{"k": "v"}
	if err := r.Register(s); err != nil {
		t.Fatal(err)
	}
	defer r.Deregister(s)
	services, err := r.GetService("greeter")
	if err != nil || len(services) != 1 || services[0].Metadata != nil {
		t.Errorf("found %+v, error %v", services, err)
	}
}

// TestLoggerAndEvents looks at what is logged and told of a registration and a watch.
func TestLoggerAndEvents(t *testing.T) {
	fake := consulmock.New(t)
	var mu sync.Mutex
	var log strings.Builder
	events := map[string]bool{}
	r := NewRegistry(Client(fake.Client().WithToken("sesame")),
		Logger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		OnEvent(func(e discovery.Event) {
			mu.Lock()
			defer mu.Unlock()
			events[reflect.TypeOf(e).Name()] = true
		}))
	s := greeterAt("1", "10.0.0.1:80")
	w, err := r.Watch(registry.WatchService("greeter"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	if err := r.Deregister(s); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{"RegisteredEvent", "DeregisteredEvent", "InstancesChangedEvent"} {
		if !events[name] {
			t.Errorf("no %s among %v", name, events)
		}
	}
	if printed := log.String(); !strings.Contains(printed, "greeter") || strings.Contains(printed, "sesame") {
		t.Errorf("logged %q", printed)
	}
}
