package consulmock

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// logStream is the agent's log, for those who listen.
type logStream struct {
	listeners map[chan string]int // with the lowest level that they want
}

var logLevels = []string{"trace", "debug", "info", "warn", "err"}

// logf writes a line to those who listen at the level. Who does not keep up
// misses lines.
func (a *agent) logf(level, format string, args ...any) {
	if len(a.log.listeners) == 0 {
		return
	}
	rank := slices.Index(logLevels, level)
	name := strings.ToUpper(level)
	if level == "err" {
		name = "ERROR"
	}
	line := fmt.Sprintf("%s [%s]  %s\n", time.Now().Format("2006-01-02T15:04:05.000Z0700"), name, fmt.Sprintf(format, args...))
	for c, lowest := range a.log.listeners {
		if rank < lowest {
			continue
		}
		select {
		case c <- line:
		default:
		}
	}
}

// listen returns the lines of the log from now on that have at least a level, given
// by its place in logLevels, until stop is called.
func (a *agent) listen(lowest int) (lines <-chan string, stop func()) {
	c := make(chan string, 512)
	if a.log.listeners == nil {
		a.log.listeners = make(map[chan string]int)
	}
	a.log.listeners[c] = lowest
	return c, func() { delete(a.log.listeners, c) }
}

// agentMonitor answers GET /v1/agent/monitor with the agent's log, until the
// client has enough.
func agentMonitor(q *request) (any, error) {
	if err := q.authorizeFor(agentRead, q.config.node); err != nil {
		return nil, err
	}
	level := strings.ToLower(q.query.Get("loglevel"))
	switch level {
	case "":
		level = "info"
	case "error":
		level = "err"
	}
	rank := slices.Index(logLevels, level)
	if rank < 0 {
		return nil, q.badRequest("Unknown log level: %s", q.query.Get("loglevel"))
	}
	lines, stop := q.a.listen(rank)
	defer stop()
	return nil, q.stream(lines)
}

// agentMetricsStream answers GET /v1/agent/metrics/stream. The first metrics would
// come after ten seconds; the fake has none to send.
func agentMetricsStream(q *request) (any, error) {
	if err := q.authorizeFor(agentRead, q.config.node); err != nil {
		return nil, err
	}
	return nil, q.stream(nil)
}

// stream sends an answer without an end, without the lock.
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
	return errGone // so that the answer does not seem to have an end
}
