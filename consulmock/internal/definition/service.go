// Package definition reads what is registered, the definitions of services, checks
// and nodes, and refuses what an agent refuses, in its words.
package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// Service is the body of service/register.
type Service struct {
	Kind              string
	ID                string
	Name              string
	Tags              []string
	Address           string
	TaggedAddresses   map[string]consul.ServiceAddress
	Meta              map[string]string
	Port              int
	SocketPath        string
	Check             *ServiceCheck
	Checks            []*ServiceCheck
	Weights           *consul.AgentWeights
	Token             string
	EnableTagOverride bool
	Locality          *consul.Locality
	Proxy             *proxyDefinition
	Connect           *connectDefinition

	EnableTagOverrideSnake bool                             `json:"enable_tag_override"`
	TaggedAddressesSnake   map[string]consul.ServiceAddress `json:"tagged_addresses"`
}

// connectDefinition tells how a service takes part in the mesh.
type connectDefinition struct {
	Native         bool
	SidecarService *Service
}

// AllChecks returns the checks of a service definition. An empty one is ignored, but
// not in the list, where even a null is not.
func (d *Service) AllChecks() []*ServiceCheck {
	var list []*ServiceCheck
	if d.Check != nil && !d.Check.isEmpty() {
		list = append(list, d.Check)
	}
	return append(list, d.Checks...)
}

// UnmarshalJSON implements [json.Unmarshaler]: as agents do, it ignores fields
// that it does not know, but not those of the sidecar.
func (c *connectDefinition) UnmarshalJSON(data []byte) error {
	var d struct {
		Native              bool
		SidecarService      json.RawMessage
		SidecarServiceSnake json.RawMessage `json:"sidecar_service"`
	}
	if err := connectBody.decodeNested("Connect", data, &d, false); err != nil {
		return err
	}
	c.Native = d.Native
	for _, sidecar := range [][]byte{d.SidecarServiceSnake, d.SidecarService} {
		if len(sidecar) == 0 || string(sidecar) == "null" {
			continue
		}
		c.SidecarService = new(Service)
		err := serviceBody.decodeNested("Connect", sidecar, c.SidecarService, true)
		var inner *nestedTypeError
		if errors.As(err, &inner) {
			if inner.part != "Connect" {
				inner.field = strings.TrimSuffix(serviceBody.path(inner.part)+"."+inner.field, ".")
			}
			inner.part, inner.field = "Connect", strings.TrimSuffix("Alias.SidecarService."+inner.field, ".")
		}
		if err != nil {
			return err
		}
		c.SidecarService.takeSnake()
	}
	return nil
}

// DecodeService reads the body of service/register.
func DecodeService(v release.Version, body []byte) (*Service, error) {
	d := new(Service)
	if err := serviceBody.Decode(v, body, d); err != nil {
		return nil, err
	}
	d.takeSnake()
	return d, nil
}

// takeSnake takes over what has the names with underscores.
func (d *Service) takeSnake() {
	d.EnableTagOverride = d.EnableTagOverride || d.EnableTagOverrideSnake
	if len(d.TaggedAddresses) == 0 {
		d.TaggedAddresses = d.TaggedAddressesSnake
	}
}

// Validate returns why the agent refuses a service.
func (d *Service) Validate() error {
	if d.Name == "" {
		return refusal.BadRequest("Missing service name")
	}
	if isAnyAddress(d.Address) {
		return refusal.BadRequest("Invalid service address")
	}
	return nil
}

// ValidateRest is the part of the validation that comes after the token was
// looked at.
func (d *Service) ValidateRest(v release.Version) error {
	if d.Weights != nil {
		if err := validateWeights(*d.Weights); err != nil {
			return refusal.BadRequest("Invalid Weights: %v", err)
		}
	}
	if err := validateMeta(d.Meta); err != nil {
		return refusal.BadRequest("Invalid Service Meta: %v", err)
	}
	if problems := d.meshProblems(v); len(problems) > 0 {
		text := MultiError(problems)
		if v == release.V1_21_4 {
			text = "Validation failed: " + text
		}
		return refusal.BadRequest("%s", text)
	}
	if err := validateChecks(d.AllChecks(), v, "Invalid check: "); err != nil {
		return err
	}
	if d.Connect != nil && d.Connect.SidecarService != nil {
		return validateChecks(d.Connect.SidecarService.AllChecks(), v, "Invalid check in sidecar_service: ")
	}
	return nil
}

// isAnyAddress reports whether an address means every interface.
func isAnyAddress(s string) bool {
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil && addr.IsUnspecified()
}

func validateWeights(w consul.AgentWeights) error {
	switch {
	case w.Passing < 1:
		return errors.New("Passing must be greater than 0")
	case w.Warning < 0:
		return errors.New("Warning must be greater or equal than 0")
	case w.Passing > 65535 || w.Warning > 65535:
		return errors.New("DNS Weight must be between 0 and 65535")
	}
	return nil
}

var metaKey = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func validateMeta(meta map[string]string) error {
	if len(meta) > 64 {
		return errors.New("Node metadata cannot contain more than 64 key/value pairs")
	}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		problem := ""
		switch {
		case k == "":
			problem = "Key cannot be blank"
		case !metaKey.MatchString(k):
			problem = "Key contains invalid characters"
		case len(k) > 128:
			problem = "Key is too long (limit: 128 characters)"
		case strings.HasPrefix(k, "consul-"):
			problem = "Key prefix 'consul-' is reserved for internal use"
		case len(meta[k]) > 512:
			problem = "Value is too long (limit: 512 characters)"
		}
		if problem != "" {
			return fmt.Errorf("Couldn't load metadata pair ('%s', '%s'): %s", k, meta[k], problem)
		}
	}
	return nil
}

// meshProblems returns what is wrong with the mesh side of a service, and with
// its locality.
func (d *Service) meshProblems(v release.Version) []string {
	native := d.Connect != nil && d.Connect.Native
	noPort := d.Port == 0 && d.SocketPath == ""
	var problems []string
	if l := d.Locality; v == release.V1_21_4 && l != nil && l.Region == "" && l.Zone != "" {
		problems = append(problems, "zone cannot be set without region")
	}
	if d.Kind == "connect-proxy" {
		if v == release.V1_21_4 && noPort {
			problems = append(problems, "Port or SocketPath must be set for a connect-proxy")
		}
		if d.Proxy == nil || strings.TrimSpace(d.Proxy.DestinationServiceName) == "" {
			problems = append(problems, "Proxy.DestinationServiceName must be non-empty for Connect proxy services")
		}
		if v == release.V1_8_7 && noPort {
			problems = append(problems, "Port must be set for a Connect proxy")
		}
		if native {
			problems = append(problems, "A Proxy cannot also be Connect Native, only typical services")
		}
	}
	problems = append(problems, d.gatewayProblems(v)...)
	if v == release.V1_21_4 && native && noPort {
		problems = append(problems, "Port or SocketPath must be set for a Connect native service.")
	}
	if d.Connect != nil && d.Connect.SidecarService != nil {
		if side := d.Connect.SidecarService; side.Connect != nil && side.Connect.SidecarService != nil {
			problems = append(problems, "A SidecarService cannot have a nested SidecarService")
		}
	}
	return problems
}

// gatewayProblems returns what is wrong with a gateway.
func (d *Service) gatewayProblems(v release.Version) []string {
	var problems []string
	switch d.Kind {
	case "mesh-gateway", "terminating-gateway":
		if d.Port == 0 {
			problems = append(problems, "Port must be non-zero for a "+d.Kind)
		}
	case "ingress-gateway":
	case "api-gateway":
		if v == release.V1_8_7 {
			return nil // it is no gateway there
		}
	default:
		return nil
	}
	if d.Connect != nil && d.Connect.SidecarService != nil {
		problems = append(problems, "A "+d.Kind+" cannot have a sidecar service defined")
	}
	if p := d.Proxy; p != nil {
		for _, field := range []struct {
			name  string
			isSet bool
		}{
			{"DestinationServiceName", p.DestinationServiceName != ""},
			{"DestinationServiceID", p.DestinationServiceID != ""},
			{"LocalServiceAddress", p.LocalServiceAddress != ""},
			{"LocalServicePort", p.LocalServicePort != 0},
			{"Upstreams", len(p.Upstreams) > 0},
		} {
			if field.isSet {
				problems = append(problems, "The Proxy."+field.name+" configuration is invalid for a "+d.Kind)
			}
		}
	}
	return problems
}

// MultiError writes a list of problems as agents do.
func MultiError(problems []string) string {
	head := fmt.Sprintf("%d errors occurred:", len(problems))
	if len(problems) == 1 {
		head = "1 error occurred:"
	}
	return head + "\n\t* " + strings.Join(problems, "\n\t* ") + "\n\n"
}

// Record returns the service that a definition describes, with what the agent
// adds to it.
func (d *Service) Record() state.ServiceRecord {
	rec := state.ServiceRecord{
		Kind: d.Kind, ID: d.ID, Name: d.Name, Tags: slices.Clone(d.Tags), Address: d.Address, SocketPath: d.SocketPath,
		Meta: maps.Clone(d.Meta), Port: d.Port, Weights: state.DefaultWeights, EnableTagOverride: d.EnableTagOverride, Locality: d.Locality,
		TaggedAddresses: maps.Clone(d.TaggedAddresses),
	}
	if d.Weights != nil {
		rec.Weights = *d.Weights
	}
	if d.Connect != nil {
		rec.Native = d.Connect.Native
	}
	if d.Proxy != nil {
		rec.Proxy = (*state.ProxyConfig)(d.Proxy).WithDefaults("service")
	}
	rec.AddTaggedAddresses()
	return rec
}
