package consulmock

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock/internal/api"
	"github.com/lictor-go/consul/consulmock/internal/filter"
)

// ask sends a request with headers ("Name: value") to the server's handler, and
// returns the answer.
func ask(t *testing.T, s *Server, method, target, body string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8500"+target, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Result()
}

// text returns the status and the body of an answer, with the header that the
// status makes interesting.
func text(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	extra := ""
	switch {
	case r.Header.Get("Location") != "":
		return fmt.Sprintf("%d %s", r.StatusCode, r.Header.Get("Location"))
	case r.Header.Get("Allow") != "":
		extra = " [" + r.Header.Get("Allow") + "]"
	}
	return strings.TrimRight(fmt.Sprintf("%d%s %s", r.StatusCode, extra, body), " \n")
}

// The answers of both versions, to requests that are refused or odd.
func TestAnswers(t *testing.T) {
	const (
		both = ""
		gone = `404 Invalid URL path: not a recognized HTTP API endpoint`
	)
	for _, test := range []struct {
		method, target, body string
		modern, old          string // old is as modern if it is empty
	}{
		// paths and methods
		{"GET", "/", "", "301 /ui/", both},
		{"GET", "/v1/nope", "", gone, "404"},
		{"GET", "/v2/agent/self", "", "404 Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'", "404"},
		{"GET", "/v1/agent/self/", "", gone, "404"},
		{"GET", "/v1//agent/self?a=b", "", "307 /v1/agent/self?a=b", "301 /v1/agent/self?a=b"},
		{"PUT", "/v1/agent/../agent/reload", "", "307 /v1/agent/reload", "301 /v1/agent/reload"},
		{"GET", "/v1/health/service", "", "307 /v1/health/service/", "301 /v1/health/service/"},
		{"GET", "/v1/agent/service/a%2F%2Fb", "", "404 unknown service ID: a//b", "301 /v1/agent/service/a/b"},
		{"GET", "/v1/catalog/datacenters?index=x&wait=x&ns=x&partition=x", "", `200 ["dc1"]`, both},
		{"GET", "/v1/catalog/datacenters?max_stale=x", "", `400 Invalid max_stale value "x"["dc1"]`, both},
		{"GET", "/v1/catalog/datacenters?ns=&partition=", "", `200 ["dc1"]`, both},
		{"GET", "/v1/agent/service/none?index=x", "", "400 Invalid index", both},
		{"GET", "/v1/agent/service/a%252Fb", "", "404 unknown service ID: a%2Fb", both},
		{"GET", "/v1/agent/service/register/", "", "404 unknown service ID: register/", both},
		{"GET", "/v1/health/service/%00", "", "400", both},
		{"POST", "/v1/agent/self", "", "405 [OPTIONS,GET] method POST not allowed", both},
		{"OPTIONS", "/v1/agent/reload", "", "200 [OPTIONS,PUT]", both},
		{"GET", "/v1/agent/version", "", `200 {"SHA":"","BuildDate":"1970-01-01T00:00:01Z","HumanVersion":"1.21.4","FIPS":""}`, "404"},
		{"GET", "/v1/agent/services?%zz", "", "500", both},
		{"GET", "/v1/agent/services?a;b", "", "500", "200 {}"},
		{"GET", "/v1/query/x", "", "501 consulmock does not model GET /v1/query/x", both},

		// parameters of reads
		{"GET", "/v1/health/service/", "", "400 Missing service name", both},
		{"GET", "/v1/health/service/web?passing=x", "", "400 Invalid value for ?passing", both},
		{"GET", "/v1/health/service/web?passing=x&dc=dc9", "", "400 Invalid value for ?passing", "500 No path to datacenter"},
		{"GET", "/v1/health/service/web?sg=x", "", "500 sameness groups are not supported in consul CE", "200 []"},
		{"GET", "/v1/health/service/web?sameness-group=x", "", "500 sameness groups are not supported in consul CE", "200 []"},
		{"GET", "/v1/health/service/?sg=x&peer=x&passing=x", "", "400 peer-name and sameness-group are mutually exclusive", "400 Missing service name"},
		{"GET", "/v1/health/service/web?index=x", "", "400 Invalid index", both},
		{"GET", "/v1/health/service/web?wait=5", "", "400 Invalid wait time", both},
		{"GET", "/v1/catalog/nodes?stale&consistent", "", "400 Cannot specify ?stale with ?consistent, conflicting semantics.", both},
		{"GET", "/v1/catalog/nodes?cached&consistent", "", "400 Cannot specify ?cached with ?consistent, conflicting semantics.", both},
		{"PUT", "/v1/txn?cached&consistent", "[]", "400 Cannot specify ?cached with ?consistent, conflicting semantics.", both},
		{"GET", "/v1/operator/raft/configuration?cached&consistent", "", "400 Cannot specify ?cached with ?consistent, conflicting semantics.", both},
		{"GET", "/v1/health%2Fservice/web", "", "404 Invalid URL path: not a recognized HTTP API endpoint", "200 []"},
		{"GET", "/v1/catalog/nodes?max_stale=x", "", `400 Invalid max_stale value "x"`, both},
		{"GET", "/v1/catalog/nodes?dc=dc9", "", "500 No path to datacenter", both},
		{"GET", "/v1/catalog/services?ns=x", "", `400 Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`,
			`400 Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
		{"GET", "/v1/agent/service/x?ns=x&wait=x", "", "400 Invalid wait time", both},
		{"GET", "/v1/kv/x?ns=x&index=x", "", "400 Invalid index", both},
		{"GET", "/v1/kv/?ns=x", "", "400 Missing key name", both},
		{"GET", "/v1/session/list?ns=x&wait=x", "", "400 Invalid wait time", both},
		{"PUT", "/v1/session/renew/?ns=x", "", `400 Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`,
			`400 Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`},
		{"GET", "/v1/catalog/node/none", "", "200 null", both},
		{"GET", "/v1/catalog/node-services/none", "", `200 {"Node":null,"Services":null}`, both},
		{"GET", "/v1/health/checks/none", "", "200 []", both},
		{"GET", "/v1/status/peers", "", `200 ["127.0.0.1:8300"]`, both},

		// bodies
		{"PUT", "/v1/agent/service/register", "", "400 Request decode failed: EOF", both},
		{"PUT", "/v1/agent/service/register", "{", "400 Request decode failed: unexpected EOF", both},
		{"PUT", "/v1/agent/service/register", "null", "400 Missing service name", both},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Bogus":1}`, `400 Request decode failed: json: unknown field "Bogus"`, both},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Port":"80"}`,
			"400 Request decode failed: json: cannot unmarshal string into Go struct field .Alias.Port of type int",
			"400 Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","SocketPath":"/x"}`, "200", `400 Request decode failed: json: unknown field "SocketPath"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Check":{"UDP":"x:1","Interval":"1s"}}`, "200", `400 Request decode failed: json: unknown field "UDP"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Namespace":"n","Check":{"UDP":"x:1","Interval":"1s"}}`,
			`400 Request decode failed: json: unknown field "Namespace"`, `400 Request decode failed: json: unknown field "UDP"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","SocketPath":"/x","Bogus":1}`,
			`400 Request decode failed: json: unknown field "Bogus"`, `400 Request decode failed: json: unknown field "SocketPath"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Check":{"TTL":"abc","FailuresBeforeWarning":5}}`,
			`400 Request decode failed: time: invalid duration "abc"`, `400 Request decode failed: json: unknown field "FailuresBeforeWarning"`},
		{"PUT", "/v1/agent/check/register", `{"TTL":"abc","Name":"x","Bogus":1}`, `400 Request decode failed: json: unknown field "Bogus"`, both},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Kind":"mesh-gateway"}`,
			"400 Validation failed: 1 error occurred:\n\t* Port must be non-zero for a mesh-gateway", "400 1 error occurred:\n\t* Port must be non-zero for a mesh-gateway"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Kind":"ingress-gateway","Proxy":{"DestinationServiceID":"y","LocalServicePort":1},"Connect":{"SidecarService":{}}}`,
			"400 Validation failed: 3 errors occurred:\n\t* A ingress-gateway cannot have a sidecar service defined\n" +
				"\t* The Proxy.DestinationServiceID configuration is invalid for a ingress-gateway\n\t* The Proxy.LocalServicePort configuration is invalid for a ingress-gateway",
			"400 3 errors occurred:\n\t* A ingress-gateway cannot have a sidecar service defined\n" +
				"\t* The Proxy.DestinationServiceID configuration is invalid for a ingress-gateway\n\t* The Proxy.LocalServicePort configuration is invalid for a ingress-gateway"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Check":{"Name":5}}`,
			"400 Request decode failed: json: cannot unmarshal number into Go struct field .Alias.Check.Alias.Name of type string",
			"400 Request decode failed: json: cannot unmarshal number into Go struct field .Check of type string"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Weights":{"Passing":"1"}}`,
			"400 Request decode failed: json: cannot unmarshal string into Go struct field Weights.Alias.Weights.Passing of type int",
			"400 Request decode failed: json: cannot unmarshal string into Go struct field Weights.Weights.Passing of type int"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Checks":[{"Args":"x"}]}`,
			"400 Request decode failed: json: cannot unmarshal string into Go struct field .Alias.Checks.args of type []string",
			"400 Request decode failed: json: cannot unmarshal string into Go struct field .Checks of type []string"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Connect":{"Native":"yes"}}`,
			"400 Request decode failed: json: cannot unmarshal string into Go struct field .Alias.Connect.Alias.Native of type bool",
			"400 Request decode failed: json: cannot unmarshal string into Go struct field .Connect of type bool"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Connect":{"sidecar_service":{"Check":{"HTTP":1}}}}`,
			"400 Request decode failed: json: cannot unmarshal number into Go struct field .Alias.Connect.Alias.SidecarService.Alias.Check.Alias.HTTP of type string",
			"400 Request decode failed: json: cannot unmarshal number into Go struct field .Connect of type string"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Connect":{"Bogus":1}}`, "200", both},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Proxy":{"Bogus":1}}`, `400 Request decode failed: json: unknown field "Bogus"`, both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Check":{"Name":"c","CheckID":5}}`,
			"400 Request decode failed: json: cannot unmarshal number into Go struct field HealthCheck.Check.CheckID of type types.CheckID", both},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Address":"0.0.0.0"}`, "400 Invalid service address", both},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Meta":{"consul-x":"v"}}`,
			"400 Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'v'): Key prefix 'consul-' is reserved for internal use", both},
		{"PUT", "/v1/agent/check/register", `{"Name":"x","Args":["true"],"Interval":"1s"}`,
			"500 Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true", both},
		{"PUT", "/v1/agent/check/register", `{"Name":"x","TTL":"1s","CheckID":"y"}`, `400 Request decode failed: json: unknown field "CheckID"`, both},
		{"PUT", "/v1/agent/check/register", `{"Name":"x","TTL":"1s","ServiceID":"none"}`, `404 ServiceID "none" does not exist`, `500 ServiceID "none" does not exist`},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"ID":"x"}}`,
			"500 Must provide service name (Service.Service) when service ID is provided", "500 Must provide service name with ID"},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Check":{"CheckID":"c","Interval":"1s"}}`, "200 true", `400 Request decode failed: json: unknown field "Interval"`},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Checks":[{"CheckID":"c"},{"CheckID":"d","peername":""}]}`, "200 true", `400 Request decode failed: json: unknown field "peername"`},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","service":{"Service":"x","SocketPath":"/x"}}`, "200 true", `400 Request decode failed: json: unknown field "SocketPath"`},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Namespace":"x"}`, `400 Request decode failed: json: unknown field "Namespace" - Namespaces are a Consul Enterprise feature`, both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"x","Address":"::"}}`, "500 Invalid service address", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Checks":[{"Status":"passing"},{"CheckID":"c","ServiceID":"none"},{"CheckID":"d","Node":"m"}]}`,
			"500 Unknown service ID 'none' for check ID 'c'", `500 failed inserting check: failed inserting check: object missing primary index on node "n"`},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"x","Meta":{"?":""}},"Check":{"Status":"passing"}}`,
			"500 failed inserting service: Invalid Service Meta for node n and serviceID x: Couldn't load metadata pair ('?', ''): Key contains invalid characters", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Checks":[{"CheckID":"c","Definition":1}]}`,
			"400 Request decode failed: json: cannot unmarshal number into Go struct field HealthCheck.Checks.Definition of type struct { Interval interface {}; Timeout interface {}; DeregisterCriticalServiceAfter interface {}; TTL interface {}; *structs.Alias }", both},
		{"PUT", "/v1/txn", `[{"Check":{"Verb":"set","Check":{"Node":"n","CheckID":"c","Definition":[]}}}]`,
			"400 Failed to parse body: json: cannot unmarshal array into Go struct field HealthCheck.Check.Check.Definition of type struct { IntervalDuration interface {}; TimeoutDuration interface {}; DeregisterCriticalServiceAfterDuration interface {}; *api.Alias }", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","ID":"1"}`, "500 Bad node ID: uuid string is wrong length", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","ID":"11111111+1111-1111-1111-111111111111"}`, "500 Bad node ID: uuid is improperly formatted", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","ID":"11111111-1111-1111-1111-11111111111z"}`, "500 Bad node ID: encoding/hex: invalid byte: U+007A 'z'", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"ID":"x","Locality":{"Zone":"z"}}}`,
			"500 1 error occurred:\n\t* zone cannot be set without region", `400 Request decode failed: json: unknown field "Locality"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Kind":"ingress-gateway","Check":{"Args":["true"],"Interval":"1s"}}`,
			"500 error updating service registration: Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
			"500 Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"x"},"Check":{"CheckID":"c","ServiceID":"X"}}`,
			"500 Unknown service ID 'X' for check ID 'c'", "200 true"},
		{"PUT", "/v1/catalog/register", `{"Node":"n","ID":"x"}`, "500 Bad node ID: uuid string is wrong length", both},
		{"PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"x","Meta":{"a b":"c"}}}`,
			"500 failed inserting service: Invalid Service Meta for node n and serviceID x: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters", both},
		{"PUT", "/v1/catalog/deregister", `{"Node":"none"}`, "200 true", both},
		{"PUT", "/v1/catalog/deregister", `{"Node":"none","PeerName":""}`, "200 true", `400 Request decode failed: json: unknown field "PeerName"`},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Kind":"connect-proxy","Locality":{"Zone":"z"}}`,
			"400 Validation failed: 3 errors occurred:\n\t* zone cannot be set without region\n\t* Port or SocketPath must be set for a connect-proxy\n" +
				"\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services", `400 Request decode failed: json: unknown field "Locality"`},

		// what is not there
		{"PUT", "/v1/agent/service/deregister/none", "", `404 Unknown service ID "none". Ensure that the service ID is passed, not the service name.`, "200"},
		{"PUT", "/v1/agent/service/maintenance/none?enable=true", "", `404 Unknown service ID "none". Ensure that the service ID is passed, not the service name.`,
			`404 No service registered with ID "none"`},
		{"PUT", "/v1/agent/check/pass/none", "", `404 Unknown check ID "none". Ensure that the check ID is passed, not the check name.`,
			`500 CheckID "none" does not have associated TTL`},
		{"PUT", "/v1/agent/check/deregister/none", "", `404 Unknown check ID "none". Ensure that the check ID is passed, not the check name.`, "200"},
		{"PUT", "/v1/agent/maintenance", "", "400 Missing value for enable", both},
		{"PUT", "/v1/agent/maintenance?enable=x", "", `400 Invalid value for enable: "x"`, both},
		{"PUT", "/v1/agent/join/127.0.0.1:1", "", "500 1 error occurred:\n\t* Failed to join 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
			"500 1 error occurred:\n\t* Failed to join 127.0.0.1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"PUT", "/v1/agent/force-leave/none", "", "500 agent: No node found with name 'none'", both},
		{"PUT", "/v1/txn", `[{"Check":{"Verb":"cas","Check":{"Node":"none","CheckID":"c"}}}]`, `200 {"Results":[],"Errors":null}`, both},
		{"PUT", "/v1/txn", `[{"Check":{"Verb":"set","Check":{"Node":"none","CheckID":"c"}}}]`, `409 {"Results":null,"Errors":[{"OpIndex":0,"What":"Missing node registration"}]}`, both},
		{"PUT", "/v1/agent/token/default", `{"Token":"x"}`, "401 ACL support disabled", both},
		{"GET", "/v1/agent/monitor?loglevel=x", "", "400 Unknown log level: x", "400 Bad request: Unknown log level: x"},
	} {
		for version, want := range map[string]string{"1.21.4": test.modern, "1.8.7": test.old} {
			if want == both {
				want = test.modern
			}
			s := NewServer(WithVersion(version), WithCompactJSON(true))
			if got := text(t, ask(t, s, test.method, test.target, test.body)); got != want {
				t.Errorf("%s: %s %s %s\n got %s\nwant %s", version, test.method, test.target, test.body, got, want)
			}
			s.Close()
		}
	}
}

// What the catalog refuses leaves nothing behind.
func TestRefusedRegistration(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version))
		got := text(t, ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"web"},"Check":{"CheckID":"c","ServiceID":"none"}}`))
		if !strings.HasPrefix(got, "500 ") {
			t.Errorf("%s: %s", version, got)
		}
		for _, target := range []string{"/v1/catalog/node/n", "/v1/catalog/service/web"} {
			if got := text(t, ask(t, s, "GET", target, "")); got != "200 null" && got != "200 []" {
				t.Errorf("%s: %s is %s", version, target, got)
			}
		}
	}
}

// What only Consul Enterprise has is refused where it counts. Empty parameters are
// none.
func TestEnterpriseParameters(t *testing.T) {
	const both, partitions, none = "both", "partitions", "none"
	for path, refused := range map[string]string{
		"/v1/health/service/web": both, "/v1/catalog/services": both, "/v1/agent/services": both, "/v1/agent/checks": both, "/v1/agent/service/web": both,
		"/v1/agent/health/service/id/web": both, "/v1/agent/health/service/name/web": both, "/v1/catalog/nodes": partitions, "/v1/agent/members": partitions,
		"/v1/agent/self": none, "/v1/status/leader": none, "/v1/catalog/datacenters": none,
	} {
		for _, version := range []string{"1.8.7", "1.21.4"} {
			s := New(t, WithVersion(version))
			ask(t, s, "PUT", "/v1/agent/service/register", webRegistration)
			hasPartitions := version == "1.21.4" && refused != none
			for _, test := range []struct {
				query, header string
				refused       bool
			}{
				{"?ns=&partition=", "", false}, {"?ns=x", "", refused == both}, {"", "X-Consul-Namespace: x", refused == both},
				{"?partition=x", "", hasPartitions}, {"", "X-Consul-Partition: x", hasPartitions},
			} {
				r := ask(t, s, "GET", path+test.query, "", test.header)
				if isRefused := r.StatusCode == http.StatusBadRequest; isRefused != test.refused || !isRefused && r.StatusCode != http.StatusOK {
					t.Errorf("%s: %s%s %s: %s", version, path, test.query, test.header, text(t, r))
				}
			}
		}
	}
}

// A header that is refused comes before a parameter, and namespaces before partitions.
func TestOrderOfEnterpriseParameters(t *testing.T) {
	const query, namespace, partition = "?ns=x&partition=x", "X-Consul-Namespace: x", "X-Consul-Partition: x"
	for _, test := range []struct {
		query   string
		headers []string
		want    string
	}{
		{query, []string{namespace, partition}, `header: "X-Consul-Namespace"`},
		{query, []string{partition}, `parameter: "ns"`},
		{"?partition=x", []string{partition}, `header: "X-Consul-Partition"`},
		{"?partition=x", nil, `parameter: "partition"`},
	} {
		s := New(t)
		if got := text(t, ask(t, s, "GET", "/v1/kv/x"+test.query, "", test.headers...)); !strings.Contains(got, test.want) {
			t.Errorf("%s %q: got %s, want %s", test.query, test.headers, got, test.want)
		}
	}
}

// The catalog takes weights that an agent would refuse for none, and refuses a check
// without an ID or name.
func TestCatalogRegistration(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		s := New(t, WithVersion(version), WithCompactJSON(true))
		for weights, want := range map[string]consul.AgentWeights{
			`null`: {Passing: 1, Warning: 1}, `{"Passing":5,"Warning":0}`: {Passing: 5}, `{"Passing":0,"Warning":3}`: {Passing: 1, Warning: 1},
			`{"Passing":5,"Warning":-1}`: {Passing: 1, Warning: 1}, `{"Passing":65536,"Warning":1}`: {Passing: 1, Warning: 1}, `{}`: {Passing: 1, Warning: 1},
		} {
			ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Service":{"Service":"web","Weights":`+weights+`}}`)
			entries, _, err := s.Client().Health().Service(context.Background(), "web", nil)
			if err != nil || len(entries) != 1 || entries[0].Service.Weights != want {
				t.Errorf("%s: %s: got %v, %v, want %v", version, weights, entries, err, want)
			}
		}
		ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":{"Interval":"1m","Timeout":0,"TTL":"1us","HTTP":"x"}}}`)
		if got := text(t, ask(t, s, "GET", "/v1/health/node/n", "")); !strings.Contains(got, `"Definition":{"Interval":"1m0s","HTTP":"x","TTL":1000}`) {
			t.Errorf("%s: got %s", version, got)
		}
		ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":{"HTTP":"x"}}}`)
		if got := text(t, ask(t, s, "GET", "/v1/health/node/n", "")); !strings.Contains(got, `"Type":""`) {
			t.Errorf("%s: a check without an interval has a kind: %s", version, got)
		}
		want := map[string]string{
			"1.8.7":  `500 failed inserting check: failed inserting check: object missing primary index on node "m"`,
			"1.21.4": `500 failed inserting check on node "m": failed health check lookup: index error: object is missing a value for this index`,
		}[version]
		if got := text(t, ask(t, s, "PUT", "/v1/catalog/register", `{"Node":"m","Address":"a","Check":{}}`)); got != want {
			t.Errorf("%s: got %s", version, got)
		}
		if got := text(t, ask(t, s, "GET", "/v1/catalog/node/m", "")); got != "200 null" {
			t.Errorf("%s: the node is there: %s", version, got)
		}
	}
}

// An agent in development mode has no files, from which others take again what
// they had.
func TestReload(t *testing.T) {
	for _, compact := range []bool{false, true} {
		s := New(t, WithCompactJSON(compact))
		for target, body := range map[string]string{
			"/v1/agent/service/register":        `{"Name":"web","Port":80,"Check":{"TTL":"1h"},"Connect":{"SidecarService":{}}}`,
			"/v1/agent/check/register":          `{"Name":"of the node","TTL":"1h"}`,
			"/v1/agent/maintenance?enable=true": "",
		} {
			if got := text(t, ask(t, s, "PUT", target, body)); got != "200" {
				t.Fatal(got)
			}
		}
		if got := text(t, ask(t, s, "PUT", "/v1/agent/reload", "")); got != "200" {
			t.Fatal(got)
		}
		for target, lost := range map[string]string{"/v1/agent/services": "200 {}", "/v1/agent/checks": "200 {}", "/v1/catalog/service/web": "200 []"} {
			if got := text(t, ask(t, s, "GET", target, "")); (got == lost) == compact {
				t.Errorf("compact %t: %s is %s", compact, target, got)
			}
		}
	}
}

// The form of the JSON: indented for development agents and with pretty, with a
// final newline or not.
func TestLayout(t *testing.T) {
	for _, test := range []struct {
		version, target string
		compact         bool
		want            string
	}{
		{"1.21.4", "/v1/status/peers", false, "[\n    \"127.0.0.1:8300\"\n]"},
		{"1.21.4", "/v1/status/peers?pretty=false", false, "[\n    \"127.0.0.1:8300\"\n]\n"},
		{"1.21.4", "/v1/status/peers", true, `["127.0.0.1:8300"]`},
		{"1.21.4", "/v1/status/peers?pretty", true, "[\n    \"127.0.0.1:8300\"\n]\n"},
		{"1.8.7", "/v1/status/peers", false, "[\n    \"127.0.0.1:8300\"\n]\n"},
		{"1.8.7", "/v1/status/peers", true, `["127.0.0.1:8300"]`},
	} {
		s := New(t, WithVersion(test.version), WithCompactJSON(test.compact))
		body, _ := io.ReadAll(ask(t, s, "GET", test.target, "").Body)
		if string(body) != test.want {
			t.Errorf("%s %s compact=%t: got %q, want %q", test.version, test.target, test.compact, body, test.want)
		}
	}
}

// 1.21.4 compresses what is long, 1.8.7 everything.
func TestCompression(t *testing.T) {
	for _, test := range []struct {
		version, target, accept string
		want                    bool
	}{
		{"1.21.4", "/v1/status/leader", "gzip", false},
		{"1.21.4", "/v1/agent/self", "gzip", true},
		{"1.21.4", "/v1/agent/self", "deflate, gzip;q=0.5", true},
		{"1.21.4", "/v1/agent/self", "gzip;q=0", false},
		{"1.21.4", "/v1/agent/self", "", false},
		{"1.8.7", "/v1/status/leader", "gzip", true},
		{"1.8.7", "/v1/agent/service/none", "gzip", true},
		{"1.8.7", "/v1/nope", "gzip", false},
	} {
		s := New(t, WithVersion(test.version))
		r := ask(t, s, "GET", test.target, "", "Accept-Encoding: "+test.accept)
		if got := r.Header.Get("Content-Encoding") == "gzip"; got != test.want {
			t.Errorf("%s %s %q: compressed %t, want %t", test.version, test.target, test.accept, got, test.want)
		} else if got {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(z); err != nil || len(body) == 0 {
				t.Errorf("%s %s: %q, %v", test.version, test.target, body, err)
			}
		}
	}
}

// The health of a local service is a word if the header Accept or the parameter format
// says so. The header counts first, and only if it is for plain text.
func TestHealthInAWord(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		for _, test := range []struct{ query, accept, want string }{
			{"", "", "application/json"}, {"", "text/plain", "text/plain"}, {"", "application/json", "application/json"},
			{"?format=text", "", "text/plain"}, {"?format=text", "application/json", "text/plain"},
			{"?format=json", "text/plain", "text/plain"}, {"?format=x", "text/plain", "text/plain"}, {"?format=json", "", "application/json"},
		} {
			s := New(t, WithVersion(version))
			ask(t, s, "PUT", "/v1/agent/service/register", webRegistration)
			for _, path := range []string{"/v1/agent/health/service/name/web", "/v1/agent/health/service/id/web"} {
				if got := ask(t, s, "GET", path+test.query, "", "Accept: "+test.accept).Header.Get("Content-Type"); got != test.want {
					t.Errorf("%s: %s%s, Accept %q: %s, want %s", version, path, test.query, test.accept, got, test.want)
				}
			}
		}
	}
}

// A null breaks the connection where the agent's decoder does not expect one, before
// anything else is refused except for what is no JSON. Elsewhere it is as if it were missing.
func TestNullBreaksAgents(t *testing.T) {
	const catalog, agent, txn = "/v1/catalog/register", "/v1/agent/service/register", "/v1/txn"
	for _, test := range []struct {
		path, body string
		breaks     bool
	}{
		{catalog, `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":null}}`, true},
		{catalog, `{"Node":"n","Address":"a","Checks":[{"CheckID":"c","definition":null}]}`, true},
		{catalog, `{"Node":1,"Check":{"Bogus":1,"Definition":null}}`, true},
		{catalog, `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":null}`, false},
		{catalog, `{"Node":"n","Address":"a","Check":{"CheckID":"c","Definition":{"HTTP":null}}}`, false},
		{catalog, `{"Node":"n","Address":"a","Service":{"Service":"x","Proxy":null}}`, true},
		{catalog, `{"Node":"n","Address":"a","Service":{"Service":"x","Proxy":{"Upstreams":[{},null]}}}`, true},
		{catalog, `{"Node":"n","Address":"a","Service":{"Service":"x","Proxy":{"Expose":{"Paths":[null]}}}}`, true},
		{catalog, `{"Node":"n","Address":"a","Service":{"Service":"x","Connect":null,"Weights":null}}`, false},
		{agent, `{"Name":"x","Proxy":{"Upstreams":[null]}}`, true},
		{agent, `{"Name":"x","Proxy":{"Expose":{"Paths":[null]}}}`, true},
		{agent, `{"Name":"x","Connect":{"SidecarService":{"Proxy":{"Upstreams":[null]}}}}`, true},
		{agent, `{"Name":"x","Connect":{"sidecar_service":{"Proxy":{"Expose":{"Paths":[null]}}}}}`, true},
		{agent, `{"Name":"x","Proxy":null,"Connect":null}`, false},
		{agent, `{"Name":"x","Proxy":{"Upstreams":null,"Expose":null}}`, false},
		{txn, `[{"Check":{"Verb":"set","Check":{"Node":"node1","CheckID":"c","Definition":null}}}]`, true},
		{txn, `[{"Service":{"Verb":"set","Node":"node1","Service":{"ID":"x","Service":"x","Proxy":null}}}]`, false},
		{txn, `[{"Service":{"Verb":"set","Node":"node1","Service":{"ID":"x","Service":"x","Proxy":{"Upstreams":[null]}}}}]`, false},
	} {
		for _, version := range []string{"1.8.7", "1.21.4"} {
			s := New(t, WithVersion(version))
			if breaks := send(s, "PUT", test.path, test.body) == nil; breaks != test.breaks {
				t.Errorf("%s: %s %s: breaks: %t, want %t", version, test.path, test.body, breaks, test.breaks)
			}
		}
	}
}

// A body that is longer than the fake reads is refused.
func TestEnormousBody(t *testing.T) {
	s := New(t)
	huge := bytes.Repeat([]byte("x"), api.MaxBody+1)
	r := httptest.NewRequest("PUT", "/v1/agent/service/register", bytes.NewReader(huge))
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", w.Code)
	}
	if got := s.Requests()[0]; len(got.Body) != maxLogBody {
		t.Errorf("%d bytes of the body are logged, want %d", len(got.Body), maxLogBody)
	}
}

// What filters do to answers, besides filtering.
func TestFilterAnswers(t *testing.T) {
	s := New(t)
	c := &http.Client{Transport: s.Transport()}
	if err := s.Client().Agent().ServiceRegister(context.Background(), &consul.AgentServiceRegistration{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().Catalog().Register(context.Background(), &consul.CatalogRegistration{Node: "bare", Address: "10.0.0.9"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, filter string
		status       int
		want         string
	}{
		{"/v1/health/service/web", "Port == 1", 500, filter.ErrorPrefix + `Selector "Port" is not valid`},
		{"/v1/health/service/web?index=1", "Port == 1", 500, `Selector "Port" is not valid`}, // of the streaming backend
		{"/v1/catalog/node-services/node1", "Port == 1", 200, `"Services": []`},
		{"/v1/catalog/node-services/bare", "", 200, `"Services": null`},
		{"/v1/catalog/node-services/bare", "Port == 1", 200, `"Services": []`},
		{"/v1/catalog/node/node1", "Port == 1", 200, `"Services": {}`},
		{"/v1/agent/services", "Port == 1", 200, `{}`},
		{"/v1/health/service/web", "Service.Port == 1", 200, `[]`},
	} {
		u, _ := url.Parse("http://agent" + tt.path)
		q := u.Query()
		q.Set("filter", tt.filter)
		u.RawQuery = q.Encode()
		resp, body, err := sendTo(c, "GET", u.String(), "")
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(body, tt.want) || tt.status == 500 && body != tt.want {
			t.Errorf("%s: got %s, %v; want %s", u, body, err, tt.want)
		}
	}
	if _, _, err := sendTo(c, "GET", "http://agent/v1/agent/services?filter=Connect.Native==true", ""); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a connection that ends", err)
	}
}
