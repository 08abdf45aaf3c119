package grpcresolver

import (
	"fmt"
	"net/url"
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
			agent: agentKey{address: "127.0.0.127:8555", user: "user", password: "password", insecure: true, token: "test_token"},
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
			agent: agentKey{address: "h:1", token: "secret", tls: true},
			watch: watchKey{service: "s", cached: true, filter: "Service.Port == 80", namespace: "n", partition: "p"},
			grace: 30 * time.Second, graced: true, policy: "round_robin",
		}},
		{in: "consul:///s?socket=/run/consul.sock&token-file=/run/token&tag=a&tag=b", want: target{
			agent: agentKey{socket: "/run/consul.sock", tokenFile: "/run/token"},
			watch: watchKey{service: "s", tags: "a" + tagSeparator + "b"},
		}},
		{in: "consul:////s?unknown=1", want: target{watch: watchKey{service: "s"}}},
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
		{in: "consul:///s?tls=true", wrong: "tls"},
		{in: "consul://one@h/s?token=two", wrong: "token"},
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
	base := consul.Config{Address: "base:1", Token: "base", TokenFile: "file", Datacenter: "dc9"}
	for _, test := range []struct {
		in                                   string
		address, token, tokenFile, basicAuth string
	}{
		{"consul:///s", "base:1", "base", "file", ""},
		{"consul://h/s", "h", "base", "file", ""},
		{"consul://h:80/s?tls=true", "https://h:80", "base", "file", ""},
		{"consul:///s?socket=/run/s", "unix:///run/s", "base", "file", ""},
		{"consul://tok@h/s", "h", "tok", "", ""},
		{"consul://h/s?token-file=f", "h", "", "f", ""},
		{"consul://u:p%40@h/s?token=tok", "h", "tok", "", "u:p%40"},
	} {
		u, err := url.Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseTarget(u)
		if err != nil {
			t.Fatal(err)
		}
		cfg := parsed.agent.apply(base)
		basicAuth := ""
		if cfg.BasicAuth != nil {
			basicAuth = cfg.BasicAuth.String()
		}
		if cfg.Address != test.address || cfg.Token != test.token || cfg.TokenFile != test.tokenFile || basicAuth != test.basicAuth {
			t.Errorf("%s: address %q, token %q, file %q, auth %q", test.in, cfg.Address, cfg.Token, cfg.TokenFile, basicAuth)
		}
		if cfg.Datacenter != "dc9" {
			t.Errorf("%s: the rest of the configuration is lost", test.in)
		}
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
