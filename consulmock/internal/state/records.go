package state

import (
	"net/netip"

	"github.com/lictor-go/consul"
)

// NodeRecord is what the catalog holds of a node itself.
type NodeRecord struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64
	ModifyIndex     uint64
}

// ServiceRecord is what the catalog holds of a service.
type ServiceRecord struct {
	OnNode            string // the name of the node, with the case that it was registered with
	Kind              string
	ID                string
	Name              string
	Tags              []string
	Address           string
	SocketPath        string
	TaggedAddresses   map[string]consul.ServiceAddress
	Meta              map[string]string
	Port              int
	Weights           consul.AgentWeights
	EnableTagOverride bool
	Proxy             *ProxyConfig
	Native            bool
	Locality          *consul.Locality
	CreateIndex       uint64
	ModifyIndex       uint64
}

// SerfCheckID is the ID of the check of a node that the gossip pool reports on.
const SerfCheckID = "serfHealth"

// CheckRecord is what the catalog holds of a check.
type CheckRecord struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	Definition  *CheckDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

// DefaultWeights are those of a service that is registered without weights.
var DefaultWeights = consul.AgentWeights{Passing: 1, Warning: 1}

// AddTaggedAddresses adds the addresses that agents derive from a numeric one.
func (rec *ServiceRecord) AddTaggedAddresses() {
	addr, err := netip.ParseAddr(rec.Address)
	if err != nil {
		return
	}
	suffix := "_ipv6"
	if addr.Unmap().Is4() {
		suffix = "_ipv4"
	}
	if rec.TaggedAddresses == nil {
		rec.TaggedAddresses = make(map[string]consul.ServiceAddress)
	}
	for _, name := range []string{"lan" + suffix, "wan" + suffix} {
		if _, ok := rec.TaggedAddresses[name]; !ok {
			rec.TaggedAddresses[name] = consul.ServiceAddress{Address: rec.Address, Port: rec.Port}
		}
	}
}
