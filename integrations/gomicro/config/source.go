// Package config is a config source for go-micro that reads a folder of keys in Consul,
// in the form in which go-micro's own plugin does. Here config is go-micro's package,
// and consulconfig is this one:
//
//	source := consulconfig.NewSource(consulconfig.Prefix("app/cart"), consulconfig.StripPrefix(true))
//	c, err := config.NewConfig()
//	err = c.Load(source)
//
// The elements of a key are names in a tree, and values are documents in the format of
// the encoder of the source, JSON by default: the key db with {"host": "a"} and the key
// db/port with 5432 are {"db": {"host": "a", "port": 5432}}.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go-micro.dev/v4/config/encoder/json"
	"go-micro.dev/v4/config/source"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/integrations/gomicro/internal/agent"
)

const (
	// readTimeout bounds a Read, to which go-micro gives no context.
	readTimeout = 10 * time.Second

	// maxBackoff bounds the pause after failed queries, and with it the time until
	// watchers notice that the agent is back. The agent is local, as a rule.
	maxBackoff = 5 * time.Second
)

// consulSource is a [source.Source].
type consulSource struct {
	opts     source.Options
	settings settings
	client   *consul.Client
	err      error // of the options

	mu    sync.Mutex
	read  *configuration.Snapshot // by the last Read
	reads int                     // since the last Watch
}

// NewSource returns a source of the keys in a folder. It sends nothing. What is wrong
// with the options is the error of Read and Watch.
func NewSource(opts ...source.Option) source.Source {
	s := &consulSource{opts: source.NewOptions(opts...)}
	s.settings = settingsOf(&s.opts)
	if s.opts.Encoder == nil {
		s.opts.Encoder = json.NewEncoder()
	}
	if s.client, s.err = s.settings.newClient(); s.err == nil {
		s.err = s.check()
	}
	// What could print a token is in the client now.
	s.settings.query.Token, s.opts.Context = "", context.Background()
	return s
}

// newClient returns the client that the settings, or the environment, have.
func (s *settings) newClient() (*consul.Client, error) {
	from, err := agent.NewSource(agent.Options{Client: s.client, NoClient: s.noClient, Config: s.config})
	if err != nil {
		return nil, err
	}
	c, err := from.NewClient()
	if err == nil && s.query.Token != "" {
		c = c.WithToken(s.query.Token)
	}
	return c, err
}

// check returns what makes every watch fail, and sends nothing.
func (s *consulSource) check() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range configuration.Watch(ctx, s.client, s.settings.prefixOrDefault(), s.settings.options()) {
		return fmt.Errorf("gomicro: %w", err)
	}
	return nil
}

// prefixOrDefault returns the name of the folder.
func (s *settings) prefixOrDefault() string {
	if s.prefix == nil {
		return defaultPrefix
	}
	return strings.TrimPrefix(*s.prefix, "/")
}

// options returns the options of a watch.
func (s *settings) options() *configuration.Options {
	return &configuration.Options{Query: s.query, MaxBackoff: maxBackoff, Logger: s.logger, OnEvent: s.onEvent}
}

// String returns "consul".
func (s *consulSource) String() string { return "consul" }

// Write is an error: a configuration is not written through its source.
func (s *consulSource) Write(*source.ChangeSet) error {
	return errors.New("gomicro: a config source for Consul does not write; use package consul, or Consul's own tools")
}

// Read reads the folder. It tries again for up to 10 seconds, except if the token may
// not read the folder. A folder without keys is consul.ErrNotFound, unless it is allowed
// by EmptyIsError.
func (s *consulSource) Read() (*source.ChangeSet, error) {
	if s.err != nil {
		return nil, s.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	prefix := s.settings.prefixOrDefault()
	var last error
	for snapshot, err := range configuration.Watch(ctx, s.client, prefix, s.settings.options()) {
		if err == nil {
			set, err := s.changeSet(snapshot)
			if err == nil {
				s.mu.Lock()
				s.read = snapshot
				s.reads++
				s.mu.Unlock()
			}
			return set, err
		}
		if last = err; errors.Is(err, consul.ErrPermissionDenied) {
			break
		}
	}
	if last == nil {
		last = fmt.Errorf("no response within %s", readTimeout)
	}
	return nil, fmt.Errorf("gomicro: reading the folder %q: %w", prefix, last)
}

// changeSet returns what go-micro is given of a snapshot.
func (s *consulSource) changeSet(snapshot *configuration.Snapshot) (*source.ChangeSet, error) {
	if len(snapshot.Pairs) == 0 && !s.settings.emptyAllowed {
		return nil, fmt.Errorf("gomicro: source not found: %s: %w", cmp.Or(snapshot.Prefix, "no keys"), consul.ErrNotFound)
	}
	tree, err := s.tree(snapshot)
	if err != nil {
		return nil, err
	}
	data, err := s.opts.Encoder.Encode(tree)
	if err != nil {
		return nil, fmt.Errorf("gomicro: encoding the folder %q: %w", snapshot.Prefix, err)
	}
	set := &source.ChangeSet{Timestamp: time.Now(), Format: s.opts.Encoder.String(), Source: s.String(), Data: data}
	set.Checksum = set.Sum()
	return set, nil
}
