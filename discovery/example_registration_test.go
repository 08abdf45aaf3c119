package discovery_test

import (
	"context"
	"fmt"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// A program that shuts down turns critical, so that nobody picks it any more, ends
// what it has begun, and leaves.
func ExampleRegistration() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	resolver := discovery.NewResolver(client, nil)
	defer resolver.Close()

	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		ID: "web-8080", Name: "web", Port: 8080,
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for instances, err := range resolver.Watch(ctx, "web") {
		fmt.Println(len(instances), err)
		if len(instances) == 0 {
			break // nobody comes any more
		}
		reg.SetStatus(consul.HealthCritical, "shutting down") // returns at once
	}
	fmt.Println(reg.Close())
	// Output:
	// 1 <nil>
	// 0 <nil>
	// <nil>
}

// A definition is changed without leaving.
func ExampleRegistration_Update() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	web := &consul.AgentServiceRegistration{Name: "web", Port: 8080, Tags: []string{"v1"}}
	reg, err := discovery.Register(ctx, client, web, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reg.Close()
	web.Tags = []string{"v2"}
	if err := reg.Update(ctx, web); err != nil {
		fmt.Println(err)
		return
	}
	services, err := client.Agent().Services(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(services["web"].Tags)
	// Output: [v2]
}

// The service comes back by itself when the agent has lost it, and an event says
// so.
func ExampleEvent() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{Name: "web"}, &discovery.RegisterOptions{
		OnEvent: func(e discovery.Event) { // must not block; metrics are counted here
			switch e := e.(type) {
			case discovery.RegisteredEvent:
				fmt.Println("registered", e.ID)
			case discovery.HeartbeatFailedEvent:
				fmt.Println("failed:", e.Err)
			case discovery.HealedEvent:
				fmt.Println("healed:", e.Reason)
			case discovery.DeregisteredEvent:
				fmt.Println("deregistered", e.ID)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	agent.Restart(false)                             // an agent that has forgotten everything
	reg.SetStatus(consul.HealthWarning, "disk full") // or the next heartbeat
	for entries, err := range discovery.WatchService(ctx, client, "web", nil) {
		if err != nil || len(entries) > 0 && entries[0].Checks.AggregatedStatus() == consul.HealthWarning {
			break
		}
	}
	reg.Close()
	// Output:
	// registered web
	// healed: lost
	// deregistered web
}
