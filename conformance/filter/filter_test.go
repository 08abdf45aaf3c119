// Package filter compares how the fake agent filters with how the library does
// that agents use.
package filter

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-bexpr"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

var (
	duration = flag.Duration("filter.time", 2*time.Second, "how long to try random expressions")
	seed     = flag.Uint64("filter.seed", 0, "of the random expressions; 0 means another one each time")
)

// The types are what agents filter, as far as the expressions below go.
type service[Proxy, Connect any] struct {
	Kind              string
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Address           string
	SocketPath        string
	TaggedAddresses   map[string]consul.ServiceAddress
	Weights           consul.AgentWeights
	EnableTagOverride bool
	PeerName          string
	Proxy             Proxy
	Connect           Connect
}

type (
	proxy   struct{ Mode string }
	connect struct{ Native bool }

	agentService   = service[*proxy, *connect] // nil in ordinary services
	catalogService = service[proxy, connect]
)

type check struct {
	Node, CheckID, Name, Status, Notes, Output, ServiceID, ServiceName string
	ServiceTags                                                        []string
	Type, Interval, Timeout                                            string
	ExposedPort                                                        int
	PeerName                                                           string
}

type node struct {
	ID, Node, Address, Datacenter, Partition, PeerName string
	TaggedAddresses, Meta                              map[string]string
}

// names are what expressions are made of.
var names = []string{
	"Service", ".", "ID", "Tags", "Meta", "Port", "Checks", "Node", "Status", "env", " ", "  ", "\t", "\n", "==", "!=",
	" is ", " empty", " not ", " in ", " contains ", " matches ", " and ", " or ", "not ", "(", ")", "[", "]", "\"", "`",
	"0", "1", "80", "-", "1.5", ".5", "web", "\\", "\xff", "é", `"web"`, `"passing"`, `["env"]`, "v1", "Proxy.Mode", "Weights.Passing",
}

// expressions are right and wrong in every way that the grammar knows.
var expressions = []string{
	`Service == "web"`, `Service == web`, "Service == `web`", `Service.Service == "web"`, `Service.Port == 80`,
	`Port == 80 and not (ID != "web-1" or "v1" in Tags)`, `Meta.env is not empty`, `Meta["env"] == prod`, `Meta.env contains "ro"`,
	"Meta[`env`] matches \"^p\"", `Tags contains v1`, `"x" not in Meta`, `"env" in Meta`, `Tags is empty`, `Tags is not empty `,
	`Port == "0x50"`, `Port == 0x50`, `Port == -1.5`, `Port == 01`, `Port == 1x`, `Port == `, `(((ID == 1)))`, `(ID == b`, `a["b`, `a[b]`,
	`a["b" c`, `"x" in `, `"x" in 3`, `"x" not in (`, `not not not ID == "web-1"`, `ID == "a\"b"`, `ID == "a\q"`, `ID ==`, "\n\nID\n==\n\n(",
	"\xff", "ID\xff == 1", "ID == \"\xff\"", "é == 1", `EnableTagOverride == T`, `TaggedAddresses.lan.Port == 8`, `TaggedAddresses.none.Port != 8`,
	`Meta.none matches "x"`, `x not in Meta.none`, `Checks is not empty`, `Checks.Status != passing`, `Checks.ServiceTags contains v1`,
	`Weights == 1`, `Weights.Passing == 2`, `Weights.Passing == 99999999999999999999`, `ID matches "("`, `ID matches 0`, `Tags is empty or Meta is not empty`,
	`ID is not`, `ID not matches b)`, `ID  and b`, `Tags[""] == 1`, `Meta[""] == 1`, "ID==1 and\tID!=1", `ID == web-1`, `ID == 1)`,
	`(ID == 1)and ID == 2`, ` ID == 1 `, `.a == 1`, `a..b == 1`, `Tags is empty ) `, `"a" in Port`, `"a" in Checks`, `Proxy is empty`,
	`Status == "passing"`, `ServiceTags contains v1`, `Node == node1`, `Node.Node == node1`, `Node.Meta.rack == x`, `Name matches check`,
}

func random(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		var b strings.Builder
		for range 1 + r.IntN(12) {
			b.WriteString(names[r.IntN(len(names))])
		}
		return b.String()
	}
	s := expressions[r.IntN(len(expressions))]
	for range 1 + r.IntN(3) {
		from := r.IntN(len(s) + 1)
		to := from + r.IntN(min(4, len(s)-from+1))
		put := ""
		if r.IntN(3) > 0 {
			put = names[r.IntN(len(names))]
		}
		s = s[:from] + put + s[to:]
	}
	return s
}

// tester compares the answers of one endpoint with the library's.
type tester struct {
	path  string
	value any                      // a nil pointer to what agents filter there
	items map[string]reflect.Value // what is there, by its name
	names func([]byte) []string    // the names of what an answer has
}

// want returns what the library makes of an expression.
func (tt *tester) want(expression string) (result string) {
	defer func() {
		if recover() != nil {
			result = "no answer"
		}
	}()
	data := reflect.MakeMap(reflect.MapOf(reflect.TypeFor[string](), reflect.TypeOf(tt.value).Elem()))
	filter, err := bexpr.CreateFilter(expression, nil, data.Interface())
	if err != nil {
		return "500 " + err.Error()
	}
	for name, item := range tt.items {
		data.SetMapIndex(reflect.ValueOf(name), item)
	}
	kept, err := filter.Execute(data.Interface())
	if err != nil {
		return "500 " + err.Error()
	}
	set := map[string]bool{}
	for _, key := range reflect.ValueOf(kept).MapKeys() {
		set[key.String()] = true
	}
	return fmt.Sprint(set)
}

// got returns what the fake makes of it.
func (tt *tester) got(t *testing.T, client *http.Client, expression string) string {
	resp, err := client.Get("http://agent" + tt.path + "?" + url.Values{"filter": {expression}}.Encode())
	if err != nil {
		return "no answer"
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
	set := map[string]bool{}
	for _, name := range tt.names(body) {
		set[name] = true
	}
	return fmt.Sprint(set)
}

// mirror fills a value of the library's types from what the client sees.
func mirror[T any](t *testing.T, from any) reflect.Value {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	v := new(T)
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(v); err != nil {
		t.Fatal(err)
	}
	return reflect.ValueOf(v).Elem()
}

func TestFiltersAsAgentsDo(t *testing.T) {
	agent := consulmock.New(t)
	seedAgent(t, agent.Client())
	testers := endpoints(t, agent.Client())
	http := &http.Client{Transport: agent.Transport()}
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	r := rand.New(rand.NewPCG(s, 0))
	end, n := time.Now().Add(*duration), 0
	for ; n < len(expressions) || time.Now().Before(end); n++ {
		var expression string
		if n < len(expressions) {
			expression = expressions[n]
		} else {
			expression = random(r)
		}
		if expression == "" || strings.Count(expression, "(") > 4 {
			continue // the library takes exponential time for parentheses
		}
		for _, tt := range testers {
			if got, want := tt.got(t, http, expression), tt.want(expression); got != want {
				t.Fatalf("%s, %q (seed %d):\n got %s\nwant %s", tt.path, expression, s, got, want)
			}
		}
	}
	t.Logf("%d expressions on %d endpoints", n, len(testers))
}

func seedAgent(t *testing.T, client *consul.Client) {
	t.Helper()
	for _, s := range []*consul.AgentServiceRegistration{
		{
			ID: "web-1", Name: "web", Tags: []string{"v1", "green"}, Port: 80, Meta: map[string]string{"env": "prod"}, EnableTagOverride: true,
			Weights: &consul.AgentWeights{Passing: 2, Warning: 1}, TaggedAddresses: map[string]consul.ServiceAddress{"lan": {Address: "10.0.0.1", Port: 8}},
			Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthPassing, Name: "check 1"},
		},
		{ID: "web-2", Name: "web", Port: 81, Check: &consul.AgentServiceCheck{TTL: time.Hour}},
	} {
		if err := client.Agent().ServiceRegister(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
}

func endpoints(t *testing.T, client *consul.Client) []*tester {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	byKey := func(body []byte) (names []string) {
		var m map[string]any
		must(json.Unmarshal(body, &m))
		for name := range m {
			names = append(names, name)
		}
		return names
	}
	byField := func(path ...string) func([]byte) []string {
		return func(body []byte) (names []string) {
			var list []map[string]any
			must(json.Unmarshal(body, &list))
			for _, item := range list {
				for _, field := range path[:len(path)-1] {
					item = item[field].(map[string]any)
				}
				names = append(names, item[path[len(path)-1]].(string))
			}
			return names
		}
	}
	services, err := client.Agent().Services(ctx, nil)
	must(err)
	entries, _, err := client.Health().Service(ctx, "web", nil)
	must(err)
	nodes, _, err := client.Catalog().Nodes(ctx, nil)
	must(err)

	type entry struct {
		Node    *node
		Service *catalogService
		Checks  []*check
	}
	agentServices := &tester{path: "/v1/agent/services", value: (*agentService)(nil), items: map[string]reflect.Value{}, names: byKey}
	for id, s := range services {
		v := mirror[agentService](t, s)
		agentServices.items[id] = v
	}
	health := &tester{path: "/v1/health/service/web", value: (*entry)(nil), items: map[string]reflect.Value{}, names: byField("Service", "ID")}
	checks := &tester{path: "/v1/health/checks/web", value: (*check)(nil), items: map[string]reflect.Value{}, names: byField("CheckID")}
	for _, e := range entries {
		// Fields that agents have and that JSON leaves out are empty.
		health.items[e.Service.ID] = mirror[entry](t, e)
		for _, c := range e.Checks {
			if c.ServiceName == "web" {
				checks.items[c.CheckID] = mirror[check](t, c)
			}
		}
	}
	catalog := &tester{path: "/v1/catalog/nodes", value: (*node)(nil), items: map[string]reflect.Value{}, names: byField("Node")}
	for _, n := range nodes {
		catalog.items[n.Node] = mirror[node](t, n)
	}
	return []*tester{agentServices, health, checks, catalog}
}
