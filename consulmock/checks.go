package consulmock

import (
	"fmt"
	"net/http"
	"time"

	"github.com/lictor-go/consul"
)

// localCheck is a check as the agent holds it.
type localCheck struct {
	rec   checkRecord
	ttl   time.Duration
	timer *time.Timer
}

func (c *localCheck) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (a *agent) addCheck(id, serviceID string, def *consul.AgentServiceCheck) {
	c := &localCheck{ttl: def.TTL, rec: checkRecord{
		CheckID: id, Name: def.Name, Status: string(def.Status), ServiceID: serviceID, Notes: def.Notes, Type: "ttl",
	}}
	if c.rec.Status == "" {
		c.rec.Status = "critical"
	}
	if old := a.checks[id]; old != nil {
		old.stop()
		c.rec.Status, c.rec.Output = old.rec.Status, old.rec.Output
	}
	a.checks[id] = c
	if c.ttl > 0 {
		c.timer = time.AfterFunc(c.ttl, func() { a.expire(c) })
	}
	a.store.ensureCheck(a.node(), c.rec)
}

// expire makes a TTL check critical.
func (a *agent) expire(c *localCheck) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.checks[c.rec.CheckID] != c {
		return
	}
	output := "TTL expired"
	if c.rec.Output != "" {
		output = "TTL expired (last output before timeout follows): " + c.rec.Output
	}
	a.setStatus(c, "critical", output)
}

func (a *agent) setStatus(c *localCheck, status, output string) {
	changed := c.rec.Status != status
	c.rec.Status, c.rec.Output = status, output
	if changed {
		a.store.index++
		a.store.ensureCheck(a.node(), c.rec)
	}
}

func passCheck(q *request) (any, error) { return updateTTL(q, "passing") }
func warnCheck(q *request) (any, error) { return updateTTL(q, "warning") }
func failCheck(q *request) (any, error) { return updateTTL(q, "critical") }

func updateTTL(q *request, status string) (any, error) {
	c := q.a.checks[q.name]
	if c == nil {
		return nil, &httpError{http.StatusNotFound, fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", q.name)}
	}
	c.timer.Reset(c.ttl)
	q.a.setStatus(c, status, q.query.Get("note"))
	return nil, nil
}
