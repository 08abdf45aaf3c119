package definition

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// TxnOps is the body of a transaction. This type and those below have the names that
// agents tell in their error messages.
type TxnOps []*TxnOp

// TxnOp is an operation. Of several members the first counts.
type TxnOp struct {
	KV      *KVTxnOp
	Node    *NodeTxnOp
	Service *ServiceTxnOp
	Check   *CheckTxnOp
}

// The verbs of operations.
type (
	KVOp      string
	NodeOp    string
	ServiceOp string
	CheckOp   string
)

// KVTxnOp is an operation on a key.
type KVTxnOp struct {
	Verb                 KVOp
	Key                  string
	Value                []byte
	Flags                uint64
	Index                uint64
	Session              string
	Namespace, Partition string
}

// NodeTxnOp is an operation on a node.
type NodeTxnOp struct {
	Verb NodeOp
	Node Node
}

// Node is a node in a transaction.
type Node struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	Meta                     map[string]string
	CreateIndex, ModifyIndex uint64
	Partition, PeerName      string
	Locality                 *consul.Locality
}

// ServiceTxnOp is an operation on a service.
type ServiceTxnOp struct {
	Verb    ServiceOp
	Node    string
	Service AgentService
}

// AgentService is a service in a transaction.
type AgentService struct {
	Kind                           ServiceKind
	ID                             string
	Service                        string
	Tags                           []string
	Meta                           map[string]string
	Port                           int
	Address                        string
	SocketPath                     string
	TaggedAddresses                map[string]consul.ServiceAddress
	Weights                        consul.AgentWeights
	EnableTagOverride              bool
	CreateIndex, ModifyIndex       uint64
	ContentHash                    string
	Proxy                          *AgentServiceConnectProxyConfig
	Connect                        *AgentServiceConnect
	PeerName, Namespace, Partition string
	Datacenter                     string
	Locality                       *consul.Locality
}

// What a service has of the mesh.
type (
	// ServiceKind is empty for a service that is no proxy and no gateway.
	ServiceKind string
	// AgentServiceConnectProxyConfig is the configuration of a proxy.
	AgentServiceConnectProxyConfig state.ProxyConfig
	// AgentServiceConnect is read and dropped.
	AgentServiceConnect struct {
		Native         bool
		SidecarService json.RawMessage
	}
)

// CheckTxnOp is an operation on a check.
type CheckTxnOp struct {
	Verb  CheckOp
	Check HealthCheck
}

// HealthCheck is a check in a transaction.
type HealthCheck struct {
	Node                           string
	CheckID                        string
	Name                           string
	Status                         string
	Notes                          string
	Output                         string
	ServiceID                      string
	ServiceName                    string
	ServiceTags                    []string
	Type                           string
	Namespace, Partition, PeerName string
	ExposedPort                    int
	Definition                     state.CheckDefinition
	CreateIndex, ModifyIndex       uint64
}

// txnTypeNames puts the types of this program in the agent's words.
var txnTypeNames = strings.NewReplacer("definition.", "api.", "consul.", "api.", "state.plain", txnDefinitionType)

var txnBody = &bodyKind{unknown: append([]string{
	"KV.Partition", "Node.Node.Partition", "Node.Node.PeerName", "Node.Node.Locality",
	"Service.Service.SocketPath", "Service.Service.PeerName", "Service.Service.Partition", "Service.Service.Datacenter", "Service.Service.Locality",
	"Check.Check.Partition", "Check.Check.PeerName", "Check.Check.ExposedPort",
}, below(newProxyFields, "Service.Service.Proxy.")...), fragile: []string{"Check.Check.Definition"}}

// DecodeTxn reads the body of a transaction, and ignores what follows it.
func DecodeTxn(v release.Version, body []byte) (TxnOps, error) {
	if txnBody.hasFragileNull(body) {
		return nil, ErrNull
	}
	if v == release.V1_8_7 {
		body = txnBody.markNew(body)
	}
	var ops TxnOps
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(&ops)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, state.ErrNullDefinition):
		return nil, err
	case errors.As(err, &wrong):
		return nil, refusal.BadRequest("Failed to parse body: %s", txnTypeNames.Replace(err.Error()))
	case err != nil:
		return nil, refusal.BadRequest("Failed to parse body: %v", unmark(err))
	}
	return ops, nil
}

// Operation returns what the store does for an operation, or nil for an empty one.
func (op *TxnOp) Operation(v release.Version, datacenter string) *state.TxnOp {
	switch {
	case op.KV != nil:
		kv := op.KV
		return &state.TxnOp{Verb: string(kv.Verb), Index: kv.Index, KV: &state.KVPair{Key: kv.Key, Value: kv.Value, Flags: kv.Flags, Session: kv.Session}}
	case op.Node != nil:
		n := &op.Node.Node
		return &state.TxnOp{Verb: string(op.Node.Verb), Index: n.ModifyIndex, Node: &state.NodeRecord{
			ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: cmp.Or(n.Datacenter, datacenter), TaggedAddresses: n.TaggedAddresses, Meta: n.Meta,
		}}
	case op.Service != nil:
		s := op.Service
		return &state.TxnOp{Verb: string(s.Verb), Index: s.Service.ModifyIndex, On: s.Node, Service: s.Service.record(v)}
	case op.Check != nil:
		c := &op.Check.Check
		return &state.TxnOp{Verb: string(op.Check.Verb), Index: c.ModifyIndex, Check: &state.CheckRecord{
			Node: c.Node, CheckID: c.CheckID, Name: c.Name, Status: c.Status, Notes: c.Notes, Output: c.Output, ServiceID: c.ServiceID,
			ServiceName: c.ServiceName, ServiceTags: c.ServiceTags, Definition: txnDefinition(v, &c.Definition),
		}}
	}
	return nil
}

// record returns the service as agents pass it on to the servers. Those of 1.8.7 drop
// what is of the mesh.
func (s *AgentService) record(v release.Version) *state.ServiceRecord {
	rec := &state.ServiceRecord{
		ID: s.ID, Name: s.Service, Tags: s.Tags, Address: s.Address, Meta: s.Meta, Port: s.Port, Weights: s.Weights, EnableTagOverride: s.EnableTagOverride,
	}
	if rec.Weights.Passing < 1 {
		rec.Weights = state.DefaultWeights
	}
	if v == release.V1_8_7 {
		return rec
	}
	rec.Kind, rec.TaggedAddresses = string(s.Kind), s.TaggedAddresses
	if p := s.Proxy; p != nil {
		kept := state.ProxyConfig{
			DestinationServiceName: p.DestinationServiceName, DestinationServiceID: p.DestinationServiceID,
			LocalServiceAddress: p.LocalServiceAddress, LocalServicePort: p.LocalServicePort, MeshGateway: p.MeshGateway,
		}
		rec.Proxy = kept.WithDefaults("")
	}
	return rec
}

// txnDefinition returns of a check's definition what agents pass on to the servers.
func txnDefinition(v release.Version, d *state.CheckDefinition) *state.CheckDefinition {
	kept := &state.CheckDefinition{
		Interval: d.Interval, Timeout: d.Timeout, DeregisterCriticalServiceAfter: d.DeregisterCriticalServiceAfter, HTTP: d.HTTP,
		TLSSkipVerify: d.TLSSkipVerify, Header: d.Header, Method: d.Method, Body: d.Body, TCP: d.TCP,
	}
	if v == release.V1_21_4 {
		kept.TLSServerName, kept.TCPUseTLS, kept.GRPC, kept.GRPCUseTLS = d.TLSServerName, d.TCPUseTLS, d.GRPC, d.GRPCUseTLS
	}
	return kept
}

// ValidateOp completes an operation, and returns why it is refused before anything is
// looked up.
func ValidateOp(v release.Version, op *state.TxnOp) error {
	if op.KV != nil {
		return validateKey(v, op)
	}
	if op.Verb == "get" {
		return nil
	}
	if v == release.V1_21_4 && !catalogWrites[op.Verb] {
		return fmt.Errorf("unknown %s operation: %s", kindOfOp(op), op.Verb)
	}
	switch {
	case op.Node != nil:
		if op.Node.Node == "" {
			return errors.New("Must provide node")
		}
		return validateNodeID(op.Node.ID)
	case op.Service != nil:
		return validateTxnService(v, op.Service)
	}
	op.Check.CheckID = cmp.Or(op.Check.CheckID, op.Check.Name)
	return nil
}

func validateKey(v release.Version, op *state.TxnOp) error {
	switch {
	case op.KV.Key == "" && op.Verb != "delete-tree":
		return errors.New("Must provide key")
	case v == release.V1_21_4 && !kvWrites[op.Verb] && !kvReads[op.Verb]:
		return fmt.Errorf("unknown KV operation: %s", op.Verb)
	}
	return nil
}

func validateTxnService(v release.Version, s *state.ServiceRecord) error {
	d := Service{Kind: s.Kind, Port: s.Port, Proxy: (*proxyDefinition)(s.Proxy)}
	if problems := d.meshProblems(v); len(problems) > 0 {
		return errors.New(MultiError(problems))
	}
	s.ID = cmp.Or(s.ID, s.Name)
	if err := validateServiceName(v, s.ID, s.Name); err != nil {
		return err
	}
	if isAnyAddress(s.Address) {
		return errors.New("Invalid service address")
	}
	return nil
}

// The verbs that there are. Each kind of record has get.
var (
	kvWrites      = words("set", "cas", "lock", "unlock", "delete", "delete-cas", "delete-tree")
	kvReads       = words("get", "get-tree", "get-or-empty", "check-session", "check-index", "check-not-exists")
	catalogWrites = words("set", "cas", "delete", "delete-cas")
)

func words(list ...string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range list {
		set[w] = true
	}
	return set
}

func kindOfOp(op *state.TxnOp) string {
	switch {
	case op.Node != nil:
		return "node"
	case op.Service != nil:
		return "service"
	}
	return "check"
}

// IsWrite reports whether an operation makes its transaction one that the servers
// write to their log. One that nobody knows does so unless it is on a key.
func IsWrite(op *state.TxnOp) bool {
	if op.KV != nil {
		return kvWrites[op.Verb]
	}
	return op.Verb != "get"
}
