package api

import (
	"encoding/json"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// This file holds the JSON shapes of responses. A field that only some version
// sends, or only sends if set, is a pointer, nil where it is left out.

type nodeJSON = state.NodeRecord

// agentServiceJSON is a service of the agent.
type agentServiceJSON struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string                           `json:",omitempty"`
	TaggedAddresses   map[string]consul.ServiceAddress `json:",omitempty"`
	Weights           consul.AgentWeights
	EnableTagOverride bool
	ContentHash       string             `json:",omitempty"`
	Proxy             *state.ProxyConfig `json:",omitempty"`
	Connect           *connectJSON       `json:",omitempty"`
	Datacenter        *string            `json:",omitempty"` // 1.21.4
	Locality          *localityJSON      `json:",omitempty"`
}

// serviceJSON is a service of the catalog, in the health endpoints and those of
// nodes.
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
	Proxy             *state.ProxyConfig
	Connect           connectJSON
	PeerName          *string          `json:",omitempty"` // 1.21.4
	Locality          *consul.Locality `json:",omitempty"`
	CreateIndex       uint64
	ModifyIndex       uint64
}

type connectJSON struct {
	Native bool `json:",omitempty"`
}

// localityJSON is a locality as the local agent writes it, with both fields always.
type localityJSON struct {
	Region, Zone string
}

// serviceEntryJSON is an instance with its node and the checks of both.
type serviceEntryJSON struct {
	Node    *nodeJSON
	Service *serviceJSON
	Checks  []*checkJSON
}

// catalogServiceJSON is an instance in the catalog's own endpoints.
type catalogServiceJSON struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string
	ServiceTaggedAddresses   map[string]consul.ServiceAddress `json:",omitempty"`
	ServiceWeights           consul.AgentWeights
	ServiceMeta              map[string]string
	ServicePort              int
	ServiceSocketPath        *string `json:",omitempty"` // 1.21.4
	ServiceEnableTagOverride bool
	ServiceProxy             *state.ProxyConfig
	ServiceConnect           connectJSON
	ServiceLocality          json.RawMessage `json:",omitempty"` // 1.21.4, null if there is none
	CreateIndex              uint64
	ModifyIndex              uint64
}

// checkJSON is a check, of the catalog or of the agent.
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
	Definition  *state.CheckDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

// localHealthCheckJSON is a check in the local health endpoints.
type localHealthCheckJSON struct {
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
	ExposedPort *int `json:",omitempty"` // 1.21.4
	Definition  any
	CreateIndex uint64
	ModifyIndex uint64
}

// emptyDefinition is the definition of every check in the local health endpoints
// of 1.21.4, and oldEmptyDefinition in those of 1.8.7.
type emptyDefinition struct {
	Interval                       string
	Timeout                        string
	DeregisterCriticalServiceAfter string
	HTTP                           string
	Header                         map[string][]string
	Method                         string
	Body                           string
	TLSServerName                  string
	TLSSkipVerify                  bool
	TCP                            string
	TCPUseTLS                      bool
	UDP                            string
	GRPC                           string
	OSService                      string
	GRPCUseTLS                     bool
}

type oldEmptyDefinition struct {
	Interval                       string
	Timeout                        string
	DeregisterCriticalServiceAfter string
	HTTP                           string
	Header                         map[string][]string
	Method                         string
	Body                           string
	TLSSkipVerify                  bool
	TCP                            string
}

func ptr[T any](v T) *T { return &v }

// tags returns the tags as a response has them, never null.
func tags(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// object returns a map as a response has it, never null.
func object(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func newAgentServiceJSON(v release.Version, s *agent.Service, datacenter string) *agentServiceJSON {
	r := &s.Rec
	out := &agentServiceJSON{
		Kind: r.Kind, ID: r.ID, Service: r.Name, Tags: tags(r.Tags), Meta: object(r.Meta), Port: r.Port, Address: r.Address,
		SocketPath: r.SocketPath, TaggedAddresses: r.TaggedAddresses, Weights: r.Weights, EnableTagOverride: r.EnableTagOverride,
		Proxy: r.Proxy.InAgent(r.Kind), Locality: (*localityJSON)(r.Locality),
	}
	if r.Native {
		out.Connect = &connectJSON{true}
	}
	if v == release.V1_21_4 {
		out.Datacenter = &datacenter
	}
	return out
}

func newServiceJSON(v release.Version, s *state.ServiceRecord) *serviceJSON {
	out := &serviceJSON{
		Kind: s.Kind, ID: s.ID, Service: s.Name, Tags: tags(s.Tags), Address: s.Address,
		TaggedAddresses: s.TaggedAddresses, Meta: s.Meta, SocketPath: s.SocketPath, Weights: s.Weights,
		EnableTagOverride: s.EnableTagOverride, Proxy: s.Proxy.InCatalog(v), Connect: connectJSON{s.Native}, Locality: s.Locality,
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex,
	}
	if s.Port != 0 || v == release.V1_8_7 {
		out.Port = &s.Port
	}
	if v == release.V1_21_4 {
		out.PeerName = ptr("")
	}
	return out
}

func newCatalogServiceJSON(v release.Version, s *state.Service) *catalogServiceJSON {
	n := s.Node
	out := &catalogServiceJSON{
		ID: n.ID, Node: s.OnNode, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta,
		ServiceKind: s.Kind, ServiceID: s.ID, ServiceName: s.Name, ServiceTags: tags(s.Tags), ServiceAddress: s.Address,
		ServiceTaggedAddresses: s.TaggedAddresses, ServiceWeights: s.Weights, ServiceMeta: object(s.Meta), ServicePort: s.Port,
		ServiceEnableTagOverride: s.EnableTagOverride, ServiceProxy: s.Proxy.InCatalog(v), ServiceConnect: connectJSON{s.Native},
		CreateIndex: s.CreateIndex, ModifyIndex: s.ModifyIndex,
	}
	if v == release.V1_21_4 {
		out.ServiceSocketPath = &s.SocketPath
		out.ServiceLocality = json.RawMessage("null")
		if s.Locality != nil {
			out.ServiceLocality, _ = json.Marshal(s.Locality)
		}
	}
	return out
}

func newCheckJSON(v release.Version, c *state.CheckRecord) *checkJSON {
	out := &checkJSON{
		Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: tags(c.ServiceTags), Type: c.Type,
		Definition: c.Definition, CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
	}
	if out.Definition == nil {
		out.Definition = &state.CheckDefinition{}
	}
	if v == release.V1_21_4 {
		out.Interval, out.Timeout, out.ExposedPort = ptr(c.Interval), ptr(c.Timeout), ptr(c.ExposedPort)
	}
	return out
}

func newLocalHealthCheckJSON(v release.Version, c *state.CheckRecord) *localHealthCheckJSON {
	out := &localHealthCheckJSON{
		Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output,
		ServiceID: c.ServiceID, ServiceName: c.ServiceName, ServiceTags: c.ServiceTags,
	}
	const none = "0s"
	if v == release.V1_8_7 {
		out.Definition = oldEmptyDefinition{Interval: none, Timeout: none, DeregisterCriticalServiceAfter: none}
		return out
	}
	out.ExposedPort = ptr(0)
	out.Definition = emptyDefinition{Interval: none, Timeout: none, DeregisterCriticalServiceAfter: none}
	return out
}

// newServiceEntryJSON returns an instance with the checks of its node and its own, ordered
// by ID.
func newServiceEntryJSON(v release.Version, s *state.Service) *serviceEntryJSON {
	out := &serviceEntryJSON{Node: s.Node.NodeRecord, Service: newServiceJSON(v, s.ServiceRecord), Checks: []*checkJSON{}}
	for _, c := range state.Sorted(s.Node.NodeChecks) {
		out.Checks = append(out.Checks, newCheckJSON(v, c.CheckRecord))
	}
	for _, c := range state.Sorted(s.Checks) {
		out.Checks = append(out.Checks, newCheckJSON(v, c.CheckRecord))
	}
	return out
}
