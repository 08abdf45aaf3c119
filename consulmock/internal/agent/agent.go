// Package agent is the local agent: its services and checks, what it does to them by
// itself, and how it keeps the catalog up to date. It knows nothing of the API.
package agent

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// Config tells what an agent is, and what it may do.
type Config struct {
	Version     release.Version
	Node        string
	NodeID      string // derived from the name of the node if empty
	NodeMeta    map[string]string
	Datacenter  string
	DefaultDeny bool // access is controlled
	Tokens      []acl.Token
	AgentToken  *string // what the agent uses for itself; nil allows everything
	Probes      bool    // HTTP, TCP and UDP checks are run
}

// Host is what an agent shares with the server that it belongs to.
type Host struct {
	Lock   sync.Locker     // guards the agent
	Probes *sync.WaitGroup // the goroutines that run checks
}

// Run is one run of an agent, from a start of its server to the next stop.
type Run struct {
	context.Context        // ends with the run
	Stop            func() // ends it, unless it has ended
}

// Over reports whether the run has ended.
func (r Run) Over() bool { return r.Err() != nil }

// Agent is the local agent, with the store of the server that it is as well.
// Everything in it is guarded by the lock of its host.
type Agent struct {
	host       Host
	run        Run // the present one, or the last
	Config     *Config
	start      int // how often the agent had started before without a state
	Started    time.Time
	Store      *state.Store
	ACL        *acl.Control
	Services   map[string]*Service
	Checks     map[string]*Check
	Members    map[string]*Member // other members of the pool, by name
	Cached     map[string]bool    // what was read from the agent's cache
	NodeChecks map[string]*Check
	aliases    map[*Check]struct{}
	expiries   map[*state.Session]*expiry // of sessions with a TTL
	Events     []*UserEvent               // the last ones for this agent, the oldest first
	eventTime  uint64                     // the Lamport time of the next event
	Leaderless bool                       // the servers elect a leader
	sync       syncState
	log        logStream
}

// New returns an agent that has just started.
func New(c *Config, host Host, run Run, start int) *Agent {
	a := &Agent{
		host:       host,
		run:        run,
		Config:     c,
		start:      start,
		Started:    time.Now(),
		Store:      state.NewStore(c.Version),
		ACL:        acl.New(c.DefaultDeny, c.Node, c.Tokens, c.AgentToken),
		Services:   make(map[string]*Service),
		Checks:     make(map[string]*Check),
		Members:    make(map[string]*Member),
		Cached:     make(map[string]bool),
		NodeChecks: make(map[string]*Check),
		aliases:    make(map[*Check]struct{}),
		expiries:   make(map[*state.Session]*expiry),
		eventTime:  2, // the first event tells of the leader
	}
	a.Store.SessionEnded = a.stopSession
	a.joinCatalog()
	a.sync.start(a)
	return a
}

// joinCatalog writes what the catalog holds of an agent that is a server: its
// node, the service consul, and the check of the gossip pool. The indexes are
// those of fresh agents in development mode.
func (a *Agent) joinCatalog() {
	st, c := a.Store, a.Config
	st.Index = map[release.Version]uint64{release.V1_8_7: 10, release.V1_21_4: 13}[c.Version]
	first := state.NodeRecord{ID: a.NodeID(), Node: c.Node, Address: "127.0.0.1", Datacenter: c.Datacenter}
	if c.Version == release.V1_21_4 {
		first.Meta = map[string]string{"consul-version": c.Version.String()}
	}
	n := st.EnsureNode(first)
	st.EnsureService(n, state.ServiceRecord{
		ID: "consul", Name: "consul", Port: serverPort, Meta: serverMeta(c.Version), Weights: state.DefaultWeights,
	})
	st.EnsureCheck(n, state.CheckRecord{
		CheckID: state.SerfCheckID, Name: "Serf Health Status", Status: string(consul.HealthPassing), Output: "Agent alive and reachable",
	})
	st.Index = map[release.Version]uint64{release.V1_8_7: 12, release.V1_21_4: 14}[c.Version]
	a.writeNode()
	st.Index = map[release.Version]uint64{release.V1_8_7: 12, release.V1_21_4: 17}[c.Version]
}

// NodeRecord is the agent's node as the agent wants it in the catalog.
func (a *Agent) NodeRecord() state.NodeRecord {
	c := a.Config
	meta := map[string]string{"consul-network-segment": ""}
	if c.Version == release.V1_21_4 {
		meta["consul-version"] = c.Version.String()
	}
	maps.Copy(meta, c.NodeMeta)
	const here = "127.0.0.1"
	return state.NodeRecord{
		ID: a.NodeID(), Node: c.Node, Address: here, Datacenter: c.Datacenter, Meta: meta,
		TaggedAddresses: map[string]string{"lan": here, "lan_ipv4": here, "wan": here, "wan_ipv4": here},
	}
}

// NodeID returns the configured ID of the node, or one that follows from its
// name.
func (a *Agent) NodeID() string {
	if a.Config.NodeID != "" {
		return a.Config.NodeID
	}
	return acl.DeriveID("node", a.Config.Node, strconv.Itoa(a.start))
}

// Close stops everything that the agent does by itself.
func (a *Agent) Close() {
	a.sync.stop()
	for _, c := range a.Checks {
		c.stop()
	}
	a.stopSessions()
}

// resyncDelay is about how long a server that has started again has no leader.
// Until it has one, the catalog shows what it did before.
const resyncDelay = time.Second

// Resume starts an agent again that was closed.
func (a *Agent) Resume(run Run) {
	a.run = run
	a.Started = time.Now()
	a.Events = nil
	a.sync = syncState{}
	a.sync.start(a)
	for id, s := range a.Services {
		s.inSync = false
		a.sync.service(id)
	}
	for _, c := range state.Sorted(a.Checks) {
		c.resume()
		c.inSync = false
		a.sync.check(c.Rec.CheckID)
	}
	for _, c := range a.aliasesWhere(func(*Check) bool { return true }) {
		a.updateAlias(c)
	}
	slices.Sort(a.sync.services)
	slices.Sort(a.sync.checks)
	a.Leaderless = false
	a.awaitLeader(resyncDelay)
}

// after runs f with the lock held after d, unless the agent ends before.
func (a *Agent) after(d time.Duration, f func()) *time.Timer {
	run := a.run
	return time.AfterFunc(d, func() {
		a.host.Lock.Lock()
		defer a.host.Lock.Unlock()
		if !run.Over() {
			f()
		}
	})
}

// node returns the agent's node in the catalog, which somebody may have removed.
func (a *Agent) node() *state.Node { return a.Store.Node(a.Config.Node) }

// ensureNode returns the agent's node in the catalog, and makes it if needed.
func (a *Agent) ensureNode() *state.Node {
	if n := a.node(); n != nil {
		return n
	}
	return a.Store.EnsureNode(a.NodeRecord())
}
