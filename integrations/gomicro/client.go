package gomicro

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
)

// newClient returns the client that the options describe.
func newClient(o *registry.Options, s *settings) (*consul.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	cfg, err := clientConfig(o, s)
	if err != nil {
		return nil, err
	}
	return consul.NewClient(cfg)
}

func clientConfig(o *registry.Options, s *settings) (consul.Config, error) {
	var cfg consul.Config
	if s.config != nil {
		cfg = *s.config
	} else {
		var err error
		if cfg, err = consul.ConfigFromEnv(); err != nil {
			return cfg, err
		}
	}
	secure := o.Secure || o.TLSConfig != nil || strings.HasPrefix(cfg.Address, "https://")
	addrs, err := hostPorts(o.Addrs)
	if err != nil {
		return cfg, err
	}
	switch {
	case len(addrs) > 0 && secure:
		cfg.Address = "https://" + addrs[0]
	case len(addrs) > 0:
		cfg.Address = addrs[0]
	case secure && strings.HasPrefix(cfg.Address, "http://"):
		cfg.Address = "https://" + strings.TrimPrefix(cfg.Address, "http://")
	case secure && cfg.Address == "":
		cfg.Address = "https://127.0.0.1:8501"
	case secure && !strings.Contains(cfg.Address, "://"):
		cfg.Address = "https://" + cfg.Address
	}
	if o.TLSConfig != nil {
		cfg.TLS = consul.TLSConfig{Base: o.TLSConfig}
	}
	if cfg.Transport != nil || len(addrs) < 2 {
		return cfg, nil
	}
	tlsConfig, err := cfg.TLS.Load()
	if err != nil {
		return cfg, fmt.Errorf("gomicro: %w", err)
	}
	tlsConfig.NextProtos = nil // the connections are for HTTP/1
	cfg.Transport = newTransport(addrs, tlsConfig)
	return cfg, nil
}

// hostPorts returns what is in [registry.Addrs] as host:port. Ports may be
// missing there, and so may addresses: an empty flag becomes an empty address.
func hostPorts(addrs []string) ([]string, error) {
	var list []string
	for _, addr := range addrs {
		addr = strings.TrimSpace(addr)
		if addr == "" {
			continue
		}
		if strings.Contains(addr, "://") && len(addrs) > 1 {
			return nil, fmt.Errorf("gomicro: address %q: want host or host:port", addr)
		}
		if strings.Contains(addr, "://") {
			return []string{addr}, nil
		}
		var addrError *net.AddrError
		_, _, err := net.SplitHostPort(addr)
		if errors.As(err, &addrError) && (addrError.Err == "missing port in address" || addrError.Err == "too many colons in address") {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), "8500")
		}
		list = append(list, addr)
	}
	return list, nil
}

// dialTimeout bounds the time for which one of several agents that does not
// answer is in the way of the next.
const dialTimeout = 3 * time.Second

// newTransport returns a transport that connects to one of the addresses. It
// takes no proxy from the environment, which would be asked for the first only.
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
