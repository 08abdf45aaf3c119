package discovery

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/leaf"
)

func TestDefinitionSharesNothing(t *testing.T) {
	var reg consul.AgentServiceRegistration
	v := reflect.ValueOf(&reg).Elem()
	leaf.Change(v, -1)
	reg.Check.CheckID, reg.Checks[0].CheckID = "a", "b"
	reg.Check.TTL, reg.Check.Status = time.Second, consul.HealthWarning
	reg.Proxy, reg.Connect.SidecarService, reg.Connect.PeerMeta = []byte(`{}`), []byte(`{}`), []byte(`{}`)
	d, err := newDefinition(&reg, 0)
	if err != nil {
		t.Fatal(err)
	}
	before, err := json.Marshal(d.reg)
	if err != nil {
		t.Fatal(err)
	}
	for k := 0; leaf.Change(v, k) != ""; k++ {
	}
	after, err := json.Marshal(d.reg)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("the definition has changed with the caller's:\n%s\n%s", before, after)
	}
}

// TestDefinitionLosesNothing compares the JSON of a registration in which
// everything is set with that of its copy.
func TestDefinitionLosesNothing(t *testing.T) {
	var reg consul.AgentServiceRegistration
	v := reflect.ValueOf(&reg).Elem()
	leaf.Change(v, -1)
	for k := 0; leaf.Change(v, k) != ""; k++ {
	}
	// Raw JSON has to be JSON, and the only check is moved to the list.
	reg.Proxy, reg.Connect.SidecarService, reg.Connect.PeerMeta = []byte(`{}`), []byte(`{}`), []byte(`{}`)
	reg.Checks = nil
	reg.Check.TTL, reg.Check.Status = time.Minute, consul.HealthWarning
	d, err := newDefinition(&reg, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(d.reg)
	if err != nil {
		t.Fatal(err)
	}
	reg.Checks, reg.Check = []*consul.AgentServiceCheck{reg.Check}, nil
	want, err := json.Marshal(reg)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !d.reg.ReplaceExistingChecks {
		t.Error("ReplaceExistingChecks is not set")
	}
}

func TestDefinitionChecks(t *testing.T) {
	ttl := func(d time.Duration) *consul.AgentServiceCheck { return &consul.AgentServiceCheck{TTL: d} }
	http := &consul.AgentServiceCheck{HTTP: "http://x", Interval: time.Second}
	named := &consul.AgentServiceCheck{CheckID: "mine", TTL: time.Minute}
	for _, test := range []struct {
		name   string
		reg    consul.AgentServiceRegistration
		ttl    time.Duration
		checks string
		ttls   string
		least  time.Duration
	}{
		{"none", consul.AgentServiceRegistration{Name: "web"}, 0, "service:web", "service:web", 30 * time.Second},
		{"none, TTL given", consul.AgentServiceRegistration{Name: "web"}, time.Minute, "service:web", "service:web", time.Minute},
		{"none wanted", consul.AgentServiceRegistration{Name: "web"}, -1, "", "", 0},
		{"an empty one is none", consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{}}, 0, "service:web", "service:web", 30 * time.Second},
		{"one", consul.AgentServiceRegistration{Name: "web", ID: "web-1", Check: ttl(time.Second)}, 0, "service:web-1", "service:web-1", time.Second},
		{"one in the list", consul.AgentServiceRegistration{Name: "web", Checks: []*consul.AgentServiceCheck{ttl(time.Second), nil}}, 0, "service:web", "service:web", time.Second},
		{"not a TTL", consul.AgentServiceRegistration{Name: "web", Check: http}, 0, "service:web", "", 0},
		{"several", consul.AgentServiceRegistration{Name: "web", Check: http, Checks: []*consul.AgentServiceCheck{ttl(time.Hour), named, ttl(time.Minute)}}, 0,
			"service:web:1 service:web:2 mine service:web:4", "service:web:2 mine service:web:4", time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := newDefinition(&test.reg, test.ttl)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(d.checks, " "); got != test.checks {
				t.Errorf("checks %q, want %q", got, test.checks)
			}
			if got := strings.Join(d.ttls, " "); got != test.ttls {
				t.Errorf("TTL checks %q, want %q", got, test.ttls)
			}
			if d.ttl != test.least {
				t.Errorf("TTL %s, want %s", d.ttl, test.least)
			}
		})
	}
	_, err := newDefinition(&consul.AgentServiceRegistration{Name: "web", Checks: []*consul.AgentServiceCheck{named, named}}, 0)
	if err == nil || !strings.Contains(err.Error(), `"mine"`) {
		t.Errorf("two checks of one ID: %v", err)
	}
	for _, test := range []struct {
		check *consul.AgentServiceCheck
		ttl   time.Duration
		want  string
	}{
		{nil, 15, "15ns"},
		{ttl(15), 0, "15ns"},
		{ttl(minTTL - 1), 0, "99.999999ms"},
		{ttl(minTTL), 0, ""},
		{nil, minTTL, ""},
	} {
		_, err := newDefinition(&consul.AgentServiceRegistration{Name: "web", Check: test.check}, test.ttl)
		if test.want == "" && err == nil {
			continue
		}
		if want := "discovery: check TTL is " + test.want + "; want at least 100ms (is the unit missing?)"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestDefinitionPorts checks that only ports are accepted as such: agents take any number,
// and nobody could connect.
func TestDefinitionPorts(t *testing.T) {
	lan := func(port int) map[string]consul.ServiceAddress {
		return map[string]consul.ServiceAddress{"lan": {Address: "10.0.0.1", Port: port}}
	}
	for _, test := range []struct {
		reg  consul.AgentServiceRegistration
		want string
	}{
		{consul.AgentServiceRegistration{}, ""},
		{consul.AgentServiceRegistration{Port: 65535, TaggedAddresses: lan(65535)}, ""},
		{consul.AgentServiceRegistration{TaggedAddresses: lan(0)}, ""},
		{consul.AgentServiceRegistration{Port: 65536}, "Port is 65536"},
		{consul.AgentServiceRegistration{Port: -1}, "Port is -1"},
		{consul.AgentServiceRegistration{TaggedAddresses: lan(99999)}, `TaggedAddresses["lan"].Port is 99999`},
	} {
		test.reg.Name, test.reg.ID = "web", "web-1"
		_, err := newDefinition(&test.reg, 0)
		if test.want == "" && err == nil {
			continue
		}
		if want := `discovery: service "web-1": ` + test.want + "; want 0 to 65535"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestAddedCheck checks when the agent removes a service without a check of its
// own: after ten TTLs or ten minutes, even if ten TTLs are more than can be.
func TestAddedCheck(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		0:               10 * time.Minute,
		time.Minute:     10 * time.Minute,
		2 * time.Minute: 20 * time.Minute,
		math.MaxInt64:   math.MaxInt64 / 10 * 10,
	} {
		d, err := newDefinition(&consul.AgentServiceRegistration{Name: "web"}, ttl)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.reg.Checks[0].DeregisterCriticalServiceAfter; got != want {
			t.Errorf("TTL %s: removed after %s, want %s", ttl, got, want)
		}
	}
}

func TestDefinitionStatus(t *testing.T) {
	reg := &consul.AgentServiceRegistration{Name: "web", Checks: []*consul.AgentServiceCheck{
		{TTL: time.Minute},
		{TTL: time.Minute, Status: consul.HealthWarning},
		{TCP: "x:1", Interval: time.Minute, Status: consul.HealthCritical},
		{TCP: "x:2", Interval: time.Minute},
	}}
	d, err := newDefinition(reg, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.initialStatus(); got != consul.HealthWarning {
		t.Errorf("initial status %q, want warning", got)
	}
	sent := d.withStatus(consul.HealthPassing)
	for i, want := range []consul.HealthStatus{consul.HealthPassing, consul.HealthPassing, consul.HealthCritical, ""} {
		if got := sent.Checks[i].Status; got != want {
			t.Errorf("check %d is sent with status %q, want %q", i, got, want)
		}
	}
	if got := d.reg.Checks[0].Status; got != "" {
		t.Errorf("the definition itself has changed to %q", got)
	}
}

func TestWorse(t *testing.T) {
	const p, w, c = consul.HealthPassing, consul.HealthWarning, consul.HealthCritical
	for _, test := range [][3]consul.HealthStatus{
		{p, p, p}, {p, w, w}, {w, p, w}, {p, c, c}, {c, p, c}, {w, c, c}, {c, w, c}, {w, w, w},
		{consul.HealthMaintenance, p, c}, {p, "nonsense", c}, {"", p, c},
	} {
		if got := worse(test[0], test[1]); got != test[2] {
			t.Errorf("worse(%q, %q) = %q, want %q", test[0], test[1], got, test[2])
		}
	}
}
