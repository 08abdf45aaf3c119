package consul

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

// TLSConfig says how to authenticate the agent, and oneself to it. The zero
// TLSConfig trusts the authorities that the system trusts, and has no client
// certificate. Files are read once, by NewClient.
type TLSConfig struct {
	// Base is what the other fields are laid over, for a configuration that
	// exists already: those that are set win over it, and its NextProtos are not
	// used by NewClient. It is cloned and never changed. Nil means an empty one. A
	// MinVersion of 0 means TLS 1.2.
	Base *tls.Config `json:"-"`

	// The authorities to trust instead of the system's: a file, every file in a
	// directory, and PEM blocks. They add up.
	CAFile string
	CAPath string
	CAPEM  []byte

	// The client certificate and its key, as files or as PEM blocks. Either both
	// of a pair or none; blocks win over files.
	CertFile string
	KeyFile  string
	CertPEM  []byte
	KeyPEM   []byte `json:"-"`

	// ServerName is the name that the agent's certificate must have, for example
	// server.dc1.consul. Empty means the host of the address.
	ServerName string

	// InsecureSkipVerify accepts every certificate. Tokens are then sent to
	// whoever answers.
	InsecureSkipVerify bool
}

// Format implements [fmt.Formatter]. It prints the TLSConfig without the key
// and without what is in Base.
func (t TLSConfig) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "{Base:%s CAFile:%q CAPath:%q CAPEM:%d bytes CertFile:%q KeyFile:%q CertPEM:%d bytes KeyPEM:%s ServerName:%q InsecureSkipVerify:%t}",
		redact(t.Base != nil), t.CAFile, t.CAPath, len(t.CAPEM), t.CertFile, t.KeyFile, len(t.CertPEM), redact(len(t.KeyPEM) > 0), t.ServerName, t.InsecureSkipVerify)
}

// isSet reports whether any field is set.
func (t TLSConfig) isSet() bool {
	return t.Base != nil || t.CAFile != "" || t.CAPath != "" || len(t.CAPEM) > 0 ||
		t.CertFile != "" || t.KeyFile != "" || len(t.CertPEM) > 0 || len(t.KeyPEM) > 0 ||
		t.ServerName != "" || t.InsecureSkipVerify
}

// Load reads the files and returns what they are for package crypto/tls. NewClient
// does so by itself; Load is for a [Config.Transport] of the caller's.
func (t TLSConfig) Load() (*tls.Config, error) {
	c := t.Base.Clone()
	if c == nil {
		c = &tls.Config{}
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.InsecureSkipVerify {
		c.InsecureSkipVerify = true
	}
	if err := t.loadCAs(c); err != nil {
		return nil, err
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("CertFile and KeyFile: one is set without the other")
	}
	if (len(t.CertPEM) == 0) != (len(t.KeyPEM) == 0) {
		return nil, errors.New("CertPEM and KeyPEM: one is set without the other")
	}
	var cert tls.Certificate
	var err error
	switch {
	case len(t.CertPEM) > 0:
		if cert, err = tls.X509KeyPair(t.CertPEM, t.KeyPEM); err != nil {
			return nil, fmt.Errorf("CertPEM and KeyPEM: %w", err)
		}
	case t.CertFile != "":
		if cert, err = tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			return nil, fmt.Errorf("CertFile %s and KeyFile %s: %w", t.CertFile, t.KeyFile, err)
		}
	default:
		return c, nil
	}
	c.Certificates = []tls.Certificate{cert}
	c.GetClientCertificate = nil // of a Base; it would win
	return c, nil
}

func (t TLSConfig) loadCAs(c *tls.Config) error {
	files := []string{}
	if t.CAFile != "" {
		files = append(files, t.CAFile)
	}
	if t.CAPath != "" {
		entries, err := os.ReadDir(t.CAPath)
		if err != nil {
			return fmt.Errorf("CAPath: %w", err)
		}
		n := len(files)
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(t.CAPath, e.Name()))
			}
		}
		if len(files) == n {
			return fmt.Errorf("CAPath: no files in %s", t.CAPath)
		}
		sort.Strings(files[n:])
	}
	if len(files) == 0 && len(t.CAPEM) == 0 {
		return nil
	}
	c.RootCAs = x509.NewCertPool()
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("certificate authority: %w", err)
		}
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return fmt.Errorf("certificate authority %s: no PEM certificate in it", f)
		}
	}
	if len(t.CAPEM) > 0 && !c.RootCAs.AppendCertsFromPEM(t.CAPEM) {
		return errors.New("CAPEM: no PEM certificate in it")
	}
	return nil
}
