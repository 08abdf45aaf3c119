package consulmock

import (
	"fmt"
	"time"

	"github.com/lictor-go/consul"
)

// restartTTL starts the TTL of the check's definition, which was registered just
// now.
func (c *localCheck) restartTTL() {
	c.runsOut = c.def.TTL.d
	c.startTTL("")
}

// startTTL starts the time of a TTL check anew. When it is over the check turns
// critical. The text then tells the output of the last update, if there was one
// since the check was registered.
func (c *localCheck) startTTL(last string) {
	if c.ttl != nil {
		c.ttl.Stop()
	}
	c.ttl = c.after(c.runsOut, func() {
		output := "TTL expired"
		if last != "" {
			output = "TTL expired (last output before timeout follows): " + last
		}
		c.a.logf("warn", "agent: Check missed TTL, is now critical: check=%s", c.rec.CheckID)
		c.setStatus(string(consul.HealthCritical), output)
		c.a.syncChanges()
	})
}

// passCheck answers PUT /v1/agent/check/pass/{check_id}.
func passCheck(q *request) (any, error) {
	return updateTTL(q, string(consul.HealthPassing), q.query.Get("note"))
}

// warnCheck answers PUT /v1/agent/check/warn/{check_id}.
func warnCheck(q *request) (any, error) {
	return updateTTL(q, string(consul.HealthWarning), q.query.Get("note"))
}

// failCheck answers PUT /v1/agent/check/fail/{check_id}.
func failCheck(q *request) (any, error) {
	return updateTTL(q, string(consul.HealthCritical), q.query.Get("note"))
}

// updateCheck answers PUT /v1/agent/check/update/{check_id}.
func updateCheck(q *request) (any, error) {
	var update struct{ Status, Output string }
	if err := checkUpdateBody.decode(q.v, q.body, &update); err != nil {
		return nil, err
	}
	if !isStatus(update.Status) {
		return nil, badRequest("Invalid check status: '%s'", update.Status)
	}
	return updateTTL(q, update.Status, update.Output)
}

func updateTTL(q *request, status, output string) (any, error) {
	authz, err := q.authorizeLocal()
	if err != nil {
		return nil, err
	}
	c := q.a.checks[q.name]
	if c == nil {
		return nil, q.unknownCheck()
	}
	if err := authz.requireCheck(q.v, &c.rec, q.config.node); err != nil {
		return nil, err
	}
	if c.runsOut == 0 {
		return nil, fmt.Errorf("CheckID %q does not have associated TTL", q.name)
	}
	q.a.setResult(c, status, output, true)
	return nil, nil
}

// setResult notes a result that a client has sent, whatever runs the check. An
// update of the TTL restarts it.
func (a *agent) setResult(c *localCheck, status, output string, isUpdate bool) {
	c.setStatus(status, c.limit(output))
	if isUpdate {
		c.updated = time.Now()
		c.startTTL(c.rec.Output)
	}
	a.syncChanges()
}
