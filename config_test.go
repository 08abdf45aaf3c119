package consul

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
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
		a, err := parseAddress(tt.in)
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
		"tcp://consul:8500":          `unknown scheme "tcp"`,
		"://consul":                  `unknown scheme ""`,
		"consul:http":                `port "http"`,
		"consul:0":                   `port "0"`,
		"consul:65536":               `port "65536"`,
		"consul:+80":                 `port "+80"`,
		"consul:":                    `port ""`,
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

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", ":1", "[::1%e]:1/a%20b", "unix:///s", "https://h:1/p", "a@b:c", "http://[", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
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
		if again, err := parseAddress(a.url.String()); err != nil || again != a {
			t.Fatalf("%q becomes %q, which becomes %+v (%v)", s, a.url.String(), again, err)
		}
	})
}

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
		"negative wait":     {Config{WaitTime: -1}, []string{"WaitTime", "-1ns"}},
		"negative bound":    {Config{MaxResponseBytes: -5}, []string{"MaxResponseBytes", "-5"}},
		"token":             {Config{Token: "s3cr3t\r\nX: y"}, []string{"Config.Token", "control"}},
		"no token file":     {Config{TokenFile: missing}, []string{"TokenFile", missing}},
		"empty token file":  {Config{TokenFile: empty}, []string{"TokenFile", empty, "is empty"}},
		"no CA":             {Config{TLS: TLSConfig{CAFile: missing}}, []string{"Config.TLS", missing}},
		"CA without PEM":    {Config{TLS: TLSConfig{CAFile: garbage}}, []string{garbage, "no PEM certificate"}},
		"CAPEM without PEM": {Config{TLS: TLSConfig{CAPEM: []byte("garbage")}}, []string{"CAPEM", "no PEM certificate"}},
		"no CAPath":         {Config{TLS: TLSConfig{CAPath: missing}}, []string{"CAPath", missing}},
		"empty CAPath":      {Config{TLS: TLSConfig{CAPath: emptyDir}}, []string{"CAPath", "no files", emptyDir}},
		"garbage in CAPath": {Config{TLS: TLSConfig{CAPath: dir}}, []string{"no PEM certificate"}},
		"cert only":         {Config{TLS: TLSConfig{CertFile: garbage}}, []string{"CertFile and KeyFile"}},
		"key PEM only":      {Config{TLS: TLSConfig{KeyPEM: []byte("s3cr3t")}}, []string{"CertPEM and KeyPEM"}},
		"garbage pair":      {Config{TLS: TLSConfig{CertFile: garbage, KeyFile: garbage}}, []string{garbage}},
		"no CA over a base": {Config{TLS: TLSConfig{Base: &tls.Config{}, CAFile: missing}}, []string{"Config.TLS", missing}},
		"cert over a base":  {Config{TLS: TLSConfig{Base: &tls.Config{}, CertPEM: []byte("x")}}, []string{"CertPEM and KeyPEM"}},
		"garbage PEM pair":  {Config{TLS: TLSConfig{CertPEM: []byte("x"), KeyPEM: []byte("s3cr3t")}}, []string{"CertPEM"}},
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
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
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

// authority makes certificates for TestTLS.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	a.cert, a.key, a.pem, _ = issue(t, nil, "authority")
	return a
}

// issue makes a certificate for localhost, signed by the authority or, without
// one, by itself.
func issue(t *testing.T, by *authority, name string) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost", name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func TestTLS(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	_, _, serverCert, serverKey := issue(t, ca, "server.dc1.consul")
	_, _, clientCert, clientKey := issue(t, ca, "client")
	pair, err := tls.X509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(`"leader"`))
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.ErrorLog = discardLog()
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	dir := t.TempDir()
	file := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	caDir := filepath.Join(dir, "cas")
	if err := os.Mkdir(caDir, 0o700); err != nil {
		t.Fatal(err)
	}
	file("cas/1.pem", otherCA.pem)
	file("cas/2.pem", ca.pem)
	certFile, keyFile := file("cert", clientCert), file("key", clientKey)
	clientPair, err := tls.X509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	base := func(serverName string, protocols ...string) *tls.Config {
		return &tls.Config{RootCAs: clients, Certificates: []tls.Certificate{clientPair}, ServerName: serverName, NextProtos: protocols}
	}
	noCertificate := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }

	tests := []struct {
		name  string
		tls   TLSConfig
		words []string // of the error; none means that it works
	}{
		{"files", TLSConfig{CAFile: file("ca", ca.pem), CertFile: certFile, KeyFile: keyFile}, nil},
		{"directory", TLSConfig{CAPath: caDir, CertFile: certFile, KeyFile: keyFile}, nil},
		{"PEM", TLSConfig{CAPEM: ca.pem, CertPEM: clientCert, KeyPEM: clientKey}, nil},
		{"server name", TLSConfig{CAPEM: ca.pem, CertPEM: clientCert, KeyPEM: clientKey, ServerName: "server.dc1.consul"}, nil},
		{"any certificate", TLSConfig{InsecureSkipVerify: true, CertPEM: clientCert, KeyPEM: clientKey}, nil},
		{"wrong authority", TLSConfig{CAPEM: otherCA.pem, CertPEM: clientCert, KeyPEM: clientKey}, []string{"certificate signed by unknown authority"}},
		{"wrong server name", TLSConfig{CAPEM: ca.pem, CertPEM: clientCert, KeyPEM: clientKey, ServerName: "x.consul"}, []string{"x.consul"}},
		{"no client certificate", TLSConfig{CAPEM: ca.pem}, []string{"certificate required"}},
		{"base", TLSConfig{Base: base("")}, nil},
		{"base for HTTP/2", TLSConfig{Base: base("", "h2")}, nil},
		{"base with a wrong server name", TLSConfig{Base: base("x.consul")}, []string{"x.consul"}},
		{"server name over base", TLSConfig{Base: base("x.consul"), ServerName: "server.dc1.consul"}, nil},
		{"authority over base", TLSConfig{Base: base(""), CAPEM: otherCA.pem}, []string{"certificate signed by unknown authority"}},
		{"client certificate over base", TLSConfig{Base: &tls.Config{RootCAs: clients, GetClientCertificate: noCertificate}, CertPEM: clientCert, KeyPEM: clientKey}, nil},
		{"any certificate over base", TLSConfig{Base: &tls.Config{Certificates: []tls.Certificate{clientPair}}, InsecureSkipVerify: true}, nil},
		{"base that accepts any certificate", TLSConfig{Base: &tls.Config{Certificates: []tls.Certificate{clientPair}, InsecureSkipVerify: true}, ServerName: "x.consul"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, err := NewClient(Config{Address: server.URL, TLS: tt.tls})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			leader, err := client.Status().Leader(context.Background())
			if tt.words != nil {
				wantError(t, err, append(tt.words, "consul: GET https://", "/v1/status/leader: ")...)
			} else if err != nil || leader != "leader" {
				t.Errorf("got %q, %v", leader, err)
			}
		})
	}
}

func TestTLSLoad(t *testing.T) {
	c, err := TLSConfig{}.Load()
	if err != nil || c.MinVersion != tls.VersionTLS12 || c.RootCAs != nil || c.Certificates != nil || c.InsecureSkipVerify {
		t.Errorf("without anything: %+v, %v", c, err)
	}
	base := &tls.Config{ServerName: "base", NextProtos: []string{"h2"}}
	c, err = TLSConfig{Base: base, ServerName: "server.dc1.consul", InsecureSkipVerify: true}.Load()
	if err != nil || c.MinVersion != tls.VersionTLS12 || c.ServerName != "server.dc1.consul" || !c.InsecureSkipVerify || len(c.NextProtos) != 1 {
		t.Errorf("over a base: %+v, %v", c, err)
	}
	if base.MinVersion != 0 || base.ServerName != "base" || base.InsecureSkipVerify {
		t.Errorf("the base has changed: %+v", base)
	}
	if c, err = (TLSConfig{Base: &tls.Config{MinVersion: tls.VersionTLS13}}).Load(); err != nil || c.MinVersion != tls.VersionTLS13 {
		t.Errorf("a base with a version of its own: %+v, %v", c, err)
	}
	if _, err := NewClient(Config{Address: "https://consul", TLS: TLSConfig{Base: base}}); err != nil || len(base.NextProtos) != 1 {
		t.Errorf("NewClient: %v, base %+v", err, base)
	}
}
