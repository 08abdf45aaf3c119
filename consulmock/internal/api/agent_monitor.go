package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/acl"
	"github.com/lictor-go/consul/consulmock/internal/agent"
)

// agentMonitor serves GET /v1/agent/monitor with the agent's log, until the
// client has enough.
func agentMonitor(q *request) (any, error) {
	if err := q.authorizeFor(acl.AgentRead, q.config.Node); err != nil {
		return nil, err
	}
	level := strings.ToLower(q.query.Get("loglevel"))
	switch level {
	case "":
		level = "info"
	case "error":
		level = "err"
	}
	rank := slices.Index(agent.LogLevels, level)
	if rank < 0 {
		return nil, q.badRequest("Unknown log level: %s", q.query.Get("loglevel"))
	}
	lines, stop := q.a.Listen(rank)
	defer stop()
	return nil, q.stream(lines)
}

// agentMetricsStream serves GET /v1/agent/metrics/stream. The first metrics would
// come after ten seconds; the fake has none to send.
func agentMetricsStream(q *request) (any, error) {
	if err := q.authorizeFor(acl.AgentRead, q.config.Node); err != nil {
		return nil, err
	}
	return nil, q.stream(nil)
}

// stream sends a response without an end, without the lock.
func (q *request) stream(lines <-chan string) error {
	q.unlocked(func() {
		flush := http.NewResponseController(q.w)
		q.w.Header()["Content-Type"] = nil // agents send none
		q.w.WriteHeader(http.StatusOK)
		flush.Flush()
		for {
			select {
			case line := <-lines:
				q.w.Write([]byte(line))
				flush.Flush()
			case <-q.r.Context().Done():
				return
			}
		}
	})
	return errGone // so that the response does not seem to have an end
}
