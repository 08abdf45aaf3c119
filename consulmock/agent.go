package consulmock

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// agentConfig says what an agent is, and what it may do.
type agentConfig struct {
	version     release.Version
	node        string
	nodeID      string
	nodeMeta    map[string]string
	datacenter  string
	defaultDeny bool
	tokens      []aclToken
	agentToken  *string
	probes      bool
}

// hostLinks is what an agent shares with the server that it belongs to.
type hostLinks struct {
	lock   sync.Locker     // guards the agent
	probes *sync.WaitGroup // the goroutines that run checks
}

// agentRun is one run of an agent, from a start of its server to the next stop.
type agentRun struct {
	context.Context        // ends with the run
	stop            func() // ends it, unless it has ended
}

// over reports whether the run has ended.
func (r agentRun) over() bool { return r.Err() != nil }

// agent is the local agent, with the store of the server that it is as well.
// Everything in it is guarded by the lock of its host.
type agent struct {
	host       hostLinks
	run        agentRun // the present one, or the last
	config     *agentConfig
	start      int // how often the agent had started before without a state
	started    time.Time
	store      *store
	acl        *acl
	services   map[string]*localService
	checks     map[string]*localCheck
	members    map[string]*memberJSON // other members of the pool, by name
	cached     map[string]bool        // what the agent's cache was asked for
	nodeChecks map[string]*localCheck
	aliases    map[*localCheck]struct{}
	sync       syncState
	log        logStream
}

// localService is a service as the agent holds it.
type localService struct {
	rec       serviceRecord
	checks    map[string]*localCheck
	token     string
	inSync    bool   // the catalog has it, or has refused it
	sidecarOf string // the ID of the service that this is the sidecar of
	hash      string // of the definition
}

// newAgent returns an agent that has just started.
func newAgent(c *agentConfig, host hostLinks, run agentRun, start int) *agent {
	a := &agent{
		host:       host,
		run:        run,
		config:     c,
		start:      start,
		started:    time.Now(),
		store:      newStore(c.version),
		acl:        newACL(c.defaultDeny, c.node, c.tokens, c.agentToken),
		services:   make(map[string]*localService),
		checks:     make(map[string]*localCheck),
		members:    make(map[string]*memberJSON),
		cached:     make(map[string]bool),
		nodeChecks: make(map[string]*localCheck),
		aliases:    make(map[*localCheck]struct{}),
	}
	a.joinCatalog()
	a.sync.start(a)
	return a
}

// joinCatalog writes what the catalog holds of an agent that is a server: its
// node, the service consul, and the check of the gossip pool. The indexes are
// those of fresh agents in development mode.
func (a *agent) joinCatalog() {
	st, c := a.store, a.config
	st.index = map[release.Version]uint64{release.V1_8_7: 10, release.V1_21_4: 13}[c.version]
	first := nodeRecord{ID: a.nodeID(), Node: c.node, Address: "127.0.0.1", Datacenter: c.datacenter}
	if c.version == release.V1_21_4 {
		first.Meta = map[string]string{"consul-version": c.version.String()}
	}
	n := st.ensureNode(first)
	st.ensureService(n, serviceRecord{
		ID: "consul", Name: "consul", Port: serverPort, Meta: serverMeta(c.version), Weights: defaultWeights,
	})
	st.ensureCheck(n, checkRecord{
		CheckID: "serfHealth", Name: "Serf Health Status", Status: string(consul.HealthPassing), Output: "Agent alive and reachable",
	})
	st.index = map[release.Version]uint64{release.V1_8_7: 12, release.V1_21_4: 14}[c.version]
	a.writeNode()
	st.index = map[release.Version]uint64{release.V1_8_7: 12, release.V1_21_4: 17}[c.version]
}

// nodeRecord is the agent's node as the agent wants it in the catalog.
func (a *agent) nodeRecord() nodeRecord {
	c := a.config
	meta := map[string]string{"consul-network-segment": ""}
	if c.version == release.V1_21_4 {
		meta["consul-version"] = c.version.String()
	}
	maps.Copy(meta, c.nodeMeta)
	const here = "127.0.0.1"
	return nodeRecord{
		ID: a.nodeID(), Node: c.node, Address: here, Datacenter: c.datacenter, Meta: meta,
		TaggedAddresses: map[string]string{"lan": here, "lan_ipv4": here, "wan": here, "wan_ipv4": here},
	}
}

// nodeID returns the configured ID of the node, or one that follows from its
// name.
func (a *agent) nodeID() string {
	if a.config.nodeID != "" {
		return a.config.nodeID
	}
	return deriveID("node", a.config.node, strconv.Itoa(a.start))
}

var defaultWeights = consul.AgentWeights{Passing: 1, Warning: 1}

// close stops everything that the agent does by itself.
func (a *agent) close() {
	a.sync.stop()
	for _, c := range a.checks {
		c.stop()
	}
}

// resyncDelay is about how long a server that has started again has no leader.
// Until it has one, the catalog shows what it did before.
const resyncDelay = time.Second

// resume starts an agent again that was closed.
func (a *agent) resume(run agentRun) {
	a.run = run
	a.started = time.Now()
	a.sync = syncState{}
	a.sync.start(a)
	for id, s := range a.services {
		s.inSync = false
		a.sync.service(id)
	}
	for _, c := range sorted(a.checks) {
		c.resume()
		c.inSync = false
		a.sync.check(c.rec.CheckID)
	}
	for _, c := range a.aliasesWhere(func(*localCheck) bool { return true }) {
		a.updateAlias(c)
	}
	slices.Sort(a.sync.services)
	slices.Sort(a.sync.checks)
	a.sync.held = a.after(resyncDelay, func() {
		a.sync.held = nil
		a.syncChanges()
	})
}

// after runs f with the lock held after d, unless the agent ends before.
func (a *agent) after(d time.Duration, f func()) *time.Timer {
	run := a.run
	return time.AfterFunc(d, func() {
		a.host.lock.Lock()
		defer a.host.lock.Unlock()
		if !run.over() {
			f()
		}
	})
}

// node returns the agent's node in the catalog, which somebody may have removed.
func (a *agent) node() *node { return a.store.node(a.config.node) }

// ensureNode returns the agent's node in the catalog, and makes it if needed.
func (a *agent) ensureNode() *node {
	if n := a.node(); n != nil {
		return n
	}
	return a.store.ensureNode(a.nodeRecord())
}
