package kratos

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

const (
	versionTag = "version="

	// weightKey is the metadata from which the selectors of kratos take the weight.
	weightKey = "weight"

	// datacenterKey is the metadata with the datacenter of an instance.
	datacenterKey = "dc"

	// maxWeight is the highest that agents take.
	maxWeight = 65535

	// dialTimeout bounds one check of an endpoint.
	dialTimeout = 5 * time.Second

	// maxInterval is the longest one of which two are a time.Duration.
	maxInterval = math.MaxInt64 / 2
)

// id returns the ID in Consul.
func (i *Instance) id() string {
	if i.ID == "" {
		return i.Name
	}
	return i.ID
}

// definition returns what is registered for an instance. It is what kratos's own
// adapter for Consul reads and, except for the following, what it registers. Checks
// start as passing, since kratos registers an instance when it is serving. Two
// endpoints with the same scheme are both kept. A weight in the metadata becomes the
// instance's weight in Consul.
func (o *Options) definition(i *Instance) (*consul.AgentServiceRegistration, error) {
	if i == nil {
		return nil, errNilInstance
	}
	if i.Name == "" {
		return nil, errors.New("kratos: the instance has no name")
	}
	def := &consul.AgentServiceRegistration{
		ID:              i.id(),
		Name:            i.Name,
		Meta:            maps.Clone(i.Metadata),
		Tags:            append([]string{versionTag + i.Version}, o.Tags...),
		TaggedAddresses: make(map[string]consul.ServiceAddress),
	}
	if w, err := strconv.Atoi(i.Metadata[weightKey]); err == nil && w >= 1 && w <= maxWeight {
		def.Weights = &consul.AgentWeights{Passing: w, Warning: w}
	}
	for n, endpoint := range i.Endpoints {
		scheme, host, port, err := parseEndpoint(endpoint)
		if err != nil {
			return nil, fmt.Errorf("kratos: instance %q: endpoint %q: %w", def.ID, endpoint, err)
		}
		if n == 0 {
			def.Address, def.Port = host, port
		}
		def.TaggedAddresses[freeKey(def.TaggedAddresses, scheme)] = consul.ServiceAddress{Address: endpoint, Port: port}
		if !o.NoTCPChecks {
			def.Checks = append(def.Checks, &consul.AgentServiceCheck{
				TCP:                            net.JoinHostPort(host, strconv.Itoa(port)),
				Interval:                       o.Interval,
				Timeout:                        dialTimeout,
				DeregisterCriticalServiceAfter: o.DeregisterAfter,
				Status:                         consul.HealthPassing,
			})
		}
	}
	def.Checks = append(def.Checks, o.Checks...)
	if !o.NoHeartbeat {
		def.Checks = append(def.Checks, &consul.AgentServiceCheck{
			CheckID:                        "service:" + def.ID,
			TTL:                            2 * min(o.Interval, maxInterval),
			DeregisterCriticalServiceAfter: o.DeregisterAfter,
			Status:                         consul.HealthPassing,
		})
	}
	return def, nil
}

func parseEndpoint(endpoint string) (scheme, host string, port int, err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", "", 0, errors.New("not a URL; want scheme://host:port")
	}
	if u.Scheme == "" || u.Hostname() == "" {
		return "", "", 0, errors.New("want scheme://host:port")
	}
	p, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || p == 0 {
		return "", "", 0, errors.New("no port from 1 to 65535")
	}
	return u.Scheme, u.Hostname(), int(p), nil
}

// freeKey returns the scheme or, if there is such an address already, the scheme
// with a number. Readers look at the addresses only.
func freeKey(taken map[string]consul.ServiceAddress, scheme string) string {
	key := scheme
	for n := 2; ; n++ {
		if _, ok := taken[key]; !ok {
			return key
		}
		key = scheme + "-" + strconv.Itoa(n)
	}
}

// Convert converts an instance in Consul to one of kratos. [Options.Resolve] replaces
// it, and may call it. The version is that of the tag version=..., the endpoints are
// the tagged addresses that are URLs. An instance without such an address was not
// registered by kratos, and has the endpoint DefaultScheme://host:port. A weight in
// Consul above 1 becomes the metadata "weight" unless there is one already. The
// result shares nothing with i.
func (o *Options) Convert(i discovery.Instance) *Instance {
	k := &Instance{ID: i.ID, Name: i.Service, Metadata: maps.Clone(i.Meta)}
	if k.Metadata == nil {
		k.Metadata = make(map[string]string)
	}
	if _, ok := k.Metadata[weightKey]; !ok && i.Weight > 1 {
		k.Metadata[weightKey] = strconv.Itoa(i.Weight)
	}
	for _, tag := range i.Tags {
		if version, ok := strings.CutPrefix(tag, versionTag); ok {
			k.Version = version
		}
	}
	for _, a := range i.TaggedAddresses {
		if strings.Contains(a.Address, "://") {
			k.Endpoints = append(k.Endpoints, a.Address)
		}
	}
	if len(k.Endpoints) == 0 && i.Port > 0 {
		scheme := defaultScheme
		if o != nil && o.DefaultScheme != "" {
			scheme = o.DefaultScheme
		}
		k.Endpoints = []string{scheme + "://" + i.HostPort()}
	}
	slices.Sort(k.Endpoints)
	return k
}

// convert converts the instances of a list, which is shared. kratos changes what it
// is given, so each call returns new ones.
func (o *Options) convert(list []discovery.Instance) []*Instance {
	converted := []*Instance{}
	for _, i := range list {
		i.Tags, i.Meta, i.NodeMeta = slices.Clone(i.Tags), maps.Clone(i.Meta), maps.Clone(i.NodeMeta)
		i.TaggedAddresses = maps.Clone(i.TaggedAddresses)
		k := o.Resolve(i)
		if k == nil {
			continue
		}
		if o.isUnion() {
			c := *k // Resolve may have returned it before
			c.Metadata = maps.Clone(k.Metadata)
			if c.Metadata == nil {
				c.Metadata = make(map[string]string)
			}
			c.Metadata[datacenterKey] = i.Datacenter
			k = &c
		}
		converted = append(converted, k)
	}
	return converted
}
