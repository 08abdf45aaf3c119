package consulmock

import (
	"errors"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// The ports that the agent says it has. It listens on none of them.
const (
	serverPort    = 8300
	serfLANPort   = 8301
	serfWANPort   = 8302
	grpcPort      = 8502
	serverAddress = "127.0.0.1:8300"
	buildDate     = "1970-01-01T00:00:01Z"
)

// serverMeta is the metadata of the service consul.
func serverMeta(v release.Version) map[string]string {
	meta := map[string]string{
		"non_voter": "false", "raft_version": "3", "serf_protocol_current": "2", "serf_protocol_max": "5",
		"serf_protocol_min": "1", "version": v.String(),
	}
	if v == release.V1_21_4 {
		meta["grpc_port"] = strconv.Itoa(grpcPort)
		meta["read_replica"] = "false"
	}
	return meta
}

// memberJSON is a member of the gossip pool.
type memberJSON struct {
	Name        string
	Addr        string
	Port        int
	Tags        map[string]string
	Status      int
	ProtocolMin int
	ProtocolMax int
	ProtocolCur int
	DelegateMin int
	DelegateMax int
	DelegateCur int
}

// member returns the agent as a member of its pool, or of that of the servers of
// all datacenters.
func (a *agent) member(wan bool) *memberJSON {
	v := a.config.version
	acls := "0"
	if a.config.defaultDeny {
		acls = "1"
	}
	m := &memberJSON{
		Name: a.config.node, Addr: "127.0.0.1", Port: serfLANPort, Status: 1,
		ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4,
		Tags: map[string]string{
			"acls": acls, "build": v.String() + ":", "dc": a.config.datacenter, "ft_fs": "1", "id": a.nodeID(),
			"port": strconv.Itoa(serverPort), "raft_vsn": "3", "role": "consul", "segment": "", "vsn": "2", "vsn_max": "3", "vsn_min": "2",
		},
	}
	if v == release.V1_21_4 {
		m.Tags["ft_si"] = "1"
		m.Tags["grpc_port"] = strconv.Itoa(grpcPort)
	}
	if wan {
		m.Name, m.Port = a.config.node+"."+a.config.datacenter, serfWANPort
	} else {
		m.Tags["wan_join_port"] = strconv.Itoa(serfWANPort)
	}
	return m
}

// agentMembers answers GET /v1/agent/members.
func agentMembers(q *request) (any, error) {
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if segment := q.query.Get("segment"); segment != "" && segment != "_all" {
		return nil, errors.New("Network segments are not supported in this version of Consul")
	}
	keep := everything
	if q.v == release.V1_21_4 {
		if keep, err = q.filter(filter.Member); err != nil {
			return nil, err
		}
	}
	members := append([]*memberJSON{q.a.member(false)}, sorted(q.a.members)...)
	if q.query.Get("wan") != "" {
		members = []*memberJSON{q.a.member(true)}
	}
	list, _, err := collect(members, func(m *memberJSON) bool {
		return authz.allows(nodeRead, strings.TrimSuffix(m.Name, "."+q.config.datacenter))
	}, func(m *memberJSON) *memberJSON { return m }, keep)
	return list, err
}

// agentSelf answers GET /v1/agent/self. Of the debugging information it has what
// says how the fake behaves.
func agentSelf(q *request) (any, error) {
	c, api := q.config, &q.api.config
	if err := q.authorizeFor(agentRead, c.node); err != nil {
		return nil, err
	}
	self := struct {
		Config, DebugConfig, Coord, Member, Stats any
		Meta                                      map[string]string
		XDS                                       any `json:"xDS,omitempty"`
	}{
		DebugConfig: map[string]any{
			"ACLsEnabled": c.defaultDeny, "AEInterval": fullSyncInterval.String(), "CheckReapInterval": reapInterval.String(),
			"CheckDeregisterIntervalMin": minReapAfter.String(), "CheckOutputMaxSize": defaultMaxOutput,
			"CheckUpdateInterval": outputInterval.String(), "Datacenter": c.datacenter, "DefaultQueryTime": api.defaultWait.String(),
			"DevMode": !api.compact, "EnableRemoteScriptChecks": false, "MaxQueryTime": api.maxWait.String(), "NodeID": q.a.nodeID(),
			"NodeMeta": object(c.nodeMeta), "NodeName": c.node, "ServerMode": true, "Version": q.v.String(),
		},
		Coord:  map[string]any{"Vec": make([]float64, 8), "Error": 1.5, "Adjustment": 0, "Height": 0.00001},
		Member: q.a.member(false),
		Stats:  q.a.stats(),
		Meta:   q.a.nodeRecord().Meta,
	}
	config := consul.AgentSelfConfig{Datacenter: c.datacenter, NodeName: c.node, NodeID: q.a.nodeID(), Server: true, Version: q.v.String()}
	self.XDS = map[string]any{"SupportedProxies": map[string][]string{"envoy": {"1.14.5", "1.13.6", "1.12.7", "1.11.2"}}}
	if q.v == release.V1_21_4 {
		config.PrimaryDatacenter, config.BuildDate = c.datacenter, buildDate
		self.XDS = map[string]any{
			"SupportedProxies": map[string][]string{"envoy": {"1.34.1", "1.33.2", "1.32.5", "1.31.8"}}, "Port": grpcPort,
			"Ports": map[string]int{"Plaintext": grpcPort, "TLS": -1},
		}
	}
	self.Config = config
	return self, nil
}

// stats are some of the numbers that an agent tells of itself, all as text.
func (a *agent) stats() map[string]map[string]string {
	return map[string]map[string]string{
		"agent": {
			"check_monitors": "0", "check_ttls": strconv.Itoa(a.countTTLs()),
			"checks": strconv.Itoa(len(a.checks)), "services": strconv.Itoa(len(a.services)),
		},
		"build": {"prerelease": "", "revision": "", "version": a.config.version.String(), "version_metadata": ""},
		"consul": {
			"acl": map[bool]string{true: "enabled", false: "disabled"}[a.config.defaultDeny], "bootstrap": "false",
			"known_datacenters": "1", "leader": "true", "leader_addr": serverAddress, "server": "true",
		},
		"raft": {
			"applied_index": strconv.FormatUint(a.store.index, 10), "last_log_index": strconv.FormatUint(a.store.index, 10),
			"num_peers": "0", "state": "Leader", "term": "2",
		},
		"runtime": {
			"arch": runtime.GOARCH, "cpu_count": strconv.Itoa(runtime.NumCPU()), "goroutines": strconv.Itoa(runtime.NumGoroutine()),
			"os": runtime.GOOS, "version": runtime.Version(),
		},
		"serf_lan": {"members": strconv.Itoa(1 + len(a.members)), "failed": "0", "left": "0"},
		"serf_wan": {"members": "1", "failed": "0", "left": "0"},
	}
}

func (a *agent) countTTLs() int {
	n := 0
	for _, c := range a.checks {
		if c.ttl != nil {
			n++
		}
	}
	return n
}

// agentVersion answers GET /v1/agent/version.
func agentVersion(q *request) (any, error) {
	return struct{ SHA, BuildDate, HumanVersion, FIPS string }{BuildDate: buildDate, HumanVersion: q.v.String()}, nil
}

// agentHost answers GET /v1/agent/host with a machine that is made up.
func agentHost(q *request) (any, error) {
	if err := q.authorizeFor(operatorRead, ""); err != nil {
		return nil, err
	}
	idName := "hostid"
	if q.v == release.V1_21_4 {
		idName = "hostId"
	}
	const size = 1_000_000_000
	return struct {
		Memory, CPU, Host, Disk any
		CollectionTime          int64
		Errors                  any
	}{
		Memory: map[string]any{"total": size, "available": size / 2, "used": size / 2, "usedPercent": 50, "free": size / 2},
		CPU:    []map[string]any{{"cpu": 0, "vendorId": "consulmock", "family": "1", "model": "1", "cores": 1, "modelName": "CPU", "mhz": 1000}},
		Host: map[string]any{
			"hostname": q.config.node, "uptime": int(time.Since(q.a.started).Seconds()), "bootTime": q.a.started.Unix(), "procs": 1,
			"os": runtime.GOOS, "platform": "consulmock", "platformFamily": "", "platformVersion": "", "kernelVersion": "",
			"kernelArch": runtime.GOARCH, "virtualizationSystem": "", "virtualizationRole": "", idName: q.a.nodeID(),
		},
		Disk: map[string]any{
			"path": "/", "fstype": "none", "total": size, "free": size / 2, "used": size / 2, "usedPercent": 50,
			"inodesTotal": size, "inodesUsed": size / 2, "inodesFree": size / 2, "inodesUsedPercent": 50,
		},
		CollectionTime: time.Now().UnixNano(),
	}, nil
}

// agentMetrics answers GET /v1/agent/metrics. The fake measures next to nothing.
func agentMetrics(q *request) (any, error) {
	if err := q.authorizeFor(agentRead, q.config.node); err != nil {
		return nil, err
	}
	if q.query.Get("format") == "prometheus" {
		const text = "Prometheus is not enabled since its retention time is not positive"
		if q.v == release.V1_8_7 {
			return nil, &httpError{http.StatusUnsupportedMediaType, text}
		}
		q.w.Header().Set("X-Consul-Reason", text)
		return nil, nil
	}
	type gauge struct {
		Name   string
		Value  float64
		Labels map[string]string
	}
	prefix := "consul."
	if q.v == release.V1_21_4 {
		prefix += q.config.node + "."
	}
	return struct {
		Timestamp                 string
		Gauges                    []gauge
		Points, Counters, Samples []struct{}
	}{
		Timestamp: time.Now().UTC().Truncate(10 * time.Second).Format("2006-01-02 15:04:05 -0700 MST"),
		Gauges:    []gauge{{prefix + "raft.applied_index", float64(q.a.store.index), map[string]string{}}},
		Points:    []struct{}{}, Counters: []struct{}{}, Samples: []struct{}{},
	}, nil
}

// agentReload answers PUT /v1/agent/reload. An agent then holds what is in its
// files. One in development mode has no files, and so loses everything that was
// registered with it.
func agentReload(q *request) (any, error) {
	if err := q.authorizeFor(agentWrite, q.config.node); err != nil {
		return nil, err
	}
	if q.api.config.compact {
		return nil, nil
	}
	for _, s := range sorted(q.a.services) {
		if q.a.services[s.rec.ID] != nil { // it may have gone with the one that it is the sidecar of
			q.a.removeService(s.rec.ID)
		}
	}
	for _, c := range sorted(q.a.checks) {
		q.a.removeCheck(c)
	}
	q.a.syncChanges()
	return nil, nil
}

// agentJoin answers PUT /v1/agent/join/{address}. The fake joins nobody but
// itself: everybody else refuses.
func agentJoin(q *request) (any, error) {
	if err := q.authorizeFor(agentWrite, q.config.node); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(q.name)
	if err != nil {
		host, port = q.name, strconv.Itoa(serfLANPort)
	}
	if host == "127.0.0.1" && port == strconv.Itoa(serfLANPort) {
		return nil, nil
	}
	who := host
	if q.v == release.V1_21_4 {
		who = net.JoinHostPort(host, port)
	}
	return nil, errors.New(multiError([]string{"Failed to join " + who + ": dial tcp " + net.JoinHostPort(host, port) + ": connect: connection refused"}))
}

// agentForceLeave answers PUT /v1/agent/force-leave/{node}.
func agentForceLeave(q *request) (any, error) {
	if err := q.authorizeFor(operatorWrite, ""); err != nil {
		return nil, err
	}
	m := q.a.members[q.name]
	switch {
	case q.name == q.config.node:
	case m == nil:
		return nil, errors.New("agent: No node found with name '" + q.name + "'")
	case q.query.Has("prune"):
		delete(q.a.members, q.name)
	default:
		m = ptr(*m)
		m.Status = 3
		q.a.members[q.name] = m
	}
	return nil, nil
}

// leaveDelay is how long an agent in development mode takes to leave.
const leaveDelay = 11 * time.Second

// agentLeave answers PUT /v1/agent/leave, after which the agent ends.
func agentLeave(q *request) (any, error) {
	if err := q.authorizeFor(agentWrite, q.config.node); err != nil {
		return nil, err
	}
	q.unlocked(func() {
		select {
		case <-time.After(leaveDelay):
		case <-q.r.Context().Done():
		}
	})
	// The answer is to be sent before the connections are cut.
	time.AfterFunc(100*time.Millisecond, q.run.stop)
	return nil, nil
}

// agentToken answers PUT /v1/agent/token/{kind}.
func agentToken(q *request) (any, error) {
	if !q.a.acl.on {
		return nil, &httpError{http.StatusUnauthorized, "ACL support disabled"}
	}
	if err := q.authorizeFor(agentWrite, q.config.node); err != nil {
		return nil, err
	}
	var body struct{ Token string }
	if err := plainBody.decode(q.v, q.body, &body); err != nil {
		return nil, err
	}
	switch q.name {
	case "default", "acl_token":
		q.a.acl.defaultToken = body.Token
	case "agent", "acl_agent_token":
		q.a.acl.agentToken = &body.Token
	case "agent_master", "acl_agent_master_token", "agent_recovery", "replication", "acl_replication_token",
		"config_file_service_registration", "dns":
	default:
		return nil, &httpError{http.StatusNotFound, `Token "` + q.name + `" is unknown`}
	}
	return nil, nil
}
