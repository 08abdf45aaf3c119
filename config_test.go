package consul

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// clearEnv unsets every variable that ConfigFromEnv reads.
func clearEnv(t *testing.T) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "CONSUL_") {
			t.Setenv(name, "")
		}
	}
}

func TestConfigFromEnv(t *testing.T) {
	clearEnv(t)
	cfg, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Address != "" || cfg.Token != "" || cfg.BasicAuth != nil || cfg.TLS.InsecureSkipVerify {
		t.Errorf("an empty environment gives %v", cfg)
	}

	for name, value := range map[string]string{
		"CONSUL_HTTP_ADDR": "consul:8501/prefix", "CONSUL_HTTP_TOKEN": "tok", "CONSUL_HTTP_TOKEN_FILE": "/tokenfile",
		"CONSUL_HTTP_AUTH": "user:pass:word", "CONSUL_HTTP_SSL": "1", "CONSUL_HTTP_SSL_VERIFY": "false",
		"CONSUL_CACERT": "/ca", "CONSUL_CAPATH": "/cas", "CONSUL_CLIENT_CERT": "/cert", "CONSUL_CLIENT_KEY": "/key",
		"CONSUL_TLS_SERVER_NAME": "server.dc1.consul", "CONSUL_NAMESPACE": "ns", "CONSUL_PARTITION": "part",
	} {
		t.Setenv(name, value)
	}
	cfg, err = ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	password, _ := cfg.BasicAuth.Password()
	t.Setenv("CONSUL_HTTP_AUTH", "user")
	if cfg, err := ConfigFromEnv(); err != nil || cfg.BasicAuth.String() != "user" {
		t.Errorf("CONSUL_HTTP_AUTH without a password: %v, %v", cfg.BasicAuth, err)
	}
	got := []string{cfg.Address, cfg.Token, cfg.TokenFile, cfg.BasicAuth.Username(), password, cfg.Namespace, cfg.Partition,
		cfg.TLS.CAFile, cfg.TLS.CAPath, cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.TLS.ServerName}
	want := []string{"https://consul:8501/prefix", "tok", "/tokenfile", "user", "pass:word", "ns", "part",
		"/ca", "/cas", "/cert", "/key", "server.dc1.consul"}
	if strings.Join(got, " ") != strings.Join(want, " ") || !cfg.TLS.InsecureSkipVerify {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMalformedEnv(t *testing.T) {
	for _, tt := range []struct{ name, value, words string }{
		{"CONSUL_HTTP_ADDR", "tcp://x", "unknown scheme"},
		{"CONSUL_HTTP_SSL", "yes", `"yes" is not a boolean`},
		{"CONSUL_HTTP_SSL_VERIFY", "2", `"2" is not a boolean`},
		{"CONSUL_HTTP_AUTH", ":s3cr3t", "no user"},
		{"CONSUL_HTTP_TOKEN", "s3cr3t with blanks", "blanks"},
		{"CONSUL_CLIENT_CERT", "/cert", "without CONSUL_CLIENT_KEY"},
		{"CONSUL_CLIENT_KEY", "/key", "without CONSUL_CLIENT_CERT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(tt.name, tt.value)
			_, err := ConfigFromEnv()
			wantError(t, err, "consul: ", tt.name, tt.words)
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
	t.Run("TLS on a socket", func(t *testing.T) {
		clearEnv(t)
		t.Setenv("CONSUL_HTTP_ADDR", "unix:///s")
		t.Setenv("CONSUL_HTTP_SSL", "true")
		_, err := ConfigFromEnv()
		wantError(t, err, "CONSUL_HTTP_SSL", "CONSUL_HTTP_ADDR")
	})
	t.Run("another address does not lose TLS", func(t *testing.T) {
		for name, value := range map[string]string{"CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_ADDR": "https://consul:8501"} {
			clearEnv(t)
			t.Setenv(name, value)
			cfg, err := ConfigFromEnv()
			if err != nil {
				t.Fatal(err)
			}
			cfg.Address = "other:8501"
			if client, err := NewClient(cfg); err != nil || client.base.String() != "https://other:8501" {
				t.Errorf("%s=%s: %v, %v", name, value, client, err)
			}
			cfg.Address = "http://other:8501"
			_, err = NewClient(cfg)
			wantError(t, err, "Config.Scheme is https")
		}
	})
	t.Run("no scheme without TLS", func(t *testing.T) {
		clearEnv(t)
		for _, addr := range []string{"", "consul:80", "http://consul:80", "unix:///s"} {
			t.Setenv("CONSUL_HTTP_ADDR", addr)
			if cfg, err := ConfigFromEnv(); err != nil || cfg.Scheme != "" {
				t.Errorf("%s: scheme %q, %v", addr, cfg.Scheme, err)
			}
		}
	})
	t.Run("http:// does not undo CONSUL_HTTP_SSL", func(t *testing.T) {
		clearEnv(t)
		t.Setenv("CONSUL_HTTP_ADDR", "http://consul:8501")
		t.Setenv("CONSUL_HTTP_SSL", "true")
		if cfg, err := ConfigFromEnv(); err != nil || cfg.Address != "https://consul:8501" {
			t.Errorf("got %q, %v", cfg.Address, err)
		}
	})
}

func TestMalformedConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	empty, garbage, missing := file("empty", " \n"), file("garbage", "garbage"), filepath.Join(dir, "missing")
	emptyDir := filepath.Join(dir, "emptydir")
	if err := os.Mkdir(emptyDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg   Config
		words []string
	}{
		"typed nil":         {Config{Transport: (*http.Transport)(nil)}, []string{"Config.Transport", "nil *http.Transport"}},
		"nil func":          {Config{Transport: roundTripper(nil)}, []string{"Config.Transport", "nil consul.roundTripper"}},
		"negative wait":     {Config{WaitTime: -1}, []string{"WaitTime", "-1ns"}},
		"negative bound":    {Config{MaxResponseBytes: -5}, []string{"MaxResponseBytes", "-5"}},
		"token":             {Config{Token: "s3cr3t\r\nX: y"}, []string{"Config.Token", "control"}},
		"no token file":     {Config{TokenFile: missing}, []string{"TokenFile", missing}},
		"empty token file":  {Config{TokenFile: empty}, []string{"TokenFile", empty, "is empty"}},
		"no CA":             {Config{Address: "https://consul", TLS: TLSConfig{CAFile: missing}}, []string{"Config.TLS", missing}},
		"CA without PEM":    {Config{Address: "https://consul", TLS: TLSConfig{CAFile: garbage}}, []string{garbage, "no PEM certificate"}},
		"CAPEM without PEM": {Config{Address: "https://consul", TLS: TLSConfig{CAPEM: []byte("garbage")}}, []string{"CAPEM", "no PEM certificate"}},
		"no CAPath":         {Config{Address: "https://consul", TLS: TLSConfig{CAPath: missing}}, []string{"CAPath", missing}},
		"empty CAPath":      {Config{Address: "https://consul", TLS: TLSConfig{CAPath: emptyDir}}, []string{"CAPath", "no files", emptyDir}},
		"garbage in CAPath": {Config{Address: "https://consul", TLS: TLSConfig{CAPath: dir}}, []string{"no PEM certificate"}},
		"cert only":         {Config{Address: "https://consul", TLS: TLSConfig{CertFile: garbage}}, []string{"CertFile and KeyFile"}},
		"key PEM only":      {Config{Address: "https://consul", TLS: TLSConfig{KeyPEM: []byte("s3cr3t")}}, []string{"CertPEM and KeyPEM"}},
		"garbage pair":      {Config{Address: "https://consul", TLS: TLSConfig{CertFile: garbage, KeyFile: garbage}}, []string{garbage}},
		"no CA over a base": {Config{Address: "https://consul", TLS: TLSConfig{Base: &tls.Config{}, CAFile: missing}}, []string{"Config.TLS", missing}},
		"cert over a base":  {Config{Address: "https://consul", TLS: TLSConfig{Base: &tls.Config{}, CertPEM: []byte("x")}}, []string{"CertPEM and KeyPEM"}},
		"garbage PEM pair":  {Config{Address: "https://consul", TLS: TLSConfig{CertPEM: []byte("x"), KeyPEM: []byte("s3cr3t")}}, []string{"CertPEM"}},
	} {
		_, err := NewClient(tt.cfg)
		wantError(t, err, append(tt.words, "consul: Config.")...)
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

// TestConfigIsCopied changes everything that a Config refers to after it has been
// given to NewClient.
func TestConfigIsCopied(t *testing.T) {
	cfg := Config{Header: http.Header{"X-A": {"1"}}, BasicAuth: url.UserPassword("u", "p")}
	client, asked := newTestAgent(t, cfg, canned{})
	cfg.Header["X-A"][0] = "2"
	*cfg.BasicAuth = *url.User("other")
	if err := client.Agent().Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := asked.Header.Get("X-A"); got != "1" {
		t.Errorf("X-A is %q", got)
	}
	if got := asked.Header.Get("Authorization"); got != "Basic dTpw" {
		t.Errorf("Authorization is %q", got)
	}
}

func TestTokenFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(p, []byte(" from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, asked := newTestAgent(t, Config{Token: "from-config", TokenFile: p}, canned{})
	if err := client.Agent().Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := asked.Header.Get("X-Consul-Token"); got != "from-file" {
		t.Errorf("token %q", got)
	}
}

func TestUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("no unix sockets on " + runtime.GOOS)
	}
	dir, err := os.MkdirTemp("", "lictor") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "localhost" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("Host %q, Accept-Encoding %q", r.Host, r.Header.Get("Accept-Encoding"))
		}
		w.Write([]byte(`"leader"`))
	})}}
	server.Start()
	defer server.Close()
	client, err := NewClient(Config{Address: "unix://" + socket})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if leader, err := client.Status().Leader(context.Background()); err != nil || leader != "leader" {
		t.Errorf("got %q, %v", leader, err)
	}
}
