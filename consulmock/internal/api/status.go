package api

import (
	"github.com/lictor-go/consul/consulmock/internal/agent"
)

// statusLeader serves GET /v1/status/leader.
func statusLeader(q *request) (any, error) {
	if q.a.Leaderless {
		return q.status("")
	}
	return q.status(agent.ServerAddress)
}

// statusPeers serves GET /v1/status/peers.
func statusPeers(q *request) (any, error) {
	return q.status([]string{agent.ServerAddress})
}

func (q *request) status(v any) (any, error) {
	if _, err := q.readOptions(); err != nil {
		return nil, err
	}
	if err := q.checkDatacenter(q.query.Get("dc")); err != nil {
		return nil, err
	}
	return v, nil
}
