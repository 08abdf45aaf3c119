package gomicro

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// settings are what the options of this package set. The other options are in
// [registry.Options].
type settings struct {
	client     *consul.Client
	noClient   bool // the option Client had nil
	config     *consul.Config
	query      *consul.QueryOptions
	allowStale *bool
	connect    bool
	tcp        time.Duration // interval; 0 means no such check
	http       *consul.AgentServiceCheck
	tags       []string
	health     func(context.Context) (consul.HealthStatus, string)
	emptyGrace time.Duration
	logger     *slog.Logger
	onEvent    func(discovery.Event)
}

type settingsKey struct{}

// option returns an option that changes the settings. They travel in the context
// of [registry.Options], which is where go-micro keeps what is a registry's own.
func option(change func(*settings)) registry.Option {
	return func(o *registry.Options) {
		s := settingsOf(o)
		change(&s)
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, settingsKey{}, s)
	}
}

func settingsOf(o *registry.Options) settings {
	if o.Context == nil {
		return settings{}
	}
	s, _ := o.Context.Value(settingsKey{}).(settings)
	return s
}

// Config sets how the agent is reached: its address, token, TLS and so on. The
// default is what the CONSUL_* variables of the environment set, see
// [consul.ConfigFromEnv]. [registry.Addrs], [registry.Secure] and
// [registry.TLSConfig] win over it.
func Config(cfg consul.Config) registry.Option {
	return option(func(s *settings) { s.config = &cfg })
}

// Client sets the client to be used. [Config], [registry.Addrs],
// [registry.Secure] and [registry.TLSConfig] then have no effect. A nil client is
// an error.
func Client(c *consul.Client) registry.Option {
	return option(func(s *settings) { s.client, s.noClient = c, c == nil })
}

// QueryOptions sets the options of all reads and watches, such as the
// datacenter or a token. The default is AllowStale alone. A WaitIndex or
// WaitHash is ignored; WaitTime is how long a watch waits at a time. Nil leaves
// everything as it is.
func QueryOptions(q *consul.QueryOptions) registry.Option {
	if q == nil {
		return func(*registry.Options) {}
	}
	c := *q
	c.Tags = slices.Clone(q.Tags)
	return option(func(s *settings) { s.query = &c })
}

// AllowStale tells whether any server may serve reads, or only the leader. It
// wins over [QueryOptions]. The default is true.
func AllowStale(allow bool) registry.Option {
	return option(func(s *settings) { s.allowStale = &allow })
}

// Connect makes services take part in the service mesh natively: they are
// registered so, and only such ones are found.
func Connect() registry.Option {
	return option(func(s *settings) { s.connect = true })
}

// TCPCheck makes the agent connect to each registered address at the interval,
// instead of waiting for heartbeats. An interval of 0 or less changes nothing.
func TCPCheck(interval time.Duration) registry.Option {
	return option(func(s *settings) {
		if interval > 0 {
			s.tcp = interval
		}
	})
}

// HTTPCheck makes the agent request protocol://HOST:port/path from the host of
// each registered address at the interval, instead of waiting for heartbeats. An
// response must come within the timeout. An interval or timeout of 0 or less
// changes nothing. [TCPCheck] wins over HTTPCheck.
func HTTPCheck(protocol, port, path string, interval, timeout time.Duration) registry.Option {
	return option(func(s *settings) {
		if interval > 0 && timeout > 0 {
			s.http = &consul.AgentServiceCheck{
				HTTP:     fmt.Sprintf("%s://%s:%s/%s", protocol, hostPlaceholder, port, strings.TrimPrefix(path, "/")),
				Interval: interval,
				Timeout:  timeout,
			}
		}
	})
}

// hostPlaceholder stands for the host of a service in the URL of its check.
const hostPlaceholder = "{host}"

// Tags adds tags to each service that is registered, as they are. They are for
// gateways and DNS: go-micro's own tags are encoded.
func Tags(tags ...string) registry.Option {
	tags = slices.Clone(tags)
	return option(func(s *settings) { s.tags = tags })
}

// Health sets a function that is asked how the program is: before a node is
// registered, before each heartbeat and at each refresh. What it returns is
// reported for all nodes: passing, warning or critical, anything else as critical,
// and a note. Clients do not call nodes that are critical. It concerns nodes that
// are registered from then on, and is the way that works with go-micro v4.11.0,
// which registers a node again at once when its RegisterCheck fails.
//
// The context ends after a quarter of the TTL (1 s to 10 s). A function that hangs
// stops the heartbeats, and the node turns critical when its TTL is over. It may be
// called for several nodes at the same time. Nil means none.
//
// Health works with heartbeats only: without a TTL it is an error of Register, and
// together with [TCPCheck] or [HTTPCheck] one of every call.
func Health(f func(ctx context.Context) (status consul.HealthStatus, note string)) registry.Option {
	return option(func(s *settings) { s.health = f })
}

// EmptyGrace sets for how long watchers keep the last nodes of a service when
// Consul has none any more. It is for agents that lose what they know when they
// restart: until the nodes have been registered again, calls go to the last ones,
// which may be gone. The default, and 0 or less, is that watchers tell at once.
// GetService has no memory: it is not concerned.
func EmptyGrace(d time.Duration) registry.Option {
	return option(func(s *settings) { s.emptyGrace = d })
}

// Logger sets where registrations and watches log what happens to them, such as
// an agent that was away. The default is nowhere.
func Logger(l *slog.Logger) registry.Option {
	return option(func(s *settings) { s.logger = l })
}

// OnEvent sets a function that is told what happens to registrations and
// watches, for metrics. See [discovery.Event]; the function must not block, and not
// stop a watcher.
func OnEvent(f func(discovery.Event)) registry.Option {
	return option(func(s *settings) { s.onEvent = f })
}

// validate returns an error if options contradict each other.
func (s *settings) validate() error {
	if s.health != nil && (s.tcp > 0 || s.http != nil) {
		return errors.New("gomicro: the option Health has no effect together with TCPCheck or HTTPCheck")
	}
	return nil
}

// queryOptions returns the options of a read.
func (s *settings) queryOptions() consul.QueryOptions {
	q := consul.QueryOptions{AllowStale: true}
	if s.query != nil {
		q = *s.query
	}
	if s.allowStale != nil {
		q.AllowStale = *s.allowStale
	}
	q.WaitIndex, q.WaitHash = 0, ""
	return q
}
