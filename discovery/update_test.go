//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		client := agent.Client()
		defer client.CloseIdleConnections()
		ctx := context.Background()
		check := &consul.AgentServiceCheck{TTL: time.Minute}
		r, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80, Check: check}, nil)
		if err != nil {
			t.Fatal(err)
		}
		instance := func() *consul.ServiceEntry {
			t.Helper()
			entries, _, err := client.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
			if err != nil || len(entries) != 1 {
				t.Fatalf("%d instances, error %v; want one that is passing", len(entries), err)
			}
			return entries[0]
		}
		registrations := func() (n int) {
			for _, r := range agent.Requests() {
				if r.Path == "/v1/agent/service/register" {
					n++
				}
			}
			return n
		}

		same := &consul.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 80, Checks: []*consul.AgentServiceCheck{check}}
		if err := r.Update(ctx, same); err != nil || registrations() != 1 {
			t.Errorf("the same definition: %d registrations, error %v", registrations(), err)
		}
		changed := *same
		changed.Port = 81
		if err := r.Update(ctx, &changed); err != nil || instance().Service.Port != 81 {
			t.Errorf("another port: it is %d, error %v", instance().Service.Port, err)
		}

		// A definition that the agent could not be told is told later.
		agent.Stop()
		changed.Port = 82
		if err := r.Update(ctx, &changed); err == nil || r.Err() == nil {
			t.Errorf("without an agent: error %v, then %v", err, r.Err())
		}
		agent.Start()
		time.Sleep(20 * time.Second)
		if port := instance().Service.Port; port != 82 || r.Err() != nil {
			t.Errorf("after the agent's return: port %d, error %v", port, r.Err())
		}

		// What the agent has lost is back when Update returns.
		agent.RemoveService("web-1")
		if err := r.Update(ctx, &changed); err != nil {
			t.Error(err)
		}
		instance()

		// Checks can come and go, and heartbeats follow.
		changed.Checks = []*consul.AgentServiceCheck{{CheckID: "other", TTL: 10 * time.Second}}
		if err := r.Update(ctx, &changed); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if id := instance().Checks[len(instance().Checks)-1].CheckID; id != "other" {
			t.Errorf("check %q", id)
		}

		// Nothing else is held up by an agent that hangs.
		changed.Port = 83
		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Hang: make(chan struct{})})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := r.Update(short, &changed); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with an agent that hangs: %v", err)
		}
		time.Sleep(time.Second)
		if port := instance().Service.Port; port != 83 {
			t.Errorf("port %d a second after the update was given up", port)
		}

		for _, wrong := range []*consul.AgentServiceRegistration{nil, {}, {Name: "web"}} {
			if err := r.Update(ctx, wrong); err == nil {
				t.Errorf("%+v: no error", wrong)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Update(ctx, &changed); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestUpdateEndsWithContext updates while a health function hangs that does not
// obey its context.
func TestUpdateEndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		hang := make(chan struct{})
		first := true
		r := agent.register(webTTL(), &discovery.RegisterOptions{Health: func(context.Context) (consul.HealthStatus, string) {
			if !first {
				<-hang
			}
			first = false
			return consul.HealthPassing, ""
		}})
		start := time.Now()
		if err := r.Update(within(t, time.Second), webTTL()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		want(t, "Update took", time.Since(start), time.Second)
		close(hang)
	})
}

func TestResolverConnect(t *testing.T) {
	agent := consulmock.New(t)
	client := agent.Client()
	defer client.CloseIdleConnections()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "plain", Port: 80})
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "native", Port: 81, Connect: &consul.AgentServiceConnect{Native: true}})
	resolver := discovery.NewResolver(client, &discovery.ResolverOptions{Connect: true})
	defer resolver.Close()
	instances, err := resolver.Instances(context.Background(), "web")
	if err != nil || len(instances) != 1 || instances[0].ID != "native" {
		t.Errorf("got %+v, error %v", instances, err)
	}
}
