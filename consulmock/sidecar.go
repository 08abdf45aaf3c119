package consulmock

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

const (
	sidecarSuffix   = "-sidecar-proxy"
	sidecarMinPort  = 21000
	sidecarMaxPort  = 21255
	sidecarInterval = 10 * time.Second
)

// proxyConfig is the mesh configuration of a proxy. The fake keeps what it does
// not look at as it was given.
type proxyConfig struct {
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

// proxyDefinition is the mesh configuration of a proxy as it is registered.
type proxyDefinition proxyConfig

// UnmarshalJSON implements [json.Unmarshaler].
func (p *proxyDefinition) UnmarshalJSON(data []byte) error {
	type plain proxyConfig
	d := struct {
		*plain
		DestinationServiceNameSnake string `json:"destination_service_name"`
		DestinationServiceIDSnake   string `json:"destination_service_id"`
		LocalServiceAddressSnake    string `json:"local_service_address"`
		LocalServicePortSnake       int    `json:"local_service_port"`
	}{plain: (*plain)(p)}
	if err := proxyBody.decodeNested("Proxy", data, &d, true); err != nil {
		return err
	}
	p.DestinationServiceName = cmp.Or(p.DestinationServiceName, d.DestinationServiceNameSnake)
	p.DestinationServiceID = cmp.Or(p.DestinationServiceID, d.DestinationServiceIDSnake)
	p.LocalServiceAddress = cmp.Or(p.LocalServiceAddress, d.LocalServiceAddressSnake)
	p.LocalServicePort = cmp.Or(p.LocalServicePort, d.LocalServicePortSnake)
	return nil
}

// withDefaults returns a copy with the members that agents add. What upstreams
// have no type is kept so by the catalog, and is of a service for an agent.
func (p *proxyConfig) withDefaults(upstreamType string) *proxyConfig {
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
func (p *proxyConfig) mapPaths(change func(path map[string]any)) {
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

// inAgent returns the configuration as the agent shows it, which it does for
// proxies and gateways only.
func (p *proxyConfig) inAgent(kind string) *proxyConfig {
	if p == nil || kind == "" || kind == "typical" {
		return nil
	}
	c := *p
	if c.Mode != nil && *c.Mode == "" {
		c.Mode = nil
	}
	return &c
}

// inCatalog returns the configuration as the catalog shows it.
func (p *proxyConfig) inCatalog(v release.Version) *proxyConfig {
	if p == nil {
		p = &proxyConfig{MeshGateway: map[string]any{}, Expose: map[string]any{}}
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

// sidecar returns the definition of the proxy that a service wants beside it, or
// nil.
func (d *serviceDefinition) sidecar() *serviceDefinition {
	if d.Connect == nil || d.Connect.SidecarService == nil {
		return nil
	}
	side := *d.Connect.SidecarService
	side.ID = d.ID + sidecarSuffix
	if side.Name == "" {
		side.Name = d.Name + sidecarSuffix
	}
	if side.Kind == "" {
		side.Kind = "connect-proxy"
	}
	if side.Address == "" {
		side.Address = d.Address
	}
	if len(side.Tags) == 0 {
		side.Tags = slices.Clone(d.Tags)
	}
	if len(side.Meta) == 0 {
		side.Meta = maps.Clone(d.Meta)
	}
	proxy := proxyDefinition{}
	if side.Proxy != nil {
		proxy = *side.Proxy
	}
	if proxy.DestinationServiceName == "" {
		proxy.DestinationServiceName = d.Name
	}
	if proxy.DestinationServiceID == "" {
		proxy.DestinationServiceID = d.ID
	}
	if proxy.LocalServiceAddress == "" {
		proxy.LocalServiceAddress = "127.0.0.1"
	}
	if proxy.LocalServicePort < 1 {
		proxy.LocalServicePort = d.Port
	}
	side.Proxy = &proxy
	return &side
}

// sidecarPort returns the port that a sidecar has already, or the lowest one
// that is free.
func (a *agent) sidecarPort(id string) int {
	used := make(map[int]bool)
	for other, s := range a.services {
		if other == id && s.rec.Port >= sidecarMinPort && s.rec.Port <= sidecarMaxPort {
			return s.rec.Port
		}
		used[s.rec.Port] = true
	}
	port := sidecarMinPort
	for used[port] && port < sidecarMaxPort {
		port++
	}
	return port
}

// defaultSidecarChecks are the checks of a sidecar that defines none: that
// somebody listens, and the health of the service.
func defaultSidecarChecks(d *serviceDefinition) []*serviceCheck {
	address := d.Address
	if address == "" {
		address = "127.0.0.1"
	}
	listening := &serviceCheck{checkType: checkType{
		Name: "Connect Sidecar Listening", TCP: fmt.Sprintf("%s:%d", address, d.Port), Interval: wireDuration{set: true, d: sidecarInterval},
	}}
	aliasing := &serviceCheck{checkType: checkType{
		Name: "Connect Sidecar Aliasing " + d.Proxy.DestinationServiceID, AliasService: d.Proxy.DestinationServiceID,
	}}
	return []*serviceCheck{listening, aliasing}
}

// meshName returns the name under which an instance takes part in the mesh, or
// "" if it does not.
func (rec *serviceRecord) meshName() string {
	switch {
	case rec.Native:
		return rec.Name
	case rec.Kind == "connect-proxy" && rec.Proxy != nil:
		return rec.Proxy.DestinationServiceName
	}
	return ""
}

// withVirtualIP adds the address that 1.21.4 gives to services of the mesh, one
// for each name.
func (st *store) withVirtualIP(rec serviceRecord) serviceRecord {
	name := rec.meshName()
	if st.version == release.V1_8_7 || name == "" {
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

// connectInstances returns the instances of the mesh for a service, ordered as
// instances does: itself if it is native, and its proxies.
func (st *store) connectInstances(name string) []*service {
	return st.sortInstances(st.byMesh[strings.ToLower(name)])
}
