package consul

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// ServiceHealthByID returns the health of a service instance of the agent,
// whatever it is. If there is no such instance, the error is ErrUnknownService.
//
// GET /v1/agent/health/service/id/{service_id}
func (a *Agent) ServiceHealthByID(ctx context.Context, serviceID string) (*AgentServiceHealth, error) {
	health := new(AgentServiceHealth)
	_, err := a.localHealth(ctx, "/v1/agent/health/service/id/", "service ID", serviceID, health,
		func() []*AgentServiceHealth { return []*AgentServiceHealth{health} })
	if err != nil {
		return nil, err
	}
	return health, nil
}

// ServiceHealthByName returns the health of the agent's instances of a service,
// in no order, and the worst of it. If there are none, the error is
// ErrUnknownService.
//
// GET /v1/agent/health/service/name/{service}
func (a *Agent) ServiceHealthByName(ctx context.Context, service string) (HealthStatus, []*AgentServiceHealth, error) {
	var instances []*AgentServiceHealth
	worst, err := a.localHealth(ctx, "/v1/agent/health/service/name/", "service", service, &instances,
		func() []*AgentServiceHealth { return instances })
	if err != nil {
		return "", nil, err
	}
	return worst, instances, nil
}

// localHealth returns the worst health of the instances that are decoded into out.
// The agent reports it by the status code too. But 429 and 503 can also come from
// a gateway, in JSON as well, so they count only if the instances confirm them.
func (a *Agent) localHealth(
	ctx context.Context, prefix, what, name string, out any, instances func() []*AgentServiceHealth,
) (worst HealthStatus, err error) {
	r, err := a.c.query(named(prefix, what, name), nil)
	if err != nil {
		return "", err
	}
	var body []byte
	r.params.Set("format", "json")
	r.out, r.accept = &body, []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}
	resp, err := a.c.do(ctx, r)
	if err != nil {
		return "", err
	}
	err = decode(body, mediaType(resp.header), out)
	if err == nil {
		if worst = worstHealth(instances()); healthCodes[worst] == resp.status {
			return worst, nil
		}
		err = fmt.Errorf("the response is not the health of a service; it starts with %q", shorten(string(body), maxErrorSnippet))
	}
	if resp.status != http.StatusOK {
		return "", a.c.statusError(r, resp.status, resp.header, body)
	}
	return "", a.c.fail(ctx, r, err)
}

// healthCodes are the status codes by which agents report the health of a service.
var healthCodes = map[HealthStatus]int{
	HealthPassing:     http.StatusOK,
	HealthWarning:     http.StatusTooManyRequests,
	HealthCritical:    http.StatusServiceUnavailable,
	HealthMaintenance: http.StatusServiceUnavailable,
}

// worstHealth returns the worst status of the instances, or an empty one if that
// is not what they are.
func worstHealth(instances []*AgentServiceHealth) (worst HealthStatus) {
	order := []HealthStatus{"", HealthPassing, HealthWarning, HealthCritical, HealthMaintenance}
	for _, i := range instances {
		if i == nil || i.Service == nil || slices.Index(order, i.AggregatedStatus) <= 0 {
			return ""
		}
		if slices.Index(order, i.AggregatedStatus) > slices.Index(order, worst) {
			worst = i.AggregatedStatus
		}
	}
	return worst
}
