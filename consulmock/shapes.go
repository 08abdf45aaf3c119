package consulmock

import "github.com/lictor-go/consul"

// This file holds the JSON shapes of answers. A field that only some version
// sends, or only sends if set, is a pointer, nil where it is left out.

type nodeJSON = nodeRecord

type serviceJSON struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]consul.ServiceAddress `json:",omitempty"`
	Meta              map[string]string
	Port              *int   `json:",omitempty"` // 1.21.4 leaves out 0
	SocketPath        string `json:",omitempty"`
	Weights           consul.AgentWeights
	EnableTagOverride bool
	Proxy             *proxyConfig
	Connect           connectJSON
	PeerName          *string          `json:",omitempty"` // 1.21.4
	Locality          *consul.Locality `json:",omitempty"`
	CreateIndex       uint64
	ModifyIndex       uint64
}

type connectJSON struct {
	Native bool `json:",omitempty"`
}

type serviceEntryJSON struct {
	Node    *nodeJSON
	Service *serviceJSON
	Checks  []*checkJSON
}

type checkJSON struct {
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
	Interval    *string `json:",omitempty"` // 1.21.4, and so the next two
	Timeout     *string `json:",omitempty"`
	ExposedPort *int    `json:",omitempty"`
	Definition  *checkDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

// proxyConfig is the mesh configuration of a service.
type proxyConfig struct {
	Mode        *string `json:",omitempty"` // 1.21.4
	MeshGateway struct{}
	Expose      struct{}
}

// checkDefinition is what catalog/register said about how to run a check.
type checkDefinition struct{}

func ptr[T any](v T) *T { return &v }

// tags returns the tags as an answer has them, never null.
func tags(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (v version) serviceJSON(s *serviceRecord) *serviceJSON {
	out := &serviceJSON{
		Kind: s.Kind, ID: s.ID, Service: s.Name, Tags: tags(s.Tags), Address: s.Address,
		TaggedAddresses: s.TaggedAddresses, Meta: s.Meta, SocketPath: s.SocketPath, Weights: s.Weights,
		EnableTagOverride: s.EnableTagOverride, Proxy: s.Proxy, Connect: connectJSON{s.Native}, Locality: s.Locality,
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex,
	}
	if s.Port != 0 || v == v1_8_7 {
		out.Port = &s.Port
	}
	if out.Proxy == nil {
		out.Proxy = &proxyConfig{}
	}
	if v == v1_21_4 {
		out.PeerName = ptr("")
		out.Proxy = &proxyConfig{Mode: ptr("")}
	}
	return out
}

func (v version) checkJSON(c *checkRecord) *checkJSON {
	out := &checkJSON{
		Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: tags(c.ServiceTags), Type: c.Type,
		Definition: c.Definition, CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
	}
	if out.Definition == nil {
		out.Definition = &checkDefinition{}
	}
	if v == v1_21_4 {
		out.Interval, out.Timeout, out.ExposedPort = &c.Interval, &c.Timeout, &c.ExposedPort
	}
	return out
}

func (v version) entryJSON(s *service) *serviceEntryJSON {
	out := &serviceEntryJSON{Node: s.node.nodeRecord, Service: v.serviceJSON(s.serviceRecord), Checks: []*checkJSON{}}
	for _, c := range sorted(s.node.checks) {
		if c.ServiceID == "" {
			out.Checks = append(out.Checks, v.checkJSON(c.checkRecord))
		}
	}
	for _, c := range sorted(s.checks) {
		out.Checks = append(out.Checks, v.checkJSON(c.checkRecord))
	}
	return out
}
