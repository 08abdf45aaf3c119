// Package interop tests the registry together with the official plugin for
// go-micro, on the wire. It is a module of its own so that the plugin's
// dependencies do not become the registry's.
package interop

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	official "github.com/go-micro/plugins/v4/registry/consul"
	"github.com/hashicorp/consul/api"
	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro"
	"github.com/lictor-go/consul/integrations/gomicro/internal/registrytest"
)

var services = map[string]*registry.Service{
	"plain": {
		Name: "go.micro.srv.greeter", Version: "1.2.3",
		Nodes: []*registry.Node{{Id: "greeter-1", Address: "10.0.0.1:8080", Metadata: map[string]string{
			"transport": "http", "broker": "http", "server": "mucp", "registry": "consul", "protocol": "mucp",
		}}},
		Endpoints: []*registry.Endpoint{
			{
				Name:     "Greeter.Hello",
				Request:  &registry.Value{Name: "Request", Type: "Request", Values: []*registry.Value{{Name: "name", Type: "string"}}},
				Response: &registry.Value{Name: "Response", Type: "Response", Values: []*registry.Value{{Name: "text", Type: "string"}}},
				Metadata: map[string]string{"stream": "false"},
			},
			{Name: "Greeter.Stream", Metadata: map[string]string{"stream": "true"}},
		},
	},
	"letters": {
		Name: "go.micro.srv.ünicode", Version: "v1+ä<&>",
		Nodes: []*registry.Node{{Id: "a b/c", Address: "[::1]:80", Metadata: map[string]string{"k": "ä\"\n<&>"}}},
	},
	"queue": {
		Name: "queue", Version: "",
		Nodes: []*registry.Node{{Id: "queue-1", Address: "queue-name", Metadata: map[string]string{}}},
	},
	"dots in the metadata": {
		Name: "dots", Version: "latest",
		Nodes: []*registry.Node{{Id: "dots-1", Address: "10.0.0.1:1", Metadata: map[string]string{"a.b": "c"}}},
	},
}

// TestInterop registers services with one registry and finds them with the
// other, both by reading and by watching.
func TestInterop(t *testing.T) {
	registrytest.OnAgents(t, func(t *testing.T, c *consul.Client, address string) {
		ours := gomicro.NewRegistry(registry.Addrs(address))
		theirs := official.NewRegistry(registry.Addrs(address))
		for name, s := range services {
			for _, way := range []struct {
				name      string
				from, to  registry.Registry
				refuses   bool // the plugin cannot register this
				noWatched bool // the plugin watches another address than it reads
			}{
				{"ours to theirs", ours, theirs, false, name == "queue"},
				{"theirs to ours", theirs, ours, name == "dots in the metadata", false},
			} {
				t.Run(name+", "+way.name, func(t *testing.T) {
					w, err := way.to.Watch(registry.WatchService(s.Name))
					check(t, err)
					defer w.Stop()
					if way.refuses {
						if err := way.from.Register(s, registry.RegisterTTL(time.Minute)); err == nil {
							t.Error("the plugin registers it now")
						}
						return
					}
					check(t, way.from.Register(s, registry.RegisterTTL(time.Minute)))
					defer way.from.Deregister(s)
					found, err := way.to.GetService(s.Name)
					check(t, err)
					same(t, found, s)
					result, err := w.Next()
					check(t, err)
					if result.Action != "create" {
						t.Errorf("action %s", result.Action)
					}
					if !way.noWatched {
						same(t, []*registry.Service{result.Service}, s)
					}
					// A heartbeat of one keeps alive what the other has registered.
					check(t, c.Agent().PassTTL(context.Background(), "service:"+s.Nodes[0].Id, ""))
					check(t, way.from.Deregister(s))
					result, err = w.Next()
					check(t, err)
					if result.Action != "delete" {
						t.Errorf("action %s", result.Action)
					}
				})
			}
		}
	})
}

// TestTakingOver is a program whose registry is replaced: the new process finds
// what the old one has left, and leaves nothing of it.
func TestTakingOver(t *testing.T) {
	registrytest.OnAgents(t, func(t *testing.T, c *consul.Client, address string) {
		s := services["plain"]
		old := official.NewRegistry(registry.Addrs(address))
		check(t, old.Register(s, registry.RegisterTTL(time.Minute)))
		ours := gomicro.NewRegistry(registry.Addrs(address))
		check(t, ours.Register(s, registry.RegisterTTL(time.Minute)))
		entries, _, err := c.Health().Service(context.Background(), s.Name, &consul.QueryOptions{PassingOnly: true})
		check(t, err)
		checks := 0
		for _, e := range entries {
			for _, check := range e.Checks {
				if check.ServiceID != "" {
					checks++
				}
			}
		}
		if len(entries) != 1 || checks != 1 {
			t.Errorf("%d instances with %d checks, want one with one", len(entries), checks)
		}
		check(t, ours.Deregister(s))
	})
}

// officialFails are the tests of our registry that the official plugin fails. It also
// fails ForeignTags, by a panic, and Changes now and then.
var officialFails = []string{
	"CriticalNodes", "Deregister", "DottedMetadata", "Failover", "OldChecks", "Outage", "PortlessNodes",
	"SecureVerifies", "SeveralNodes", "StopWithResultsLeft", "TCPCheckWithTTL", "TimeoutAndWatch",
	"UnknownService", "Versions", "WatchAll", "WatchOptions",
}

const envOfficial = "GOMICRO_TEST_OFFICIAL" // makes the test program run our tests on the plugin

// TestOfficial puts the plugin through the tests of our registry, in a process of
// its own because they fail, and compares which ones do with the list.
func TestOfficial(t *testing.T) {
	if os.Getenv(envOfficial) != "" {
		fake := consulmock.New(t)
		registrytest.Run(t, registrytest.Adapter{
			New:      official.NewRegistry,
			TCPCheck: official.TCPCheck,
			Connect:  official.Connect,
			Datacenter: func(dc string) registry.Option {
				return official.QueryOptions(&api.QueryOptions{Datacenter: dc})
			},
		}, fake.Client(), strings.TrimPrefix(fake.URL(), "http://"))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^TestOfficial$", "-test.skip", "/^(ForeignTags|Changes)$")
	cmd.Env = append(os.Environ(), envOfficial+"=1")
	out, _ := cmd.CombinedOutput() // the error is that tests have failed
	var fails []string
	for _, m := range regexp.MustCompile(`--- FAIL: TestOfficial/(\w+)`).FindAllStringSubmatch(string(out), -1) {
		fails = append(fails, m[1])
	}
	slices.Sort(fails)
	if !slices.Equal(fails, officialFails) {
		t.Errorf("the plugin fails %v, want %v\n%s", fails, officialFails, out)
	}
}

func same(t *testing.T, found []*registry.Service, s *registry.Service) {
	t.Helper()
	for _, f := range found {
		if len(f.Endpoints) == 0 {
			f.Endpoints = nil
		}
	}
	if want := []*registry.Service{s}; !reflect.DeepEqual(found, want) {
		got, _ := json.Marshal(found)
		wanted, _ := json.Marshal(want)
		t.Errorf("found %s, want %s", got, wanted)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
