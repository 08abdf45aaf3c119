package consulmock

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/api"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// Option changes how a [Server] is set up. Of two options that set the same, the
// later one counts.
type Option func(*config)

// config is what the options set.
type config struct {
	err      error // the first option that is no good
	agent    agent.Config
	api      api.Config
	maxConns int
}

// CheckOptions returns the error that [NewServer] panics with, or nil. It is for
// options with values that come from a user.
func CheckOptions(opts ...Option) error {
	if _, err := newConfig(opts); err != nil {
		return fmt.Errorf("consulmock: %w", err)
	}
	return nil
}

func newConfig(opts []Option) (config, error) {
	c := config{
		agent: agent.Config{Version: release.V1_21_4, Node: "node1", Datacenter: "dc1"},
		api: api.Config{
			Streaming: true, DefaultWait: 5 * time.Minute, MaxWait: 10 * time.Minute,
			MaxValue: maxValue, MaxTxn: maxValue, MinSessionTTL: definition.MinSessionTTL,
		},
	}
	for i, o := range opts {
		if o == nil {
			return c, fmt.Errorf("option %d is nil", i+1)
		}
		o(&c)
	}
	return c, c.check()
}

// maxValue is an agent's default for the value of a key, and for the body of a
// transaction.
const maxValue = 512 << 10

var (
	uuid           = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	datacenterName = regexp.MustCompile(`^[a-z0-9_-]+$`)
)

// check returns what is wrong with the options.
func (c *config) check() error {
	switch {
	case c.err != nil:
		return c.err
	case c.agent.Node == "":
		return errors.New("the name of the node is empty")
	case !datacenterName.MatchString(c.agent.Datacenter):
		return fmt.Errorf("name of the datacenter %q: want letters, digits, hyphens and underscores", c.agent.Datacenter)
	case c.agent.NodeID != "" && !uuid.MatchString(c.agent.NodeID):
		return fmt.Errorf("ID of the node %q: want a UUID", c.agent.NodeID)
	case c.api.MinSessionTTL <= 0:
		return fmt.Errorf("lowest TTL of sessions %s: want more than 0", c.api.MinSessionTTL)
	case c.api.DefaultWait <= 0 || c.api.MaxWait <= 0:
		return fmt.Errorf("query times %s and %s: want more than 0", c.api.DefaultWait, c.api.MaxWait)
	case c.api.MaxValue <= 0 || c.api.MaxTxn <= 0:
		return fmt.Errorf("limits of %d and %d bytes: want more than 0", c.api.MaxValue, c.api.MaxTxn)
	}
	secrets, accessors := map[string]bool{}, map[string]bool{}
	for i, t := range c.agent.Tokens {
		switch _, err := acl.ParseRules(t.Rules); {
		case err != nil:
			return fmt.Errorf("rules of token %d: %w", i+1, err)
		case t.SecretID == "":
			return fmt.Errorf("token %d has no SecretID", i+1)
		case secrets[t.SecretID]:
			return fmt.Errorf("token %d has the SecretID of one before it", i+1)
		case t.AccessorID != "" && accessors[t.AccessorID]:
			return fmt.Errorf("token %d has the AccessorID of one before it", i+1)
		}
		secrets[t.SecretID], accessors[t.AccessorID] = true, true
	}
	return nil
}

// WithVersion makes the server respond as that release of Consul does: "1.21.4",
// which is the default, or "1.8.7". No other is known.
func WithVersion(v string) Option {
	parsed, err := release.Parse(v)
	return func(c *config) {
		c.agent.Version = parsed
		c.err = cmp.Or(c.err, err)
	}
}

// WithNode sets the name of the agent's node, which is node1 by default.
func WithNode(name string) Option { return func(c *config) { c.agent.Node = name } }

// WithNodeID sets the ID of the agent's node, a UUID. By default it is derived from
// the node's name.
func WithNodeID(id string) Option { return func(c *config) { c.agent.NodeID = strings.ToLower(id) } }

// WithNodeMeta sets metadata of the agent's node.
func WithNodeMeta(meta map[string]string) Option {
	meta = maps.Clone(meta)
	return func(c *config) { c.agent.NodeMeta = meta }
}

// WithDatacenter sets the name of the datacenter, which is dc1 by default. Agents
// turn capital letters into small ones.
func WithDatacenter(name string) Option {
	return func(c *config) { c.agent.Datacenter = strings.ToLower(name) }
}

// WithACLDefaultDeny turns access control on: what no token allows is refused.
func WithACLDefaultDeny() Option { return func(c *config) { c.agent.DefaultDeny = true } }

// WithTokens adds tokens, and turns access control on as [WithACLDefaultDeny]
// does. [NewServer] panics if the rules of a token are wrong, with the line in the message.
func WithTokens(tokens ...Token) Option {
	tokens = slices.Clone(tokens)
	return func(c *config) {
		c.agent.DefaultDeny = true
		for _, t := range tokens {
			c.agent.Tokens = append(c.agent.Tokens, acl.Token(t))
		}
	}
}

// WithAgentToken sets the token that the agent uses for itself: to describe its
// node in the catalog, and to take off it what is deregistered. Empty means none.
// By default the agent may do everything.
func WithAgentToken(secret string) Option { return func(c *config) { c.agent.AgentToken = &secret } }

// WithProbes makes the server run HTTP, TCP and UDP checks at their interval, as an
// agent does. By default it runs none: a check keeps the status of its
// definition until [Server.SetCheckStatus] changes it.
func WithProbes(on bool) Option { return func(c *config) { c.agent.Probes = on } }

// WithCompactJSON makes responses compact, as those of agents outside development
// mode are. By default they are indented, as those of `consul agent -dev` are.
func WithCompactJSON(on bool) Option { return func(c *config) { c.api.Compact = on } }

// WithStreaming sets whether waits on health/service and health/connect are
// served by the streaming backend, as a 1.21.4 agent does unless
// use_streaming_backend is false. A 1.8.7 agent never does.
func WithStreaming(on bool) Option { return func(c *config) { c.api.Streaming = on } }

// WithTranslateAddresses makes every response report that the agent translates
// addresses. It changes no address: agents translate those of other datacenters
// only.
func WithTranslateAddresses(on bool) Option { return func(c *config) { c.api.Translate = on } }

// WithQueryTimes sets the wait of blocking queries without a parameter wait, and
// the longest wait. They are 5 and 10 minutes by default. Agents, and so the
// server, use neither for waits on a hash: those wait 10 minutes by default, else
// as long as the parameter wait.
func WithQueryTimes(defaultWait, maxWait time.Duration) Option {
	return func(c *config) { c.api.DefaultWait, c.api.MaxWait = defaultWait, maxWait }
}

// WithSessionTTLMin sets the lowest TTL of sessions, as session_ttl_min in the
// configuration of Consul's servers does. It is 10 seconds by default.
func WithSessionTTLMin(ttl time.Duration) Option {
	return func(c *config) { c.api.MinSessionTTL = ttl }
}

// WithMaxConnsPerClient limits the number of connections of one client address,
// idle ones included. A connection beyond it is refused as the agent's version
// does. There is no limit by default, whereas an agent's default is 200.
func WithMaxConnsPerClient(n int) Option { return func(c *config) { c.maxConns = n } }

// WithKeyLimits sets how many bytes the value of a key, and the body of a transaction,
// may have: the settings kv_max_value_size and txn_max_req_len of an agent. Both are
// 512 KiB by default.
func WithKeyLimits(value, transaction int) Option {
	return func(c *config) { c.api.MaxValue, c.api.MaxTxn = int64(value), int64(transaction) }
}

// WithKeyListPolicy sets whether a list of keys needs a rule with the policy list or
// write for its very prefix, as with an agent whose enable_key_list_policy is true. By
// default a list has the keys that the token may read.
func WithKeyListPolicy(on bool) Option { return func(c *config) { c.api.ListPolicy = on } }
