package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	defaultMaxResponseBytes = 64 << 20
	defaultUserAgent        = "lictor-go-consul"
)

// Client sends requests to one agent. Its methods may be called concurrently.
type Client struct {
	*settings
	token *tokenSource
	scope scope
}

// settings are what a client and its copies share. They, and the token, are
// behind pointers so that printing a struct with a Client in it shows addresses.
type settings struct {
	http      *http.Client
	wrapped   http.RoundTripper // what Config.WrapTransport is around; nil without it
	agent     string            // its address in errors
	base      url.URL
	header    http.Header
	basicAuth *url.Userinfo
	waitTime  time.Duration
	maxBytes  int64
	spare     spareBuffer
}

// NewClient returns a client for the agent that cfg describes. It reads the
// files that cfg names, but sends nothing. It keeps nothing of cfg that the
// caller may change later, except the Transport.
func NewClient(cfg Config) (*Client, error) {
	addr, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	if cfg.WaitTime < 0 {
		return nil, fmt.Errorf("consul: Config.WaitTime is %s; want 0 or more", cfg.WaitTime)
	}
	if cfg.MaxResponseBytes < 0 {
		return nil, fmt.Errorf("consul: Config.MaxResponseBytes is %d; want 0 or more", cfg.MaxResponseBytes)
	}
	set := &settings{
		agent:    addr.origin(),
		base:     addr.url,
		header:   cfg.Header.Clone(),
		waitTime: cfg.WaitTime,
		maxBytes: cfg.MaxResponseBytes,
	}
	if set.maxBytes == 0 {
		set.maxBytes = defaultMaxResponseBytes
	}
	if cfg.BasicAuth != nil {
		auth := *cfg.BasicAuth
		set.basicAuth = &auth
	}
	if token := takeToken(set.header); cfg.Token == "" && cfg.TokenFile == "" {
		if !validToken(token) {
			return nil, errors.New("consul: Config.Header: X-Consul-Token: " + badToken)
		}
		cfg.Token = token
	}
	token, err := newTokenSource(cfg)
	if err != nil {
		return nil, err
	}
	transport, err := cfg.transport(addr)
	if err != nil {
		return nil, err
	}
	if cfg.WrapTransport != nil {
		set.wrapped = transport
		if transport = cfg.WrapTransport(transport); transport == nil || isNil(transport) {
			return nil, errors.New("consul: Config.WrapTransport returned nil; want a RoundTripper")
		}
	}
	set.http = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	return &Client{
		settings: set,
		token:    token,
		scope:    scope{cfg.Datacenter, cfg.Namespace, cfg.Partition},
	}, nil
}

// transport returns the transport of a client for the address, without what is
// around it.
func (c Config) transport(addr address) (http.RoundTripper, error) {
	if isNil(c.Transport) {
		return nil, fmt.Errorf("consul: Config.Transport is a nil %T; want one that works, or nil itself", c.Transport)
	}
	if c.Transport != nil {
		return c.Transport, nil
	}
	files, err := c.TLS.read(os.ReadFile)
	if err != nil {
		return nil, fmt.Errorf("consul: Config.TLS: %w", err)
	}
	config, err := c.TLS.build(files)
	if err != nil {
		return nil, fmt.Errorf("consul: Config.TLS: %w", err)
	}
	build := func(config *tls.Config) closingTransport { return newTransport(addr, config) }
	if !c.TLS.namesFiles() {
		return build(config), nil
	}
	return newReloadingTransport(c.TLS, files, config, build), nil
}

// isNil reports whether v is a nil pointer or function in an interface that is
// not nil, which would panic when it is used.
func isNil(v any) bool {
	switch v := reflect.ValueOf(v); v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// closingTransport is a transport that keeps connections.
type closingTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newTransport returns a transport for many parallel blocking queries to one
// host.
func newTransport(addr address, tlsConfig *tls.Config) closingTransport {
	protocols := tlsConfig.NextProtos
	tlsConfig.NextProtos = nil // package net/http sets those that it speaks
	build := func() *http.Transport { return newHTTP1Transport(addr, tlsConfig.Clone()) }
	if addr.url.Scheme != "https" || len(protocols) > 0 && !slices.Contains(protocols, "h2") {
		return build()
	}
	return newHTTP2Transport(build)
}

// newHTTP1Transport returns a transport for HTTP/1.
func newHTTP1Transport(addr address, tlsConfig *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,

		// The default of two would close and reopen connections whenever many
		// queries end together. Agents allow a client 200 connections,
		// idle ones included, so not all of them may be kept.
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,

		MaxResponseHeaderBytes: 1 << 20,

		// On one machine compressing costs more than the bytes that it saves; see
		// BenchmarkGzip in benchmarks.
		DisableCompression: addr.isLoopback(),
	}
	switch {
	case addr.socket == "" && runtime.GOOS == "js":
		// Without a dialer of its own the transport uses the browser's fetch.
	case addr.socket == "":
		t.DialContext = dialer.DialContext
	default:
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", addr.socket)
		}
	}
	return t
}

// Format implements [fmt.Formatter]. It prints the agent's address only.
func (c Client) Format(s fmt.State, verb rune) {
	fmt.Fprintf(s, "consul.Client{%s://%s%s}", c.base.Scheme, c.base.Host, c.base.EscapedPath())
}

// WithToken returns a copy of the client that sends the token, or none if it is
// empty, and never reads Config.TokenFile. The copy shares the client's connections.
func (c *Client) WithToken(token string) *Client {
	d := *c
	d.token = &tokenSource{token: strings.TrimSpace(token)}
	return &d
}

// WithDatacenter returns a copy of the client whose requests are about the
// datacenter unless they name another one. It shares the client's connections.
func (c *Client) WithDatacenter(datacenter string) *Client {
	d := *c
	d.scope.datacenter = datacenter
	return &d
}

// WithNamespace returns a copy of the client whose requests are about the
// namespace unless they name another one. It shares the client's connections.
func (c *Client) WithNamespace(namespace string) *Client {
	d := *c
	d.scope.namespace = namespace
	return &d
}

// WithPartition returns a copy of the client whose requests are about the
// partition unless they name another one. It shares the client's connections.
func (c *Client) WithPartition(partition string) *Client {
	d := *c
	d.scope.partition = partition
	return &d
}

// CloseIdleConnections closes the connections that are not in use, also those
// of the client's copies. Both [Config.Transport] and what Config.WrapTransport
// returned are told, if they have a method CloseIdleConnections.
func (c *Client) CloseIdleConnections() {
	c.http.CloseIdleConnections()
	if t, ok := c.wrapped.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Agent returns the endpoints of the local agent.
func (c *Client) Agent() *Agent { return &Agent{c} }

// Health returns the endpoints about the health of nodes and services.
func (c *Client) Health() *Health { return &Health{c} }

// Catalog returns the endpoints of the catalog.
func (c *Client) Catalog() *Catalog { return &Catalog{c} }

// Status returns the endpoints about the cluster's servers.
func (c *Client) Status() *Status { return &Status{c} }

// KV returns the endpoints of the key-value store.
func (c *Client) KV() *KV { return &KV{c} }

// Session returns the endpoints of sessions.
func (c *Client) Session() *Session { return &Session{c} }

// Txn returns the endpoint of transactions.
func (c *Client) Txn() *Txn { return &Txn{c} }

// Event returns the endpoints of user events.
func (c *Client) Event() *Event { return &Event{c} }

// Raw returns the calls of every other endpoint.
func (c *Client) Raw() *Raw { return &Raw{c} }
