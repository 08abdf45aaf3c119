package agent

import (
	"runtime"
	"strconv"

	"github.com/lictor-go/consul/consulmock/internal/release"
)

// The ports that the agent reports. It listens on none of them.
const (
	serverPort    = 8300
	SerfLANPort   = 8301
	serfWANPort   = 8302
	GRPCPort      = 8502
	ServerAddress = "127.0.0.1:8300"
	BuildDate     = "1970-01-01T00:00:01Z"
)

// serverMeta is the metadata of the service consul.
func serverMeta(v release.Version) map[string]string {
	meta := map[string]string{
		"non_voter": "false", "raft_version": "3", "serf_protocol_current": "2", "serf_protocol_max": "5",
		"serf_protocol_min": "1", "version": v.String(),
	}
	if v == release.V1_21_4 {
		meta["grpc_port"] = strconv.Itoa(GRPCPort)
		meta["read_replica"] = "false"
	}
	return meta
}

// Member is a member of the gossip pool.
type Member struct {
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

// Member returns the agent as a member of its pool, or of that of the servers of
// all datacenters.
func (a *Agent) Member(wan bool) *Member {
	v := a.Config.Version
	acls := "0"
	if a.Config.DefaultDeny {
		acls = "1"
	}
	m := &Member{
		Name: a.Config.Node, Addr: "127.0.0.1", Port: SerfLANPort, Status: 1,
		ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4,
		Tags: map[string]string{
			"acls": acls, "build": v.String() + ":", "dc": a.Config.Datacenter, "ft_fs": "1", "id": a.NodeID(),
			"port": strconv.Itoa(serverPort), "raft_vsn": "3", "role": "consul", "segment": "", "vsn": "2", "vsn_max": "3", "vsn_min": "2",
		},
	}
	if v == release.V1_21_4 {
		m.Tags["ft_si"] = "1"
		m.Tags["grpc_port"] = strconv.Itoa(GRPCPort)
	}
	if wan {
		m.Name, m.Port = a.Config.Node+"."+a.Config.Datacenter, serfWANPort
	} else {
		m.Tags["wan_join_port"] = strconv.Itoa(serfWANPort)
	}
	return m
}

// Stats are some of the numbers that an agent tells of itself, all as text.
func (a *Agent) Stats() map[string]map[string]string {
	return map[string]map[string]string{
		"agent": {
			"check_monitors": "0", "check_ttls": strconv.Itoa(a.countTTLs()),
			"checks": strconv.Itoa(len(a.Checks)), "services": strconv.Itoa(len(a.Services)),
		},
		"build": {"prerelease": "", "revision": "", "version": a.Config.Version.String(), "version_metadata": ""},
		"consul": {
			"acl": map[bool]string{true: "enabled", false: "disabled"}[a.Config.DefaultDeny], "bootstrap": "false",
			"known_datacenters": "1", "leader": "true", "leader_addr": ServerAddress, "server": "true",
		},
		"raft": {
			"applied_index": strconv.FormatUint(a.Store.Index, 10), "last_log_index": strconv.FormatUint(a.Store.Index, 10),
			"num_peers": "0", "state": "Leader", "term": "2",
		},
		"runtime": {
			"arch": runtime.GOARCH, "cpu_count": strconv.Itoa(runtime.NumCPU()), "goroutines": strconv.Itoa(runtime.NumGoroutine()),
			"os": runtime.GOOS, "version": runtime.Version(),
		},
		"serf_lan": {"members": strconv.Itoa(1 + len(a.Members)), "failed": "0", "left": "0"},
		"serf_wan": {"members": "1", "failed": "0", "left": "0"},
	}
}

func (a *Agent) countTTLs() int {
	n := 0
	for _, c := range a.Checks {
		if c.ttl != nil {
			n++
		}
	}
	return n
}
