package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

const trustDomain = "11111111-2222-3333-4444-555555555555.consul"

// authority signs certificates of the mesh.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.pem, _ = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign returns a certificate and its key. The first one is the authority's own.
func (a *authority) sign(template *x509.Certificate) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "mesh"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if a.cert == nil {
		a.cert, a.key = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == template {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	privateDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	encode := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", privateDER)
}

// leaf returns the certificate of a service.
func (a *authority) leaf(domain, service string) *leaf {
	uri := &url.URL{Scheme: "spiffe", Host: domain, Path: "/ns/default/dc/dc1/svc/" + service}
	cert, key := a.sign(&x509.Certificate{
		URIs:        []*url.URL{uri},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return &leaf{CertPEM: cert, PrivateKeyPEM: key, Service: service, ServiceURI: uri.String()}
}

// rootsOf returns what an agent responds that trusts the authorities.
func rootsOf(list ...*authority) *roots {
	r := &roots{TrustDomain: trustDomain}
	for _, a := range list {
		r.Roots = append(r.Roots, root{RootCert: a.pem})
	}
	return r
}

// newMesh returns the mesh as a service sees it.
func newMesh(t *testing.T, r *roots, l *leaf) *mesh {
	t.Helper()
	m := new(mesh)
	if err := m.setRoots(r); err != nil {
		t.Fatal(err)
	}
	if err := m.setLeaf(l); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRun(t *testing.T) {
	ca := newAuthority(t)
	responses := map[string]any{"/v1/agent/connect/ca/roots": rootsOf(ca), "/v1/agent/connect/ca/leaf/web": ca.leaf(trustDomain, "web")}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") != "" {
			<-r.Context().Done() // nothing changes
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		json.NewEncoder(w).Encode(responses[r.URL.Path])
	}))
	defer agent.Close()
	client, err := consul.NewClient(consul.Config{Address: agent.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	var out bytes.Buffer
	if err := run(context.Background(), client, "web", false, &out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"roots  1\n", "leaf   web\n", "hello  /ns/default/dc/dc1/svc/web\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, out.String())
		}
	}
}

func TestNoMesh(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "Connect must be enabled in order to use this endpoint", http.StatusInternalServerError)
	}))
	defer agent.Close()
	client, err := consul.NewClient(consul.Config{Address: agent.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if err := run(context.Background(), client, "web", true, io.Discard); err == nil || !strings.Contains(err.Error(), "Connect must be enabled") {
		t.Errorf("got %v", err)
	}
}

// TestHandshake connects a client in the mesh, which wants to talk to web, to servers
// that may not be web.
func TestHandshake(t *testing.T) {
	ca, next, stranger := newAuthority(t), newAuthority(t), newAuthority(t)
	client := newMesh(t, rootsOf(ca, next), ca.leaf(trustDomain, "api"))
	for name, tt := range map[string]struct {
		server *mesh
		words  string // of the error; empty means that it works
	}{
		"web":               {newMesh(t, rootsOf(ca), ca.leaf(trustDomain, "web")), ""},
		"web, next root":    {newMesh(t, rootsOf(ca, next), next.leaf(trustDomain, "web")), ""},
		"another service":   {newMesh(t, rootsOf(ca), ca.leaf(trustDomain, "db")), "want the service web"},
		"a part of it":      {newMesh(t, rootsOf(ca), ca.leaf(trustDomain, "x/svc/web")), "want the service web"},
		"another mesh":      {newMesh(t, rootsOf(ca), ca.leaf("other.consul", "web")), "want the service web"},
		"another authority": {newMesh(t, rootsOf(ca), stranger.leaf(trustDomain, "web")), "unknown authority"},
		"a client that the server does not trust": {newMesh(t, rootsOf(next), next.leaf(trustDomain, "web")), ":"}, // or the server has hung up
		"no certificates yet":                     {new(mesh), "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = tt.server.server()
			server.StartTLS()
			defer server.Close()
			transport := &http.Transport{TLSClientConfig: client.client("web")}
			defer transport.CloseIdleConnections()
			resp, err := transport.RoundTrip(httptest.NewRequest("GET", server.URL, nil))
			if err == nil {
				resp.Body.Close()
			}
			if tt.words == "" && err != nil || tt.words != "" && (err == nil || !strings.Contains(err.Error(), tt.words)) {
				t.Errorf("got %v; want %q", err, tt.words)
			}
		})
	}
	if err := new(mesh).verify([]*x509.Certificate{ca.cert}, "web"); err == nil {
		t.Error("without roots: no error")
	}
	if _, err := new(mesh).client("web").GetClientCertificate(&tls.CertificateRequestInfo{}); err == nil {
		t.Error("without a certificate: no error")
	}
}
