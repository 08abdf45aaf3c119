package client

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agent"
)

// write puts data into a file of the test's.
func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.WriteFile(path, data, 0o600))
	return path
}

// leader asks over a new connection that the configuration describes.
func leader(t *testing.T, cfg consul.Config) error {
	t.Helper()
	c, err := consul.NewClient(cfg)
	check(t, err)
	defer c.CloseIdleConnections()
	_, err = c.Status().Leader(limit(t))
	return err
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, otherCA := agent.NewCA(t, "right"), agent.NewCA(t, "other")
	a := agent.Start(t, agent.Options{TLS: &agent.TLS{Cert: ca.Issue("agent"), Clients: ca.CertPEM, VerifyClients: true}})
	cert, otherCert := ca.Issue("client"), otherCA.Issue("client")
	dir, caDir := t.TempDir(), t.TempDir()
	write(t, caDir, "ca1.pem", otherCA.CertPEM)
	write(t, caDir, "ca2.pem", ca.CertPEM)
	caFile := write(t, dir, "ca.pem", ca.CertPEM)
	certFile, keyFile := write(t, dir, "cert.pem", cert.CertPEM), write(t, dir, "key.pem", cert.KeyPEM)

	// As made for gRPC: agents speak HTTP/2 to those who ask for it.
	base := &tls.Config{NextProtos: []string{"h2"}}
	pair, err := tls.X509KeyPair(cert.CertPEM, cert.KeyPEM)
	check(t, err)
	base.Certificates = []tls.Certificate{pair}

	for _, c := range []struct {
		name string
		tls  consul.TLSConfig
		says []string // nil if it works
	}{
		{"files", consul.TLSConfig{CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, nil},
		{"directory", consul.TLSConfig{CAPath: caDir, CertFile: certFile, KeyFile: keyFile}, nil},
		{"PEM", consul.TLSConfig{CAPEM: ca.CertPEM, CertPEM: cert.CertPEM, KeyPEM: cert.KeyPEM}, nil},
		{"no verification", consul.TLSConfig{InsecureSkipVerify: true, CertPEM: cert.CertPEM, KeyPEM: cert.KeyPEM}, nil},
		{"base", consul.TLSConfig{Base: base, CAPEM: ca.CertPEM}, nil},
		{"wrong authority over base", consul.TLSConfig{Base: base, CAPEM: otherCA.CertPEM}, []string{"certificate signed by unknown authority"}},
		{"wrong authority", consul.TLSConfig{CAPEM: otherCA.CertPEM, CertPEM: cert.CertPEM, KeyPEM: cert.KeyPEM},
			[]string{"certificate signed by unknown authority"}},
		{"system's authorities", consul.TLSConfig{CertPEM: cert.CertPEM, KeyPEM: cert.KeyPEM},
			[]string{"certificate signed by unknown authority"}},
		{"no client certificate", consul.TLSConfig{CAPEM: ca.CertPEM}, []string{"tls: ", "certificate"}},
		{"client certificate of another authority", consul.TLSConfig{CAPEM: ca.CertPEM, CertPEM: otherCert.CertPEM, KeyPEM: otherCert.KeyPEM},
			[]string{"tls: ", "certificate"}},
		{"wrong server name", consul.TLSConfig{CAPEM: ca.CertPEM, CertPEM: cert.CertPEM, KeyPEM: cert.KeyPEM, ServerName: "server.dc1.consul"},
			[]string{"certificate", "server.dc1.consul"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := leader(t, consul.Config{Address: "https://" + a.HTTPS, TLS: c.tls})
			if c.says == nil {
				check(t, err)
				return
			}
			wantError(t, err, nil, append(c.says, "consul: GET https://"+a.HTTPS+"/v1/status/leader: ")...)
		})
	}
	t.Run("HTTP to HTTPS", func(t *testing.T) {
		wantStatus(t, leader(t, consul.Config{Address: a.HTTPS}), http.StatusBadRequest)
	})
	t.Run("HTTPS to HTTP", func(t *testing.T) {
		wantError(t, leader(t, consul.Config{Address: "https://" + a.Addr}), nil, "server gave HTTP response to HTTPS client")
	})
}

// tlsFiles writes the files of a client of the authority into a folder.
func tlsFiles(t *testing.T, dir string, ca *agent.CA) {
	t.Helper()
	cert := ca.Issue("client")
	write(t, dir, "ca.pem", ca.CertPEM)
	write(t, dir, "cert.pem", cert.CertPEM)
	write(t, dir, "key.pem", cert.KeyPEM)
}

// TestNewCertificates gives an agent an authority that its client has not heard of:
// by a reload, and then by a restart. The client goes on as soon as its files are
// those of the new authority.
func TestNewCertificates(t *testing.T) {
	t.Parallel()
	certificates := func(ca *agent.CA) *agent.TLS {
		return &agent.TLS{Cert: ca.Issue("agent"), Clients: ca.CertPEM, VerifyClients: true}
	}
	ca := agent.NewCA(t, "first")
	a := agent.Start(t, agent.Options{TLS: certificates(ca)})
	dir := t.TempDir()
	tlsFiles(t, dir, ca)
	requests := 0
	c, err := consul.NewClient(consul.Config{
		Address: a.HTTPS,
		Scheme:  "https",
		TLS: consul.TLSConfig{
			CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		},
		WrapTransport: func(base http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				requests++
				return base.RoundTrip(r)
			})
		},
	})
	check(t, err)
	t.Cleanup(c.CloseIdleConnections)
	_, err = c.Status().Leader(limit(t))
	check(t, err)

	for _, way := range []struct {
		name string
		by   func()
	}{
		{"reload", func() { check(t, a.Client().Agent().Reload(limit(t))) }},
		{"restart", func() { a.Restart(false) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			ca := agent.NewCA(t, way.name)
			a.SetTLS(certificates(ca))
			way.by()
			c.CloseIdleConnections()
			_, err := c.Status().Leader(limit(t))
			wantError(t, err, nil, "consul: GET https://", "/v1/status/leader: ", "certificate signed by unknown authority")
			tlsFiles(t, dir, ca)
			before := requests
			eventually(t, "the client has the new certificates", func() bool {
				_, err := c.Status().Leader(limit(t))
				return err == nil
			})
			t.Logf("after %d requests", requests-before)
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNewToken replaces the token in a file and deletes the one from before.
func TestNewToken(t *testing.T) {
	t.Parallel()
	a := agent.Start(t, agent.Options{ACL: true})
	management, ctx, dir := a.Client(), limit(t), t.TempDir()
	type token struct{ AccessorID, SecretID string }
	create := func() (created token) {
		in := map[string]any{"Policies": []map[string]string{{"Name": "global-management"}}}
		check(t, management.Raw().Write(ctx, "/v1/acl/token", in, &created, nil))
		write(t, dir, "token", []byte(created.SecretID+"\n"))
		return created
	}
	first := create()
	cfg := a.Config()
	cfg.Token, cfg.TokenFile = "", filepath.Join(dir, "token")
	c, err := consul.NewClient(cfg)
	check(t, err)
	t.Cleanup(c.CloseIdleConnections)
	_, err = c.Agent().Self(ctx)
	check(t, err)

	second := create()
	check(t, management.Raw().Delete(ctx, "/v1/acl/token/"+first.AccessorID, nil, nil))
	_, err = c.Agent().Self(ctx) // refused if the file was not read again yet, and read at once then
	t.Logf("the first request: %v", err)
	_, err = c.Agent().Self(ctx)
	check(t, err)
	var self token
	_, err = c.Raw().Query(ctx, "/v1/acl/token/self", &self, nil)
	check(t, err)
	want(t, "token", self, second)
}

// TestServerName talks to an agent whose certificate has a name, not an address.
func TestServerName(t *testing.T) {
	t.Parallel()
	ca := agent.NewCA(t, "right")
	a := agent.Start(t, agent.Options{TLS: &agent.TLS{Cert: ca.Issue("agent", "server.dc1.consul"), Clients: ca.CertPEM}})
	cfg := consul.Config{Address: "https://" + a.HTTPS, TLS: consul.TLSConfig{CAPEM: ca.CertPEM}}
	wantError(t, leader(t, cfg), nil, "cannot validate certificate for 127.0.0.1")
	cfg.TLS.ServerName = "server.dc1.consul"
	check(t, leader(t, cfg))
}

// TestEnvironment configures the client as Consul's own tools are configured.
func TestEnvironment(t *testing.T) {
	ca := agent.NewCA(t, "right")
	cert := ca.Issue("client")
	a := agent.Start(t, agent.Options{ACL: true, TLS: &agent.TLS{Cert: ca.Issue("agent", "server.dc1.consul"), Clients: ca.CertPEM, VerifyClients: true}})
	dir := t.TempDir()
	for name, value := range map[string]string{
		"CONSUL_HTTP_ADDR":       a.HTTPS,
		"CONSUL_HTTP_SSL":        "true",
		"CONSUL_HTTP_TOKEN_FILE": write(t, dir, "token", []byte(agent.ManagementToken+"\n")),
		"CONSUL_CACERT":          write(t, dir, "ca", ca.CertPEM),
		"CONSUL_CLIENT_CERT":     write(t, dir, "cert", cert.CertPEM),
		"CONSUL_CLIENT_KEY":      write(t, dir, "key", cert.KeyPEM),
		"CONSUL_TLS_SERVER_NAME": "server.dc1.consul",
	} {
		t.Setenv(name, value)
	}
	cfg, err := consul.ConfigFromEnv()
	check(t, err)
	c, err := consul.NewClient(cfg)
	check(t, err)
	t.Cleanup(c.CloseIdleConnections)
	self, err := c.Agent().Self(limit(t))
	check(t, err)
	want(t, "node", self.Config.NodeName, "node1")
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	a := agent.Start(t, agent.Options{Unix: true})
	c, ctx := a.Client(), limit(t)
	check(t, c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Hour}}))
	check(t, c.Agent().PassTTL(ctx, "service:web", ""))
	entries, meta, err := c.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
	check(t, err)
	want(t, "instances", ids(entries), []string{"web"})
	_, meta, err = c.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 50 * time.Millisecond})
	check(t, err)
	if meta.RequestTime < 50*time.Millisecond {
		t.Errorf("waited for %s only", meta.RequestTime)
	}
	a.Kill()
	_, err = c.Status().Leader(ctx)
	wantError(t, err, nil, "consul: GET unix:///", "/v1/status/leader: ", "dial unix")
}

// compressed notes whether answers came compressed.
type compressed struct {
	base http.RoundTripper
	seen bool
}

func (c *compressed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(r)
	if err == nil {
		c.seen = c.seen || resp.Uncompressed
	}
	return resp, err
}

func TestGzip(t *testing.T) {
	t.Parallel()
	a := agent.Start(t, agent.Options{})
	ctx := limit(t)
	plain := a.Client()
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	transport := &compressed{base: base}
	cfg := a.Config()
	cfg.Transport = transport
	c, err := consul.NewClient(cfg)
	check(t, err)
	name := strings.Repeat("a long note. ", 500)
	register(t, c, &consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Hour, Notes: name}})
	for _, c := range []*consul.Client{c, plain} {
		checks, err := c.Agent().Checks(ctx, nil)
		check(t, err)
		want(t, "notes", checks["service:web"].Notes, name)
	}
	want(t, "compressed", transport.seen, true)

	t.Run("bounded after decompression", func(t *testing.T) {
		cfg.MaxResponseBytes = 4 << 10
		small, err := consul.NewClient(cfg)
		check(t, err)
		_, err = small.Agent().Checks(ctx, nil)
		wantError(t, err, consul.ErrResponseTooLarge, "4096 bytes")
	})
	t.Run("basic authentication is ignored by agents", func(t *testing.T) {
		cfg := a.Config()
		cfg.BasicAuth = url.UserPassword("user", "password")
		check(t, leader(t, cfg))
	})
}

// TestRaw uses endpoints that have no methods of their own.
func TestRaw(t *testing.T) {
	t.Parallel()
	a := agent.Start(t, agent.Options{ACL: true})
	c, ctx := a.Client(), limit(t)
	raw := c.Raw()

	t.Run("KV", func(t *testing.T) {
		var done bool
		check(t, raw.Write(ctx, "/v1/kv/a%2Fb%20c?flags=42", []byte("value"), &done, &consul.WriteOptions{Datacenter: "dc1"}))
		want(t, "written", done, true)
		check(t, raw.Write(ctx, "/v1/kv/a/d", strings.NewReader("stream"), nil, nil))
		var pairs []struct {
			Key   string
			Value []byte
			Flags int
		}
		meta, err := raw.Query(ctx, "/v1/kv/a/b%20c", &pairs, nil)
		check(t, err)
		if len(pairs) != 1 || pairs[0].Key != "a/b c" || string(pairs[0].Value) != "value" || pairs[0].Flags != 42 || meta.LastIndex == 0 {
			t.Errorf("pairs %+v, metadata %+v", pairs, meta)
		}
		var keys []string
		_, err = raw.Query(ctx, "/v1/kv/a?keys", &keys, &consul.QueryOptions{RequireConsistent: true})
		check(t, err)
		want(t, "keys", keys, []string{"a/b c", "a/d"})
		var data []byte
		_, err = raw.Query(ctx, "/v1/kv/a/d?raw", &data, nil)
		check(t, err)
		want(t, "value", string(data), "stream")
		var buf bytes.Buffer
		_, err = raw.Query(ctx, "/v1/kv/a/d?raw", &buf, nil)
		check(t, err)
		want(t, "value", buf.String(), "stream")
		check(t, raw.Delete(ctx, "/v1/kv/a?recurse", &done, nil))
		_, err = raw.Query(ctx, "/v1/kv/a/d", nil, nil)
		wantError(t, err, consul.ErrNotFound)
		for _, w := range []*consul.WriteOptions{{Namespace: "team"}, {Datacenter: "nope"}, {Partition: "part"}} {
			if err := raw.Write(ctx, "/v1/kv/x", nil, nil, w); err == nil && (w.Partition == "" || !a.Old()) {
				t.Errorf("%v: no error", w)
			}
		}
	})
	t.Run("session", func(t *testing.T) {
		var session struct{ ID string }
		check(t, raw.Write(ctx, "/v1/session/create", map[string]string{"TTL": "60s"}, &session, nil))
		var held bool
		check(t, raw.Write(ctx, "/v1/kv/lock?acquire="+session.ID, []byte("me"), &held, nil))
		want(t, "held", held, true)
		check(t, raw.Write(ctx, "/v1/session/destroy/"+session.ID, nil, nil, nil))
	})
	t.Run("event", func(t *testing.T) {
		var event struct{ ID, Name string }
		check(t, raw.Write(ctx, "/v1/event/fire/deploy", []byte("v2"), &event, nil))
		want(t, "name", event.Name, "deploy")
		eventually(t, "the event has arrived", func() bool {
			var events []struct{ ID string }
			_, err := raw.Query(ctx, "/v1/event/list?name=deploy", &events, nil)
			check(t, err)
			return len(events) == 1 && events[0].ID == event.ID
		})
	})
	t.Run("ACL", func(t *testing.T) {
		var token struct{ Policies []struct{ Name string } }
		_, err := raw.Query(ctx, "/v1/acl/token/self", &token, nil)
		check(t, err)
		if len(token.Policies) != 1 || token.Policies[0].Name != "global-management" {
			t.Errorf("policies are %+v", token.Policies)
		}
		_, err = c.WithToken("").Raw().Query(ctx, "/v1/acl/policies", nil, nil)
		wantError(t, err, consul.ErrPermissionDenied)
	})
}
