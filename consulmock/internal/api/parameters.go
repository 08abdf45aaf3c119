package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// parameters are what a request selects, besides its path and body.
type parameters struct {
	v      release.Version
	query  url.Values
	header http.Header

	streamed bool // the streaming backend serves the request
}

// refuseEnterprise refuses parameters that only Consul Enterprise has. Empty ones are
// as if they were missing.
func (p *parameters) refuseEnterprise() error {
	if p.header.Get("X-Consul-Namespace") != "" {
		return p.badRequest(`Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature`)
	}
	if p.query.Get("ns") != "" {
		return p.badRequest(`Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`)
	}
	return p.refusePartition()
}

// refusePartition is refuseEnterprise for requests about all namespaces.
func (p *parameters) refusePartition() error {
	if p.v == release.V1_21_4 && p.header.Get("X-Consul-Partition") != "" {
		return p.badRequest(`Invalid header: "X-Consul-Partition" - Partitions are a Consul Enterprise feature`)
	}
	if p.v == release.V1_21_4 && p.query.Get("partition") != "" {
		return p.badRequest(`Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`)
	}
	return nil
}

// readOptions are the parameters that every read of the catalog has.
type readOptions struct {
	index       uint64
	wait        time.Duration
	cached      bool
	consistency string
}

// readOptions reads and checks the parameters of a read, in the agent's order.
func (p *parameters) readOptions() (o readOptions, err error) {
	if o, err = p.cacheOptions(); err != nil {
		return o, err
	}
	o.wait, o.index, err = p.waitOptions()
	return o, err
}

// cacheOptions reads how old a response may be.
func (p *parameters) cacheOptions() (o readOptions, err error) {
	if o.consistency, err = p.consistency(); err != nil {
		return o, err
	}
	o.cached = p.query.Has("cached")
	if o.cached && o.consistency == "consistent" {
		return o, refusal.BadRequest("Cannot specify ?cached with ?consistent, conflicting semantics.")
	}
	return o, p.checkCacheControl()
}

// waitOptions reads the parameters of a blocking query.
func (p *parameters) waitOptions() (wait time.Duration, index uint64, err error) {
	if wait, err = p.duration("wait"); err != nil {
		return 0, 0, err
	}
	if v := p.query.Get("index"); v != "" {
		if index, err = strconv.ParseUint(v, 10, 64); err != nil {
			return 0, 0, refusal.BadRequest("Invalid index")
		}
	}
	return wait, index, nil
}

func (p *parameters) duration(param string) (time.Duration, error) {
	v := p.query.Get(param)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, refusal.BadRequest("Invalid wait time")
	}
	return d, nil
}

// wantsText reports whether a word is requested instead of JSON.
func (p *parameters) wantsText() bool {
	return strings.HasPrefix(p.header.Get("Accept"), "text/plain") || p.query.Get("format") == "text"
}

// readEnable reads the parameter enable.
func (p *parameters) readEnable() (bool, error) {
	if !p.query.Has("enable") {
		return false, refusal.BadRequest("Missing value for enable")
	}
	raw := p.query.Get("enable")
	on, err := strconv.ParseBool(raw)
	if err != nil {
		return false, refusal.BadRequest("Invalid value for enable: %q", raw)
	}
	return on, nil
}

// consistency returns the mode of a read: its parameters count by being there.
func (p *parameters) consistency() (string, error) {
	stale := p.query.Has("stale")
	if v := p.query.Get("max_stale"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			return "", refusal.BadRequest("Invalid max_stale value %q", v)
		}
		stale = stale || d > 0
	}
	switch consistent := p.query.Has("consistent"); {
	case stale && consistent:
		return "", refusal.BadRequest("Cannot specify ?stale with ?consistent, conflicting semantics.")
	case stale:
		return "stale", nil
	case consistent:
		return "consistent", nil
	}
	return "leader", nil
}

// checkCacheControl refuses what an agent cannot read in the header. What it can
// read changes nothing, because the fake's cache is always fresh.
func (p *parameters) checkCacheControl() error {
	for _, directive := range strings.Split(strings.ToLower(p.header.Get("Cache-Control")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if name != "max-age" && name != "stale-if-error" {
			continue
		}
		if _, err := strconv.Atoi(value); err != nil {
			return refusal.BadRequest("Invalid Cache-Control header.")
		}
	}
	return nil
}

// readHashWait reads the wait of a query with hash, for which the agent's
// defaults do not count.
func (p *parameters) readHashWait() (time.Duration, error) {
	wait, _, err := p.waitOptions()
	if err == nil && wait <= 0 {
		wait = 10 * time.Minute
	}
	return wait, err
}

// passing reads the parameter of that name.
func (p *parameters) passing(target filter.Target) (bool, error) {
	if target != filter.ServiceEntry || !p.query.Has("passing") {
		return false, nil
	}
	v := p.query.Get("passing")
	if v == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, refusal.BadRequest("Invalid value for ?passing")
	}
	return on, nil
}

// filter returns the predicate of the parameter filter.
func (p *parameters) filter(of filter.Target) (predicate, error) {
	expression := p.query.Get("filter")
	if expression == "" {
		return matchAll, nil
	}
	return filter.Compile(expression, of, p.v)
}

// streamFilter returns the predicate of a query for the streaming backend, to which
// metadata is another filter: it looks for the value in what a node has.
func (p *parameters) streamFilter(of filter.Target) (predicate, error) {
	keep, err := p.filter(of)
	for _, want := range p.query["node-meta"] {
		if err != nil {
			break
		}
		k, v, _ := strings.Cut(want, ":")
		var on predicate
		on, err = filter.Compile(`"`+v+`" in Node.Meta.`+k, of, p.v)
		keep = bothOf(keep, on)
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), filter.ErrorPrefix))
	}
	return keep, nil
}

// bothOf returns what two predicates have in common.
func bothOf(one, other predicate) predicate {
	return func(v any) (bool, error) {
		if ok, err := one(v); !ok || err != nil {
			return false, err
		}
		return other(v)
	}
}

// hasTags reports whether a list has all the tags that a query selects.
func (p *parameters) hasTags(have []string) bool {
	for _, want := range p.query["tag"] {
		if !slices.ContainsFunc(have, func(tag string) bool { return strings.EqualFold(tag, want) }) {
			return false
		}
	}
	return true
}

// hasNodeMeta reports whether a node has all the metadata that a query selects.
func (p *parameters) hasNodeMeta(meta map[string]string) bool {
	for _, want := range p.query["node-meta"] {
		k, v, _ := strings.Cut(want, ":")
		if have, ok := meta[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// metaKeys are what agents watch for nodes with metadata: the first pair that is
// requested.
func (p *parameters) metaKeys() []string {
	k, v, _ := strings.Cut(p.query.Get("node-meta"), ":")
	return []string{state.MetaWatch(k, v)}
}

// selected returns the instances on the nodes that a query selects for. It changes the
// list. For the streaming backend that is a filter.
func (p *parameters) selected(instances []*state.Service) []*state.Service {
	if p.streamed {
		return instances
	}
	return slices.DeleteFunc(instances, func(s *state.Service) bool { return !p.hasNodeMeta(s.Node.Meta) })
}

// tagged returns the instances with the tags that a query selects. It changes the
// list, as selected does.
func (p *parameters) tagged(instances []*state.Service) []*state.Service {
	return slices.DeleteFunc(instances, func(s *state.Service) bool { return !p.hasTags(s.Tags) })
}

// badRequest is as refusal.BadRequest, for the texts that 1.8.7 writes something
// before.
func (p *parameters) badRequest(format string, args ...any) error {
	if p.v == release.V1_8_7 {
		format = "Bad request: " + format
	}
	return refusal.BadRequest(format, args...)
}

// predicate decides whether a value is part of a response.
type predicate func(v any) (bool, error)

func matchAll(any) (bool, error) { return true, nil }
