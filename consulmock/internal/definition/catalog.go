package definition

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// CatalogRegistration is the body of catalog/register.
type CatalogRegistration struct {
	ID              string
	Node            string
	Address         string
	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	Datacenter      string
	Service         *catalogServiceBody
	Check           *catalogCheckBody
	Checks          []*catalogCheckBody
	SkipNodeUpdate  bool
	Locality        *consul.Locality
	PeerName        string
	WriteRequest    json.RawMessage
}

// catalogServiceBody is a service in a catalog registration.
type catalogServiceBody struct {
	Kind              string
	ID                string
	Service           string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]consul.ServiceAddress
	Meta              map[string]string
	Port              int
	SocketPath        string
	Weights           *consul.AgentWeights
	EnableTagOverride bool
	Proxy             *proxyDefinition
	Connect           *connectDefinition
	Locality          *consul.Locality
	PeerName          string
	CreateIndex       uint64
	ModifyIndex       uint64
}

// catalogCheckBody is a check in a catalog registration.
type catalogCheckBody struct {
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
	PeerName    string
	Definition  state.CheckDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

// Validate returns why a registration is refused.
func (r *CatalogRegistration) Validate(v release.Version) error {
	if r.Node == "" {
		return errors.New("Must provide node")
	}
	if err := validateNodeID(r.ID); err != nil {
		return err
	}
	if r.Address == "" && !r.SkipNodeUpdate {
		return errors.New("Must provide address if SkipNodeUpdate is not set")
	}
	if s := r.Service; s != nil {
		d := Service{Kind: s.Kind, Port: s.Port, SocketPath: s.SocketPath, Proxy: s.Proxy, Connect: s.Connect, Locality: s.Locality}
		if problems := d.meshProblems(v); len(problems) > 0 {
			return errors.New(MultiError(problems))
		}
		if s.ID == "" {
			s.ID = s.Service
		}
		if err := validateServiceName(v, s.ID, s.Service); err != nil {
			return err
		}
		if isAnyAddress(s.Address) {
			return errors.New("Invalid service address")
		}
	}
	if r.Check != nil {
		r.Checks = append(r.Checks, r.Check)
	}
	for _, c := range r.Checks {
		if c == nil {
			return ErrNull
		}
		if c.CheckID == "" {
			c.CheckID = c.Name
		}
		if c.Node == "" {
			c.Node = r.Node
		}
	}
	return nil
}

// validateNodeID returns why the ID of a node, which may be empty, is refused.
func validateNodeID(id string) error {
	switch {
	case id == "":
		return nil
	case len(id) != 36:
		return errors.New("Bad node ID: uuid string is wrong length")
	case id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-':
		return errors.New("Bad node ID: uuid is improperly formatted")
	}
	if _, err := hex.DecodeString(id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]); err != nil {
		return fmt.Errorf("Bad node ID: %w", err)
	}
	return nil
}

// validateServiceName returns why a service of the catalog is refused that has no
// name.
func validateServiceName(v release.Version, id, name string) error {
	switch {
	case name != "":
	case v == release.V1_21_4 && id != "":
		return errors.New("Must provide service name (Service.Service) when service ID is provided")
	case v == release.V1_21_4:
		return errors.New("Must provide service name (Service.Service)")
	case id != "":
		return errors.New("Must provide service name with ID")
	}
	return nil
}

// ValidateInStore returns why the store refuses the service of a registration.
func (r *CatalogRegistration) ValidateInStore() error {
	if r.Service == nil {
		return nil
	}
	if err := validateMeta(r.Service.Meta); err != nil {
		return fmt.Errorf("failed inserting service: Invalid Service Meta for node %s and serviceID %s: %v", r.Node, r.Service.ID, err)
	}
	return nil
}

// Record returns the service that the catalog then holds.
func (s *catalogServiceBody) Record() state.ServiceRecord {
	rec := state.ServiceRecord{
		Kind: s.Kind, ID: s.ID, Name: s.Service, Tags: s.Tags, Address: s.Address, SocketPath: s.SocketPath,
		TaggedAddresses: s.TaggedAddresses, Meta: s.Meta, Port: s.Port, Weights: state.DefaultWeights,
		EnableTagOverride: s.EnableTagOverride, Locality: s.Locality,
	}
	if s.Weights != nil && validateWeights(*s.Weights) == nil {
		rec.Weights = *s.Weights
	}
	if s.Proxy != nil {
		rec.Proxy = (*state.ProxyConfig)(s.Proxy).WithDefaults("")
	}
	if s.Connect != nil {
		rec.Native = s.Connect.Native
	}
	return rec
}

// Record returns the check that the catalog then holds.
func (c *catalogCheckBody) Record() state.CheckRecord {
	if c.Type == "" {
		c.Type = kindOf(&c.Definition)
	}
	return state.CheckRecord{
		Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output, ServiceID: c.ServiceID,
		Type: c.Type, Interval: c.Interval, Timeout: c.Timeout, ExposedPort: c.ExposedPort, Definition: &c.Definition,
	}
}

// kindOf returns the word for the kind of check that a definition describes. What has no
// interval is never run, and so of no kind.
func kindOf(d *state.CheckDefinition) string {
	t := CheckType{AliasNode: d.AliasNode, AliasService: d.AliasService}
	if d.Interval != nil && d.Interval.D > 0 {
		t.HTTP, t.TCP, t.UDP, t.GRPC, t.H2PING, t.OSService = d.HTTP, d.TCP, d.UDP, d.GRPC, d.H2PING, d.OSService
		t.ScriptArgs, t.DockerContainerID = d.ScriptArgs, d.DockerContainerID
	}
	if d.TTL != nil {
		t.TTL = d.TTL.WireDuration
	}
	return t.Kind()
}
