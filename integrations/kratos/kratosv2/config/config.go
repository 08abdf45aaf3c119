// Package config is a config source for kratos v2 that reads a folder of keys in Consul,
// in the form in which kratos's own source for Consul does. Here consulconfig is this
// package:
//
//	client, err := consul.NewClient(consul.Config{})
//	source, err := consulconfig.New(client, "app/cart", nil)
//	c := config.New(config.WithSource(source))
//	err = c.Load()
package config

import (
	"github.com/go-kratos/kratos/v2/config"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/kratos/source"
)

// Source is a [config.Source]. Its methods do what those of [source.Source] do, and may
// be called concurrently.
type Source struct{ core *source.Source }

var (
	_ config.Source  = (*Source)(nil)
	_ config.Watcher = watcher{}
)

// New returns a source of the keys in the folder prefix, with or without a slash at its
// end. It sends nothing. An empty prefix is an error, nil options mean defaults.
func New(c *consul.Client, prefix string, opts *source.Options) (*Source, error) {
	core, err := source.New(c, prefix, opts)
	if err != nil {
		return nil, err
	}
	return &Source{core}, nil
}

// Load returns the keys of the folder in the order of their bytes. It waits for Consul
// until [source.Options.Timeout].
func (s *Source) Load() ([]*config.KeyValue, error) { return convert(s.core.Load()) }

// Watch returns a watcher of the folder, which begins with what Load has returned since
// the last Watch, if that was called once. It does not wait for Consul.
func (s *Source) Watch() (config.Watcher, error) { return watcher{s.core.Watch()}, nil }

type watcher struct{ *source.Watcher }

// Next implements [config.Watcher]: it returns all keys of the folder after a change.
func (w watcher) Next() ([]*config.KeyValue, error) { return convert(w.Watcher.Next()) }

// convert returns a list as kratos has it.
func convert(list []*source.KeyValue, err error) ([]*config.KeyValue, error) {
	if err != nil {
		return nil, err
	}
	converted := make([]*config.KeyValue, 0, len(list))
	for _, kv := range list {
		converted = append(converted, (*config.KeyValue)(kv))
	}
	return converted, nil
}
