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
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

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
	if err := os.Mkdir(filepath.Join(caDir, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	file("cas/below/garbage", []byte("no certificate"))
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
		{"all authorities", TLSConfig{CAFile: file("other", otherCA.pem), CAPath: caDir, CAPEM: otherCA.pem, CertFile: certFile, KeyFile: keyFile}, nil},
		{"PEM over files", TLSConfig{CAPEM: ca.pem, CertFile: "no-such-file", KeyFile: "no-such-file", CertPEM: clientCert, KeyPEM: clientKey}, nil},
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

// TestTLSIsSet sets each field alone: each must count where TLS is demanded.
func TestTLSIsSet(t *testing.T) {
	for i := range reflect.TypeFor[TLSConfig]().NumField() {
		var c TLSConfig
		switch f := reflect.ValueOf(&c).Elem().Field(i); f.Interface().(type) {
		case string:
			f.SetString("x")
		case []byte:
			f.SetBytes([]byte("x"))
		case bool:
			f.SetBool(true)
		default:
			f.Set(reflect.New(f.Type().Elem()))
		}
		if !c.isSet() {
			t.Errorf("%+v counts as no settings", c)
		}
	}
	if (TLSConfig{CAPEM: []byte{}, CertPEM: []byte{}, KeyPEM: []byte{}}).isSet() {
		t.Error("empty slices count as settings")
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
