// Package agent makes clients from what go-micro's options, and the environment, have
// for them. The registry and the other packages for go-micro share it.
package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul"
)

// Options are what a package's options have for a client.
type Options struct {
	Client   *consul.Client
	NoClient bool           // Client was given, and is nil
	Config   *consul.Config // nil: that of the environment
	Addrs    []string
	Secure   bool
	TLS      *tls.Config
}

// Source is what a client is made from. As long as it is the same the client stays:
// what is registered moves to a new one, and moving may take a node away for a
// moment. What could hold a token is behind pointers, so that printing shows none.
type Source struct {
	opts Options
	env  *consul.Config // of the environment; nil if the options have a Client or a Config
}

// NewSource returns what the options, and the environment, have for a client.
func NewSource(o Options) (*Source, error) {
	o.Addrs = slices.Clone(o.Addrs)
	s := &Source{opts: o}
	if o.NoClient {
		return nil, errors.New("gomicro: the client of the option Client is nil")
	}
	if o.Client == nil && o.Config == nil {
		env, err := consul.ConfigFromEnv()
		if err != nil {
			return nil, fmt.Errorf("gomicro: %w", err)
		}
		s.env = &env
	}
	return s, nil
}

// Equal compares the identity of what options pass as pointers: an option that is
// given again also reads its files again.
func (s *Source) Equal(o *Source) bool {
	a, b := &s.opts, &o.opts
	return a.Client == b.Client && a.Config == b.Config && a.TLS == b.TLS && a.Secure == b.Secure &&
		slices.Equal(a.Addrs, b.Addrs) && reflect.DeepEqual(s.env, o.env)
}

// NewClient returns the client.
func (s *Source) NewClient() (*consul.Client, error) {
	if s.opts.Client != nil {
		return s.opts.Client, nil
	}
	cfg, err := s.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("gomicro: %w", err)
	}
	c, err := consul.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("gomicro: %w", err)
	}
	return c, nil
}

// ClientConfig returns the configuration of the client.
func (s *Source) ClientConfig() (consul.Config, error) {
	cfg := *cmp.Or(s.opts.Config, s.env)
	addrs, err := hostPorts(s.opts.Addrs)
	if err != nil {
		return cfg, err
	}
	secure := s.opts.Secure || s.opts.TLS != nil || strings.HasPrefix(cfg.Address, "https://")
	if len(addrs) > 0 {
		cfg.Address = addrs[0]
	}
	if secure {
		if cfg.Address, err = withTLS(cfg.Address); err != nil {
			return cfg, err
		}
	}
	if s.opts.TLS != nil {
		cfg.TLS = consul.TLSConfig{Base: s.opts.TLS}
	}
	switch {
	case len(addrs) < 2:
		return cfg, nil
	case cfg.Transport != nil:
		return cfg, errors.New("several addresses are of no use with a Transport in Config, which connects by itself")
	}
	tlsConfig, err := cfg.TLS.Load()
	if err != nil {
		return cfg, err
	}
	tlsConfig.NextProtos = nil // the connections are for HTTP/1
	cfg.Transport = newTransport(addrs, tlsConfig)
	return cfg, nil
}

// withTLS returns the address as an https:// one. A scheme of its own does not
// count: it must not be what leaves out TLS that is demanded elsewhere.
func withTLS(address string) (string, error) {
	if address == "" {
		return "https://127.0.0.1:8501", nil
	}
	scheme, rest, ok := strings.Cut(address, "://")
	switch {
	case !ok:
		host, prefix, hasPrefix := strings.Cut(address, "/")
		if hasPrefix {
			prefix = "/" + prefix
		}
		return "https://" + withPort(host) + prefix, nil
	case scheme == "http", scheme == "https":
		return "https://" + rest, nil
	case scheme == "unix":
		return "", errors.New("TLS is not possible with a unix socket; it is demanded by the options for TLS, Config or CONSUL_HTTP_SSL")
	}
	return address, nil // which no client takes
}

// hostPorts returns the addresses of the options. Empty addresses are left out, as an
// empty flag becomes one. A single address is anything that a client takes. Of
// several, each is host:port; ports may be missing.
func hostPorts(addrs []string) ([]string, error) {
	var list []string
	for _, addr := range addrs {
		if addr = strings.TrimSpace(addr); addr != "" {
			list = append(list, addr)
		}
	}
	if len(list) < 2 {
		return list, nil
	}
	for i, addr := range list {
		if strings.Contains(addr, "/") {
			return nil, fmt.Errorf("address %d of several: want host or host:port; the options for TLS are for https", i+1)
		}
		list[i] = withPort(addr)
		if _, err := consul.NewClient(consul.Config{Address: list[i], Transport: http.DefaultTransport}); err != nil {
			return nil, fmt.Errorf("address %d of several: %w", i+1, err)
		}
	}
	return list, nil
}

// withPort returns host:port of an address whose parts may be missing.
func withPort(host string) string {
	name, port, err := net.SplitHostPort(host)
	var addrError *net.AddrError
	if errors.As(err, &addrError) && (addrError.Err == "missing port in address" || addrError.Err == "too many colons in address") {
		name, port, err = strings.Trim(host, "[]"), "8500", nil
	}
	if err != nil {
		return host // which no client takes
	}
	return net.JoinHostPort(cmp.Or(name, "127.0.0.1"), port)
}

// dialTimeout bounds the time for which one of several agents that does not
// respond is in the way of the next.
const dialTimeout = 3 * time.Second

// newTransport returns a transport that connects to one of the addresses. It
// takes no proxy from the environment, which is looked up for the first only.
func newTransport(addrs []string, tlsConfig *tls.Config) *http.Transport {
	d := &agents{addrs: addrs, tls: tlsConfig}
	return &http.Transport{
		DialContext:         d.dial,
		DialTLSContext:      d.dialTLS,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,
	}
}

// agents are the addresses of several agents, any of which will do. It keeps to
// one of them until that does not accept connections any more.
type agents struct {
	addrs []string
	tls   *tls.Config

	mu      sync.Mutex
	current int // index of the address in use
}

func (a *agents) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return a.each(ctx, func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	})
}

func (a *agents) dialTLS(ctx context.Context, network, _ string) (net.Conn, error) {
	return a.each(ctx, func(ctx context.Context, addr string) (net.Conn, error) {
		// The dialer verifies the certificate for the host that it connects to.
		return (&tls.Dialer{Config: a.tls}).DialContext(ctx, network, addr)
	})
}

// each tries the addresses one after the other, the current one first.
func (a *agents) each(ctx context.Context, dial func(context.Context, string) (net.Conn, error)) (net.Conn, error) {
	a.mu.Lock()
	first := a.current
	a.mu.Unlock()
	var errs []error
	for i := range a.addrs {
		at := (first + i) % len(a.addrs)
		conn, err := bounded(ctx, a.addrs[at], dial)
		if err == nil {
			a.mu.Lock()
			a.current = at
			a.mu.Unlock()
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func bounded(ctx context.Context, addr string, dial func(context.Context, string) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return dial(ctx, addr)
}
