package definition

import (
	"cmp"
	"maps"
	"slices"

	"github.com/lictor-go/consul/consulmock/internal/state"
)

// SidecarSuffix ends the IDs and names of sidecars.
const SidecarSuffix = "-sidecar-proxy"

// proxyDefinition is the mesh configuration of a proxy as it is registered.
type proxyDefinition state.ProxyConfig

// UnmarshalJSON implements [json.Unmarshaler].
func (p *proxyDefinition) UnmarshalJSON(data []byte) error {
	type plain state.ProxyConfig
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

// Sidecar returns the definition of the proxy that a service wants beside it, or
// nil.
func (d *Service) Sidecar() *Service {
	if d.Connect == nil || d.Connect.SidecarService == nil {
		return nil
	}
	side := *d.Connect.SidecarService
	side.ID = d.ID + SidecarSuffix
	if side.Name == "" {
		side.Name = d.Name + SidecarSuffix
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
