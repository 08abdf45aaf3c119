package api

import (
	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/release"
)

// raftServer is a server in the configuration of raft.
type raftServer struct {
	ID              string
	Node            string
	Address         string
	Leader          bool
	ProtocolVersion string
	Voter           bool
	LastIndex       *uint64 `json:",omitempty"` // 1.21.4
}

// raftConfiguration serves GET /v1/operator/raft/configuration. The agent is the
// only server, and the leader.
func raftConfiguration(q *request) (any, error) {
	o, err := q.readOptions()
	if err != nil {
		return nil, err
	}
	if err := q.forward(q.query.Get("dc"), o.consistency == "stale"); err != nil {
		return nil, err
	}
	if err := q.authorizeFor(acl.OperatorRead, ""); err != nil {
		return nil, err
	}
	server := raftServer{ID: q.a.NodeID(), Node: q.config.Node, Address: agent.ServerAddress, Leader: true, ProtocolVersion: "3", Voter: true}
	if q.v == release.V1_21_4 {
		server.LastIndex = ptr(uint64(1)) // leaders do not follow their own
	}
	return struct {
		Servers []raftServer
		Index   uint64
	}{Servers: []raftServer{server}}, nil
}
