package api

import (
	"net/http"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
)

// statusLeader serves GET /v1/status/leader.
func statusLeader(q *request) (any, error) {
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
	if dc := q.query.Get("dc"); dc != "" && dc != q.config.Datacenter {
		return nil, refusal.New(http.StatusInternalServerError, "No path to datacenter")
	}
	return v, nil
}
