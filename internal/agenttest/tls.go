package agenttest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// TLS configures the HTTPS port of an agent.
type TLS struct {
	Cert    *Certificate // the agent's
	Clients []byte       // authorities of clients' certificates, as PEM

	// VerifyClients refuses clients without a certificate of such an authority.
	VerifyClients bool
}

// SetTLS writes other certificates over those that the agent has. It uses them
// after a reload or a restart.
func (a *Agent) SetTLS(t *TLS) {
	a.tb.Helper()
	a.opts.TLS = t
	if _, err := a.hcl(); err != nil { // writes the files
		a.tb.Fatal(err)
	}
}

// Certificate is a certificate with its key, as PEM blocks.
type Certificate struct {
	CertPEM []byte
	KeyPEM  []byte
}

// CA is a certificate authority made for a test.
type CA struct {
	CertPEM []byte
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	tb      testing.TB
}

// NewCA makes a certificate authority.
func NewCA(tb testing.TB, name string) *CA {
	tb.Helper()
	ca := &CA{tb: tb}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	var der []byte
	der, ca.key = ca.sign(template, nil, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	ca.cert, ca.CertPEM = cert, encodePEM("CERTIFICATE", der)
	return ca
}

// Issue makes a certificate for an agent or a client. It is valid for the DNS
// names, and for 127.0.0.1 unless there are names.
func (ca *CA) Issue(name string, dnsNames ...string) *Certificate {
	ca.tb.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    dnsNames,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if len(dnsNames) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, key := ca.sign(template, ca.cert, ca.key)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return &Certificate{CertPEM: encodePEM("CERTIFICATE", der), KeyPEM: encodePEM("EC PRIVATE KEY", keyDER)}
}

// sign makes a key and a certificate for it, signed by the parent, or by itself
// if there is none.
func (ca *CA) sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	ca.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.tb.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		ca.tb.Fatal(err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		ca.tb.Fatal(err)
	}
	return der, key
}

func encodePEM(kind string, der []byte) []byte {
	var buf bytes.Buffer
	pem.Encode(&buf, &pem.Block{Type: kind, Bytes: der}) // a Buffer has no errors
	return buf.Bytes()
}
