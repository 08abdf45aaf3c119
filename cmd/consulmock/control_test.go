package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// call sends a request and returns its status and body.
func (c *command) call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, strings.TrimSuffix(string(text), "\n")
}

// expect sends a request and checks its status and body.
func (c *command) expect(t *testing.T, method, path, body string, status int, want string) {
	t.Helper()
	if got, text := c.call(t, method, path, body); got != status || text != want {
		t.Errorf("%s %s %s: %d %s, want %d %s", method, path, body, got, text, status, want)
	}
}

// A fault applies to the requests that it selects, is listed until it is removed, and
// does nothing after that.
func TestControlFaults(t *testing.T) {
	c := start(t, "-control")
	const leader = "/v1/status/leader"
	c.expect(t, "GET", "/control/faults", "", 200, `[]`)
	c.expect(t, "POST", "/control/faults", `{"Path": "/v1/status/leader", "Status": 503, "Body": "away"}`, 201, `{"ID":1}`)
	c.expect(t, "POST", "/control/faults", `{"Path": "/v1/agent/**", "Always": true, "NoLeader": true, "Latency": "1ms"}`, 201, `{"ID":2}`)
	c.expect(t, "GET", leader, "", 503, "away")
	c.expect(t, "GET", leader, "", 200, `"127.0.0.1:8300"`)
	c.expect(t, "GET", "/v1/agent/self", "", 500, "No cluster leader")
	c.expect(t, "GET", "/v1/agent/services", "", 500, "No cluster leader")
	c.expect(t, "GET", "/control/faults", "", 200, `[{"ID":1,"Count":1,"Fault":{"Path":"/v1/status/leader","Status":503,"Body":"away"}},`+
		`{"ID":2,"Count":2,"Fault":{"Path":"/v1/agent/**","Always":true,"NoLeader":true,"Latency":"1ms"}}]`)
	c.expect(t, "DELETE", "/control/faults/2", "", 204, "")
	c.expect(t, "GET", "/v1/agent/services", "", 200, "{}")
	c.expect(t, "DELETE", "/control/faults/2", "", 404, `{"Error":"there is no fault \"2\""}`)
	c.expect(t, "POST", "/control/faults", `{"Always": true, "Drop": "ResetRequest"}`, 201, `{"ID":3}`)
	if resp, err := http.Get(c.url + leader); err == nil {
		t.Errorf("status %d, want a dropped connection", resp.StatusCode)
	}
	c.expect(t, "DELETE", "/control/faults", "", 204, "")
	c.expect(t, "GET", leader, "", 200, `"127.0.0.1:8300"`)
	c.expect(t, "GET", "/control/faults", "", 200, `[]`)
}

// A request hangs until its fault is removed, and can be waited for before.
func TestControlHang(t *testing.T) {
	c := start(t, "-control")
	c.expect(t, "POST", "/control/faults", `{"Path": "/v1/status/leader", "Hang": true}`, 201, `{"ID":1}`)
	responded := make(chan error, 1)
	go func() {
		_, err := client(t, c.url).Status().Leader(context.Background())
		responded <- err
	}()
	for hanging := false; !hanging; {
		_, list := c.call(t, "GET", "/control/faults", "")
		hanging = strings.Contains(list, `"Count":1`)
	}
	select {
	case err := <-responded:
		t.Errorf("a response, %v", err)
	default:
	}
	c.expect(t, "DELETE", "/control/faults/1", "", 204, "")
	if err := <-responded; err != nil {
		t.Error(err)
	}
}

// The agent is restarted with its data or without. That does not end the command, but a
// leave does.
func TestControlRestart(t *testing.T) {
	c := start(t, "-control")
	agent := client(t, c.url).Agent()
	ctx := context.Background()
	for _, tt := range []struct {
		body string
		left int
	}{{`{"KeepState": true}`, 1}, {`{"KeepState": false}`, 0}, {"", 0}} {
		if err := agent.ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"}); err != nil {
			t.Fatal(err)
		}
		c.expect(t, "POST", "/control/restart", tt.body, 204, "")
		if services, err := agent.Services(ctx, nil); err != nil || len(services) != tt.left {
			t.Errorf("%s: %d services, %v; want %d", tt.body, len(services), err, tt.left)
		}
	}
	if err := agent.Leave(ctx); err != nil {
		t.Error(err)
	}
	if status := c.wait(); status != 0 {
		t.Errorf("status %d, %s", status, c.stderr)
	}
}

func TestControlRequests(t *testing.T) {
	c := start(t, "-control")
	c.call(t, "GET", "/v1/catalog/nodes?token=secret&near=_agent", "")
	c.call(t, "PUT", "/v1/agent/service/register", "{")
	status, text := c.call(t, "GET", "/control/requests", "")
	var list []struct {
		Method, URL string
		Status      int
		Time        time.Time
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 || len(list) != 2 {
		t.Fatalf("%d %s, %v", status, text, err)
	}
	if got := list[0]; got.Method != "GET" || got.URL != "/v1/catalog/nodes?near=_agent&token=redacted" || got.Status != 200 || got.Time.IsZero() {
		t.Errorf("got %+v", got)
	}
	if got := list[1]; got.Method != "PUT" || got.URL != "/v1/agent/service/register" || got.Status != 400 {
		t.Errorf("got %+v", got)
	}
}

// What cannot be carried out is an error that names what is wrong, and changes nothing.
func TestControlRefusals(t *testing.T) {
	c := start(t, "-control")
	for _, tt := range []struct {
		request, body string
		status        int
		want          string
	}{
		{"POST /control/faults", ``, 400, "the body is empty; want a fault"},
		{"POST /control/faults", `{`, 400, "body: unexpected EOF"},
		{"POST /control/faults", `[]`, 400, "cannot unmarshal array"},
		{"POST /control/faults", `{"Status": 500} {}`, 400, "body: want one JSON object"},
		{"POST /control/faults", `{"Statsu": 500}`, 400, `unknown field \"Statsu\"`},
		{"POST /control/faults", `{"Status": "500"}`, 400, "cannot unmarshal string"},
		{"POST /control/faults", `{"Status": 5}`, 400, "Status 5: want 200 to 999"},
		{"POST /control/faults", `{"Status": 500, "NoLeader": true}`, 400, "more than one response"},
		{"POST /control/faults", `{"Path": "v1"}`, 400, "want a slash at the beginning"},
		{"POST /control/faults", `{"Latency": 2}`, 400, `duration 2: want text such as \"2s\"`},
		{"POST /control/faults", `{"Latency": "soon"}`, 400, "want text such as"},
		{"POST /control/faults", `{"Drop": "Everything"}`, 400, `Drop \"Everything\": want any of DropAnswer, DropRequest`},
		{"POST /control/faults", `{"Body": "` + strings.Repeat("x", 1<<20) + `"}`, 400, "too large"},
		{"POST /control/restart", `{"Keep": true}`, 400, `unknown field \"Keep\"`},
		{"DELETE /control/faults/7", ``, 404, `there is no fault \"7\"`},
		{"DELETE /control/faults/x", ``, 404, `there is no fault \"x\"`},
		{"PUT /control/faults", `{}`, 405, "Method Not Allowed"},
		{"GET /control/faulst", ``, 404, "not found"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		if status, text := c.call(t, method, path, tt.body); status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s %.80s: %d %s, want %d and %q", tt.request, tt.body, status, text, tt.status, tt.want)
		}
	}
	c.expect(t, "GET", "/control/faults", "", 200, `[]`)
	c.expect(t, "GET", "/control/requests", "", 200, `[]`)
}

// Faults that are injected and removed at the same time have an ID each.
func TestControlIsConcurrent(t *testing.T) {
	c := start(t, "-control")
	const clients = 8
	var group sync.WaitGroup
	ids := make([]int, clients)
	for n := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			_, text := c.call(t, "POST", "/control/faults", `{"Always": true, "Latency": "1ms"}`)
			var injected struct{ ID int }
			if err := json.Unmarshal([]byte(text), &injected); err != nil {
				t.Error(text, err)
			}
			ids[n] = injected.ID
			if n%2 == 0 {
				c.call(t, "DELETE", "/control/faults", "")
			}
		}()
	}
	group.Wait()
	slices.Sort(ids)
	if len(slices.Compact(ids)) != clients || ids[0] != 1 {
		t.Errorf("IDs %v", ids)
	}
}

// The fields of a fault are those of consulmock.Fault, except those that are of Go.
func TestControlFields(t *testing.T) {
	fields := func(of any) (names []string) {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		return names
	}
	got := fields(faultBody{})
	want := slices.DeleteFunc(fields(consulmock.Fault{}), func(name string) bool { return name == "Match" || name == "Observe" })
	if !slices.Equal(got, want) {
		t.Errorf("fields %v, want %v", got, want)
	}
	body := faultBody{
		Method: "GET", Path: "/a", Skip: 1, Times: 1, Always: true, Latency: 1, Hang: true, Drop: 1, NoLeader: true, RateLimit: 1,
		Status: 1, Body: "a", Header: http.Header{"A": {"b"}}, Index: 1, TruncateAt: 1, Endless: true,
	}
	f, _ := body.fault(&consulmock.Observer{})
	value := reflect.ValueOf(f)
	for _, name := range want {
		if value.FieldByName(name).IsZero() {
			t.Errorf("%s does not reach the fault", name)
		}
	}
}

// Nobody controls an agent without the flag.
func TestControlIsOptional(t *testing.T) {
	c := start(t)
	if status, text := c.call(t, "POST", "/control/restart", ""); status != 404 {
		t.Errorf("%d %s", status, text)
	}
	start(t, "-control", "-control-remote")
	for address, want := range map[string]bool{"127.0.0.1:8500": true, "[::1]:8500": true, "0.0.0.0:8500": false, ":8500": false, "192.0.2.1:8500": false} {
		if err := checkLoopback(address); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}
