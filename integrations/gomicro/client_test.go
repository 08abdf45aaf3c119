package gomicro

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
)

// TestAddrs looks at the address that a client has in the end.
func TestAddrs(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "env:1")
	secure, tlsConfig := registry.Secure(true), registry.TLSConfig(&tls.Config{})
	at := func(address string) registry.Option { return Config(consul.Config{Address: address}) }
	for name, c := range map[string]struct {
		opts      []registry.Option
		want      string
		transport bool // is of this package
	}{
		"none":                        {nil, "http://env:1", false},
		"configuration":               {[]registry.Option{at("cfg:1")}, "http://cfg:1", false},
		"empty":                       {[]registry.Option{registry.Addrs("", " ")}, "http://env:1", false},
		"one that is not empty":       {[]registry.Option{registry.Addrs("", "https://a:1", "")}, "https://a:1", false},
		"without port":                {[]registry.Option{registry.Addrs("a")}, "http://a:8500", false},
		"with port":                   {[]registry.Option{registry.Addrs("a:1")}, "http://a:1", false},
		"with a prefix":               {[]registry.Option{registry.Addrs("a/prefix")}, "http://a:8500/prefix", false},
		"port only":                   {[]registry.Option{registry.Addrs(":1")}, "http://127.0.0.1:1", false},
		"IPv6":                        {[]registry.Option{registry.Addrs("::1")}, "http://[::1]:8500", false},
		"IPv6 in brackets":            {[]registry.Option{registry.Addrs("[::1]")}, "http://[::1]:8500", false},
		"a socket":                    {[]registry.Option{registry.Addrs("unix:///consul.sock")}, "http://localhost", false},
		"https":                       {[]registry.Option{registry.Addrs("https://a:1")}, "https://a:1", false},
		"two":                         {[]registry.Option{registry.Addrs("a", "b:1")}, "http://a:8500", true},
		"two, IPv6":                   {[]registry.Option{registry.Addrs("::1", "[::2]:1", "[::3]")}, "http://[::1]:8500", true},
		"secure":                      {[]registry.Option{secure}, "https://env:1", false},
		"secure, with an address":     {[]registry.Option{secure, registry.Addrs("a:1")}, "https://a:1", false},
		"secure, without port":        {[]registry.Option{secure, registry.Addrs("a")}, "https://a:8500", false},
		"secure, with a prefix":       {[]registry.Option{secure, registry.Addrs("a/prefix")}, "https://a:8500/prefix", false},
		"secure, port only":           {[]registry.Option{secure, registry.Addrs(":1")}, "https://127.0.0.1:1", false},
		"secure, IPv6":                {[]registry.Option{secure, registry.Addrs("::1")}, "https://[::1]:8500", false},
		"secure, https":               {[]registry.Option{secure, registry.Addrs("https://a:1/prefix")}, "https://a:1/prefix", false},
		"secure, http":                {[]registry.Option{secure, registry.Addrs("http://a:1")}, "https://a:1", false},
		"secure, two":                 {[]registry.Option{secure, registry.Addrs("a:1", "b:1")}, "https://a:1", true},
		"secure, default agent":       {[]registry.Option{secure, Config(consul.Config{})}, "https://127.0.0.1:8501", false},
		"secure, http configured":     {[]registry.Option{secure, at("http://cfg:1")}, "https://cfg:1", false},
		"secure, bare and configured": {[]registry.Option{secure, at("cfg")}, "https://cfg:8500", false},
		"TLS":                         {[]registry.Option{tlsConfig, registry.Addrs("a:1")}, "https://a:1", false},
		"TLS, https":                  {[]registry.Option{tlsConfig, registry.Addrs("https://a:1")}, "https://a:1", false},
		"TLS, http":                   {[]registry.Option{tlsConfig, registry.Addrs("http://a:1")}, "https://a:1", false},
		"TLS, two":                    {[]registry.Option{tlsConfig, registry.Addrs("a:1", "b:1")}, "https://a:1", true},
		"TLS, default agent":          {[]registry.Option{tlsConfig, Config(consul.Config{})}, "https://127.0.0.1:8501", false},
		"TLS, instead of Config's": {[]registry.Option{tlsConfig, Config(consul.Config{Address: "https://cfg:1",
			TLS: consul.TLSConfig{CAFile: "no-such-file"}})}, "https://cfg:1", false},
		"https configured, addresses": {[]registry.Option{at("https://cfg:1"), registry.Addrs("a:1")}, "https://a:1", false},
		"https configured, http":      {[]registry.Option{at("https://cfg:1"), registry.Addrs("http://a:1")}, "https://a:1", false},
	} {
		var o registry.Options
		for _, opt := range c.opts {
			opt(&o)
		}
		s := settingsOf(&o)
		src, err := sourceOf(&o, &s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cfg, err := src.ClientConfig()
		if err != nil || (cfg.Transport != nil) != c.transport {
			t.Errorf("%s: transport %t, error %v; want %t", name, cfg.Transport != nil, err, c.transport)
		}
		if cfg.TLS.CAFile != "" {
			t.Errorf("%s: a file of Config is read: %s", name, cfg.TLS.CAFile)
		}
		if (cfg.TLS.Base != nil) != strings.HasPrefix(name, "TLS") {
			t.Errorf("%s: the configuration of TLS is %v", name, cfg.TLS.Base)
		}
		client, err := consul.NewClient(cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := fmt.Sprint(client); got != "consul.Client{"+c.want+"}" {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestAddrsOfEnvironment has TLS demanded by the environment: registry.Addrs must
// not leave it out, or the token of the environment would be sent in clear.
func TestAddrsOfEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		ssl, address string
		addrs        []string
		want         string
	}{
		"nothing":        {"", "", nil, "http://127.0.0.1:8500"},
		"SSL":            {"true", "", nil, "https://127.0.0.1:8500"},
		"SSL, addresses": {"true", "", []string{"a"}, "https://a:8500"},
		"SSL, several":   {"true", "", []string{"a", "b"}, "https://a:8500"},
		"https":          {"", "https://env:1", []string{"a:1"}, "https://a:1"},
		"https and http": {"", "https://env:1", []string{"http://a:1"}, "https://a:1"},
	} {
		t.Setenv("CONSUL_HTTP_SSL", c.ssl)
		t.Setenv("CONSUL_HTTP_ADDR", c.address)
		r := NewRegistry(registry.Addrs(c.addrs...)).(*consulRegistry)
		if got := fmt.Sprint(r.client); r.err != nil || got != "consul.Client{"+c.want+"}" {
			t.Errorf("%s: %s, error %v; want %s", name, got, r.err, c.want)
		}
	}
	t.Setenv("CONSUL_HTTP_SSL", "true")
	t.Setenv("CONSUL_HTTP_ADDR", "")
	if err := NewRegistry().Init(registry.Addrs("unix:///consul.sock")); err == nil || !strings.Contains(err.Error(), "CONSUL_HTTP_SSL") {
		t.Errorf("a socket: %v", err)
	}
}

func TestWrongOptions(t *testing.T) {
	for name, opts := range map[string][]registry.Option{
		"a URL among addresses":      {registry.Addrs("a", "http://b")},
		"a malformed address":        {registry.Addrs("a:b:c:d")},
		"one of several":             {registry.Addrs("a", "b:c:d:e")},
		"a port of several":          {registry.Addrs("a", "b:http")},
		"several, own transport":     {registry.Addrs("a", "b"), Config(consul.Config{Transport: http.DefaultTransport})},
		"TLS to a socket":            {registry.Addrs("unix:///consul.sock"), registry.Secure(true)},
		"TLS to a configured socket": {registry.TLSConfig(&tls.Config{}), Config(consul.Config{Address: "unix:///consul.sock"})},
		"an unknown scheme":          {registry.Addrs("htps://a"), registry.Secure(true)},
		"no client":                  {Client(nil)},
		"health without heartbeats":  {TCPCheck(time.Second), Health(func(context.Context) (consul.HealthStatus, string) { return consul.HealthPassing, "" })},
		"a missing file":             {Config(consul.Config{Address: "https://a:1", TLS: consul.TLSConfig{CAFile: "no-such-file"}})},
		"the same, two agents":       {Config(consul.Config{Address: "https://a:1", TLS: consul.TLSConfig{CAFile: "no-such-file"}}), registry.Addrs("a", "b")},
	} {
		t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
		r := NewRegistry(opts...)
		s := greeterAt("1", "10.0.0.1:80")
		_, get := r.GetService("greeter")
		_, list := r.ListServices()
		_, watch := r.Watch()
		for method, err := range map[string]error{
			"Init": r.Init(), "Register": r.Register(s), "Deregister": r.Deregister(s), "GetService": get, "ListServices": list, "Watch": watch,
		} {
			if err == nil {
				t.Errorf("%s: %s has no error", name, method)
			}
		}
		right := []registry.Option{registry.Addrs("127.0.0.1:1"), registry.Secure(false), registry.TLSConfig(nil), Config(consul.Config{}), Health(nil)}
		if name == "no client" {
			right = append(right, Client(&consul.Client{}))
		}
		if err := r.Init(right...); err != nil {
			t.Errorf("%s: put right: %v", name, err)
		}
		if got := r.Options().Addrs; !reflect.DeepEqual(got, []string{"127.0.0.1:1"}) {
			t.Errorf("%s: Options has the addresses %v", name, got)
		}
	}
	t.Setenv("CONSUL_HTTP_SSL", "maybe")
	if _, err := NewRegistry().GetService("greeter"); err == nil || !strings.Contains(err.Error(), "CONSUL_HTTP_SSL") {
		t.Errorf("with a malformed environment: %v", err)
	}
}

func greeterAt(id, address string) *registry.Service {
	return &registry.Service{Name: "greeter", Version: "1", Nodes: []*registry.Node{
		{Id: id, Address: address, Metadata: map[string]string{}},
	}}
}

// The plugin, v1.2.1, draws in go-micro's command line, which it puts itself
// into: 444 packages, as go list -deps shows, where this one has 213.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, "go-micro.dev/v4/util/cmd") || strings.HasPrefix(pkg, "github.com/hashicorp/") {
			t.Errorf("depends on %s", pkg)
		}
	}
}
