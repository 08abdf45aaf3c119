package consul

import (
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDefinitionFiles decodes what is between the braces of "service" and "check"
// in definition files, whose names are not those of the HTTP API.
func TestDefinitionFiles(t *testing.T) {
	var service AgentServiceRegistration
	err := json.Unmarshal([]byte(`{
		"id": "web-1", "name": "web", "tags": ["a_b"], "port": 8080, "meta": {"tls_skip_verify": "a_b"},
		"enable_tag_override": true, "tagged_addresses": {"lan_ipv4": {"address": "10.0.0.1", "port": 80}},
		"weights": {"passing": 2, "warning": 1}, "connect": {"sidecar_service": {"port": 20000}},
		"proxy": {"destination_service_name": "db"},
		"checks": [
			{"id": "alive", "ttl": "15s", "deregister_critical_service_after": "90m", "success_before_passing": 3},
			{"http": "https://h/", "interval": "10s", "tls_skip_verify": true, "header": {"x_y": ["z"]}},
			{"script_args": ["/bin/true"], "interval": "10s", "docker_container_id": "d"}
		]
	}`), &service)
	want := AgentServiceRegistration{
		ID: "web-1", Name: "web", Tags: []string{"a_b"}, Port: 8080, Meta: map[string]string{"tls_skip_verify": "a_b"},
		EnableTagOverride: true, TaggedAddresses: map[string]ServiceAddress{"lan_ipv4": {"10.0.0.1", 80}},
		Weights: &AgentWeights{2, 1}, Connect: &AgentServiceConnect{SidecarService: json.RawMessage(`{"port": 20000}`)},
		Proxy: json.RawMessage(`{"destination_service_name": "db"}`),
		Checks: []*AgentServiceCheck{
			{CheckID: "alive", TTL: 15 * time.Second, DeregisterCriticalServiceAfter: 90 * time.Minute, SuccessBeforePassing: 3},
			{HTTP: "https://h/", Interval: 10 * time.Second, TLSSkipVerify: true, Header: map[string][]string{"x_y": {"z"}}},
			{Args: []string{"/bin/true"}, Interval: 10 * time.Second, DockerContainerID: "d"},
		},
	}
	if err != nil || !reflect.DeepEqual(service, want) {
		t.Errorf("%v\ngot  %s\nwant %s", err, show(service), show(want))
	}

	var check AgentCheckRegistration
	err = json.Unmarshal([]byte(`{"id": "mem", "name": "memory", "service_id": "web-1", "ttl": "1m", "deregister_critical_service_after": 5000000000}`), &check)
	wantCheck := AgentCheckRegistration{ID: "mem", Name: "memory", ServiceID: "web-1",
		AgentServiceCheck: AgentServiceCheck{TTL: time.Minute, DeregisterCriticalServiceAfter: 5 * time.Second}}
	if err != nil || !reflect.DeepEqual(check, wantCheck) {
		t.Errorf("%v\ngot  %s\nwant %s", err, show(check), show(wantCheck))
	}
}

// TestCheckIDOfRegistration has the ID of a check under the name that it has in the
// check of a service.
func TestCheckIDOfRegistration(t *testing.T) {
	for _, in := range []string{`{"CheckID":"mem","Name":"memory"}`, `{"check_id":"mem","name":"memory"}`} {
		check := AgentCheckRegistration{ServiceID: "web"}
		err := json.Unmarshal([]byte(in), &check)
		if err != nil || check.CheckID != "mem" || check.Name != "memory" || check.ServiceID != "web" {
			t.Errorf("%s: got %s, %v", in, show(check), err)
		}
		if err := json.Unmarshal([]byte(`{"Notes":"n"}`), &check); err != nil || check.CheckID != "mem" || check.Notes != "n" {
			t.Errorf("%s, then notes: got %s, %v", in, show(check), err)
		}
	}
}

// TestDefinitionNames decodes every field by the name that it has in definition
// files.
func TestDefinitionNames(t *testing.T) {
	for _, v := range []any{new(AgentServiceRegistration), new(AgentServiceCheck), new(AgentServiceConnect)} {
		fill(reflect.ValueOf(v).Elem())
		if r, ok := v.(*AgentServiceRegistration); ok {
			r.ReplaceExistingChecks = false
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		snake := regexp.MustCompile(`"[A-Z]\w+":`).ReplaceAllStringFunc(string(data), func(name string) string {
			name = regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(name, "${1}_${2}")
			return strings.ToLower(regexp.MustCompile(`([A-Z])([A-Z][a-z])`).ReplaceAllString(name, "${1}_${2}"))
		})
		again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if c, ok := again.(*AgentServiceConnect); ok {
			err = json.Unmarshal([]byte(snake), (*definitionConnect)(c))
		} else {
			err = json.Unmarshal([]byte(snake), again)
		}
		if err != nil || !reflect.DeepEqual(v, again) || !strings.Contains(snake, "_") {
			t.Errorf("%T: %v\n got %s\nwant %s\nfrom %s", v, err, show(again), data, snake)
		}
	}
}

// TestDefinitionErrors decodes what is no definition.
func TestDefinitionErrors(t *testing.T) {
	for in, words := range map[string]string{
		`[]`: "array", `"x"`: "string", `{"port":"x"}`: "Port", `{"tagged_addresses":1}`: "TaggedAddresses", `{"connect":1}`: "number",
		`{"checks":[{"deregister_critical_service_after":"soon"}]}`: `duration "soon"`, `{"checks":[{"ttl":[]}]}`: "cannot unmarshal array",
	} {
		var r AgentServiceRegistration
		if err := json.Unmarshal([]byte(in), &r); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want %s", in, err, words)
		}
	}
	// What is called without package encoding/json gets what that would refuse.
	for _, in := range []string{"", "{", `{"name":"web"`, `{"name":"web"}}`, `{"name":"web"} x`, `{"name":"web",}`} {
		for _, r := range []json.Unmarshaler{new(AgentServiceRegistration), new(AgentServiceCheck), new(AgentCheckRegistration)} {
			if err := r.UnmarshalJSON([]byte(in)); err == nil {
				t.Errorf("%T of %q: no error", r, in)
			}
		}
	}
	// Null changes nothing, and what is set stays unless it is named.
	r := AgentServiceRegistration{Name: "web", Port: 80, Connect: &AgentServiceConnect{Native: true}}
	if err := json.Unmarshal([]byte(`null`), &r); err != nil || r.Name != "web" {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := json.Unmarshal([]byte(`{"port":81,"connect":{}}`), &r); err != nil || r.Name != "web" || r.Port != 81 || !r.Connect.Native {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Agents take a lock-delay of less than a microsecond for seconds.
func TestShortLockDelay(t *testing.T) {
	for delay, want := range map[time.Duration]string{
		0: "", 1: "1µs", 999: "1µs", 1500: "1.5µs", -1: "0s", time.Minute: "1m0s", math.MinInt64: "0s", math.MaxInt64: "2562047h47m16.854775807s",
	} {
		e := SessionEntry{LockDelay: delay}
		if got := e.definition().LockDelay; got != want {
			t.Errorf("%d ns: sent %q, want %q", delay, got, want)
		}
	}
}
