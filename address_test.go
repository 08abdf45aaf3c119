package consul

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	tests := []struct{ in, url, socket string }{
		{"", "http://127.0.0.1:8500", ""},
		{"consul", "http://consul:8500", ""},
		{"consul:80", "http://consul:80", ""},
		{":8501", "http://127.0.0.1:8501", ""},
		{"10.0.0.1:8500", "http://10.0.0.1:8500", ""},
		{"10.0.0.1", "http://10.0.0.1:8500", ""},
		{"[::1]:8500", "http://[::1]:8500", ""},
		{"[::1]", "http://[::1]:8500", ""},
		{"::1", "http://[::1]:8500", ""},
		{"[fe80::1%eth0]:8500", "http://[fe80::1%25eth0]:8500", ""},
		{"http://consul", "http://consul", ""},
		{"https://consul", "https://consul", ""},
		{"https://consul:8501/", "https://consul:8501", ""},
		{"https://[2001:db8::1]", "https://[2001:db8::1]", ""},
		{"http://proxy:80/consul/dc%201/", "http://proxy:80/consul/dc%201", ""},
		{"proxy:80/consul", "http://proxy:80/consul", ""},
		{"proxy/consul", "http://proxy:8500/consul", ""},
		{"unix:///var/run/consul.sock", "http://localhost", "/var/run/consul.sock"},
		{"unix://@abstract", "http://localhost", "@abstract"},
	}
	for _, tt := range tests {
		a, err := parseAddress(tt.in, "")
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got := a.url.String(); got != tt.url || a.socket != tt.socket {
			t.Errorf("%q: got %s %q, want %s %q", tt.in, got, a.socket, tt.url, tt.socket)
		}
	}
}

func TestMalformedAddress(t *testing.T) {
	for in, words := range map[string]string{
		"http://":                    "no host",
		"https://:8501":              "no host",
		"unix://":                    "no path",
		"/var/run/consul.sock":       "no host (the path of a socket comes after unix://)",
		"/":                          "no host",
		"tcp://consul:8500":          `unknown scheme "tcp"`,
		"://consul":                  `unknown scheme ""`,
		"consul:http":                `port "http"`,
		"consul:0":                   `port "0"`,
		"consul:65536":               `port "65536"`,
		"consul:+80":                 `port "+80"`,
		"consul:":                    `port ""`,
		"consul:8500prefix":          "a path begins with a slash",
		"a:b:c":                      "malformed host or port",
		"[::1":                       "malformed host",
		"[::1]x:80":                  "malformed host",
		"[consul]:80":                `"consul" is not an IPv6 address`,
		"[10.0.0.1]:80":              "is not an IPv6 address",
		"consul:80?token=s3cr3t":     "query or fragment",
		"http://consul:80/a#b":       "query or fragment",
		"consul:80/%zz":              "malformed path",
		"consul:80/a/../b":           "shortest form",
		"consul:80/a//b":             "shortest form",
		"http//consul:80":            "shortest form",
		"consul :80":                 "blanks",
		"consul\n:80":                "blanks",
		"http://user:s3cr3t@consul":  "BasicAuth",
		"user:s3cr3t@consul:80":      "BasicAuth",
		"ftp://user:s3cr3t@consul":   "unknown scheme",
		"http://u:s3cr3t@consul:bad": "BasicAuth",
		"con<sul>:80":                "malformed host",
		"10.0.0.1%eth0:80":           "malformed host",
	} {
		_, err := NewClient(Config{Address: in})
		wantError(t, err, "consul: Config.Address", words)
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: the error shows the password: %v", in, err)
		}
	}
}

// TestScheme has addresses with and without a scheme of their own, and wishes for
// TLS in other fields.
func TestScheme(t *testing.T) {
	cas := TLSConfig{CAPEM: newAuthority(t).pem}
	for _, tt := range []struct {
		cfg   Config
		url   string   // empty: an error
		words []string // of the error
	}{
		{Config{}, "http://127.0.0.1:8500", nil},
		{Config{Address: "consul"}, "http://consul:8500", nil},
		{Config{Address: "consul", Scheme: "http"}, "http://consul:8500", nil},
		{Config{Scheme: "https"}, "https://127.0.0.1:8500", nil},
		{Config{Address: "consul", Scheme: "https"}, "https://consul:8500", nil},
		{Config{Address: "consul:8501", Scheme: "https"}, "https://consul:8501", nil},
		{Config{Address: "consul:8501/prefix/", Scheme: "https"}, "https://consul:8501/prefix", nil},
		{Config{Address: "::1", Scheme: "https", TLS: cas}, "https://[::1]:8500", nil},
		{Config{Address: "https://consul", Scheme: "https"}, "https://consul", nil},
		// An address wins over the scheme, but never to leave TLS out.
		{Config{Address: "https://consul:8501", Scheme: "http"}, "https://consul:8501", nil},
		{Config{Address: "https://consul:8501", Scheme: "http", TLS: cas}, "https://consul:8501", nil},
		{Config{Address: "http://consul:8501", Scheme: "https"}, "", []string{"Config.Scheme is https", `Config.Address is "http://consul:8501"`, "want https://"}},
		{Config{Address: "unix:///s", Scheme: "https"}, "", []string{"Config.Scheme is https", `"unix:///s"`}},
		{Config{Address: "unix:///s", Scheme: "http"}, "http://localhost", nil},
		{Config{Address: "consul:8501", TLS: cas}, "", []string{"Config.TLS is set", `"consul:8501"`, "https://", "Config.Scheme", "CONSUL_HTTP_SSL"}},
		{Config{Address: "http://consul:8501", TLS: cas}, "", []string{"Config.TLS is set", `"http://consul:8501"`}},
		{Config{Address: "http://consul:8501", TLS: cas, Scheme: "http"}, "", []string{"Config.TLS is set"}},
		{Config{Address: "unix:///s", TLS: cas}, "", []string{"Config.TLS is set", `"unix:///s"`}},
		{Config{TLS: cas, Transport: http.DefaultTransport}, "", []string{"Config.TLS is set"}},
		{Config{Address: "consul", Scheme: "HTTPS"}, "", []string{`Config.Scheme is "HTTPS"`, "want http or https"}},
		{Config{Address: "consul", Scheme: "https://"}, "", []string{`Config.Scheme is "https://"`}},
		{Config{Address: "u:s3cr3t@consul", Scheme: "https"}, "", []string{"BasicAuth"}},
	} {
		client, err := NewClient(tt.cfg)
		if tt.url == "" {
			wantError(t, err, append(tt.words, "consul: Config.")...)
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", tt.cfg, err)
		} else if got := client.base.String(); got != tt.url {
			t.Errorf("%v: got %s, want %s", tt.cfg, got, tt.url)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", ":1", "[::1%e]:1/a%20b", "unix:///s", "https://h:1/p", "a@b:c", "http://[", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s, "")
		if err != nil {
			return
		}
		if a.socket != "" {
			return
		}
		u, err := url.Parse(a.url.String())
		if err != nil {
			t.Fatalf("%q gives the malformed URL %q: %v", s, a.url.String(), err)
		}
		if u.Host != a.url.Host || u.EscapedPath() != a.url.EscapedPath() || u.RawQuery != "" || u.User != nil {
			t.Fatalf("%q gives %q, which means %+v", s, a.url.String(), u)
		}
		if again, err := parseAddress(a.url.String(), "https"); err != nil || again != a {
			t.Fatalf("%q becomes %q, which becomes %+v (%v)", s, a.url.String(), again, err)
		}
	})
}
