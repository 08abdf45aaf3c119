package consul_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// The health of services is a response whatever it is, although the status codes
// of the worse ones are those of errors.
func TestLocalHealth(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-1"))
		agent.AddService(web("web-2"))
		a := agent.Client().Agent()
		check := func(status consul.HealthStatus) {
			t.Helper()
			health, err := a.ServiceHealthByID(ctx, "web-1")
			succeed(t, err)
			want(t, "status by ID", health.AggregatedStatus, status)
			want(t, "service", health.Service.ID, "web-1")
			worst, instances, err := a.ServiceHealthByName(ctx, "web")
			succeed(t, err)
			want(t, "worst status by name", worst, status)
			want(t, "instances", len(instances), 2)
		}
		check(consul.HealthPassing)
		for _, status := range []consul.HealthStatus{consul.HealthWarning, consul.HealthCritical} {
			agent.SetCheckStatus("service:web-1", status, "")
			check(status)
		}
		succeed(t, a.EnableServiceMaintenance(ctx, "web-1", ""))
		check(consul.HealthMaintenance)
	})
}

func TestLocalHealthUnknown(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		health, err := a.ServiceHealthByID(ctx, "none")
		wantError(t, err, consul.ErrUnknownService, "404 ServiceId none not found")
		status, instances, err := a.ServiceHealthByName(ctx, "none")
		wantError(t, err, consul.ErrUnknownService, "404 ServiceName none Not Found")
		if health != nil || status != "" || instances != nil {
			t.Errorf("got %v, %q, %v with an error", health, status, instances)
		}
	})
}

// Not everything with these status codes is about health: gateways in front of
// agents have them too, and speak JSON.
func TestLocalHealthFromAGateway(t *testing.T) {
	const (
		byID   = `{"AggregatedStatus":"critical","Service":{"ID":"web"},"Checks":[]}`
		noID   = `{"AggregatedStatus":"critical","Service":null,"Checks":null}`
		byName = "[" + byID + "]"
	)
	inJSON := http.Header{"Content-Type": {"application/json"}}
	for name, fault := range map[string]consulmock.Fault{
		"a rate limit":           {Status: 429, Body: `{"message":"slow down"}`, Header: inJSON},
		"an outage":              {Status: 503, Body: `{"error":"no upstream"}`, Header: inJSON},
		"a list":                 {Status: 503, Body: `[{"error":"no upstream"}]`, Header: inJSON},
		"an empty list":          {Status: 503, Body: `[]`, Header: inJSON},
		"null":                   {Status: 503, Body: `null`, Header: inJSON},
		"a list of null":         {Status: 503, Body: `[null]`, Header: inJSON},
		"text":                   {Status: 503, Body: "upstream connect error"},
		"nothing":                {Status: 429},
		"too many connections":   {Status: 429, Body: "Your IP is issuing too many concurrent connections"},
		"a status of its own":    {Status: 503, Body: `{"AggregatedStatus":"degraded","Service":{}}`, Header: inJSON},
		"another status":         {Status: 429, Body: byID, Header: inJSON},
		"another status, a list": {Status: 429, Body: byName, Header: inJSON},
		"no service":             {Status: 503, Body: noID, Header: inJSON},
		"a refusal":              {Status: 403, Body: byID, Header: inJSON},
	} {
		t.Run(name, func(t *testing.T) {
			agent := consulmock.New(t)
			a := agent.Client().Agent()
			fault.Always = true
			agent.Inject(fault)
			var status *consul.StatusError
			_, err := a.ServiceHealthByID(ctx, "web")
			wantStatus(t, err, &status, fault.Status, fault.Body)
			_, _, err = a.ServiceHealthByName(ctx, "web")
			wantStatus(t, err, &status, fault.Status, fault.Body)
			if fault.Status == 429 {
				wantError(t, err, consul.ErrRateLimited)
			}
		})
	}
	t.Run("a long pause", func(t *testing.T) {
		agent := consulmock.New(t)
		agent.Inject(consulmock.Fault{RateLimit: time.Minute})
		_, err := agent.Client().Agent().ServiceHealthByID(ctx, "web")
		var status *consul.StatusError
		wantStatus(t, err, &status, 429, "")
		want(t, "RetryAfter", status.RetryAfter, time.Minute)
	})
	// A success that is no health is an error too, but of another kind.
	for _, body := range []string{`{}`, `{"message":"ok"}`, `[]`, `null`, byID, byName, "ok", ""} {
		agent := consulmock.New(t)
		agent.Inject(consulmock.Fault{Status: 200, Body: body, Header: inJSON, Always: true})
		health, err := agent.Client().Agent().ServiceHealthByID(ctx, "web")
		wantError(t, err, nil, "/v1/agent/health/service/id/web: ", "the response")
		_, instances, err := agent.Client().Agent().ServiceHealthByName(ctx, "web")
		wantError(t, err, nil, "/v1/agent/health/service/name/web: ", "the response")
		if health != nil || instances != nil {
			t.Errorf("%s: got %v, %v", body, health, instances)
		}
	}
}
