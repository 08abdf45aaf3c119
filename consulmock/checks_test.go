package consulmock

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A check without anything in it is none, whatever is written out; only one with a
// TTL above zero is a TTL check.
func TestCheckKinds(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		for _, check := range []string{
			`{}`, `{"TTL":0}`, `{"TTL":"0s","Interval":0}`, `{"ServiceID":"x"}`, `{"service_id":"x"}`, `{"args":[]}`,
			`{"deregister_critical_service_after":"0s"}`, `{"DeregisterCriticalServiceAfter":"0s","deregister_critical_service_after":"1m"}`,
		} {
			got := text(t, ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"web","Check":`+check+`}`))
			if checks := text(t, ask(t, s, "GET", "/v1/agent/checks", "")); got != "200" || checks != "200 {}" {
				t.Errorf("%s: %s: %s, then %s", version, check, got, checks)
			}
		}
		for check, want := range map[string]string{
			`{"Header":{}}`: "400 Invalid check: TTL must be > 0 for TTL checks",
			`{"deregister_critical_service_after":"1m"}`: "400 Invalid check: TTL must be > 0 for TTL checks",
		} {
			if got := text(t, ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"web","Check":`+check+`}`)); got != want {
				t.Errorf("%s: %s: %s", version, check, got)
			}
		}
		ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","TCP":"127.0.0.1:1","Interval":"1h","TTL":"-1s"}`)
		ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"b","AliasService":"web","TTL":-1}`)
		checks, err := s.Client().Agent().Checks(context.Background(), nil)
		if err != nil || checks["a"] == nil || checks["a"].Type != "tcp" || checks["b"] == nil || checks["b"].Type != "alias" {
			t.Errorf("%s: got %v, %v", version, checks, err)
		}
	}
}

// An HTTP check that becomes a TTL check goes on to run, at its interval.
func TestProbeGoesOn(t *testing.T) {
	runs := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs <- struct{}{} }))
	defer web.Close()
	s := New(t, WithProbes(true))
	ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","HTTP":"`+web.URL+`","Interval":"20ms"}`)
	<-runs
	ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","TTL":"1h"}`)
	for range 3 {
		<-runs
	}
	ask(t, s, "PUT", "/v1/agent/check/register", `{"Name":"a","HTTP":"`+web.URL+`/other","Interval":"20ms"}`)
	<-runs
	go func() { // what may still come until the server is closed
		for range runs {
		}
	}()
	defer close(runs)
	s.Close()
}

// A script that the agent refuses to run is removed, and so is what had its ID.
func TestRefusedScript(t *testing.T) {
	const script = `{"ID":"c","Name":"script","Args":["true"],"Interval":"1h"}`
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		ask(t, s, "PUT", "/v1/agent/check/register", `{"ID":"c","Name":"before","TTL":"1h"}`)
		if got := text(t, ask(t, s, "PUT", "/v1/agent/check/register", script)); !strings.HasPrefix(got, "500 Scripts are disabled") {
			t.Errorf("%s: got %s", version, got)
		}
		for _, place := range []string{"/v1/agent/checks", "/v1/health/node/node1"} {
			if got := text(t, ask(t, s, "GET", place, "")); strings.Contains(got, "before") {
				t.Errorf("%s: %s: got %s", version, place, got)
			}
		}
	}
}

// Of two checks of one ID in a definition the last one counts, except for the status that
// the check has already.
func TestCheckTwiceInADefinition(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		for _, step := range []struct{ path, body, status string }{
			{"/v1/agent/service/register", `{"Name":"web","Check":{"CheckID":"c","HTTP":"http://x","Interval":"1h","Status":"passing"},"Checks":[{"CheckID":"c","TTL":"1h","Status":"warning"}]}`, "warning"},
			{"/v1/agent/service/register", `{"Name":"web","Checks":[{"CheckID":"c","TTL":"1h","Status":"critical"},{"CheckID":"c","TTL":"1h","Status":"passing"}]}`, "warning"},
			{"/v1/agent/service/register", `{"Name":"db","Checks":[{"CheckID":"d","TTL":"1h","Status":"passing"},{"CheckID":"d","TTL":"1h"}]}`, "critical"},
		} {
			ask(t, s, "PUT", step.path, step.body)
			id := map[bool]string{true: "d", false: "c"}[strings.Contains(step.body, "db")]
			c := s.agent.Store.Node("node1").Checks[id]
			if c == nil || c.Type != "ttl" || c.Status != step.status || s.agent.Checks[id].Rec.Status != step.status {
				t.Errorf("%s: %s: the check is %+v, want a TTL check that is %s", version, step.body, s.agent.Checks[id], step.status)
			}
		}
	}
}

// An agent of 1.21.4 takes a check for written if it is defined again as it is, also by the
// same definition of a service: then the catalog lacks it until everything is compared.
func TestSameCheckTwiceInADefinition(t *testing.T) {
	const check = `{"CheckID":"c","TTL":"1h","Status":"warning"}`
	for version, written := range map[string]bool{"1.8.7": true, "1.21.4": false} {
		s := New(t, WithVersion(version))
		ask(t, s, "PUT", "/v1/agent/service/register", `{"Name":"web","Check":`+check+`,"Checks":[`+check+`]}`)
		if local, catalog := s.agent.Checks["c"], s.agent.Store.Node("node1").Checks["c"]; local == nil || (catalog != nil) != written {
			t.Errorf("%s: the agent has %v, the catalog %v; want it to have the check: %t", version, local, catalog, written)
		}
	}
}

// What is registered again is written to the servers again: services and checks of 1.8.7
// always, a check of 1.21.4 if it is defined with another status or output than it has by
// now. Those in the definition of a service are not.
func TestCheckWrittenAgain(t *testing.T) {
	const (
		check   = `/v1/agent/check/register {"Name":"c","TTL":"1h","Status":"passing"}`
		service = `/v1/agent/service/register {"Name":"web","Check":{"TTL":"1h","Status":"passing"}}`
	)
	for version, column := range map[string]int{"1.21.4": 0, "1.8.7": 1} {
		s := New(t, WithVersion(version))
		for i, step := range []struct {
			request string
			writes  [2]uint64
		}{
			{check, [2]uint64{1, 1}},
			{check, [2]uint64{0, 1}},
			{`/v1/agent/check/register {"Name":"c","TTL":"1h"}`, [2]uint64{1, 1}},
			{`/v1/agent/check/pass/c?note=hello {}`, [2]uint64{0, 0}},
			{check, [2]uint64{1, 1}},
			{service, [2]uint64{1, 1}},
			{service, [2]uint64{0, 1}},
			{`/v1/agent/service/register {"Name":"web","Check":{"TTL":"1h"}}`, [2]uint64{0, 1}},
			{`/v1/agent/service/register {"Name":"db"}`, [2]uint64{1, 1}},
			{`/v1/agent/service/register {"Name":"db"}`, [2]uint64{0, 1}},
		} {
			before := s.agent.Store.Index
			path, body, _ := strings.Cut(step.request, " ")
			if r := ask(t, s, "PUT", path, body); r.StatusCode != http.StatusOK {
				t.Fatal(text(t, r))
			}
			if got := s.agent.Store.Index - before; got != step.writes[column] {
				t.Errorf("%s: step %d, %s: %d writes, want %d", version, i, step.request, got, step.writes[column])
			}
		}
	}
}
