package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

func TestServiceRegister(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		succeed(t, a.ServiceRegister(ctx, web("web-1")))
		services, err := a.Services(ctx, nil)
		succeed(t, err)
		want(t, "services", keys(services), []string{"web-1"})
		want(t, "port", services["web-1"].Port, 8080)
		want(t, "weights", services["web-1"].Weights, consul.AgentWeights{Passing: 1, Warning: 1})
		checks, err := a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "checks", keys(checks), []string{"service:web-1"})
		want(t, "name of the check", checks["service:web-1"].Name, "Service 'web' check")

		// The one that has its ID is changed; its checks keep their status.
		succeed(t, a.FailTTL(ctx, "service:web-1", "disk full"))
		changed := web("web-1")
		changed.Port = 9090
		succeed(t, a.ServiceRegister(ctx, changed))
		service, _, err := a.Service(ctx, "web-1", nil)
		succeed(t, err)
		want(t, "port", service.Port, 9090)
		checks, err = a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "status", checks["service:web-1"].Status, consul.HealthCritical)

		// Without an ID the name is the ID.
		succeed(t, a.ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "db"}))
		services, err = a.Services(ctx, nil)
		succeed(t, err)
		want(t, "services", keys(services), []string{"db", "web-1"})
	})
}

// To register the same instance again changes no index, and so wakes nobody.
func TestServiceRegisterAgain(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		client := agent.Client()
		index := func() uint64 {
			succeed(t, client.Agent().ServiceRegister(ctx, web("web-1")))
			_, meta, err := client.Health().Service(ctx, "web", nil)
			succeed(t, err)
			return meta.LastIndex
		}
		first := index()
		want(t, "index", index(), first)
	})
}

func TestServiceRegisterErrors(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		// What an agent refuses is an error in its words.
		err := a.ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Address: "0.0.0.0"})
		wantError(t, err, nil, "/v1/agent/service/register: 400 Invalid service address")
		err = a.ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Weights: &consul.AgentWeights{}})
		wantError(t, err, nil, "400 Invalid Weights: Passing must be greater than 0")
		many := map[string]string{}
		for i := range 65 {
			many[fmt.Sprint(i)] = "x"
		}
		for words, meta := range map[string]map[string]string{
			"more than 64":       many,
			"Key is too long":    {strings.Repeat("k", 129): ""},
			"invalid characters": {"a.b": ""},
			"Value is too long":  {"k": strings.Repeat("v", 513)},
		} {
			err = a.ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Meta: meta})
			wantError(t, err, nil, "400 Invalid Service Meta: ", words)
		}
		services, err := a.Services(ctx, nil)
		succeed(t, err)
		want(t, "services", len(services), 0)
	})
}

// What could not be updated or removed again is not registered.
func TestServiceRegisterUnaddressable(t *testing.T) {
	agent := consulmock.New(t)
	a := agent.Client().Agent()
	check := func(id string) *consul.AgentServiceCheck {
		return &consul.AgentServiceCheck{CheckID: id, TTL: time.Minute}
	}
	for words, r := range map[string]*consul.AgentServiceRegistration{
		"Name is empty":         {ID: "web-1"},
		`service ID ".."`:       {ID: "..", Name: "web"},
		`service ID "web/./1"`:  {Name: "web/./1"},
		`check ID "web/../ttl"`: {Name: "web", Check: check("web/../ttl")},
		`check ID "."`:          {Name: "web", Checks: []*consul.AgentServiceCheck{check("ttl"), check(".")}},
		"Checks[1] is nil":      {Name: "web", Checks: []*consul.AgentServiceCheck{check("ttl"), nil}}, // agents would break the connection
	} {
		wantError(t, a.ServiceRegister(ctx, r), nil, "consul: ", words)
	}
	wantSent(t, agent)
	succeed(t, a.ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Check: check("web/..ttl")}))
	succeed(t, a.PassTTL(ctx, "web/..ttl", ""))
}

// An agent makes up the IDs of checks that have none.
func TestCheckIDsOfAService(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		ttl, named := &consul.AgentServiceCheck{TTL: time.Minute}, &consul.AgentServiceCheck{TTL: time.Minute, CheckID: "own"}
		for name, r := range map[string]*consul.AgentServiceRegistration{
			"[service:web]":                 {Check: ttl},
			"[own]":                         {Checks: []*consul.AgentServiceCheck{named}},
			"[service:web:1 service:web:2]": {Check: ttl, Checks: []*consul.AgentServiceCheck{ttl}},
			"[own service:web:1]":           {Checks: []*consul.AgentServiceCheck{ttl, named}},
		} {
			r.Name = "web"
			succeed(t, a.ServiceRegister(ctx, r))
			checks, err := a.Checks(ctx, nil)
			succeed(t, err)
			want(t, "checks", fmt.Sprint(keys(checks)), name)
			succeed(t, a.ServiceDeregister(ctx, "web"))
		}
	})
}

func TestReplaceExistingChecks(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		succeed(t, a.ServiceRegister(ctx, web("web-1")))
		other := web("web-1")
		other.Check.CheckID = "other"
		succeed(t, a.ServiceRegister(ctx, other))
		checks, err := a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "checks without it", keys(checks), []string{"other", "service:web-1"})
		other.ReplaceExistingChecks = true
		succeed(t, a.ServiceRegister(ctx, other))
		checks, err = a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "checks with it", keys(checks), []string{"other"})
	})
}

func TestServiceDeregister(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		agent.AddService(web("web-1"))
		a := agent.Client().Agent()
		succeed(t, a.ServiceDeregister(ctx, "web-1"))
		services, err := a.Services(ctx, nil)
		succeed(t, err)
		checks, err := a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "services and checks", len(services)+len(checks), 0)

		err = a.ServiceDeregister(ctx, "web-1")
		if isOld {
			succeed(t, err)
			return
		}
		wantError(t, err, consul.ErrUnknownService, "404 Unknown service ID")
		wantError(t, err, consul.ErrNotFound)
	})
}

func TestServicesFilter(t *testing.T) {
	agent := consulmock.New(t)
	a := agent.Client().Agent()
	services, err := a.Services(ctx, nil)
	succeed(t, err)
	want(t, "none", services, map[string]*consul.AgentService{}) // the server's own is not there
	agent.AddService(web("web-1"))
	agent.AddService(&consul.AgentServiceRegistration{Name: "db", Meta: map[string]string{"zone": "a"}})
	services, err = a.Services(ctx, &consul.QueryOptions{Filter: "Meta.zone == a"})
	succeed(t, err)
	want(t, "services", keys(services), []string{"db"})
	want(t, "datacenter", services["db"].Datacenter, "dc1")
	want(t, "hash, which is that of one", services["db"].ContentHash, "")
	want(t, "indexes", services["db"].CreateIndex+services["db"].ModifyIndex, 0)
	_, err = a.Services(ctx, &consul.QueryOptions{Filter: "Bogus == 1"})
	wantError(t, err, nil, "500 Failed to create boolean expression evaluator")
}

// A service is waited on by the hash of its definition.
func TestServiceWaits(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-1"))
		a := agent.Client().Agent()
		service, meta, err := a.Service(ctx, "web-1", nil)
		succeed(t, err)
		want(t, "hash", service.ContentHash, meta.LastContentHash)
		want(t, "index", meta.LastIndex, 0)

		type answer struct {
			port int
			err  error
		}
		answers := make(chan answer)
		wait := func(hash string) {
			s, _, err := a.Service(ctx, "web-1", &consul.QueryOptions{WaitHash: hash})
			if err != nil {
				s = &consul.AgentService{}
			}
			answers <- answer{s.Port, err}
		}
		waits := &consulmock.Observer{}
		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/web-1", Always: true, Observe: waits})
		go wait(meta.LastContentHash)
		waits.Wait(1, nil)
		changed := web("web-1")
		changed.Port = 9090
		agent.AddService(changed)
		want(t, "after a change", <-answers, answer{9090, nil})

		service, _, err = a.Service(ctx, "web-1", nil)
		succeed(t, err)
		go wait(service.ContentHash)
		waits.Wait(3, nil)
		agent.RemoveService("web-1")
		wantError(t, (<-answers).err, consul.ErrUnknownService)
	})
}

func TestServiceUnknown(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		service, meta, err := agent.Client().Agent().Service(ctx, "none", nil)
		wantError(t, err, consul.ErrUnknownService, "404 unknown service ID: none")
		if service != nil || meta != nil { // it cannot be waited for
			t.Errorf("got %v, %v", service, meta)
		}
	})
}

func TestServiceMaintenance(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-1"))
		a := agent.Client().Agent()
		notes := func() string {
			checks, err := a.Checks(ctx, nil)
			succeed(t, err)
			if c := checks["_service_maintenance:web-1"]; c != nil && c.Status == consul.HealthCritical {
				return c.Notes
			}
			return "none"
		}
		succeed(t, a.EnableServiceMaintenance(ctx, "web-1", "new disk"))
		want(t, "notes", notes(), "new disk")
		succeed(t, a.EnableServiceMaintenance(ctx, "web-1", "new fan"))
		want(t, "notes after a second call", notes(), "new disk")
		succeed(t, a.DisableServiceMaintenance(ctx, "web-1"))
		succeed(t, a.DisableServiceMaintenance(ctx, "web-1")) // there is none any more
		want(t, "notes at the end", notes(), "none")
		succeed(t, a.EnableServiceMaintenance(ctx, "web-1", ""))
		if got := notes(); !strings.Contains(got, "no reason was provided") {
			t.Errorf("notes without a reason: %q", got)
		}
		wantError(t, a.EnableServiceMaintenance(ctx, "none", ""), consul.ErrUnknownService)
		wantError(t, a.DisableServiceMaintenance(ctx, "none"), consul.ErrUnknownService)
	})
}

func TestNodeMaintenance(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-1"))
		client := agent.Client()
		health := func() consul.HealthStatus {
			entries, _, err := client.Health().Service(ctx, "web", nil)
			succeed(t, err)
			return entries[0].Checks.AggregatedStatus()
		}
		succeed(t, client.Agent().EnableNodeMaintenance(ctx, "new disk"))
		succeed(t, client.Agent().EnableNodeMaintenance(ctx, "new fan"))
		want(t, "health", health(), consul.HealthMaintenance)
		checks, err := client.Agent().Checks(ctx, nil)
		succeed(t, err)
		want(t, "notes", checks["_node_maintenance"].Notes, "new disk")
		succeed(t, client.Agent().DisableNodeMaintenance(ctx))
		succeed(t, client.Agent().DisableNodeMaintenance(ctx))
		want(t, "health", health(), consul.HealthPassing)
	})
}

func TestChecks(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(web("web-1"))
	agent.AddCheck(&consul.AgentCheckRegistration{Name: "memory", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute}})
	a := agent.Client().Agent()
	checks, err := a.Checks(ctx, nil)
	succeed(t, err)
	want(t, "checks", keys(checks), []string{"memory", "service:web-1"})
	want(t, "of the node", checks["memory"].ServiceID, "")
	want(t, "of the service", checks["service:web-1"].ServiceID, "web-1")
	want(t, "indexes", checks["memory"].CreateIndex+checks["memory"].ModifyIndex, 0)
	checks, err = a.Checks(ctx, &consul.QueryOptions{Filter: "Status == passing"})
	succeed(t, err)
	want(t, "checks that pass", keys(checks), []string{"service:web-1"})
}

func TestCheckRegister(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		a := agent.Client().Agent()
		r := &consul.AgentCheckRegistration{ID: "mem", Name: "memory", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing}}
		succeed(t, a.CheckRegister(ctx, r))
		succeed(t, a.WarnTTL(ctx, "mem", "little is left"))
		r.Notes = "changed"
		succeed(t, a.CheckRegister(ctx, r))
		checks, err := a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "notes", checks["mem"].Notes, "changed")
		want(t, "status, which is kept", checks["mem"].Status, consul.HealthWarning)

		succeed(t, a.CheckDeregister(ctx, "mem"))
		checks, err = a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "checks", len(checks), 0)

		err = a.CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "memory", ServiceID: "none", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute}})
		wantError(t, err, consul.ErrUnknownService, `ServiceID "none" does not exist`)
		err = a.CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "memory"})
		wantError(t, err, nil, "400 Invalid check: TTL must be > 0 for TTL checks")
		err = a.CheckDeregister(ctx, "mem")
		if isOld {
			succeed(t, err)
		} else {
			wantError(t, err, consul.ErrUnknownCheck)
		}
	})
}

func TestTTL(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		agent.AddService(web("web-1"))
		a := agent.Client().Agent()
		const id = "service:web-1"
		for _, tt := range []struct {
			update func() error
			status consul.HealthStatus
			output string
		}{
			{func() error { return a.WarnTTL(ctx, id, "slow") }, consul.HealthWarning, "slow"},
			{func() error { return a.FailTTL(ctx, id, "full") }, consul.HealthCritical, "full"},
			{func() error { return a.PassTTL(ctx, id, "fine") }, consul.HealthPassing, "fine"},
			{func() error { return a.PassTTL(ctx, id, "") }, consul.HealthPassing, ""}, // no note empties the output
			{func() error { return a.UpdateTTL(ctx, id, consul.HealthWarning, "<ü>") }, consul.HealthWarning, "<ü>"},
			{func() error { return a.UpdateTTL(ctx, id, "fail", "") }, consul.HealthCritical, ""}, // the official client's words
			{func() error { return a.UpdateTTL(ctx, id, "warn", "") }, consul.HealthWarning, ""},
			{func() error { return a.UpdateTTL(ctx, id, "pass", "") }, consul.HealthPassing, ""},
		} {
			succeed(t, tt.update())
			checks, err := a.Checks(ctx, nil)
			succeed(t, err)
			want(t, "status", checks[id].Status, tt.status)
			want(t, "output", checks[id].Output, tt.output)
		}
		wantError(t, a.UpdateTTL(ctx, id, "bogus", ""), nil, `status "bogus": want passing, warning or critical`)
		wantError(t, a.UpdateTTL(ctx, id, consul.HealthMaintenance, ""), nil, "want passing, warning or critical")
	})
}

// Agents of different versions tell in different ways that they do not know a check.
func TestTTLUnknown(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		for _, err := range []error{
			a.PassTTL(ctx, "none", ""), a.WarnTTL(ctx, "none", ""), a.FailTTL(ctx, "none", ""), a.UpdateTTL(ctx, "none", consul.HealthPassing, ""),
		} {
			wantError(t, err, consul.ErrUnknownCheck)
			wantError(t, err, consul.ErrNotFound)
		}
	})
}

func TestTTLOutputIsCut(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(web("web-1"))
	short := web("web-2")
	short.Check.OutputMaxSize = 10
	agent.AddService(short)
	a := agent.Client().Agent()
	for id, size := range map[string]int{"service:web-1": 4096, "service:web-2": 10} {
		succeed(t, a.UpdateTTL(ctx, id, consul.HealthPassing, strings.Repeat("x", 5000)))
		checks, err := a.Checks(ctx, nil)
		succeed(t, err)
		want(t, "output", strings.Count(checks[id].Output, "x"), size)
	}
}

func TestSelfAndVersion(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		a := agent.Client().Agent()
		self, err := a.Self(ctx)
		succeed(t, err)
		want(t, "node", self.Config.NodeName, "node1")
		want(t, "is a server", self.Config.Server, true)
		if len(self.Member) == 0 || len(self.Stats) == 0 {
			t.Errorf("got %+v", self)
		}
		version, err := a.Version(ctx)
		if isOld { // Self knows it
			wantError(t, err, consul.ErrNotFound)
			want(t, "version", self.Config.Version, "1.8.7")
			return
		}
		succeed(t, err)
		want(t, "version", version.HumanVersion, "1.21.4")
	})
}

func TestHostAndMetrics(t *testing.T) {
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, _ bool) {
		a := agent.Client().Agent()
		host, err := a.Host(ctx)
		succeed(t, err)
		if age := time.Since(time.Unix(0, host.CollectionTime)); len(host.Memory) == 0 || age < 0 || age > time.Hour {
			t.Errorf("got %+v", host)
		}
		metrics, err := a.Metrics(ctx)
		succeed(t, err)
		if metrics.Timestamp == "" || len(metrics.Gauges)+len(metrics.Counters) == 0 {
			t.Errorf("got %+v", metrics)
		}
	})
}

func TestMembers(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddMember(consul.AgentMember{Name: "node2", Addr: "10.0.0.2", Status: consul.MemberFailed})
	a := agent.Client().Agent()
	members := func(o consul.MembersOptions) map[string]consul.MemberStatus {
		list, err := a.Members(ctx, o)
		succeed(t, err)
		m := map[string]consul.MemberStatus{}
		for _, member := range list {
			m[member.Name] = member.Status
		}
		return m
	}
	want(t, "members", members(consul.MembersOptions{}), map[string]consul.MemberStatus{"node1": consul.MemberAlive, "node2": consul.MemberFailed})
	want(t, "a filter", members(consul.MembersOptions{Filter: "Name == node2"}), map[string]consul.MemberStatus{"node2": consul.MemberFailed})
	want(t, "servers everywhere", members(consul.MembersOptions{WAN: true}), map[string]consul.MemberStatus{"node1.dc1": consul.MemberAlive})
	_, err := a.Members(ctx, consul.MembersOptions{Segment: "s"})
	wantError(t, err, nil, "500 Network segments are not supported")

	// One that has failed is said to have left; prune forgets it.
	succeed(t, a.ForceLeave(ctx, "node2", consul.ForceLeaveOptions{}))
	want(t, "after ForceLeave", members(consul.MembersOptions{})["node2"], consul.MemberLeft)
	succeed(t, a.ForceLeave(ctx, "node2", consul.ForceLeaveOptions{Prune: true}))
	want(t, "after Prune", len(members(consul.MembersOptions{})), 1)
	wantError(t, a.ForceLeave(ctx, "none", consul.ForceLeaveOptions{}), nil, "No node found with name 'none'")
}

func TestJoinFails(t *testing.T) {
	a := consulmock.New(t).Client().Agent()
	wantError(t, a.Join(ctx, "127.0.0.1:1", consul.JoinOptions{}), nil, "/v1/agent/join/127.0.0.1:1: 500 1 error occurred: * Failed to join")
}

func TestReload(t *testing.T) {
	agent := consulmock.New(t)
	succeed(t, agent.Client().Agent().Reload(ctx))
	agent.Inject(consulmock.Fault{Status: 403, Body: "Permission denied"})
	wantError(t, agent.Client().Agent().Reload(ctx), consul.ErrPermissionDenied)
}

func TestMonitor(t *testing.T) {
	t.Run("lines as they are written", func(t *testing.T) {
		agent := consulmock.New(t)
		a := agent.Client().Agent()
		seen := &consulmock.Observer{}
		agent.Inject(consulmock.Fault{Path: "/v1/agent/monitor", Always: true, Observe: seen})
		within, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			seen.Wait(1, nil)
			for within.Err() == nil { // the agent may not listen yet
				a.ServiceRegister(within, web("web-1"))
				a.ServiceDeregister(within, "web-1")
			}
		}()
		for line, err := range a.Monitor(ctx, "debug") {
			succeed(t, err)
			if strings.Contains(line, "web-1") {
				break // ends the request
			}
		}
		cancel()
		<-ended
	})
	t.Run("the end of the context", func(t *testing.T) {
		agent := consulmock.New(t)
		seen := &consulmock.Observer{}
		agent.Inject(consulmock.Fault{Path: "/v1/agent/monitor", Observe: seen})
		within, cancel := context.WithCancel(ctx)
		go func() {
			seen.Wait(1, nil)
			cancel()
		}()
		var errs []error
		for _, err := range agent.Client().Agent().Monitor(within, "") {
			errs = append(errs, err)
		}
		if len(errs) == 0 {
			t.Fatal("no error")
		}
		wantError(t, errs[len(errs)-1], context.Canceled, "/v1/agent/monitor: ")
	})
	for name, tt := range map[string]struct {
		fault consulmock.Fault
		is    error
		words string
	}{
		"an unknown level": {consulmock.Fault{Status: 400, Body: "Unknown log level: x"}, nil, "/v1/agent/monitor: 400 Unknown log level: x"},
		"an end":           {consulmock.Fault{Body: "one\n"}, io.EOF, "the agent ended the log"},
		"a cut":            {consulmock.Fault{Body: "one\ntwo", TruncateAt: 5}, io.ErrUnexpectedEOF, "reading the response"},
		"an endless line":  {consulmock.Fault{Body: "x", Endless: true}, consul.ErrResponseTooLarge, "a line of more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			agent := consulmock.New(t)
			agent.Inject(tt.fault)
			var last error
			for _, err := range agent.Client().Agent().Monitor(ctx, "x") {
				if last != nil {
					t.Error("it went on after an error")
				}
				last = err
			}
			wantError(t, last, tt.is, tt.words)
		})
	}
}

// Nothing is sent twice, whatever went wrong: a write that failed may have been
// carried out.
func TestNothingIsRepeated(t *testing.T) {
	for name, fault := range map[string]consulmock.Fault{
		"500":            {Status: 500},
		"rate limit":     {RateLimit: time.Second},
		"no leader":      {NoLeader: true},
		"answer lost":    {Drop: consulmock.DropAnswer},
		"request lost":   {Drop: consulmock.ResetRequest},
		"answer cut off": {Body: "true", TruncateAt: 1},
	} {
		agent := consulmock.New(t)
		client := agent.Client()
		fault.Always = true
		agent.Inject(fault)
		if err := client.Agent().ServiceRegister(ctx, web("web-1")); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, _, err := client.Health().Service(ctx, "web", nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		wantSent(t, agent, "PUT /v1/agent/service/register", "GET /v1/health/service/web")
	}
	// The same on an agent that is not there.
	agent := consulmock.New(t)
	agent.Stop()
	if err := agent.Client().Agent().PassTTL(ctx, "x", ""); err == nil || errors.As(err, new(*consul.StatusError)) {
		t.Errorf("got %v", err)
	}
}
