package grpcresolver

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

func TestParseTarget(t *testing.T) {
	for _, test := range []struct {
		in    string
		want  target
		wrong string // what the error says
	}{
		{in: "consul://127.0.0.1:8555/my-service", want: target{
			agent: agentKey{address: "127.0.0.1:8555"}, watch: watchKey{service: "my-service"},
		}},
		// Every parameter of mbobakov/grpc-consul-resolver v1.5.3.
		{in: "consul://user:password@127.0.0.127:8555/my-service?healthy=false&wait=14s&near=host&insecure=true&limit=1&tag=production" +
			"&token=test_token&max-backoff=2s&dc=xx&allow-stale=true&timeout=3s", want: target{
			agent: agentKey{address: "127.0.0.127:8555", user: "user", password: "password", insecure: yes, token: "test_token"},
			watch: watchKey{
				service: "my-service", unhealthy: true, wait: 14 * time.Second, near: "host", tags: "production",
				maxBackoff: 2 * time.Second, datacenter: "xx", stale: true,
			},
			limit: 1, timeout: 3 * time.Second,
		}},
		{in: "consul://h/s?require-consistent=on", want: target{
			agent: agentKey{address: "h"}, watch: watchKey{service: "s", consistent: true},
		}},
		{in: "consul://secret@h:1/s?tls=1&cached=yes&filter=Service.Port+==+80&ns=n&partition=p&lb=round_robin&empty-grace=30s", want: target{
			agent: agentKey{address: "h:1", token: "secret", tls: yes},
			watch: watchKey{service: "s", cached: true, filter: "Service.Port == 80", namespace: "n", partition: "p"},
			grace: 30 * time.Second, graced: true, policy: "round_robin",
		}},
		{in: "consul:///s?socket=/run/consul.sock&token-file=/run/token&tag=a&tag=b", want: target{
			agent: agentKey{socket: "/run/consul.sock", tokenFile: "/run/token"},
			watch: watchKey{service: "s", tags: "a" + tagSeparator + "b"},
		}},
		{in: "consul://h/s?tls=off&insecure=no", want: target{
			agent: agentKey{address: "h", tls: no, insecure: no}, watch: watchKey{service: "s"},
		}},
		{in: "consul://user:@h/s", want: target{agent: agentKey{address: "h", user: "user"}, watch: watchKey{service: "s"}}},
		{in: "consul:////s?unknown=1&unknown=2", want: target{watch: watchKey{service: "s"}}},
		{in: "consul://[::1]:8500/a%2Fb%20%3F", want: target{agent: agentKey{address: "[::1]:8500"}, watch: watchKey{service: "a/b ?"}}},
		{in: "consul://h/a/b", want: target{agent: agentKey{address: "h"}, watch: watchKey{service: "a/b"}}},

		{in: "consul://h", wrong: "no service"},
		{in: "consul://h/", wrong: "no service"},
		{in: "consul:s", wrong: "no service"},
		{in: "consul://h/s#x", wrong: "fragment"},
		{in: "consul://h/s?%zz", wrong: "malformed"},
		{in: "consul://h/s?insecure=BADDD", wrong: "insecure"},
		{in: "consul://h/s?healthy=", wrong: "healthy"},
		{in: "consul://h/s?wait=5", wrong: "wait"},
		{in: "consul://h/s?timeout=-1s", wrong: "timeout"},
		{in: "consul://h/s?max-backoff=soon", wrong: "max-backoff"},
		{in: "consul://h/s?empty-grace=x", wrong: "empty-grace"},
		{in: "consul://h/s?limit=-1", wrong: "limit"},
		{in: "consul://h/s?limit=many", wrong: "limit"},
		{in: "consul://h/s?tag=", wrong: "tag"},
		{in: "consul://h/s?allow-stale=1&require-consistent=1", wrong: "require-consistent"},
		{in: "consul://h/s?socket=/s", wrong: "socket"},
		{in: "consul:///s?tls=true", wrong: "tls needs a host"},
		{in: "consul:///s?tls=false", wrong: "tls needs a host"},
		{in: "consul://h/s?tls=", wrong: "tls"},
		{in: "consul:///s?socket=/s&tls=false", wrong: "socket"},
		{in: "consul://h/s?require-consistent=1&cached=1", wrong: "require-consistent"},
		{in: "consul://one@h/s?token=two", wrong: "token"},
		{in: "consul://h/s?token=one&token=two", wrong: "token is there more than once"},
		{in: "consul://h/s?token=one&token-file=f", wrong: "token-file"},
		{in: "consul://one@h/s?token-file=f", wrong: "token-file"},
		{in: "consul://h/s?dc=a&dc=b", wrong: "dc is there more than once"},
		{in: "consul://h/s?wait=1s&wait=2s", wrong: "wait is there more than once"},
		{in: "consul://h/s?healthy=1&healthy=0", wrong: "healthy is there more than once"},
		{in: "consul://h/s?limit=1&limit=2", wrong: "limit is there more than once"},
		{in: "consul://:password@h/s", wrong: "no user"},
		{in: "consul://:@h/s", wrong: "no user"},
	} {
		u, err := url.Parse(test.in)
		if err != nil {
			t.Fatalf("%s: %v", test.in, err)
		}
		got, err := parseTarget(u)
		switch {
		case test.wrong != "":
			if err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%s: error %v; want one about %s", test.in, err, test.wrong)
			}
		case err != nil:
			t.Errorf("%s: %v", test.in, err)
		case got != test.want:
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.in, got, test.want)
		}
	}
}

func TestAgentOfTarget(t *testing.T) {
	const plain, secure = "base:1", "https://base:1/prefix"
	for _, test := range []struct {
		base, in                             string
		address, token, tokenFile, basicAuth string
	}{
		{plain, "consul:///s", "base:1", "base", "file", ""},
		{plain, "consul://h/s", "h", "base", "file", ""},
		{plain, "consul://h:80/s?tls=true", "https://h:80", "base", "file", ""},
		{plain, "consul://h/s?tls=true", "https://h", "base", "file", ""},
		{plain, "consul://h/s?tls=false", "h", "base", "file", ""},
		{plain, "consul:///s?socket=/run/s", "unix:///run/s", "base", "file", ""},
		{plain, "consul://tok@h/s", "h", "tok", "", ""},
		{plain, "consul://h/s?token-file=f", "h", "", "f", ""},
		{plain, "consul://u:p%40@h/s?token=tok", "h", "tok", "", "u:p%40"},
		{"unix:///run/base", "consul://h/s", "h", "base", "file", ""},

		// A target that does not say tls has that of the configuration.
		{secure, "consul:///s", secure, "base", "file", ""},
		{secure, "consul://h:80/s", "https://h:80", "base", "file", ""},
		{secure, "consul://h/s", "https://h:8500", "base", "file", ""},
		{secure, "consul://:80/s", "https://127.0.0.1:80", "base", "file", ""},
		{secure, "consul://[::1]/s", "https://[::1]:8500", "base", "file", ""},
		{secure, "consul://[fe80::1%25eth0]:80/s", "https://[fe80::1%eth0]:80", "base", "file", ""},
		{secure, "consul://h/s?tls=true", "https://h", "base", "file", ""},
		{secure, "consul://h/s?tls=false", "h", "base", "file", ""},
		{secure, "consul:///s?socket=/run/s", "unix:///run/s", "base", "file", ""},
	} {
		u, err := url.Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseTarget(u)
		if err != nil {
			t.Fatal(err)
		}
		cfg := parsed.agent.apply(consul.Config{Address: test.base, Token: "base", TokenFile: "file", Datacenter: "dc9"})
		basicAuth := ""
		if cfg.BasicAuth != nil {
			basicAuth = cfg.BasicAuth.String()
		}
		if cfg.Address != test.address || cfg.Token != test.token || cfg.TokenFile != test.tokenFile || basicAuth != test.basicAuth {
			t.Errorf("%s over %s: address %q, token %q, file %q, auth %q", test.in, test.base, cfg.Address, cfg.Token, cfg.TokenFile, basicAuth)
		}
		if cfg.Datacenter != "dc9" {
			t.Errorf("%s: the rest of the configuration is lost", test.in)
		}
		cfg.Transport = http.DefaultTransport // no files are read
		cfg.TokenFile = ""
		if _, err := consul.NewClient(cfg); err != nil {
			t.Errorf("%s over %s: %v", test.in, test.base, err)
		}
	}
}

// TestInsecure checks that a target decides for itself whether the agent's
// certificate is verified, in both directions, and changes nobody's configuration.
func TestInsecure(t *testing.T) {
	for _, test := range []struct {
		configured bool
		in         string
		want       bool
	}{
		{false, "consul://h/s?tls=true", false},
		{false, "consul://h/s?tls=true&insecure=true", true},
		{false, "consul:///s?insecure=true", true},
		{true, "consul://h/s?tls=true", true},
		{true, "consul:///s?insecure=false", false},
		{true, "consul://h/s?insecure=false", false},
	} {
		u, err := url.Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseTarget(u)
		if err != nil {
			t.Fatal(err)
		}
		for where, settings := range map[string]consul.TLSConfig{
			"field": {InsecureSkipVerify: test.configured},
			"Base":  {Base: &tls.Config{InsecureSkipVerify: test.configured}},
		} {
			cfg := parsed.agent.apply(consul.Config{Address: "https://base:1", TLS: settings})
			loaded, err := cfg.TLS.Load()
			if err != nil {
				t.Fatal(err)
			}
			if loaded.InsecureSkipVerify != test.want {
				t.Errorf("%s, with %t as the configuration's %s: InsecureSkipVerify is %t", test.in, test.configured, where, loaded.InsecureSkipVerify)
			}
			if settings.Base != nil && settings.Base.InsecureSkipVerify != test.configured {
				t.Errorf("%s: the caller's tls.Config was changed", test.in)
			}
		}
	}
	// Targets of mbobakov's resolver have the parameter without TLS.
	if cfg := (agentKey{address: "h", insecure: yes}).apply(consul.Config{}); !reflect.ValueOf(cfg.TLS).IsZero() {
		t.Errorf("without TLS there are settings of it: %+v", cfg.TLS)
	}
}

// TestTargetWithAndWithoutTLS makes clients for targets that say something about
// TLS where there is none, and the other way round.
func TestTargetWithAndWithoutTLS(t *testing.T) {
	plain := consul.Config{Address: "base:8500"}
	secure := consul.Config{Address: "https://base:8501", Scheme: "https", TLS: consul.TLSConfig{ServerName: "server.dc1.consul"}}
	for _, test := range []struct {
		in       string
		base     consul.Config
		client   string
		insecure bool
	}{
		{"consul://h:80/s?insecure=true", plain, "http://h:80", false}, // nothing to verify
		{"consul:///s?insecure=true", plain, "http://base:8500", false},
		{"consul://h:80/s?tls=true&insecure=true", plain, "https://h:80", true},
		{"consul:///s?insecure=true", secure, "https://base:8501", true},
		{"consul://h:80/s?insecure=true", secure, "https://h:80", true},
		{"consul://h:80/s", secure, "https://h:80", false},
		{"consul:///s?socket=/run/s", secure, "http://localhost", false}, // a socket has no TLS
	} {
		u, err := url.Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseTarget(u)
		if err != nil {
			t.Fatal(err)
		}
		cfg := parsed.agent.apply(test.base)
		if cfg.TLS.InsecureSkipVerify != test.insecure {
			t.Errorf("%s over %s: InsecureSkipVerify is %t", test.in, test.base.Address, cfg.TLS.InsecureSkipVerify)
		}
		if c, err := consul.NewClient(cfg); err != nil || !strings.Contains(fmt.Sprint(c), test.client) {
			t.Errorf("%s over %s: client %v, %v; want %s", test.in, test.base.Address, c, err, test.client)
		}
	}
}

// TestTLSIsNeverLost lays every kind of target over every kind of configuration. A
// client that does not use TLS where the configuration or the target demands it would
// send its token in clear. Only tls=false and a socket in the target say otherwise.
func TestTLSIsNeverLost(t *testing.T) {
	clients := 0
	check := func(base consul.Config, in string) {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseTarget(u)
		if err != nil {
			return // a socket with a host or with tls, for example
		}
		a, err := newPool(&Options{Config: &base}).newAgent(parsed.agent)
		if err != nil {
			if _, baseErr := consul.NewClient(base); baseErr == nil {
				t.Errorf("%s over %v: %v", in, base, err)
			}
			return
		}
		clients++
		demanded := base.Scheme == "https" || strings.HasPrefix(base.Address, "https://") || parsed.agent.tls == yes
		released := parsed.agent.tls == no || parsed.agent.socket != ""
		if got := strings.HasPrefix(fmt.Sprint(a.client), "consul.Client{https://"); got != (demanded && !released) {
			t.Errorf("%s over %v: %v", in, base, a.client)
		}
	}
	for _, address := range []string{"", "base:1", "base/prefix", "http://base", "https://base", "https://base:1/prefix", "unix:///run/base"} {
		for _, scheme := range []string{"", "http", "https", "HTTPS"} {
			for _, settings := range []consul.TLSConfig{{}, {ServerName: "server.dc1.consul"}} {
				base := consul.Config{Address: address, Scheme: scheme, TLS: settings, Token: "sesame"}
				for _, agent := range []string{"", "h", "h:80", "[::1]", "tok@h", "me:pw@h:80"} {
					for _, params := range []string{"", "tls=true", "tls=false", "insecure=true", "insecure=false", "tls=true&insecure=true", "socket=/run/s"} {
						check(base, "consul://"+agent+"/s?"+params)
					}
				}
			}
		}
	}
	if clients < 500 {
		t.Errorf("only %d clients were made", clients)
	}
}

// FuzzTarget checks that no target makes the parser panic, that errors do not
// repeat credentials, and that what is accepted makes a query.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"consul://h/s", "consul://sesame@h:1/s?tag=a&tag=b&dc=x", "consul://u:sesame@[::1]:8500/s?wait=1s&limit=3",
		"consul:///s?socket=/x&token=sesame", "consul://h/s?token=sesame&insecure=BAD", "consul://h/s?%zz&token=sesame",
		"consul://h/s?limit=99999999999999999999&token=sesame", "consul:s?token=sesame", "consul://h//a/b?filter=x;token=sesame",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := url.Parse(in)
		if err != nil {
			t.Skip("gRPC does not get as far as the resolver")
		}
		parsed, err := parseTarget(u)
		if err != nil {
			if strings.Contains(err.Error(), "sesame") {
				t.Errorf("%q: the error has the credential: %v", in, err)
			}
			return
		}
		if parsed.watch.service == "" || parsed.limit < 0 || parsed.timeout < 0 || parsed.grace < 0 {
			t.Errorf("%q: accepted as %+v", in, parsed)
		}
		q := parsed.watch.query()
		if len(q.Tags) != len(u.Query()["tag"]) {
			t.Errorf("%q: tags %q; want %q", in, q.Tags, u.Query()["tag"])
		}
	})
}
