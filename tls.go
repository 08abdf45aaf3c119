package consul

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// TLSConfig configures TLS: which certificates to trust and which to present. The zero
// TLSConfig trusts the authorities that the system trusts, and has no client
// certificate.
//
// NewClient reads the files, and requests read them again, at most once a second,
// so that certificates that are replaced need no restart. When files have changed,
// new requests use new connections; those under way end on the connections that
// they have. Files that cannot be used (missing, unreadable, a certificate without
// its key) leave all of those in use that were read together before; when a
// request fails then, its error mentions it. Only regular files are read again.
type TLSConfig struct {
	// Base is what the other fields are laid over, for a configuration that
	// exists already: those that are set win over it. NewClient does not use its
	// ClientSessionCache if there are files, because sessions outlive certificates.
	// If it has NextProtos, and h2 is not among them, NewClient speaks HTTP/1 only,
	// and else HTTP/2 where the agent does; nothing else in them is used. It is cloned
	// and never changed. Nil means an empty one. A MinVersion of 0 means TLS 1.2.
	Base *tls.Config `json:"-"`

	// The authorities to trust instead of the system's: a file, every file in a
	// directory (not below it, and without names that begin with two dots), and PEM
	// blocks. They add up.
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
	// whoever responds.
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

// namesFiles reports whether there are files to read.
func (t TLSConfig) namesFiles() bool {
	return t.CAFile != "" || t.CAPath != "" || t.CertFile != "" && len(t.CertPEM) == 0
}

// owned returns a copy that does not change with the caller's, nor with the
// working directory.
func (t TLSConfig) owned() TLSConfig {
	t.Base = t.Base.Clone()
	t.CAPEM, t.CertPEM, t.KeyPEM = bytes.Clone(t.CAPEM), bytes.Clone(t.CertPEM), bytes.Clone(t.KeyPEM)
	for _, path := range []*string{&t.CAFile, &t.CAPath, &t.CertFile, &t.KeyFile} {
		if *path != "" {
			*path = absolute(*path)
		}
	}
	return t
}

// Load reads the files and returns what they are for package crypto/tls. NewClient
// does so by itself; Load is for a [Config.Transport] of the caller's. What it
// returns does not change with the files.
func (t TLSConfig) Load() (*tls.Config, error) {
	files, err := t.read(os.ReadFile)
	if err != nil {
		return nil, err
	}
	return t.build(files)
}

// tlsFiles are the files that a TLSConfig names, as they were read together.
type tlsFiles struct {
	authorities []pemFile
	cert, key   []byte
}

type pemFile struct {
	name string
	data []byte
}

// sum returns what tells files from others, and gives nothing away.
func (f tlsFiles) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, data := range append([]pemFile{{data: f.cert}, {data: f.key}}, f.authorities...) {
		sum := sha256.Sum256(data.data)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// read reads the files.
func (t TLSConfig) read(readFile func(string) ([]byte, error)) (files tlsFiles, err error) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return files, errors.New("CertFile and KeyFile: one is set without the other")
	}
	if (len(t.CertPEM) == 0) != (len(t.KeyPEM) == 0) {
		return files, errors.New("CertPEM and KeyPEM: one is set without the other")
	}
	names, err := t.authorityFiles()
	if err != nil {
		return files, err
	}
	for _, name := range names {
		data, err := readFile(name)
		if err != nil {
			return files, fmt.Errorf("certificate authority: %w", err)
		}
		files.authorities = append(files.authorities, pemFile{name, data})
	}
	if t.CertFile == "" || len(t.CertPEM) > 0 {
		return files, nil
	}
	if files.cert, err = readFile(t.CertFile); err != nil {
		return files, fmt.Errorf("CertFile: %w", err)
	}
	if files.key, err = readFile(t.KeyFile); err != nil {
		return files, fmt.Errorf("KeyFile: %w", err)
	}
	return files, nil
}

// authorityFiles returns the names of the files of authorities.
func (t TLSConfig) authorityFiles() (names []string, err error) {
	if t.CAFile != "" {
		names = append(names, t.CAFile)
	}
	if t.CAPath == "" {
		return names, nil
	}
	entries, err := os.ReadDir(t.CAPath) // in the order of their names
	if err != nil {
		return nil, fmt.Errorf("CAPath: %w", err)
	}
	before := len(names)
	for _, e := range entries {
		// Kubernetes keeps what it mounts in folders and links to folders of such
		// names, which come and go.
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		name := filepath.Join(t.CAPath, e.Name())
		info, err := os.Stat(name) // follows links
		if err != nil {
			return nil, fmt.Errorf("CAPath: %w", err)
		}
		if !info.IsDir() {
			names = append(names, name)
		}
	}
	if len(names) == before {
		return nil, fmt.Errorf("CAPath: no files in %s", t.CAPath)
	}
	return names, nil
}

// build makes the configuration from what was in the files.
func (t TLSConfig) build(files tlsFiles) (*tls.Config, error) {
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
	if len(files.authorities) > 0 || len(t.CAPEM) > 0 {
		c.RootCAs = x509.NewCertPool()
	}
	for _, f := range files.authorities {
		if !c.RootCAs.AppendCertsFromPEM(f.data) {
			return nil, fmt.Errorf("certificate authority %s: no PEM certificate in it", f.name)
		}
	}
	if len(t.CAPEM) > 0 && !c.RootCAs.AppendCertsFromPEM(t.CAPEM) {
		return nil, errors.New("CAPEM: no PEM certificate in it")
	}
	cert, key, names := t.CertPEM, t.KeyPEM, "CertPEM and KeyPEM"
	if len(cert) == 0 {
		if t.CertFile == "" {
			return c, nil
		}
		cert, key, names = files.cert, files.key, fmt.Sprintf("CertFile %s and KeyFile %s", t.CertFile, t.KeyFile)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", names, err)
	}
	c.Certificates = []tls.Certificate{pair}
	c.GetClientCertificate = nil // of a Base; it would win
	return c, nil
}
