package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// roots are the certificate authorities of the mesh.
type roots struct {
	ActiveRootID string // of the one that signs; the others are still to be trusted
	TrustDomain  string // the host in the URIs of services
	Roots        []root
}

type root struct {
	ID, Name            string
	NotBefore, NotAfter time.Time
	RootCert            string // PEM
	Active              bool
}

// readRoots is a query for discovery.Watch.
func readRoots(client *consul.Client) discovery.Query[*roots] {
	return func(ctx context.Context, q *consul.QueryOptions) (*roots, *consul.QueryMeta, error) {
		r := new(roots)
		meta, err := client.Raw().Query(ctx, "/v1/agent/connect/ca/roots", r, q)
		return r, meta, err
	}
}

// leaf is the certificate of a service, and its key.
type leaf struct {
	SerialNumber            string
	CertPEM, PrivateKeyPEM  string
	Service, ServiceURI     string // the URI is in the certificate
	ValidAfter, ValidBefore time.Time
}

// readLeaf is a query for discovery.Watch. The agent makes the key, has the
// certificate signed, and renews it in time.
func readLeaf(client *consul.Client, service string) discovery.Query[*leaf] {
	return func(ctx context.Context, q *consul.QueryOptions) (*leaf, *consul.QueryMeta, error) {
		l := new(leaf)
		meta, err := client.Raw().Query(ctx, "/v1/agent/connect/ca/leaf/"+url.PathEscape(service), l, q)
		return l, meta, err
	}
}

// mesh is what a service needs to take part in the mesh, as it is at the moment.
// The zero mesh trusts nobody.
type mesh struct {
	certificate atomic.Pointer[tls.Certificate]
	authorities atomic.Pointer[authorities]
}

type authorities struct {
	pool        *x509.CertPool
	trustDomain string
}

func (m *mesh) setRoots(r *roots) error {
	a := &authorities{x509.NewCertPool(), r.TrustDomain}
	for _, root := range r.Roots {
		if !a.pool.AppendCertsFromPEM([]byte(root.RootCert)) {
			return fmt.Errorf("the root %s has no certificate", root.ID)
		}
	}
	m.authorities.Store(a)
	return nil
}

func (m *mesh) setLeaf(l *leaf) error {
	pair, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
	if err != nil {
		return err
	}
	m.certificate.Store(&pair)
	return nil
}

// server returns the configuration of a server that takes clients of the mesh only.
// Which of the services may call is not looked at: that is what intentions say.
func (m *mesh) server() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, known := m.certificate.Load(), m.authorities.Load()
		if cert == nil || known == nil {
			return nil, errors.New("no certificates of the mesh yet")
		}
		return &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{*cert},
			ClientCAs:    known.pool,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		}, nil
	}}
}

// client returns the configuration of a client that talks to a service. Certificates
// of the mesh name a service and no host, so package crypto/tls cannot verify them by
// itself: verify does all of it.
func (m *mesh) client(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert := m.certificate.Load(); cert != nil {
				return cert, nil
			}
			return nil, errors.New("no certificate of the mesh yet")
		},
		InsecureSkipVerify: true,
		VerifyConnection:   func(state tls.ConnectionState) error { return m.verify(state.PeerCertificates, service) },
	}
}

// verify checks that the certificates are those of a service in the mesh.
func (m *mesh) verify(certs []*x509.Certificate, service string) error {
	known := m.authorities.Load()
	if known == nil || len(certs) == 0 {
		return errors.New("no certificates of the mesh")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         known.pool,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return err
	}
	// spiffe://TRUST-DOMAIN/ns/default/dc/DATACENTER/svc/SERVICE
	for _, uri := range certs[0].URIs {
		part := strings.Split(uri.Path, "/")
		if uri.Scheme == "spiffe" && uri.Host == known.trustDomain && len(part) == 7 && part[5] == "svc" && part[6] == service {
			return nil
		}
	}
	return fmt.Errorf("the certificate is for %s; want the service %s of %s", certs[0].URIs, service, known.trustDomain)
}
