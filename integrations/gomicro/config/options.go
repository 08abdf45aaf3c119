package config

import (
	"context"
	"log/slog"

	"go-micro.dev/v4/config/source"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
)

// defaultPrefix is that of go-micro's own plugin.
const defaultPrefix = "micro/config/"

// settings are what the options of this package set.
type settings struct {
	client       *consul.Client
	noClient     bool // the option Client had nil
	config       *consul.Config
	prefix       *string
	stripPrefix  bool
	emptyAllowed bool
	query        consul.QueryOptions
	logger       *slog.Logger
	onEvent      func(configuration.Event)
}

type settingsKey struct{}

// option returns an option that changes the settings. They travel in the context of
// [source.Options], which is where go-micro keeps what is a source's own.
func option(change func(*settings)) source.Option {
	return func(o *source.Options) {
		s := settingsOf(o)
		change(&s)
		if o.Context == nil {
			o.Context = context.Background()
		}
		o.Context = context.WithValue(o.Context, settingsKey{}, s)
	}
}

func settingsOf(o *source.Options) settings {
	if o.Context == nil {
		return settings{}
	}
	s, _ := o.Context.Value(settingsKey{}).(settings)
	return s
}

// Config sets how the agent is reached: its address, token, datacenter, TLS and so
// on. The default is what the CONSUL_* variables of the environment set, see
// [consul.ConfigFromEnv].
func Config(cfg consul.Config) source.Option {
	return option(func(s *settings) { s.config = &cfg })
}

// Client sets the client to be used. [Config] then has no effect. A nil client is an
// error.
func Client(c *consul.Client) source.Option {
	return option(func(s *settings) { s.client, s.noClient = c, c == nil })
}

// Prefix sets the folder whose keys are the configuration. The default is
// /micro/config/. A slash at its begin does not count, and one at its end is added.
// Empty means all keys.
func Prefix(prefix string) source.Option {
	return option(func(s *settings) { s.prefix = &prefix })
}

// StripPrefix tells whether the prefix is left out of the configuration: the key
// /micro/config/db/host is db.host then, and micro.config.db.host otherwise, which is
// the default.
func StripPrefix(strip bool) source.Option {
	return option(func(s *settings) { s.stripPrefix = strip })
}

// EmptyIsError tells what a folder without keys means. By default it is an error of
// Read, and a watcher keeps the last configuration when all keys disappear. With false
// it is an empty configuration.
func EmptyIsError(isError bool) source.Option {
	return option(func(s *settings) { s.emptyAllowed = !isError })
}

// QueryOptions sets the options of all reads, such as AllowStale. A WaitIndex or
// WaitHash is ignored; WaitTime is how long a watch waits at a time. Nil leaves
// everything as it is.
func QueryOptions(q *consul.QueryOptions) source.Option {
	if q == nil {
		return func(*source.Options) {}
	}
	c := *q
	return option(func(s *settings) { s.query = c })
}

// Logger sets where watches log what happens to them, such as an agent that was
// away, or a value that cannot be decoded. Values are not logged. The default is
// nowhere.
func Logger(l *slog.Logger) source.Option {
	return option(func(s *settings) { s.logger = l })
}

// OnEvent sets a function that is told what happens to reads and watches, for metrics.
// See [configuration.Event]; the function must not block, and not stop a watcher.
func OnEvent(f func(configuration.Event)) source.Option {
	return option(func(s *settings) { s.onEvent = f })
}
