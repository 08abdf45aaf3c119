package consul

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config configures a [Client]. The zero Config is a local agent without ACLs at
// http://127.0.0.1:8500.
//
// A Config prints without its secrets, whichever verb of package fmt is used.
type Config struct {
	// Address is the agent's: host:port, http://host:port, https://host:port or
	// unix:///path/to/socket. A path after the port is kept as a prefix of every
	// request's path. Empty means 127.0.0.1:8500. Without a scheme a missing port
	// means 8500, also if Scheme is https; with http:// or https:// it means 80 or
	// 443.
	Address string

	// Scheme is that of an Address that names none: http or https. Empty means
	// http. An Address with https:// wins over the Scheme http; one with http:// or
	// unix:// and the Scheme https is an error, because it would leave TLS out.
	Scheme string

	// Token is sent in the header X-Consul-Token. Empty means none.
	Token string `json:"-"`

	// TokenFile is a file that holds the token. It wins over Token. NewClient reads
	// it, and requests read it again, at most once a second, so that a token that
	// is replaced needs no restart. A 401 or 403 makes the next request read it at
	// once. If it is missing, unreadable or empty later on, the last token stays in
	// use, and errors with 401 and 403 mention it. Only regular files are read
	// again.
	TokenFile string

	// Datacenter, Namespace and Partition are defaults of every request. Empty
	// means those of the agent. Namespaces and partitions exist in Consul
	// Enterprise only: other agents refuse requests that name one, except that
	// old ones ignore partitions.
	Datacenter string
	Namespace  string
	Partition  string

	// WaitTime is the wait of blocking queries that have none of their own. Zero leaves it
	// to the agent, whose default is 5 minutes.
	WaitTime time.Duration

	// BasicAuth is sent as HTTP basic authentication, for a proxy in front of the
	// agent. Nil means none.
	BasicAuth *url.Userinfo `json:"-"`

	// TLS is used with https:// addresses. With any other address it has to be
	// empty: settings of TLS that have no effect are an error.
	//
	// Over https the client speaks HTTP/2 where the agent does, if the program is
	// built with Go 1.24 or later: some 250 requests that wait share a connection then.
	// To switch that off, give TLS.Base the NextProtos http/1.1.
	TLS TLSConfig

	// Transport replaces the built-in transport. Address then only shapes URLs,
	// and TLS is not used. Nil means a transport of the client's own, which keeps
	// connections for many parallel blocking queries to one host, and takes a
	// proxy from the environment unless the address is a unix socket.
	Transport http.RoundTripper `json:"-"`

	// WrapTransport is called once, by NewClient, and returns what the client sends
	// its requests through: a RoundTripper around the one that it is given, for
	// traces, metrics or signatures. That is Transport or the built-in transport,
	// of whatever type. What it returns sees each request as it is sent, the header
	// X-Consul-Token included, so it must not record all headers. Nil means none.
	WrapTransport func(http.RoundTripper) http.RoundTripper `json:"-"`

	// Header is added to every request. A token in it, as X-Consul-Token, counts as
	// Token if there is none, nor a TokenFile.
	Header http.Header `json:"-"`

	// MaxResponseBytes limits the length of a response after decompression. A
	// longer one is ErrResponseTooLarge. Zero means 64 MiB.
	MaxResponseBytes int64
}

// Format implements [fmt.Formatter]. It prints the Config without its secrets.
func (c Config) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "consul.Config{Address:%q Scheme:%q Datacenter:%q Namespace:%q Partition:%q WaitTime:%s TokenFile:%q Token:%s BasicAuth:%s TLS:%v}",
		redactAddress(c.Address), c.Scheme, c.Datacenter, c.Namespace, c.Partition, c.WaitTime, c.TokenFile,
		redact(c.Token != ""), redact(c.BasicAuth != nil), c.TLS)
}

// redact prints whether a secret is set, but not the secret.
func redact(set bool) string {
	if set {
		return "[redacted]"
	}
	return "none"
}

// ConfigFromEnv returns the Config that the variables of Consul's own tools
// describe: CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE,
// CONSUL_HTTP_AUTH (user:password), CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY,
// CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY,
// CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE and CONSUL_PARTITION. An empty
// variable counts as not set.
//
// A program may change fields of the result. Scheme is https if the variables
// demand TLS, so that another Address does not lose it. TokenFile wins over Token:
// clear it to give another token. Variables of TLS have no effect on an http
// address: NewClient returns an error then.
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
	addr, err := parseAddress(cfg.Address, "")
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
	if addr.url.Scheme == "https" {
		cfg.Scheme = "https"
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

// endpoint returns where the agent is. It is an error if anything in the Config
// demands TLS and the address has none.
func (c Config) endpoint() (address, error) {
	switch c.Scheme {
	case "", "http", "https":
	default:
		return address{}, fmt.Errorf("consul: Config.Scheme is %q; want http or https", c.Scheme)
	}
	addr, err := parseAddress(c.Address, c.Scheme)
	switch {
	case err != nil:
		return address{}, fmt.Errorf("consul: Config.Address: %w", err)
	case addr.url.Scheme == "https":
		return addr, nil
	case c.Scheme == "https":
		return address{}, fmt.Errorf("consul: Config.Scheme is https, but Config.Address is %q; want https:// in it, or no scheme, or another Config.Scheme",
			c.Address)
	case c.TLS.isSet():
		return address{}, fmt.Errorf("consul: Config.TLS is set, but Config.Address is %q, where it has no effect; "+
			"want https:// in the address, or https as Config.Scheme (CONSUL_HTTP_SSL=true), or an empty Config.TLS", c.Address)
	}
	return addr, nil
}
