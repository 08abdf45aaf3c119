package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// ProxyConfig is the mesh configuration of a proxy. The fake keeps what it does
// not look at as it was given.
type ProxyConfig struct {
	DestinationServiceName string           `json:",omitempty"`
	DestinationServiceID   string           `json:",omitempty"`
	LocalServiceAddress    string           `json:",omitempty"`
	LocalServicePort       int              `json:",omitempty"`
	LocalServiceSocketPath string           `json:",omitempty"`
	Mode                   *string          `json:",omitempty"` // 1.21.4
	Config                 map[string]any   `json:",omitempty"`
	Upstreams              []map[string]any `json:",omitempty"`
	MeshGateway            map[string]any
	Expose                 map[string]any
	TransparentProxy       map[string]any    `json:",omitempty"`
	EnvoyExtensions        []json.RawMessage `json:",omitempty"`
	AccessLogs             map[string]any    `json:",omitempty"`
}

// WithDefaults returns a copy with the members that agents add. What upstreams
// have no type is kept so by the catalog, and is of a service for an agent. An empty
// configuration is none.
func (p *ProxyConfig) WithDefaults(upstreamType string) *ProxyConfig {
	if reflect.ValueOf(p).Elem().IsZero() {
		return nil
	}
	c := *p
	if c.MeshGateway == nil {
		c.MeshGateway = map[string]any{}
	}
	if c.Expose == nil {
		c.Expose = map[string]any{}
	}
	c.mapPaths(func(path map[string]any) {
		if _, ok := path[parsedFromCheck]; !ok {
			path[parsedFromCheck] = false
		}
	})
	c.Upstreams = nil
	for _, u := range p.Upstreams {
		if u == nil {
			continue
		}
		u = maps.Clone(u)
		if t, ok := u["DestinationType"]; !ok || t == "" {
			u["DestinationType"] = upstreamType
		}
		if _, ok := u["MeshGateway"]; !ok {
			u["MeshGateway"] = map[string]any{}
		}
		c.Upstreams = append(c.Upstreams, u)
	}
	return &c
}

// parsedFromCheck is the member of an exposed path that the catalog of 1.21.4 shows
// only if it is true.
const parsedFromCheck = "ParsedFromCheck"

// mapPaths changes copies of the paths that a proxy exposes.
func (p *ProxyConfig) mapPaths(change func(path map[string]any)) {
	paths, ok := p.Expose["Paths"].([]any)
	if !ok {
		return
	}
	paths = slices.Clone(paths)
	for i, e := range paths {
		if path, ok := e.(map[string]any); ok {
			path = maps.Clone(path)
			change(path)
			paths[i] = path
		}
	}
	p.Expose = maps.Clone(p.Expose)
	p.Expose["Paths"] = paths
}

// IsMeshKind reports whether a kind of service is a proxy or a gateway.
func IsMeshKind(kind string) bool {
	switch kind {
	case "connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway":
		return true
	}
	return false
}

// InAgent returns the configuration as the agent shows it, which it does for
// proxies and gateways only.
func (p *ProxyConfig) InAgent(kind string) *ProxyConfig {
	if !IsMeshKind(kind) {
		return nil
	}
	if p == nil {
		p = &ProxyConfig{MeshGateway: map[string]any{}, Expose: map[string]any{}}
	}
	c := *p
	if c.Mode != nil && *c.Mode == "" {
		c.Mode = nil
	}
	return &c
}

// InCatalog returns the configuration as the catalog shows it.
func (p *ProxyConfig) InCatalog(v release.Version) *ProxyConfig {
	if p == nil {
		p = &ProxyConfig{MeshGateway: map[string]any{}, Expose: map[string]any{}}
	}
	c := *p
	if v == release.V1_21_4 {
		if c.Mode == nil {
			c.Mode = new(string)
		}
		c.mapPaths(func(path map[string]any) {
			if path[parsedFromCheck] == false {
				delete(path, parsedFromCheck)
			}
		})
	}
	c.Upstreams = nil
	for _, u := range p.Upstreams {
		u = maps.Clone(u)
		if _, ok := u["Datacenter"]; !ok {
			u["Datacenter"] = ""
		}
		if _, ok := u["Config"]; !ok && v == release.V1_8_7 {
			u["Config"] = nil
		}
		c.Upstreams = append(c.Upstreams, u)
	}
	return &c
}

// WithVirtualIP adds the address that 1.21.4 gives to services of the mesh, one
// for each name.
func (st *Store) WithVirtualIP(rec ServiceRecord) ServiceRecord {
	name := rec.meshName()
	if st.Version == release.V1_8_7 || name == "" {
		return rec
	}
	ip := st.virtualIPs[name]
	if ip == 0 {
		ip = len(st.virtualIPs) + 1
		st.virtualIPs[name] = ip
	}
	rec.TaggedAddresses = maps.Clone(rec.TaggedAddresses)
	if rec.TaggedAddresses == nil {
		rec.TaggedAddresses = make(map[string]consul.ServiceAddress)
	}
	rec.TaggedAddresses["consul-virtual"] = consul.ServiceAddress{
		Address: fmt.Sprintf("240.0.%d.%d", ip>>8&255, ip&255), Port: rec.Port,
	}
	return rec
}

// ConnectInstances returns the instances of the mesh for a service, ordered as
// instances does: itself if it is native, and its proxies.
func (st *Store) ConnectInstances(name string) []*Service {
	return st.sortInstances(st.byMesh[strings.ToLower(name)])
}

// meshName returns the name under which an instance takes part in the mesh, or
// "" if it does not.
func (rec *ServiceRecord) meshName() string {
	switch {
	case rec.Native:
		return rec.Name
	case rec.Kind == "connect-proxy" && rec.Proxy != nil:
		return rec.Proxy.DestinationServiceName
	}
	return ""
}
