package agent

import (
	"fmt"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

const (
	sidecarMinPort  = 21000
	sidecarMaxPort  = 21255
	sidecarInterval = 10 * time.Second
)

// sidecarPort returns the port that a sidecar has already, or the lowest one
// that is free.
func (a *Agent) sidecarPort(id string) int {
	used := make(map[int]bool)
	for other, s := range a.Services {
		if other == id && s.Rec.Port >= sidecarMinPort && s.Rec.Port <= sidecarMaxPort {
			return s.Rec.Port
		}
		used[s.Rec.Port] = true
	}
	port := sidecarMinPort
	for used[port] && port < sidecarMaxPort {
		port++
	}
	return port
}

// defaultSidecarChecks are the checks of a sidecar that defines none: that
// somebody listens, and the health of the service.
func defaultSidecarChecks(d *definition.Service) []*definition.ServiceCheck {
	address := d.Address
	if address == "" {
		address = "127.0.0.1"
	}
	listening := &definition.ServiceCheck{CheckType: definition.CheckType{
		Name: "Connect Sidecar Listening", TCP: fmt.Sprintf("%s:%d", address, d.Port), Interval: state.WireDuration{Set: true, D: sidecarInterval},
	}}
	aliasing := &definition.ServiceCheck{CheckType: definition.CheckType{
		Name: "Connect Sidecar Aliasing " + d.Proxy.DestinationServiceID, AliasService: d.Proxy.DestinationServiceID,
	}}
	return []*definition.ServiceCheck{listening, aliasing}
}
