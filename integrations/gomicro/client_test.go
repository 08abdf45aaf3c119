package gomicro

import (
	"crypto/tls"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
)

func TestAddrs(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "env:1")
	secure, tlsConfig := registry.Secure(true), registry.TLSConfig(&tls.Config{})
	for name, c := range map[string]struct {
		opts      []registry.Option
		want      string // of Config.Address
		transport bool   // is of this package
	}{
		"none":                        {nil, "env:1", false},
		"configuration":               {[]registry.Option{Config(consul.Config{Address: "cfg:1"})}, "cfg:1", false},
		"empty":                       {[]registry.Option{registry.Addrs("", " ")}, "env:1", false},
		"without port":                {[]registry.Option{registry.Addrs("a")}, "a:8500", false},
		"with port":                   {[]registry.Option{registry.Addrs("a:1")}, "a:1", false},
		"IPv6":                        {[]registry.Option{registry.Addrs("::1")}, "[::1]:8500", false},
		"IPv6 in brackets":            {[]registry.Option{registry.Addrs("[::1]")}, "[::1]:8500", false},
		"a URL":                       {[]registry.Option{registry.Addrs("unix:///consul.sock")}, "unix:///consul.sock", false},
		"two":                         {[]registry.Option{registry.Addrs("a", "b:1")}, "a:8500", true},
		"secure":                      {[]registry.Option{secure}, "https://env:1", false},
		"secure, with an address":     {[]registry.Option{secure, registry.Addrs("a:1")}, "https://a:1", false},
		"secure, two":                 {[]registry.Option{secure, registry.Addrs("a:1", "b:1")}, "https://a:1", true},
		"TLS":                         {[]registry.Option{tlsConfig, registry.Addrs("a:1")}, "https://a:1", false},
		"TLS, two":                    {[]registry.Option{tlsConfig, registry.Addrs("a:1", "b:1")}, "https://a:1", true},
		"TLS, default agent":          {[]registry.Option{tlsConfig, Config(consul.Config{})}, "https://127.0.0.1:8501", false},
		"secure, http configured":     {[]registry.Option{secure, Config(consul.Config{Address: "http://cfg:1"})}, "https://cfg:1", false},
		"https configured, addresses": {[]registry.Option{Config(consul.Config{Address: "https://cfg:1"}), registry.Addrs("a:1")}, "https://a:1", false},
	} {
		var o registry.Options
		for _, opt := range c.opts {
			opt(&o)
		}
		s := settingsOf(&o)
		cfg, err := clientConfig(&o, &s)
		if err != nil || cfg.Address != c.want || (cfg.Transport != nil) != c.transport {
			t.Errorf("%s: address %q, transport %t, error %v; want %q, %t", name, cfg.Address, cfg.Transport != nil, err, c.want, c.transport)
		}
		if (cfg.TLS.Base != nil) != strings.HasPrefix(name, "TLS") {
			t.Errorf("%s: the configuration of TLS is %v", name, cfg.TLS.Base)
		}
		if _, err := consul.NewClient(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// NewRegistry has no error to return, so everything else has.
func TestWrongOptions(t *testing.T) {
	for name, opts := range map[string][]registry.Option{
		"a URL among addresses": {registry.Addrs("a", "http://b")},
		"a malformed address":   {registry.Addrs("a:b:c:d")},
		"a missing file":        {Config(consul.Config{Address: "https://a:1", TLS: consul.TLSConfig{CAFile: "no-such-file"}})},
		"the same, two agents":  {Config(consul.Config{Address: "https://a:1", TLS: consul.TLSConfig{CAFile: "no-such-file"}}), registry.Addrs("a", "b")},
	} {
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
		if err := r.Init(registry.Addrs("127.0.0.1:1"), Config(consul.Config{})); err != nil {
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
