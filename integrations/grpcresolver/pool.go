package grpcresolver

import (
	"cmp"
	"net/url"
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

// query is a resolver for the channels that ask the same.
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
	if c := p.opts.Client; c != nil {
		switch key {
		case agentKey{}:
			return &agent{client: c}, nil
		case agentKey{token: key.token}:
			return &agent{client: c.WithToken(key.token)}, nil
		}
	}
	cfg, err := p.config()
	if err != nil {
		return nil, err
	}
	c, err := consul.NewClient(key.apply(cfg))
	if err != nil {
		return nil, err
	}
	return &agent{client: c, isOurs: cfg.Transport == nil}, nil
}

func (p *pool) config() (consul.Config, error) {
	if p.opts.Config != nil {
		return *p.opts.Config, nil
	}
	return consul.ConfigFromEnv()
}

// apply returns cfg with what the target says about the agent.
func (k agentKey) apply(cfg consul.Config) consul.Config {
	switch {
	case k.socket != "":
		cfg.Address, cfg.Scheme, cfg.TLS = "unix://"+k.socket, "", consul.TLSConfig{} // a socket has no TLS
	case k.tls:
		cfg.Address = "https://" + k.address
	case k.address != "":
		cfg.Address = k.address
	}
	if k.insecure && usesTLS(cfg) {
		cfg.TLS.InsecureSkipVerify = true
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
