package consul

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// HealthStatus is the status of a check, or of all checks of a service
// together.
type HealthStatus string

const (
	// HealthPassing is the status of what is well.
	HealthPassing HealthStatus = "passing"

	// HealthWarning is the status of what works, but not as it should. Queries
	// with [QueryOptions.PassingOnly] leave such instances out.
	HealthWarning HealthStatus = "warning"

	// HealthCritical is the status of what does not work, and of a check that has
	// not run yet or whose TTL is over.
	HealthCritical HealthStatus = "critical"

	// HealthMaintenance is never the status of a check. It is the aggregated
	// status of an instance that is, or whose node is, in maintenance mode.
	HealthMaintenance HealthStatus = "maintenance"

	// HealthAny selects the checks of every status in [Health.State].
	HealthAny HealthStatus = "any"
)

// Node is a node of the catalog.
type Node struct {
	ID              string // a UUID; empty for nodes registered by [Catalog.Register] without one
	Node            string // the node's name
	Address         string
	Datacenter      string
	Partition       string `json:",omitempty"`
	PeerName        string `json:",omitempty"`
	TaggedAddresses map[string]string
	Meta            map[string]string
	Locality        *Locality `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

// Locality is the region and zone in which something runs.
type Locality struct {
	Region string `json:",omitempty"`
	Zone   string `json:",omitempty"`
}

// ServiceAddress is one of a service's tagged addresses.
type ServiceAddress struct {
	Address string
	Port    int
}

// AgentWeights are the weights of a service instance in DNS responses and in
// balancers that look at them: one for when all its checks pass, one for when
// some of them warn.
type AgentWeights struct {
	Passing int
	Warning int
}

// AgentService is a service instance, as the local agent, the health endpoints
// and the catalog's node endpoints describe it.
type AgentService struct {
	Kind              string `json:",omitempty"` // empty for an ordinary service
	ID                string
	Service           string // the service's name
	Tags              []string
	Meta              map[string]string
	Port              int
	Address           string                    // empty means the address of the node
	SocketPath        string                    `json:",omitempty"`
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	Weights           AgentWeights
	EnableTagOverride bool
	Proxy             json.RawMessage      `json:",omitempty"` // mesh configuration, as the agent gave it
	Connect           *AgentServiceConnect `json:",omitempty"`
	PeerName          string               `json:",omitempty"`
	Namespace         string               `json:",omitempty"`
	Partition         string               `json:",omitempty"`
	Locality          *Locality            `json:",omitempty"`

	// ContentHash is the value to wait on in [QueryOptions.WaitHash]. Only
	// [Agent.Service] fills it.
	ContentHash string `json:",omitempty"`

	// Datacenter is filled by the local agent only.
	Datacenter string `json:",omitempty"`

	// CreateIndex and ModifyIndex are zero in responses of the local agent.
	CreateIndex uint64 `json:",omitempty"`
	ModifyIndex uint64 `json:",omitempty"`
}

// AgentServiceConnect is how a service takes part in the service mesh.
type AgentServiceConnect struct {
	Native         bool            `json:",omitempty"`
	SidecarService json.RawMessage `json:",omitempty"` // a service definition; registration only
	PeerMeta       json.RawMessage `json:",omitempty"` // responses about imported services only
}

// HealthCheck is a check: in the catalog, or as the local agent holds it.
type HealthCheck struct {
	Node        string
	CheckID     string
	Name        string
	Status      HealthStatus
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string `json:",omitempty"` // ttl, http, tcp, grpc, udp, h2ping, alias, maintenance, or empty
	Namespace   string `json:",omitempty"`
	Partition   string `json:",omitempty"`
	PeerName    string `json:",omitempty"`
	ExposedPort int    `json:",omitempty"`

	// Interval and Timeout are those of the check's definition. Agent 1.21.4
	// sends them, 1.8.7 does not.
	Interval time.Duration
	Timeout  time.Duration

	// Definition is nil if the agent sent none or an empty one, which is usual:
	// it is kept for checks that [Catalog.Register] put into the catalog.
	Definition *HealthCheckDefinition `json:",omitempty"`

	CreateIndex uint64 `json:",omitempty"`
	ModifyIndex uint64 `json:",omitempty"`
}

// AgentCheck is a check as the local agent holds it. Agents send the same shape
// for it as the health endpoints do; its indexes are zero.
type AgentCheck = HealthCheck

// HealthCheckDefinition is how a check of the catalog is to be run, for
// external monitors that run the checks of nodes without an agent.
type HealthCheckDefinition struct {
	HTTP                           string              `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	H2PING                         string              `json:",omitempty"`
	H2PingUseTLS                   bool                `json:",omitempty"`
	OSService                      string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	ScriptArgs                     []string            `json:",omitempty"`
	DockerContainerID              string              `json:",omitempty"`
	Shell                          string              `json:",omitempty"`
	AliasNode                      string              `json:",omitempty"`
	AliasService                   string              `json:",omitempty"`
	SessionName                    string              `json:",omitempty"`
	OutputMaxSize                  int                 `json:",omitempty"`
	TTL                            time.Duration
	Interval                       time.Duration
	Timeout                        time.Duration
	DeregisterCriticalServiceAfter time.Duration
}

// HealthChecks are the checks of an instance, of a service or of a node.
type HealthChecks []*HealthCheck

const (
	nodeMaintenanceID          = "_node_maintenance"
	serviceMaintenanceIDPrefix = "_service_maintenance:"
)

// AggregatedStatus returns the worst status among the checks: maintenance, then
// critical, then warning, then passing. Without checks it is passing. A status
// that is none of Consul's words counts as critical, because agents do not
// count it as passing either.
func (cs HealthChecks) AggregatedStatus() HealthStatus {
	worst := HealthPassing
	for _, c := range cs {
		switch {
		case c == nil:
		case c.CheckID == nodeMaintenanceID, strings.HasPrefix(c.CheckID, serviceMaintenanceIDPrefix):
			return HealthMaintenance
		case c.Status == HealthPassing:
		case c.Status == HealthWarning:
			if worst == HealthPassing {
				worst = HealthWarning
			}
		default:
			worst = HealthCritical
		}
	}
	return worst
}

// ServiceEntry is a service instance with its node and with the checks of both.
type ServiceEntry struct {
	Node    *Node
	Service *AgentService
	Checks  HealthChecks
}

// CatalogService is a service instance in the catalog, without its checks.
type CatalogService struct {
	ID                       string // of the node
	Node                     string
	Address                  string // of the node
	Datacenter               string
	TaggedAddresses          map[string]string // of the node
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string                    // empty means the address of the node
	ServiceTaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	ServiceWeights           AgentWeights
	ServiceMeta              map[string]string
	ServicePort              int
	ServiceSocketPath        string `json:",omitempty"`
	ServiceEnableTagOverride bool
	ServiceProxy             json.RawMessage      `json:",omitempty"`
	ServiceConnect           *AgentServiceConnect `json:",omitempty"`
	ServiceLocality          *Locality            `json:",omitempty"`
	PeerName                 string               `json:",omitempty"`
	Namespace                string               `json:",omitempty"`
	Partition                string               `json:",omitempty"`
	CreateIndex              uint64
	ModifyIndex              uint64
}

// CatalogNode is a node with its services by ID.
type CatalogNode struct {
	Node     *Node
	Services map[string]*AgentService
}

// CatalogNodeServiceList is a node with a list of its services.
type CatalogNodeServiceList struct {
	Node     *Node
	Services []*AgentService
}

// ServiceName names a service in responses that may span namespaces.
type ServiceName struct {
	Name      string
	Namespace string `json:",omitempty"`
	Partition string `json:",omitempty"`
}

// GatewayService is the association of a gateway with a service behind it.
type GatewayService struct {
	Gateway         ServiceName
	Service         ServiceName
	GatewayKind     string
	Port            int      `json:",omitempty"`
	Protocol        string   `json:",omitempty"`
	Hosts           []string `json:",omitempty"`
	CAFile          string   `json:",omitempty"`
	CertFile        string   `json:",omitempty"`
	KeyFile         string   `json:",omitempty"`
	SNI             string   `json:",omitempty"`
	FromWildcard    bool     `json:",omitempty"`
	ServiceKind     string   `json:",omitempty"`
	AutoHostRewrite bool     `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

// CatalogRegistration puts a node, and with it a service and checks, into the
// catalog without an agent. Node and Address are required, Address only unless
// SkipNodeUpdate is set.
type CatalogRegistration struct {
	ID              string `json:",omitempty"` // of the node; a UUID or empty
	Node            string
	Address         string
	TaggedAddresses map[string]string `json:",omitempty"` // nil clears them
	NodeMeta        map[string]string `json:",omitempty"` // nil clears it
	Datacenter      string            `json:",omitempty"`
	Service         *AgentService     `json:",omitempty"`
	Check           *AgentCheck       `json:",omitempty"`
	Checks          HealthChecks      `json:",omitempty"`
	SkipNodeUpdate  bool              `json:",omitempty"` // leave the node as it is, if it exists
	Namespace       string            `json:",omitempty"`
	Partition       string            `json:",omitempty"`
	Locality        *Locality         `json:",omitempty"`
}

// CatalogDeregistration removes a service, or a check, or (with neither) the
// whole node with everything on it from the catalog. Node is required.
type CatalogDeregistration struct {
	Node       string
	Datacenter string `json:",omitempty"`
	ServiceID  string `json:",omitempty"`
	CheckID    string `json:",omitempty"` // ignored if ServiceID is set
	Namespace  string `json:",omitempty"`
	Partition  string `json:",omitempty"`
}

// AgentServiceRegistration is a service instance to be registered with the
// local agent. Name is required.
type AgentServiceRegistration struct {
	Kind              string                    `json:",omitempty"` // empty for an ordinary service
	ID                string                    `json:",omitempty"` // unique on the agent; the Name if empty
	Name              string                    `json:",omitempty"`
	Tags              []string                  `json:",omitempty"`
	Port              int                       `json:",omitempty"` // agents accept any number; discovery.Register only a port
	Address           string                    `json:",omitempty"` // empty means the address of the node
	SocketPath        string                    `json:",omitempty"` // instead of Address and Port
	TaggedAddresses   map[string]ServiceAddress `json:",omitempty"`
	EnableTagOverride bool                      `json:",omitempty"`

	// Meta has at most 64 pairs; keys of at most 128 characters, which are
	// letters, digits, dashes and underscores; values of at most 512 bytes.
	Meta map[string]string `json:",omitempty"`

	// Weights are 1 and 1 if nil. Passing must be at least 1.
	Weights *AgentWeights `json:",omitempty"`

	// Check and Checks count together. An agent calls the only check of a
	// service "service:<ID>", and several "service:<ID>:1", "service:<ID>:2"
	// and so on, except those with a CheckID of their own.
	Check  *AgentServiceCheck   `json:",omitempty"`
	Checks []*AgentServiceCheck `json:",omitempty"`

	Connect   *AgentServiceConnect `json:",omitempty"`
	Proxy     json.RawMessage      `json:",omitempty"` // mesh configuration of a proxy
	Namespace string               `json:",omitempty"`
	Partition string               `json:",omitempty"`
	Locality  *Locality            `json:",omitempty"`

	// ReplaceExistingChecks removes every check of the service that is not in
	// this registration: all of them if it has none. It is a parameter of the
	// request, not part of the definition.
	ReplaceExistingChecks bool `json:"-"`
}

// AgentServiceCheck is a check of a service, to be registered with it. Exactly
// one kind is expected: TTL; or one of HTTP, TCP, UDP, GRPC, H2PING, OSService,
// Args and DockerContainerID with an Interval; or AliasNode, AliasService or both.
type AgentServiceCheck struct {
	CheckID string       `json:",omitempty"` // unique on the agent; see AgentServiceRegistration.Check if empty
	Name    string       `json:",omitempty"` // the agent makes one up if empty
	Notes   string       `json:",omitempty"`
	Status  HealthStatus `json:",omitempty"` // until the first update or run; critical if empty

	// TTL is the time after the last update at which the check turns critical.
	TTL time.Duration

	// Interval is the time between two runs of a check that the agent runs,
	// Timeout the time one may take. The agent's default timeout is 10 s.
	Interval time.Duration
	Timeout  time.Duration

	HTTP              string              `json:",omitempty"` // a URL
	Method            string              `json:",omitempty"` // of HTTP; GET if empty
	Header            map[string][]string `json:",omitempty"` // of HTTP
	Body              string              `json:",omitempty"` // of HTTP
	DisableRedirects  bool                `json:",omitempty"` // of HTTP
	TCP               string              `json:",omitempty"` // host:port
	TCPUseTLS         bool                `json:",omitempty"`
	UDP               string              `json:",omitempty"` // host:port
	GRPC              string              `json:",omitempty"` // host:port, or host:port/service
	GRPCUseTLS        bool                `json:",omitempty"`
	H2PING            string              `json:",omitempty"` // host:port
	H2PingUseTLS      bool                `json:",omitempty"`
	OSService         string              `json:",omitempty"`
	AliasNode         string              `json:",omitempty"`
	AliasService      string              `json:",omitempty"`
	DockerContainerID string              `json:",omitempty"` // runs Args in Shell inside the container
	Shell             string              `json:",omitempty"`
	Args              []string            `json:",omitempty"` // a command; agents must be configured to allow it
	TLSServerName     string              `json:",omitempty"`
	TLSSkipVerify     bool                `json:",omitempty"`

	// How many runs in a row it takes to change the status. The agent's
	// defaults are none, that is, the first.
	SuccessBeforePassing   int `json:",omitempty"`
	FailuresBeforeWarning  int `json:",omitempty"`
	FailuresBeforeCritical int `json:",omitempty"`

	// DeregisterCriticalServiceAfter removes the whole service once the check
	// has been critical for so long. Agents raise it to at least a minute, and
	// look only every 30 s.
	DeregisterCriticalServiceAfter time.Duration

	// OutputMaxSize is the number of bytes of output that the agent keeps;
	// 4096 if 0.
	OutputMaxSize int `json:",omitempty"`

	// ProxyHTTP and ProxyGRPC are the check's addresses through a mesh proxy
	// that exposes it.
	ProxyHTTP string `json:",omitempty"`
	ProxyGRPC string `json:",omitempty"`
}

// AgentCheckRegistration is a check to be registered with the local agent: of
// the node, or of the service with the ID ServiceID. Name is required.
//
// ID, Name and Notes stand for those of the embedded check, which are used
// where these are empty.
type AgentCheckRegistration struct {
	ID        string // unique on the agent; the Name if empty
	Name      string
	Notes     string
	ServiceID string
	Namespace string
	Partition string
	AgentServiceCheck
}

// AgentServiceHealth is what the local agent knows of the health of one of its
// services.
type AgentServiceHealth struct {
	AggregatedStatus HealthStatus
	Service          *AgentService
	Checks           HealthChecks
}

// AgentSelf is the local agent's description of itself. What depends on the
// version and on the configuration of the agent is raw JSON.
type AgentSelf struct {
	Config      AgentSelfConfig
	DebugConfig json.RawMessage `json:",omitempty"`
	Coord       json.RawMessage `json:",omitempty"`
	Member      json.RawMessage `json:",omitempty"`
	Stats       json.RawMessage `json:",omitempty"`
	Meta        json.RawMessage `json:",omitempty"`
	XDS         json.RawMessage `json:"xDS,omitempty"`
}

// AgentSelfConfig is the part of an agent's configuration that all versions
// report alike.
type AgentSelfConfig struct {
	Datacenter        string
	PrimaryDatacenter string `json:",omitempty"`
	NodeName          string
	NodeID            string
	Revision          string
	Server            bool
	Version           string
	BuildDate         string `json:",omitempty"`
}

// AgentHost describes the machine that the agent runs on. The parts are raw
// JSON because the names in them differ between versions of the agent.
type AgentHost struct {
	Memory         json.RawMessage
	CPU            json.RawMessage
	Host           json.RawMessage
	Disk           json.RawMessage
	CollectionTime int64 // nanoseconds since 1970
	Errors         json.RawMessage
}

// AgentVersion is the version of the agent.
type AgentVersion struct {
	SHA          string
	BuildDate    string
	HumanVersion string
	FIPS         string
}

// AgentMetrics are the metrics of the agent's last finished interval.
type AgentMetrics struct {
	Timestamp string // for example 2026-11-20 11:05:50 +0000 UTC
	Gauges    []GaugeValue
	Points    []PointValue
	Counters  []SampledValue
	Samples   []SampledValue
}

// GaugeValue is a metric's last value.
type GaugeValue struct {
	Name   string
	Value  float64
	Labels map[string]string
}

// PointValue is a series of values.
type PointValue struct {
	Name   string
	Points []float64
}

// SampledValue sums up the values that a metric took in an interval.
type SampledValue struct {
	Name   string
	Count  int
	Rate   float64
	Sum    float64
	Min    float64
	Max    float64
	Mean   float64
	Stddev float64
	Labels map[string]string
}

// AgentMember is a member of the gossip pool.
type AgentMember struct {
	Name        string
	Addr        string
	Port        int
	Tags        map[string]string
	Status      MemberStatus
	ProtocolMin int
	ProtocolMax int
	ProtocolCur int
	DelegateMin int
	DelegateMax int
	DelegateCur int
}

// MemberStatus is the state of a member of the gossip pool.
type MemberStatus int

const (
	MemberNone    MemberStatus = 0 // not known
	MemberAlive   MemberStatus = 1 // responds
	MemberLeaving MemberStatus = 2 // announces that it is about to leave
	MemberLeft    MemberStatus = 3 // has left in order
	MemberFailed  MemberStatus = 4 // does not respond any more
)

// String returns the word that Consul's own tools print for the status.
func (s MemberStatus) String() string {
	switch s {
	case MemberNone:
		return "none"
	case MemberAlive:
		return "alive"
	case MemberLeaving:
		return "leaving"
	case MemberLeft:
		return "left"
	case MemberFailed:
		return "failed"
	}
	return "MemberStatus(" + strconv.Itoa(int(s)) + ")"
}
