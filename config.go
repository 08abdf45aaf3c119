package consul

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	defaultHost = "127.0.0.1"
	defaultPort = "8500"
)

// Config configures a [Client]. The zero Config is a local agent without ACLs at
// http://127.0.0.1:8500.
//
// A Config prints without its secrets, whichever verb of package fmt is used.
type Config struct {
	// Address is the agent's: host:port, http://host:port, https://host:port or
	// unix:///path/to/socket. A path after the port is kept as a prefix of every
	// request's path. Empty means 127.0.0.1:8500. A bare host means port 8500;
	// with http:// or https:// a missing port means 80 or 443.
	Address string

	// Token is sent in the header X-Consul-Token. Empty means none.
	Token string `json:"-"`

	// TokenFile is a file that holds the token. It is read once, by NewClient,
	// and wins over Token.
	TokenFile string

	// Datacenter, Namespace and Partition are defaults of every request. Empty
	// means those of the agent. Namespaces and partitions exist in Consul
	// Enterprise only: other agents refuse requests that name one.
	Datacenter string
	Namespace  string
	Partition  string

	// WaitTime is the wait of blocking queries that do not say one. Zero leaves it
	// to the agent, whose default is 5 minutes.
	WaitTime time.Duration

	// BasicAuth is sent as HTTP basic authentication, for a proxy in front of the
	// agent. Nil means none.
	BasicAuth *url.Userinfo `json:"-"`

	// TLS is used with https:// addresses.
	TLS TLSConfig

	// Transport replaces the built-in transport. Address then only shapes URLs,
	// and TLS is not used. Nil means a transport of the client's own, which keeps
	// connections for many parallel blocking queries to one host, and takes a
	// proxy from the environment unless the address is a unix socket.
	Transport http.RoundTripper `json:"-"`

	// Header is added to every request.
	Header http.Header `json:"-"`

	// MaxResponseBytes bounds the length of an answer after decompression. A
	// longer one is ErrResponseTooLarge. Zero means 64 MiB.
	MaxResponseBytes int64
}

// Format implements [fmt.Formatter]. It prints the Config without its secrets.
func (c Config) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "consul.Config{Address:%q Datacenter:%q Namespace:%q Partition:%q WaitTime:%s TokenFile:%q Token:%s BasicAuth:%s TLS:%v}",
		redactAddress(c.Address), c.Datacenter, c.Namespace, c.Partition, c.WaitTime, c.TokenFile,
		redact(c.Token != ""), redact(c.BasicAuth != nil), c.TLS)
}

// redact says whether a secret is set without saying which.
func redact(set bool) string {
	if set {
		return "[redacted]"
	}
	return "none"
}

// redactAddress hides a user and password in an address, and a query, where they
// are not allowed but may have been put.
func redactAddress(addr string) string {
	if i := strings.IndexByte(addr, '?'); i >= 0 {
		addr = addr[:i] + "?[redacted]"
	}
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(addr[:i], "://")
		if !ok {
			return "[redacted]" + addr[i:]
		}
		if scheme != "unix" {
			return scheme + "://[redacted]" + addr[i:]
		}
	}
	return addr
}

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

// ConfigFromEnv returns the Config that the variables of Consul's own tools
// describe: CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE,
// CONSUL_HTTP_AUTH (user:password), CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY,
// CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY,
// CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE and CONSUL_PARTITION. An empty
// variable counts as not set.
//
// A malformed value is an error that names the variable. Files are not read
// before NewClient.
func ConfigFromEnv() (Config, error) {
	cfg := Config{
		Address:   os.Getenv("CONSUL_HTTP_ADDR"),
		Token:     strings.TrimSpace(os.Getenv("CONSUL_HTTP_TOKEN")),
		TokenFile: os.Getenv("CONSUL_HTTP_TOKEN_FILE"),
		Namespace: os.Getenv("CONSUL_NAMESPACE"),
		Partition: os.Getenv("CONSUL_PARTITION"),
		TLS: TLSConfig{
			CAFile:     os.Getenv("CONSUL_CACERT"),
			CAPath:     os.Getenv("CONSUL_CAPATH"),
			CertFile:   os.Getenv("CONSUL_CLIENT_CERT"),
			KeyFile:    os.Getenv("CONSUL_CLIENT_KEY"),
			ServerName: os.Getenv("CONSUL_TLS_SERVER_NAME"),
		},
	}
	addr, err := parseAddress(cfg.Address)
	if err != nil {
		return Config{}, fmt.Errorf("consul: CONSUL_HTTP_ADDR: %w", err)
	}
	if !validToken(cfg.Token) {
		return Config{}, errors.New("consul: CONSUL_HTTP_TOKEN: " + badToken)
	}
	if auth := os.Getenv("CONSUL_HTTP_AUTH"); auth != "" {
		user, password, ok := strings.Cut(auth, ":")
		if user == "" {
			return Config{}, errors.New("consul: CONSUL_HTTP_AUTH: no user; want user or user:password")
		}
		cfg.BasicAuth = url.User(user)
		if ok {
			cfg.BasicAuth = url.UserPassword(user, password)
		}
	}
	ssl, err := envBool("CONSUL_HTTP_SSL", false)
	if err != nil {
		return Config{}, err
	}
	if ssl {
		if addr.socket != "" {
			return Config{}, errors.New("consul: CONSUL_HTTP_SSL: TLS is not possible with the unix socket in CONSUL_HTTP_ADDR")
		}
		addr.url.Scheme = "https"
		cfg.Address = addr.url.String()
	}
	verify, err := envBool("CONSUL_HTTP_SSL_VERIFY", true)
	if err != nil {
		return Config{}, err
	}
	cfg.TLS.InsecureSkipVerify = !verify
	for _, pair := range [][2]string{
		{"CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"},
		{"CONSUL_CLIENT_KEY", "CONSUL_CLIENT_CERT"},
	} {
		if os.Getenv(pair[0]) != "" && os.Getenv(pair[1]) == "" {
			return Config{}, fmt.Errorf("consul: %s is set without %s", pair[0], pair[1])
		}
	}
	return cfg, nil
}

func envBool(name string, unset bool) (bool, error) {
	v := os.Getenv(name)
	if v == "" {
		return unset, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("consul: %s: %q is not a boolean; want true or false", name, v)
	}
	return b, nil
}

// address is a parsed Config.Address.
type address struct {
	url    url.URL // scheme, host and path prefix only
	socket string  // of a unix address
}

func parseAddress(s string) (address, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return address{}, fmt.Errorf("address %q: blanks and control characters are not allowed", redactAddress(s))
	}
	fail := func(format string, args ...any) (address, error) {
		return address{}, fmt.Errorf("address %q: %s; want host:port, http://host:port, https://host:port or unix:///path",
			redactAddress(s), fmt.Sprintf(format, args...))
	}
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		scheme, rest = "http", s
	}
	switch scheme {
	case "http", "https":
	case "unix":
		if rest == "" {
			return fail("no path")
		}
		// The host names nobody; it only fills the header Host.
		return address{url: url.URL{Scheme: "http", Host: "localhost"}, socket: rest}, nil
	default:
		return fail("unknown scheme %q", scheme)
	}
	if strings.ContainsAny(rest, "?#") {
		return fail("a query or fragment is not allowed")
	}
	host, prefix, _ := strings.Cut(rest, "/")
	if strings.Contains(host, "@") {
		return fail("a user is not allowed (it belongs in BasicAuth)")
	}
	if hasScheme {
		host = strings.Replace(host, "%25", "%", 1) // the zone of an IPv6 address, as RFC 6874 writes it in URLs
	}
	hostport, problem := parseHostPort(host, !hasScheme)
	if problem != "" {
		return fail("%s", problem)
	}
	prefix = strings.TrimSuffix(prefix, "/")
	u := url.URL{Scheme: scheme, Host: hostport}
	if prefix != "" {
		unescaped, err := url.PathUnescape(prefix)
		if err != nil {
			return fail("malformed path")
		}
		if path.Clean("/"+unescaped) != "/"+unescaped {
			return fail("path is not in its shortest form")
		}
		u.Path, u.RawPath = "/"+unescaped, "/"+prefix
		u.RawPath = u.EscapedPath() // escapes what had to be
	}
	return address{url: u}, nil
}

// parseHostPort checks a host with an optional port, which in a bare address are
// both optional. An IPv6 address has to be in brackets, unless it stands alone.
// It returns what was wrong, if anything.
func parseHostPort(s string, isBare bool) (hostport, problem string) {
	host, port := s, ""
	switch i := strings.LastIndexByte(s, ':'); {
	case s == "" || isIPv6(s):
	case s[0] == '[' && s[len(s)-1] == ']':
		host = s[1 : len(s)-1]
	case i >= 0:
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", "malformed host or port"
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Sprintf("port %q is not a number from 1 to 65535", port)
		}
	}
	if strings.HasPrefix(s, "[") && !isIPv6(host) {
		return "", fmt.Sprintf("%q is not an IPv6 address", host)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > 0x7e || strings.ContainsRune("\"<>\\^`{|}[]", r) }) ||
		strings.Count(host, "%") > 1 || strings.Contains(host, "%") && !isIPv6(host) {
		return "", "malformed host"
	}
	if isBare {
		if host == "" {
			host = defaultHost
		}
		if port == "" {
			port = defaultPort
		}
	}
	switch {
	case host == "":
		return "", "no host"
	case port != "":
		return net.JoinHostPort(host, port), ""
	case isIPv6(host):
		return "[" + host + "]", ""
	}
	return host, ""
}

// isIPv6 reports whether s is an IPv6 address, possibly with a zone.
func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6()
}

// isLoopback reports whether a connection to the address stays on this machine.
func (a address) isLoopback() bool {
	ip, _ := netip.ParseAddr(a.url.Hostname())
	return a.socket != "" || a.url.Hostname() == "localhost" || ip.IsLoopback()
}

const badToken = "a token has no blanks or control characters inside"

// validToken reports whether the token can be sent in a header.
func validToken(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
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
