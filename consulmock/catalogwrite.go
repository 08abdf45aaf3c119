package consulmock

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// catalogRegistration is the body of catalog/register.
type catalogRegistration struct {
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
	Definition  *checkDefinition
	CreateIndex uint64
	ModifyIndex uint64
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// catalogRegister answers PUT /v1/catalog/register.
func catalogRegister(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	var r catalogRegistration
	if err := catalogRegisterBody.decode(q.v, q.body, &r); err != nil {
		return nil, err
	}
	if dc := r.Datacenter; dc != "" && dc != q.config.datacenter {
		return nil, errors.New("No path to datacenter")
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := r.validate(q.v); err != nil {
		return nil, err
	}
	if err := q.vetRegistration(&r, authz); err != nil {
		return nil, err
	}
	// What a 1.8.7 server refuses from here on is in its log already, and so has
	// moved the index.
	before := q.a.store.index
	q.a.store.index++
	if err := writeRegistration(q.a.store, &r, q.config.datacenter); err != nil {
		if q.v == release.V1_21_4 {
			q.a.store.index = before
		}
		return nil, err
	}
	q.a.catalogChanged()
	return true, nil
}

// validate returns why a registration is refused.
func (r *catalogRegistration) validate(v release.Version) error {
	switch {
	case r.Node == "":
		return errors.New("Must provide node")
	case r.Address == "" && !r.SkipNodeUpdate:
		return errors.New("Must provide address if SkipNodeUpdate is not set")
	case r.ID != "" && len(r.ID) != 36:
		return errors.New("Bad node ID: uuid string is wrong length")
	case r.ID != "" && !uuidForm.MatchString(r.ID):
		return errors.New("Bad node ID: uuid is improperly formatted")
	}
	if s := r.Service; s != nil {
		d := serviceDefinition{Kind: s.Kind, Port: s.Port, SocketPath: s.SocketPath, Proxy: s.Proxy, Connect: s.Connect, Locality: s.Locality}
		if problems := d.meshProblems(v); len(problems) > 0 {
			return errors.New(multiError(problems))
		}
		if s.ID == "" {
			s.ID = s.Service
		}
		switch {
		case s.Service != "":
		case v == release.V1_21_4 && s.ID != "":
			return errors.New("Must provide service name (Service.Service) when service ID is provided")
		case v == release.V1_21_4:
			return errors.New("Must provide service name (Service.Service)")
		case s.ID != "":
			return errors.New("Must provide service name with ID")
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
			return errNullCheck
		}
		if c.CheckID == "" {
			c.CheckID = c.Name
		}
		if c.Node == "" {
			c.Node = r.Node
		}
		if v == release.V1_21_4 && !strings.EqualFold(c.Node, r.Node) {
			return fmt.Errorf("Node '%s' for check '%s' doesn't match register request node '%s'", c.Node, c.CheckID, r.Node)
		}
	}
	return nil
}

// vetRegistration returns the refusal of a registration that the token does not allow.
func (q *request) vetRegistration(r *catalogRegistration, authz *authorizer) error {
	if r.Service != nil {
		if err := authz.require(q.v, serviceWrite, r.Service.Service); err != nil {
			return err
		}
	}
	if !r.SkipNodeUpdate {
		if err := authz.require(q.v, nodeWrite, r.Node); err != nil {
			return err
		}
	}
	for _, c := range r.Checks {
		if c.ServiceID == "" {
			if err := authz.require(q.v, nodeWrite, r.Node); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeRegistration writes a registration to the catalog.
func writeRegistration(st *store, r *catalogRegistration, datacenter string) error {
	if st.version == release.V1_8_7 && r.Service != nil && r.Service.ID == "" {
		return errors.New("failed inserting service: failed inserting service: object missing primary index")
	}
	for _, c := range r.Checks {
		if !strings.EqualFold(c.Node, r.Node) {
			return fmt.Errorf("check node %q does not match node %q", c.Node, r.Node)
		}
		if !willHave(st, r, c.ServiceID) {
			if st.version == release.V1_21_4 {
				return fmt.Errorf("Unknown service ID '%s' for check ID '%s'", c.ServiceID, c.CheckID)
			}
			return fmt.Errorf("failed inserting check: %w on node %q", errMissingService, r.Node)
		}
	}
	n := st.node(r.Node)
	if n == nil || !r.SkipNodeUpdate {
		n = st.ensureNode(nodeRecord{
			CreateIndex: st.takeOverID(r.ID, r.Node), ID: r.ID, Node: r.Node, Address: r.Address, Datacenter: datacenter, TaggedAddresses: r.TaggedAddresses, Meta: r.NodeMeta,
		})
	}
	if r.Service != nil {
		st.ensureService(n, st.withVirtualIP(r.Service.record()))
	}
	for _, c := range r.Checks {
		if err := st.ensureCheck(n, c.record()); err != nil {
			return fmt.Errorf("failed inserting check: %w on node %q", err, r.Node)
		}
	}
	return nil
}

// willHave reports whether a node has a service, or has it after a registration.
func willHave(st *store, r *catalogRegistration, serviceID string) bool {
	if serviceID == "" || r.Service != nil && strings.EqualFold(r.Service.ID, serviceID) {
		return true
	}
	n := st.node(r.Node)
	return n != nil && n.services[strings.ToLower(serviceID)] != nil
}

// takeOverID removes the node of that ID if it has another name, because it is
// renamed, and returns the index at which it was created.
func (st *store) takeOverID(id, name string) uint64 {
	if id == "" {
		return 0
	}
	for _, n := range st.nodes {
		if n.ID == id && !strings.EqualFold(n.Node, name) {
			created := n.CreateIndex
			st.deleteNode(n.Node)
			return created
		}
	}
	return 0
}

func (s *catalogServiceBody) record() serviceRecord {
	rec := serviceRecord{
		Kind: s.Kind, ID: s.ID, Name: s.Service, Tags: s.Tags, Address: s.Address, SocketPath: s.SocketPath,
		TaggedAddresses: s.TaggedAddresses, Meta: s.Meta, Port: s.Port, Weights: defaultWeights,
		EnableTagOverride: s.EnableTagOverride, Locality: s.Locality,
	}
	if s.Weights != nil {
		rec.Weights = *s.Weights
	}
	if s.Proxy != nil {
		rec.Proxy = (*proxyConfig)(s.Proxy).withDefaults("")
	}
	if s.Connect != nil {
		rec.Native = s.Connect.Native
	}
	return rec
}

func (c *catalogCheckBody) record() checkRecord {
	if c.Type == "" && c.Definition != nil {
		c.Type = kindOf(c.Definition)
	}
	return checkRecord{
		CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output, ServiceID: c.ServiceID,
		Type: c.Type, Interval: c.Interval, Timeout: c.Timeout, ExposedPort: c.ExposedPort, Definition: c.Definition,
	}
}

// kindOf returns the word for the kind of check that a definition describes.
func kindOf(d *checkDefinition) string {
	t := checkType{
		HTTP: d.HTTP, TCP: d.TCP, UDP: d.UDP, GRPC: d.GRPC, H2PING: d.H2PING, OSService: d.OSService, ScriptArgs: d.ScriptArgs,
		DockerContainerID: d.DockerContainerID, AliasNode: d.AliasNode, AliasService: d.AliasService,
	}
	if d.TTL != nil {
		t.TTL = d.TTL.wireDuration
	}
	return t.kind()
}

// catalogDeregister answers PUT /v1/catalog/deregister.
func catalogDeregister(q *request) (any, error) {
	if err := q.refuseEnterprise(); err != nil {
		return nil, err
	}
	var r struct {
		Node, Datacenter, ServiceID, CheckID, Address, PeerName string
		WriteRequest                                            json.RawMessage
	}
	if err := catalogDeregisterBody.decode(q.v, q.body, &r); err != nil {
		return nil, err
	}
	if dc := r.Datacenter; dc != "" && dc != q.config.datacenter {
		return nil, errors.New("No path to datacenter")
	}
	if r.Node == "" {
		return nil, errors.New("Must provide node")
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if err := vetDeregister(q, authz, r.Node, r.ServiceID, r.CheckID); err != nil {
		return nil, err
	}
	st := q.a.store
	st.index++
	n := st.node(r.Node)
	switch {
	case n == nil:
	case r.ServiceID != "":
		st.deleteService(n, r.ServiceID)
	case r.CheckID != "":
		st.deleteCheck(n, r.CheckID)
	default:
		st.deleteNode(r.Node)
	}
	q.a.catalogChanged()
	return true, nil
}

// vetDeregister returns the refusal of a deregistration that the token does not
// allow. Who may write a node may take everything off it.
func vetDeregister(q *request, authz *authorizer, nodeName, serviceID, checkID string) error {
	if authz.allows(nodeWrite, nodeName) {
		return nil
	}
	n := q.a.store.node(nodeName)
	if n != nil && serviceID == "" && checkID != "" {
		if c := n.checks[strings.ToLower(checkID)]; c != nil {
			serviceID = c.ServiceID
		}
	}
	if n != nil && serviceID != "" {
		if s := n.services[strings.ToLower(serviceID)]; s != nil {
			return authz.require(q.v, serviceWrite, s.Name)
		}
	}
	return authz.require(q.v, nodeWrite, nodeName)
}
