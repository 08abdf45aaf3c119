package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestAnyStatus sees instances of every status with their weights.
func TestAnyStatus(t *testing.T) {
	agent := consulmock.New(t)
	for _, status := range []consul.HealthStatus{consul.HealthPassing, consul.HealthWarning, consul.HealthCritical} {
		agent.AddService(&consul.AgentServiceRegistration{
			Name: "web", ID: string(status), Port: 80,
			Weights: &consul.AgentWeights{Passing: 5, Warning: 2},
			Check:   &consul.AgentServiceCheck{TTL: time.Hour, Status: status},
		})
	}
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "maintenance", Weights: &consul.AgentWeights{Passing: 5, Warning: 2}})
	if err := agent.Client().Agent().EnableServiceMaintenance(context.Background(), "maintenance", "test"); err != nil {
		t.Fatal(err)
	}
	passingOnly := consul.QueryOptions{PassingOnly: true, WaitIndex: 1 << 40, WaitHash: "x", Previous: new(consul.Result)} // the resolver sets its own
	for _, test := range []struct {
		opts discovery.ResolverOptions
		want map[string]int
	}{
		{discovery.ResolverOptions{}, map[string]int{"passing": 5}},
		{discovery.ResolverOptions{AllowWarning: true}, map[string]int{"passing": 5, "warning": 2}},
		{discovery.ResolverOptions{AnyStatus: true}, map[string]int{"passing": 5, "warning": 2, "critical": 0, "maintenance": 0}},
		{discovery.ResolverOptions{Query: passingOnly}, map[string]int{"passing": 5}},
		{discovery.ResolverOptions{Query: passingOnly, AllowWarning: true}, map[string]int{"passing": 5, "warning": 2}},
		{discovery.ResolverOptions{Query: passingOnly, AnyStatus: true}, map[string]int{"passing": 5, "warning": 2, "critical": 0, "maintenance": 0}},
	} {
		r := discovery.NewResolver(agent.Client(), &test.opts)
		instances, err := r.Instances(context.Background(), "web")
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, i := range instances {
			got[i.ID] = i.Weight
		}
		if len(got) != len(test.want) {
			t.Errorf("AllowWarning %t, AnyStatus %t: %v; want %v", test.opts.AllowWarning, test.opts.AnyStatus, got, test.want)
		}
		for id, weight := range test.want {
			if got[id] != weight {
				t.Errorf("weight of %s: %d; want %d", id, got[id], weight)
			}
		}
	}
}

// TestNoInstances checks what is said of a service without instances to pick.
func TestNoInstances(t *testing.T) {
	const hidden = " (the token may not be allowed to see all)"
	sees := func(service string) consulmock.Token {
		return consulmock.Token{SecretID: service, Rules: `service "` + service + `" { policy = "read" } node_prefix "" { policy = "read" }`}
	}
	agent := consulmock.New(t, consulmock.WithTokens(sees("web"), sees("other")))
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthCritical}})
	for _, test := range []struct {
		opts  discovery.ResolverOptions
		token string
		want  string
	}{
		{discovery.ResolverOptions{}, "web", "no healthy instances"},
		{discovery.ResolverOptions{AllowWarning: true}, "web", "no healthy instances"},
		{discovery.ResolverOptions{AnyStatus: true}, "web", ""},
		{discovery.ResolverOptions{AnyStatus: true, Query: consul.QueryOptions{Tags: []string{"v2"}}}, "web", "no instances"},
		{discovery.ResolverOptions{}, "other", "no healthy instances" + hidden},
		{discovery.ResolverOptions{AnyStatus: true}, "other", "no instances" + hidden},
	} {
		r := discovery.NewResolver(agent.Client().WithToken(test.token), &test.opts)
		_, err := r.Pick(context.Background(), "web")
		r.Close()
		switch {
		case test.want == "" && err == nil:
		case test.want == "", !errors.Is(err, discovery.ErrNoInstances), err.Error() != `discovery: service "web": `+test.want:
			t.Errorf("token %s, AllowWarning %t, AnyStatus %t: %v; want %q", test.token, test.opts.AllowWarning, test.opts.AnyStatus, err, test.want)
		}
	}
}

// TestStateHasMonotonicTime makes sure that the age of a response is right after
// somebody has changed the time of the system.
func TestStateHasMonotonicTime(t *testing.T) {
	r := discovery.NewResolver(consulmock.New(t).Client(), nil)
	defer r.Close()
	if _, err := r.Instances(context.Background(), "web"); err != nil {
		t.Fatal(err)
	}
	state, _ := r.State("web")
	if text := state.Answered.String(); !strings.Contains(text, " m=") {
		t.Errorf("no reading of the monotonic clock in %s", text)
	}
}

const noStatus = `status "pass": want passing, warning or critical`

// TestWrongStatusIsRefused registers with words that are no status.
func TestWrongStatusIsRefused(t *testing.T) {
	agent := consulmock.New(t)
	for name, register := range map[string]func() (*discovery.Registration, error){
		"option": func() (*discovery.Registration, error) {
			return discovery.Register(context.Background(), agent.Client(), &consul.AgentServiceRegistration{Name: "web"}, &discovery.RegisterOptions{Status: "pass"})
		},
		"check": func() (*discovery.Registration, error) {
			return discovery.Register(context.Background(), agent.Client(), &consul.AgentServiceRegistration{
				Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: "pass"}}, nil)
		},
	} {
		reg, err := register()
		if err == nil {
			reg.Close()
		}
		if err == nil || err.Error() != "discovery: "+noStatus {
			t.Errorf("%s: %v; want %s", name, err, noStatus)
		}
	}
	if n := len(agent.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// TestWrongStatusIsCritical sets words that are no status.
func TestWrongStatusIsCritical(t *testing.T) {
	ctx := context.Background()
	agent := consulmock.New(t)
	var log bytes.Buffer
	var asked atomic.Value
	asked.Store(consul.HealthStatus("pass"))
	web := &consul.AgentServiceRegistration{Name: "web"}
	reg, err := discovery.Register(ctx, agent.Client(), web, &discovery.RegisterOptions{
		Health: func(context.Context) (consul.HealthStatus, string) { return asked.Load().(consul.HealthStatus), "fine" },
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what, want string, warnings int) {
		t.Helper()
		// Update reports, and reads the function's answer.
		if err := reg.Update(ctx, web); err != nil {
			t.Fatal(err)
		}
		checks, err := agent.Client().Agent().Checks(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := checks["service:web"]
		if got := string(c.Status) + " " + c.Output; got != want {
			t.Errorf("%s: %s; want %s", what, got, want)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != warnings {
			t.Errorf("%s: %d warnings, want %d: %s", what, n, warnings, log.String())
		}
	}
	expect("by the function", "critical "+noStatus+": fine", 1)
	expect("again", "critical "+noStatus+": fine", 1)
	asked.Store(consul.HealthPassing)
	expect("by the function, in order", "passing fine", 1)
	reg.SetStatus("pass", "")
	expect("by SetStatus", "critical "+noStatus, 2)
	reg.SetStatus(consul.HealthMaintenance, "so")
	expect("by SetStatus", `critical status "maintenance": want passing, warning or critical: so`, 3)
	reg.SetStatus(consul.HealthPassing, "")
	expect("by SetStatus, in order", "passing fine", 3)
	if err := reg.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "service=web id=web error=") {
		t.Errorf("logged %s", log.String())
	}
}

// TestOptionsWithoutEffect registers with options that the checks make useless.
func TestOptionsWithoutEffect(t *testing.T) {
	agent := consulmock.New(t)
	health := func(context.Context) (consul.HealthStatus, string) { return consul.HealthPassing, "" }
	http := &consul.AgentServiceCheck{HTTP: "http://127.0.0.1:9/", Interval: time.Minute}
	ttl := &consul.AgentServiceCheck{TTL: time.Minute}
	for _, test := range []struct {
		name  string
		check *consul.AgentServiceCheck
		opts  discovery.RegisterOptions
		want  string
	}{
		{"TTL beside a TTL check", ttl, discovery.RegisterOptions{TTL: time.Minute}, `RegisterOptions.TTL has no effect: service "web" has checks of its own`},
		{"TTL beside an HTTP check", http, discovery.RegisterOptions{TTL: time.Minute}, `RegisterOptions.TTL has no effect: service "web" has checks of its own`},
		{"Health beside an HTTP check", http, discovery.RegisterOptions{Health: health}, `RegisterOptions.Health has no effect: service "web" has no TTL check`},
		{"Health without a check", nil, discovery.RegisterOptions{TTL: -1, Health: health}, `RegisterOptions.Health has no effect: service "web" has no TTL check`},
		{"Status beside an HTTP check", http, discovery.RegisterOptions{Status: consul.HealthPassing}, `RegisterOptions.Status has no effect: service "web" has no TTL check`},
		{"no TTL beside an HTTP check", http, discovery.RegisterOptions{TTL: -1}, ""},
		{"TTL beside an empty check", &consul.AgentServiceCheck{}, discovery.RegisterOptions{TTL: time.Minute, Health: health, Status: consul.HealthWarning}, ""},
		{"Health beside a TTL check", ttl, discovery.RegisterOptions{Health: health, Status: consul.HealthWarning}, ""},
	} {
		reg, err := discovery.Register(context.Background(), agent.Client(), &consul.AgentServiceRegistration{Name: "web", Check: test.check}, &test.opts)
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "discovery: ")
		} else if err := reg.Close(); err != nil {
			t.Error(err)
		}
		if got != test.want {
			t.Errorf("%s: %q; want %q", test.name, got, test.want)
		}
	}
}
