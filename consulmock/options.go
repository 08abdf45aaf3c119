package consulmock

import (
	"fmt"
	"maps"
	"time"
)

// Option changes how a [Server] is set up.
type Option func(*config)

// config is what the options say.
type config struct {
	version     version
	node        string
	nodeID      string
	nodeMeta    map[string]string
	datacenter  string
	defaultDeny bool
	tokens      []Token
	agentToken  *string
	probes      bool
	compact     bool
	streaming   bool
	translate   bool
	defaultWait time.Duration
	maxWait     time.Duration
	maxConns    int
}

func newConfig(opts []Option) config {
	c := config{
		version:     v1_21_4,
		node:        "node1",
		datacenter:  "dc1",
		streaming:   true,
		defaultWait: 5 * time.Minute,
		maxWait:     10 * time.Minute,
	}
	for _, o := range opts {
		o(&c)
	}
	return c
}

// version is a release of Consul whose behaviour is known.
type version int

const (
	v1_8_7 version = iota
	v1_21_4
)

// String returns the version as the agent writes it.
func (v version) String() string {
	if v == v1_8_7 {
		return "1.8.7"
	}
	return "1.21.4"
}

// WithVersion makes the server answer as that release of Consul does: "1.21.4",
// which is the default, or "1.8.7". It panics on any other.
func WithVersion(v string) Option {
	for _, known := range []version{v1_8_7, v1_21_4} {
		if v == known.String() {
			return func(c *config) { c.version = known }
		}
	}
	panic(fmt.Sprintf("consulmock: WithVersion(%q): known are 1.8.7 and 1.21.4", v))
}

// WithNode sets the name of the agent's node, which is node1 by default.
func WithNode(name string) Option { return func(c *config) { c.node = name } }

// WithNodeID sets the UUID of the agent's node. By default it is derived from
// the node's name.
func WithNodeID(id string) Option { return func(c *config) { c.nodeID = id } }

// WithNodeMeta sets metadata of the agent's node.
func WithNodeMeta(meta map[string]string) Option {
	return func(c *config) { c.nodeMeta = maps.Clone(meta) }
}

// WithDatacenter sets the name of the datacenter, which is dc1 by default.
func WithDatacenter(name string) Option { return func(c *config) { c.datacenter = name } }

// WithACLDefaultDeny turns access control on: what no token allows is refused.
func WithACLDefaultDeny() Option { return func(c *config) { c.defaultDeny = true } }

// WithTokens adds tokens, and turns access control on as [WithACLDefaultDeny]
// does. [NewServer] panics if the rules of a token are wrong, and says where.
func WithTokens(tokens ...Token) Option {
	return func(c *config) {
		c.defaultDeny = true
		c.tokens = append(c.tokens, tokens...)
	}
}

// WithAgentToken sets the token that the agent uses for itself: to describe its
// node in the catalog, and to take off it what is deregistered. Empty means none.
// By default the agent may do everything.
func WithAgentToken(secret string) Option { return func(c *config) { c.agentToken = &secret } }

// WithProbes makes the server run HTTP, TCP and UDP checks at their interval, as an
// agent does. By default it runs none: a check keeps the status of its
// definition until [Server.SetCheckStatus] changes it.
func WithProbes(on bool) Option { return func(c *config) { c.probes = on } }

// WithCompactJSON makes answers compact, as those of agents outside development
// mode are. By default they are indented, as those of `consul agent -dev` are.
func WithCompactJSON(on bool) Option { return func(c *config) { c.compact = on } }

// WithStreaming says whether waits on health/service and health/connect are
// answered by the streaming backend, as a 1.21.4 agent does unless
// use_streaming_backend is false. A 1.8.7 agent never does.
func WithStreaming(on bool) Option { return func(c *config) { c.streaming = on } }

// WithTranslateAddresses makes every answer say that the agent translates
// addresses. It changes no address: agents translate those of other datacenters
// only.
func WithTranslateAddresses(on bool) Option { return func(c *config) { c.translate = on } }

// WithQueryTimes sets the wait of blocking queries without a parameter wait, and
// the longest wait. They are 5 and 10 minutes by default. Agents, and so the
// server, use neither for waits on a hash: those wait 10 minutes by default, and as
// long as the parameter says otherwise.
func WithQueryTimes(defaultWait, maxWait time.Duration) Option {
	return func(c *config) { c.defaultWait, c.maxWait = defaultWait, maxWait }
}

// WithMaxConnsPerClient bounds the number of connections of one client address,
// idle ones included. A connection beyond it is refused as the agent's version
// does. There is no bound by default, whereas an agent's default is 200.
func WithMaxConnsPerClient(n int) Option { return func(c *config) { c.maxConns = n } }
