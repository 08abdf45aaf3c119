package api

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// agentMembers serves GET /v1/agent/members.
func agentMembers(q *request) (any, error) {
	if err := q.refusePartition(); err != nil {
		return nil, err
	}
	authz, err := q.authorize()
	if err != nil {
		return nil, err
	}
	if segment := q.query.Get("segment"); segment != "" && segment != "_all" {
		return nil, errors.New("Network segments are not supported in this version of Consul")
	}
	keep := matchAll
	if q.v == release.V1_21_4 {
		if keep, err = q.filter(filter.Member); err != nil {
			return nil, err
		}
	}
	members := append([]*agent.Member{q.a.Member(false)}, state.Sorted(q.a.Members)...)
	if q.query.Get("wan") != "" {
		members = []*agent.Member{q.a.Member(true)}
	}
	list, _, err := collect(members, func(m *agent.Member) bool {
		return authz.Allows(acl.NodeRead, strings.TrimSuffix(m.Name, "."+q.config.Datacenter))
	}, func(m *agent.Member) *agent.Member { return m }, keep)
	return list, err
}

// agentSelf serves GET /v1/agent/self. Of the debugging information it has what
// tells how the fake behaves.
func agentSelf(q *request) (any, error) {
	c, api := q.config, &q.api.config
	if err := q.authorizeFor(acl.AgentRead, c.Node); err != nil {
		return nil, err
	}
	self := struct {
		Config, DebugConfig, Coord, Member, Stats any
		Meta                                      map[string]string
		XDS                                       any `json:"xDS,omitempty"`
	}{
		DebugConfig: map[string]any{
			"ACLsEnabled": c.DefaultDeny, "AEInterval": agent.FullSyncInterval.String(), "CheckReapInterval": agent.ReapInterval.String(),
			"CheckDeregisterIntervalMin": agent.MinReapAfter.String(), "CheckOutputMaxSize": agent.DefaultMaxOutput,
			"CheckUpdateInterval": agent.OutputInterval.String(), "Datacenter": c.Datacenter, "DefaultQueryTime": api.DefaultWait.String(),
			"DevMode": !api.Compact, "EnableRemoteScriptChecks": false, "MaxQueryTime": api.MaxWait.String(), "NodeID": q.a.NodeID(),
			"NodeMeta": object(c.NodeMeta), "NodeName": c.Node, "ServerMode": true, "Version": q.v.String(),
		},
		Coord:  map[string]any{"Vec": make([]float64, 8), "Error": 1.5, "Adjustment": 0, "Height": 0.00001},
		Member: q.a.Member(false),
		Stats:  q.a.Stats(),
		Meta:   q.a.NodeRecord().Meta,
	}
	config := consul.AgentSelfConfig{Datacenter: c.Datacenter, NodeName: c.Node, NodeID: q.a.NodeID(), Server: true, Version: q.v.String()}
	self.XDS = map[string]any{"SupportedProxies": map[string][]string{"envoy": {"1.14.5", "1.13.6", "1.12.7", "1.11.2"}}}
	if q.v == release.V1_21_4 {
		config.PrimaryDatacenter, config.BuildDate = c.Datacenter, agent.BuildDate
		self.XDS = map[string]any{
			"SupportedProxies": map[string][]string{"envoy": {"1.34.1", "1.33.2", "1.32.5", "1.31.8"}}, "Port": agent.GRPCPort,
			"Ports": map[string]int{"Plaintext": agent.GRPCPort, "TLS": -1},
		}
	}
	self.Config = config
	return self, nil
}

// agentVersion serves GET /v1/agent/version.
func agentVersion(q *request) (any, error) {
	return struct{ SHA, BuildDate, HumanVersion, FIPS string }{BuildDate: agent.BuildDate, HumanVersion: q.v.String()}, nil
}

// agentHost serves GET /v1/agent/host with a machine that is made up.
func agentHost(q *request) (any, error) {
	if err := q.authorizeFor(acl.OperatorRead, ""); err != nil {
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
			"hostname": q.config.Node, "uptime": int(time.Since(q.a.Started).Seconds()), "bootTime": q.a.Started.Unix(), "procs": 1,
			"os": runtime.GOOS, "platform": "consulmock", "platformFamily": "", "platformVersion": "", "kernelVersion": "",
			"kernelArch": runtime.GOARCH, "virtualizationSystem": "", "virtualizationRole": "", idName: q.a.NodeID(),
		},
		Disk: map[string]any{
			"path": "/", "fstype": "none", "total": size, "free": size / 2, "used": size / 2, "usedPercent": 50,
			"inodesTotal": size, "inodesUsed": size / 2, "inodesFree": size / 2, "inodesUsedPercent": 50,
		},
		CollectionTime: time.Now().UnixNano(),
	}, nil
}

// agentMetrics serves GET /v1/agent/metrics. The fake measures next to nothing.
func agentMetrics(q *request) (any, error) {
	if err := q.authorizeFor(acl.AgentRead, q.config.Node); err != nil {
		return nil, err
	}
	if q.query.Get("format") == "prometheus" {
		const text = "Prometheus is not enabled since its retention time is not positive"
		if q.v == release.V1_8_7 {
			return nil, refusal.New(http.StatusUnsupportedMediaType, text)
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
		prefix += q.config.Node + "."
	}
	return struct {
		Timestamp                 string
		Gauges                    []gauge
		Points, Counters, Samples []struct{}
	}{
		Timestamp: time.Now().UTC().Truncate(10 * time.Second).Format("2006-01-02 15:04:05 -0700 MST"),
		Gauges:    []gauge{{prefix + "raft.applied_index", float64(q.a.Store.Index), map[string]string{}}},
		Points:    []struct{}{}, Counters: []struct{}{}, Samples: []struct{}{},
	}, nil
}
