package gomicro

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func TestAddresses(t *testing.T) {
	for address, want := range map[string]struct {
		host string
		port int
		back string
	}{
		"10.0.0.1:80":    {"10.0.0.1", 80, "10.0.0.1:80"},
		"[::1]:80":       {"::1", 80, "[::1]:80"},
		"host:80":        {"host", 80, "host:80"},
		"queue":          {"queue", 0, "queue"},
		"_INBOX.a1.b2":   {"_INBOX.a1.b2", 0, "_INBOX.a1.b2"},
		"host:http":      {"host:http", 0, "host:http"},
		"host:99999":     {"host:99999", 0, "host:99999"},
		"10.0.0.1":       {"10.0.0.1", 0, "10.0.0.1:0"}, // as the official plugin has it
		":80":            {":80", 0, ":80"},
		"":               {"", 0, ""},
		"[fe80::1%e]:80": {"fe80::1%e", 80, "[fe80::1%e]:80"},
	} {
		host, port := splitAddress(address)
		if host != want.host || port != want.port {
			t.Errorf("%q: got %q and %d", address, host, port)
		}
		if back := joinAddress(host, port); back != want.back && !strings.HasPrefix(address, "host:") && address != ":80" {
			t.Errorf("%q became %q, want %q", address, back, want.back)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, a := range []string{"10.0.0.1:80", "[::1]:80", "queue", "host:http"} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, address string) {
		host, port := splitAddress(address)
		if port < 0 || port > 65535 || address != "" && host == "" {
			t.Errorf("%q: got %q and %d", address, host, port)
		}
		if port == 0 {
			return
		}
		again, p := splitAddress(joinAddress(host, port))
		if again != host || p != port {
			t.Errorf("%q: %q and %d became %q and %d", address, host, port, again, p)
		}
	})
}

func TestChecks(t *testing.T) {
	const minute = time.Minute
	for name, c := range map[string]struct {
		opts    []registry.Option
		address string
		ttl     time.Duration
		want    *consul.AgentServiceCheck
	}{
		"none": {nil, "h:1", 0, nil},
		"TTL":  {nil, "h:1", 90 * time.Second, &consul.AgentServiceCheck{TTL: 90 * time.Second, DeregisterCriticalServiceAfter: 95 * time.Second}},
		"a short TTL": {nil, "h:1", 10 * time.Second,
			&consul.AgentServiceCheck{TTL: 10 * time.Second, DeregisterCriticalServiceAfter: minute + 5*time.Second}},
		"TCP": {[]registry.Option{TCPCheck(2 * minute), HTTPCheck("http", "1", "/", 1, 1)}, "h:1", minute,
			&consul.AgentServiceCheck{TCP: "h:1", Interval: 2 * minute, Status: consul.HealthPassing, DeregisterCriticalServiceAfter: 2*minute + 5*time.Second}},
		"HTTP": {[]registry.Option{HTTPCheck("https", "8080", "/health", 5*time.Second, time.Second)}, "10.0.0.1:1", minute,
			&consul.AgentServiceCheck{HTTP: "https://10.0.0.1:8080/health", Interval: 5 * time.Second, Timeout: time.Second,
				DeregisterCriticalServiceAfter: minute + 5*time.Second}},
		"HTTP over IPv6": {[]registry.Option{HTTPCheck("http", "1", "/", 1, 1)}, "[::1]:2", 0,
			&consul.AgentServiceCheck{HTTP: "http://[::1]:1/", Interval: 1, Timeout: 1, DeregisterCriticalServiceAfter: minute + 5*time.Second}},
		"HTTP over IPv6 with a zone": {[]registry.Option{HTTPCheck("http", "1", "/", 1, 1)}, "[fe80::1%eth0]:2", 0,
			&consul.AgentServiceCheck{HTTP: "http://[fe80::1%25eth0]:1/", Interval: 1, Timeout: 1, DeregisterCriticalServiceAfter: minute + 5*time.Second}},
		"HTTP with a path without a slash": {[]registry.Option{HTTPCheck("http", "1", "health", 1, 1)}, "h:2", 0,
			&consul.AgentServiceCheck{HTTP: "http://h:1/health", Interval: 1, Timeout: 1, DeregisterCriticalServiceAfter: minute + 5*time.Second}},
		"HTTP without a path": {[]registry.Option{HTTPCheck("http", "1", "", 1, 1)}, "h:2", 0,
			&consul.AgentServiceCheck{HTTP: "http://h:1/", Interval: 1, Timeout: 1, DeregisterCriticalServiceAfter: minute + 5*time.Second}},
		"the longest TTL": {nil, "h:1", math.MaxInt64,
			&consul.AgentServiceCheck{TTL: math.MaxInt64, DeregisterCriticalServiceAfter: math.MaxInt64}},
		"intervals of nothing": {[]registry.Option{TCPCheck(0), TCPCheck(-1), HTTPCheck("http", "1", "/", 0, 1), HTTPCheck("http", "1", "/", 1, 0)}, "h:1", 0, nil},
	} {
		var o registry.Options
		for _, opt := range c.opts {
			opt(&o)
		}
		s := settingsOf(&o)
		def, err := s.definition(&registry.Service{Name: "n"}, &registry.Node{Id: "i", Address: c.address}, c.ttl)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(def.Check, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, def.Check, c.want)
		}
	}
}

func TestDefinitionErrors(t *testing.T) {
	for words, c := range map[string]struct {
		settings settings
		service  string
		address  string
	}{
		"no name":   {settings{}, "", "10.0.0.1:80"},
		"host:port": {settings{tcp: time.Second}, "n", "queue-1"},
		"Health":    {settings{health: func(context.Context) (consul.HealthStatus, string) { return "", "" }}, "n", "10.0.0.1:80"},
	} {
		_, err := c.settings.definition(&registry.Service{Name: c.service}, &registry.Node{Id: "i", Address: c.address}, 0)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v, want one with %q", err, words)
		}
	}
}

// Users want tags that gateways and DNS understand.
func TestPlainTags(t *testing.T) {
	var o registry.Options
	Tags("traefik.enable=true", "blue")(&o)
	s := settingsOf(&o)
	def, err := s.definition(&registry.Service{Name: "n"}, &registry.Node{Id: "i"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := def.Tags[len(def.Tags)-2:]; !reflect.DeepEqual(got, []string{"traefik.enable=true", "blue"}) {
		t.Errorf("tags %v", def.Tags)
	}
}

func instance(id, address, version string, status consul.HealthStatus) discovery.Instance {
	return discovery.Instance{ID: id, Service: "n", Address: address, Port: 80, Status: status, Tags: encodeTags(nil, nil, version)}
}

func TestServicesOf(t *testing.T) {
	services := servicesOf("n", []discovery.Instance{
		instance("a", "10.0.0.1", "2", consul.HealthPassing),
		instance("b", "10.0.0.2", "1", consul.HealthWarning),
		instance("c", "10.0.0.3", "2", consul.HealthCritical),
		instance("d", "10.0.0.4", "3", consul.HealthMaintenance),
		instance("e", "10.0.0.5", "2", consul.HealthPassing),
		instance("e", "10.0.0.5", "2", consul.HealthPassing), // by another agent
		instance("e", "10.0.0.6", "2", consul.HealthPassing), // on another machine
		{ID: "p", Service: "n-sidecar-proxy", Address: "10.0.0.1", Status: consul.HealthPassing},
		{ID: "q", Service: "N", Address: "10.0.0.1", Status: consul.HealthPassing},
	})
	var got []string
	for _, s := range services {
		line := s.Name + s.Version
		for _, n := range s.Nodes {
			line += " " + n.Id + "=" + n.Address
		}
		got = append(got, line)
	}
	if want := []string{"n2 a=10.0.0.1:80 e=10.0.0.5:80 e=10.0.0.6:80", "n1 b=10.0.0.2:80"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChangesOf(t *testing.T) {
	// A service is written as its version and the IDs of its nodes; a capital
	// letter is a node at another address.
	read := func(text string) (services []*registry.Service) {
		for _, word := range strings.Fields(text) {
			s := &registry.Service{Name: "n", Version: word[:1]}
			for _, id := range word[1:] {
				s.Nodes = append(s.Nodes, &registry.Node{Id: strings.ToLower(string(id)), Address: string(id)})
			}
			services = append(services, s)
		}
		return services
	}
	for _, c := range []struct{ before, after, want string }{
		{"", "", ""},
		{"", "1ab", "create 1ab"},
		{"1ab", "1ab", ""},
		{"1ab", "1b", "delete 1a, update 1b"},
		{"1a", "1b", "delete 1a, update 1b"},
		{"1a", "1ab", "update 1ab"},
		{"1a", "1A", "update 1A"},
		{"1ab", "", "delete 1ab"},
		{"1a 2b", "2b", "delete 1a"},
		{"1a", "2a", "create 2a, delete 1a"},
		{"1a", "1a 2b", "create 2b"},
		{"1ab 2cd", "2c 3a", "delete 2d, update 2c, create 3a, delete 1ab"},
	} {
		var got []string
		for _, r := range changesOf(read(c.before), read(c.after)) {
			line := r.Action + " " + r.Service.Version
			for _, n := range r.Service.Nodes {
				line += n.Address
			}
			got = append(got, line)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("from %q to %q: got %q, want %q", c.before, c.after, got, c.want)
		}
	}
}
