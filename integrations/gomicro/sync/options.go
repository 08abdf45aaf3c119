package sync

import (
	"context"
	"log/slog"
	"time"

	"go-micro.dev/v4/sync"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
)

// settings are what the options of this package set. The other options are in
// [sync.Options].
type settings struct {
	client    *consul.Client
	noClient  bool // the option Client had nil
	config    *consul.Config
	ttl       time.Duration
	lockDelay time.Duration
	logger    *slog.Logger
	onEvent   func(coordination.Event)
}

type settingsKey struct{}

// option returns an option that changes the settings. They travel in the context of
// [sync.Options], which is where go-micro keeps what is an implementation's own.
func option(change func(*settings)) sync.Option {
	return func(o *sync.Options) {
		s := settingsOf(o)
		change(&s)
		setSettings(o, s)
	}
}

func setSettings(o *sync.Options, s settings) {
	if o.Context == nil {
		o.Context = context.Background()
	}
	o.Context = context.WithValue(o.Context, settingsKey{}, s)
}

// apply applies options. The settings remain when [sync.WithContext] sets another context.
func apply(o *sync.Options, opts []sync.Option) {
	for _, opt := range opts {
		before := settingsOf(o)
		opt(o)
		if o.Context == nil || o.Context.Value(settingsKey{}) == nil {
			setSettings(o, before)
		}
	}
}

func settingsOf(o *sync.Options) settings {
	if o.Context == nil {
		return settings{}
	}
	s, _ := o.Context.Value(settingsKey{}).(settings)
	return s
}

// Config sets how the agent is reached: its address, token, datacenter, TLS and so
// on. The default is what the CONSUL_* variables of the environment set, see
// [consul.ConfigFromEnv]. [sync.Nodes] and [sync.WithTLS] win over it.
func Config(cfg consul.Config) sync.Option {
	return option(func(s *settings) { s.config = &cfg })
}

// Client sets the client to be used. [Config], [sync.Nodes] and [sync.WithTLS] then
// have no effect. A nil client is an error.
func Client(c *consul.Client) sync.Option {
	return option(func(s *settings) { s.client, s.noClient = c, c == nil })
}

// SessionTTL sets the time-to-live of the sessions that hold locks and leads, 15
// seconds by default. Agents accept 10 seconds and more. [sync.LockTTL] wins over it.
func SessionTTL(d time.Duration) sync.Option {
	return option(func(s *settings) { s.ttl = d })
}

// LockDelay sets for how long nobody can lock what a process held that has died or was
// cut off, so that it can notice: 15 seconds by default, or the TTL if that is longer;
// a minute at most.
func LockDelay(d time.Duration) sync.Option {
	return option(func(s *settings) { s.lockDelay = d })
}

// Logger sets where locks and leads log what happens to them, such as a loss. The
// default is nowhere; [sync.WithLogger] has no effect.
func Logger(l *slog.Logger) sync.Option {
	return option(func(s *settings) { s.logger = l })
}

// OnEvent sets a function that is told what happens to locks and leads. A lock that is
// lost is a [coordination.LostEvent], of which go-micro's interface has no other way to
// tell. The function must not block.
func OnEvent(f func(coordination.Event)) sync.Option {
	return option(func(s *settings) { s.onEvent = f })
}

// session returns the options of a session.
func (s *settings) session(ttl time.Duration) *coordination.SessionOptions {
	if ttl <= 0 {
		ttl = s.ttl
	}
	return &coordination.SessionOptions{
		Name: "go-micro", TTL: ttl, LockDelay: s.lockDelay,
		// No lock-delay is as long as such a lease.
		AllowOverlap: ttl-ttl/5 > time.Minute,
	}
}
