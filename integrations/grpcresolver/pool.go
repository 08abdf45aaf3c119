package grpcresolver

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// pool holds what the channels of a builder share.
type pool struct {
	opts *Options

	mu      sync.Mutex
	clients map[agentKey]*agent
	queries map[queryKey]*query
}

// agent is a client for the channels whose targets say the same about the agent.
type agent struct {
	client *consul.Client
	isOurs bool // made here, so that its connections are to be closed here
	users  int  // queries
}

type queryKey struct {
	agent agentKey
	watch watchKey
}

// query is a resolver for the channels that request the same.
type query struct {
	key      queryKey
	resolver *discovery.Resolver
	users    int // channels
}

func newPool(opts *Options) *pool {
	return &pool{opts: opts, clients: make(map[agentKey]*agent), queries: make(map[queryKey]*query)}
}

// acquire returns a query that goes on until its release.
func (p *pool) acquire(a agentKey, w watchKey) (*query, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := queryKey{a, w}
	q := p.queries[key]
	if q == nil {
		shared, err := p.agent(a)
		if err != nil {
			return nil, err
		}
		shared.users++
		q = &query{key: key, resolver: discovery.NewResolver(shared.client, &discovery.ResolverOptions{
			Query:      w.query(),
			AnyStatus:  w.unhealthy,
			MaxBackoff: cmp.Or(w.maxBackoff, defaultMaxBackoff),
			Logger:     p.opts.Logger,
			OnEvent:    p.opts.OnEvent,
		})}
		p.queries[key] = q
	}
	q.users++
	return q, nil
}

// release ends the query if nobody uses it any more.
func (p *pool) release(q *query) {
	p.mu.Lock()
	q.users--
	if q.users > 0 {
		p.mu.Unlock()
		return
	}
	delete(p.queries, q.key)
	a := p.clients[q.key.agent]
	if a.users--; a.users == 0 {
		delete(p.clients, q.key.agent)
	}
	unused := a.users == 0 && a.isOurs
	p.mu.Unlock()
	q.resolver.Close()
	if unused {
		a.client.CloseIdleConnections()
	}
}

// agent returns the client for an agent. p.mu must be held.
func (p *pool) agent(key agentKey) (*agent, error) {
	if a := p.clients[key]; a != nil {
		return a, nil
	}
	a, err := p.newAgent(key)
	if err != nil {
		return nil, err
	}
	p.clients[key] = a
	return a, nil
}

func (p *pool) newAgent(key agentKey) (*agent, error) {
	if p.opts.Client != nil && key.address == "" && key.socket == "" {
		c, err := key.applyToken(p.opts.Client)
		return &agent{client: c}, err
	}
	cfg, err := p.config()
	if err != nil {
		return nil, err
	}
	cfg = key.apply(cfg)
	c, err := consul.NewClient(cfg)
	if err != nil {
		if key.address != "" && !usesTLS(cfg) && !reflect.ValueOf(cfg.TLS).IsZero() {
			err = fmt.Errorf("%w; or tls=true or tls=false in the target", err)
		}
		return nil, err
	}
	return &agent{client: c, isOurs: cfg.Transport == nil}, nil
}

// config returns the configuration that targets are laid over. Its address is
// checked even if the target has another one, which then has its scheme.
func (p *pool) config() (consul.Config, error) {
	if p.opts.Config == nil {
		return consul.ConfigFromEnv()
	}
	cfg := *p.opts.Config
	if _, err := consul.NewClient(consul.Config{Address: cfg.Address, Transport: http.DefaultTransport}); err != nil {
		return cfg, fmt.Errorf("Options.Config: %w", err)
	}
	return cfg, nil
}

// applyToken returns the client of the options with the token of a target that
// names no agent. Anything else that the target has about the agent cannot be
// had: the client is as it is.
func (k agentKey) applyToken(c *consul.Client) (*consul.Client, error) {
	switch {
	case k.user != "":
		return nil, errors.New("the target has a user but no host: Options.Client has its own")
	case k.insecure != unset:
		return nil, errors.New("the target's parameter insecure needs a host: Options.Client has its own TLS")
	case k.token != "":
		return c.WithToken(k.token), nil
	case k.tokenFile == "":
		return c, nil
	}
	token, err := os.ReadFile(k.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("the target's parameter token-file: %w", err)
	}
	if len(bytes.TrimSpace(token)) == 0 {
		return nil, fmt.Errorf("the target's parameter token-file: %s is empty", k.tokenFile)
	}
	return c.WithToken(string(token)), nil
}

// apply returns cfg with what the target has about the agent.
func (k agentKey) apply(cfg consul.Config) consul.Config {
	switch {
	case k.socket != "":
		cfg.Address, cfg.Scheme, cfg.TLS = "unix://"+k.socket, "", consul.TLSConfig{} // a socket has no TLS
	case k.tls == yes:
		cfg.Address = "https://" + k.address
	case k.tls == unset && k.address != "" && usesTLS(cfg):
		// The token must not go to another host in clear, where it would not go so
		// to the one of the configuration.
		cfg.Address = "https://" + withPort(k.address)
	case k.tls == no:
		cfg.Address, cfg.Scheme, cfg.TLS = k.address, "http", consul.TLSConfig{}
	case k.address != "":
		cfg.Address = k.address
	}
	if usesTLS(cfg) && k.insecure != unset {
		cfg.TLS.InsecureSkipVerify = k.insecure == yes
		if base := cfg.TLS.Base.Clone(); base != nil {
			base.InsecureSkipVerify = cfg.TLS.InsecureSkipVerify
			cfg.TLS.Base = base
		}
	}
	switch {
	case k.token != "":
		cfg.Token, cfg.TokenFile = k.token, ""
	case k.tokenFile != "":
		cfg.Token, cfg.TokenFile = "", k.tokenFile
	}
	if k.user != "" {
		cfg.BasicAuth = url.UserPassword(k.user, k.password)
	}
	return cfg
}

// usesTLS reports whether a client for cfg would speak https.
func usesTLS(cfg consul.Config) bool {
	scheme, _, named := strings.Cut(cfg.Address, "://")
	if !named {
		scheme = cfg.Scheme
	}
	return scheme == "https"
}

// withPort returns host:port of an address whose parts may be missing, as in a
// [consul.Config] without a scheme.
func withPort(address string) string {
	u := url.URL{Host: address}
	return net.JoinHostPort(cmp.Or(u.Hostname(), "127.0.0.1"), cmp.Or(u.Port(), "8500"))
}
