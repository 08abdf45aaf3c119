package filter

import (
	"reflect"
	"strings"
)

// The types below tell which selectors an agent knows in the responses of an
// endpoint, and what kind of value each selects. Their fields have the names
// that selectors have. What is tagged "modern" is unknown to agents 1.8.

type nodeFields struct {
	ID, Node, Address, Datacenter string
	Partition, PeerName           string `filter:"modern"`
	TaggedAddresses, Meta         map[string]string
}

// serviceFields are of a service with its mesh configuration.
type serviceFields[Proxy, Connect any] struct {
	Kind, ID, Service, Address string
	Tags                       []string
	TaggedAddresses            map[string]address
	Meta                       map[string]string
	Port                       int
	SocketPath, PeerName       string `filter:"modern"`
	Weights                    weights
	EnableTagOverride          bool
	Proxy                      Proxy
	Connect                    Connect
}

// nodeService is a service of the catalog, which always has them.
type nodeService = serviceFields[proxy[transparentProxy, accessLogs], connect]

// agentService is a service of the local agent, where they may be missing.
type agentService = serviceFields[*proxy[*transparentProxy, *accessLogs], *connect]

type catalogServiceFields struct {
	ID, Node, Address, Datacenter                       string
	TaggedAddresses, NodeMeta                           map[string]string
	ServiceKind, ServiceID, ServiceName, ServiceAddress string
	ServiceTags                                         []string
	ServiceTaggedAddresses                              map[string]address
	ServiceWeights                                      weights
	ServiceMeta                                         map[string]string
	ServicePort                                         int
	ServiceSocketPath, PeerName                         string `filter:"modern"`
	ServiceEnableTagOverride                            bool
	ServiceProxy                                        proxy[transparentProxy, accessLogs]
	ServiceConnect                                      connect
}

type checkFields struct {
	Node, CheckID, Name, Status, Notes, Output string
	ServiceID, ServiceName, Type               string
	ServiceTags                                []string
	Interval, Timeout, PeerName                string `filter:"modern"`
	ExposedPort                                int    `filter:"modern"`
}

type entryFields struct {
	Node    nodeFields
	Service nodeService
	Checks  []checkFields
}

type memberFields struct {
	Name                                  string
	Addr                                  []byte
	Port                                  uint16
	Tags                                  map[string]string
	Status                                int
	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

type address struct {
	Address string
	Port    int
}

type weights struct{ Passing, Warning int }

type connect struct{ Native bool }

type proxy[TransparentProxy, AccessLogs any] struct {
	EnvoyExtensions                              []extension `filter:"modern"`
	DestinationServiceName, DestinationServiceID string
	LocalServiceAddress                          string
	LocalServicePort                             int
	LocalServiceSocketPath, Mode                 string `filter:"modern"`
	Upstreams                                    []upstream
	MeshGateway                                  meshGateway
	Expose                                       expose
	TransparentProxy                             TransparentProxy `filter:"modern"`
	AccessLogs                                   AccessLogs       `filter:"modern"`
}

type extension struct {
	Name                        string
	Required                    bool
	ConsulVersion, EnvoyVersion string
}

type upstream struct {
	DestinationType, DestinationNamespace, DestinationName string
	DestinationPartition, DestinationPeer                  string `filter:"modern"`
	Datacenter, LocalBindAddress                           string
	LocalBindPort                                          int
	LocalBindSocketPath, LocalBindSocketMode               string `filter:"modern"`
	MeshGateway                                            meshGateway
}

type meshGateway struct{ Mode string }

type expose struct {
	Checks bool
	Paths  []struct {
		ListenerPort    int
		Path            string
		LocalPathPort   int
		Protocol        string
		ParsedFromCheck bool
	}
}

type transparentProxy struct {
	OutboundListenerPort int
	DialedDirectly       bool
}

type accessLogs struct {
	Enabled, DisableListenerLogs       bool
	Type, Path, JSONFormat, TextFormat string
}

// Target tells what kind of value a filter expression is about.
type Target int

// The kinds of value, by the endpoints that filter them.
const (
	AgentService   Target = iota // GET /v1/agent/services
	AgentCheck                   // GET /v1/agent/checks
	ServiceEntry                 // GET /v1/health/service, connect, ingress
	HealthCheck                  // GET /v1/health/node, checks, state
	CatalogService               // GET /v1/catalog/service, connect
	NodeService                  // GET /v1/catalog/node, node-services
	Node                         // GET /v1/catalog/nodes
	Member                       // GET /v1/agent/members
)

// shape returns the type that tells which selectors there are.
func (t Target) shape() reflect.Type {
	switch t {
	case AgentService:
		return reflect.TypeFor[agentService]()
	case Member:
		return reflect.TypeFor[memberFields]()
	case ServiceEntry:
		return reflect.TypeFor[entryFields]()
	case Node:
		return reflect.TypeFor[nodeFields]()
	case CatalogService:
		return reflect.TypeFor[catalogServiceFields]()
	case NodeService:
		return reflect.TypeFor[nodeService]()
	}
	return reflect.TypeFor[checkFields]()
}

// resolveSelector returns the kinds of value on the way of a selector through
// shape, the last of which is what it selects; or how many of its names are
// needed to see that it is not valid.
func resolveSelector(shape reflect.Type, selector []string, modern bool) (path []reflect.Type, bad int) {
	t := shape
	for i, name := range selector {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			f, ok := t.FieldByName(name)
			if !ok || f.Tag.Get("filter") == "modern" && !modern {
				return nil, i + 1
			}
			t = f.Type
		default:
			return nil, i + 1
		}
		path = append(path, t)
	}
	return path, 0
}

// supports reports whether values of the type can be compared by the operator.
func supports(t reflect.Type, op operation) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	isCollection := t.Kind() == reflect.Slice || t.Kind() == reflect.Map
	switch op {
	case opEqual, opNotEqual:
		return !isCollection && t.Kind() != reflect.Struct
	case opIsEmpty, opIsNotEmpty:
		return isCollection
	case opIn, opNotIn:
		return t.Kind() == reflect.String || t.Kind() == reflect.Map || t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Struct
	}
	return t.Kind() == reflect.String
}

func selectorText(selector []string) string { return strings.Join(selector, ".") }
