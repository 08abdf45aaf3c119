package consulmock

import (
	"reflect"
	"strings"
)

// The types below say which selectors an agent knows in the answers of an
// endpoint, and what kind of value each selects. Their fields have the names
// that selectors have. What is tagged "modern" is unknown to agents 1.8.

type filterNodeFields struct {
	ID, Node, Address, Datacenter string
	Partition, PeerName           string `filter:"modern"`
	TaggedAddresses, Meta         map[string]string
}

// filterServiceFields are of a service with its mesh configuration.
type filterServiceFields[Proxy, Connect any] struct {
	Kind, ID, Service, Address string
	Tags                       []string
	TaggedAddresses            map[string]filterAddress
	Meta                       map[string]string
	Port                       int
	SocketPath, PeerName       string `filter:"modern"`
	Weights                    filterWeights
	EnableTagOverride          bool
	Proxy                      Proxy
	Connect                    Connect
}

// filterNodeService is a service of the catalog, which always has them.
type filterNodeService = filterServiceFields[filterProxy[filterTransparentProxy, filterAccessLogs], filterConnect]

// filterAgentService is a service of the local agent, where they may be missing.
type filterAgentService = filterServiceFields[*filterProxy[*filterTransparentProxy, *filterAccessLogs], *filterConnect]

type filterCatalogServiceFields struct {
	ID, Node, Address, Datacenter                       string
	TaggedAddresses, NodeMeta                           map[string]string
	ServiceKind, ServiceID, ServiceName, ServiceAddress string
	ServiceTags                                         []string
	ServiceTaggedAddresses                              map[string]filterAddress
	ServiceWeights                                      filterWeights
	ServiceMeta                                         map[string]string
	ServicePort                                         int
	ServiceSocketPath, PeerName                         string `filter:"modern"`
	ServiceEnableTagOverride                            bool
	ServiceProxy                                        filterProxy[filterTransparentProxy, filterAccessLogs]
	ServiceConnect                                      filterConnect
}

type filterCheckFields struct {
	Node, CheckID, Name, Status, Notes, Output string
	ServiceID, ServiceName, Type               string
	ServiceTags                                []string
	Interval, Timeout, PeerName                string `filter:"modern"`
	ExposedPort                                int    `filter:"modern"`
}

type filterEntryFields struct {
	Node    filterNodeFields
	Service filterNodeService
	Checks  []filterCheckFields
}

type filterMemberFields struct {
	Name                                  string
	Addr                                  []byte
	Port                                  uint16
	Tags                                  map[string]string
	Status                                int
	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

type filterAddress struct {
	Address string
	Port    int
}

type filterWeights struct{ Passing, Warning int }

type filterConnect struct{ Native bool }

type filterProxy[TransparentProxy, AccessLogs any] struct {
	EnvoyExtensions                              []filterExtension `filter:"modern"`
	DestinationServiceName, DestinationServiceID string
	LocalServiceAddress                          string
	LocalServicePort                             int
	LocalServiceSocketPath, Mode                 string `filter:"modern"`
	Upstreams                                    []filterUpstream
	MeshGateway                                  filterMeshGateway
	Expose                                       filterExpose
	TransparentProxy                             TransparentProxy `filter:"modern"`
	AccessLogs                                   AccessLogs       `filter:"modern"`
}

type filterExtension struct {
	Name                        string
	Required                    bool
	ConsulVersion, EnvoyVersion string
}

type filterUpstream struct {
	DestinationType, DestinationNamespace, DestinationName string
	DestinationPartition, DestinationPeer                  string `filter:"modern"`
	Datacenter, LocalBindAddress                           string
	LocalBindPort                                          int
	LocalBindSocketPath, LocalBindSocketMode               string `filter:"modern"`
	MeshGateway                                            filterMeshGateway
}

type filterMeshGateway struct{ Mode string }

type filterExpose struct {
	Checks bool
	Paths  []struct {
		ListenerPort    int
		Path            string
		LocalPathPort   int
		Protocol        string
		ParsedFromCheck bool
	}
}

type filterTransparentProxy struct {
	OutboundListenerPort int
	DialedDirectly       bool
}

type filterAccessLogs struct {
	Enabled, DisableListenerLogs       bool
	Type, Path, JSONFormat, TextFormat string
}

// filterTarget says what kind of value a filter expression is about.
type filterTarget int

const (
	ofAgentService   filterTarget = iota // GET /v1/agent/services
	ofAgentCheck                         // GET /v1/agent/checks
	ofServiceEntry                       // GET /v1/health/service, connect, ingress
	ofHealthCheck                        // GET /v1/health/node, checks, state
	ofCatalogService                     // GET /v1/catalog/service, connect
	ofNodeService                        // GET /v1/catalog/node, node-services
	ofServiceName                        // GET /v1/catalog/services, where each instance is looked at
	ofNode                               // GET /v1/catalog/nodes
	ofMember                             // GET /v1/agent/members
)

// shape returns the type that says which selectors there are.
func (t filterTarget) shape() reflect.Type {
	switch t {
	case ofAgentService:
		return reflect.TypeFor[filterAgentService]()
	case ofMember:
		return reflect.TypeFor[filterMemberFields]()
	case ofServiceEntry:
		return reflect.TypeFor[filterEntryFields]()
	case ofNode:
		return reflect.TypeFor[filterNodeFields]()
	case ofCatalogService, ofServiceName:
		return reflect.TypeFor[filterCatalogServiceFields]()
	case ofNodeService:
		return reflect.TypeFor[filterNodeService]()
	}
	return reflect.TypeFor[filterCheckFields]()
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
func supports(t reflect.Type, op filterOp) bool {
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
