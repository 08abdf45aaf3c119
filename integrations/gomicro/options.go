package gomicro

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

// settings are what the options of this package say. The other options are in
// [registry.Options].
type settings struct {
	client     *consul.Client
	config     *consul.Config
	query      *consul.QueryOptions
	allowStale *bool
	connect    bool
	tcp        time.Duration // interval; 0 means no such check
	http       *consul.AgentServiceCheck
	tags       []string
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
// default is what the CONSUL_* variables of the environment say, see
// [consul.ConfigFromEnv]. [registry.Addrs], [registry.Secure] and
// [registry.TLSConfig] win over it.
func Config(cfg consul.Config) registry.Option {
	return option(func(s *settings) { s.config = &cfg })
}

// Client sets the client to be used. [Config], [registry.Addrs],
// [registry.Secure] and [registry.TLSConfig] then have no effect.
func Client(c *consul.Client) registry.Option {
	return option(func(s *settings) { s.client = c })
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

// AllowStale says whether any server may answer reads, or only the leader. It
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
// answer must come within the timeout. An interval or timeout of 0 or less
// changes nothing. [TCPCheck] wins over HTTPCheck.
func HTTPCheck(protocol, port, path string, interval, timeout time.Duration) registry.Option {
	return option(func(s *settings) {
		if interval > 0 && timeout > 0 {
			s.http = &consul.AgentServiceCheck{
				HTTP:     fmt.Sprintf("%s://%s:%s%s", protocol, hostPlaceholder, port, path),
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

// Logger sets where registrations and watches log what happens to them, such as
// an agent that was away. The default is nowhere.
func Logger(l *slog.Logger) registry.Option {
	return option(func(s *settings) { s.logger = l })
}

// OnEvent sets a function that is told what happens to registrations and
// watches, for metrics. See [discovery.Event]; the function must not block.
func OnEvent(f func(discovery.Event)) registry.Option {
	return option(func(s *settings) { s.onEvent = f })
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
