package consul_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// The local agent says who it is, and which services were registered with it.
func ExampleAgent() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 8080})
	client, ctx := agent.Client(), context.Background()

	self, err := client.Agent().Self(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(self.Config.NodeName, self.Config.Version)
	services, err := client.Agent().Services(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	for id, s := range services {
		fmt.Println(id, s.Service, s.Port)
	}
	// Output:
	// node1 1.21.4
	// web-1 web 8080
}

// A registration says everything about an instance. The agent itself runs the
// check of this one, by a request every ten seconds.
func ExampleAgentServiceRegistration() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		Name:    "web",
		ID:      "web-1", // unique on the agent
		Address: "10.0.0.1",
		Port:    8080,
		Tags:    []string{"v1"},
		Meta:    map[string]string{"zone": "a"},
		Weights: &consul.AgentWeights{Passing: 10, Warning: 1},
		Check: &consul.AgentServiceCheck{
			HTTP:                           "http://10.0.0.1:8080/health",
			Interval:                       10 * time.Second,
			Timeout:                        2 * time.Second,
			DeregisterCriticalServiceAfter: 10 * time.Minute,
		},
		ReplaceExistingChecks: true, // of an earlier registration
	})
	if err != nil {
		log.Fatal(err)
	}
	service, _, err := client.Agent().Service(ctx, "web-1", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(service.Address, service.Port, service.Tags, service.Meta, service.Weights)
	checks, err := client.Agent().Checks(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	for id, c := range checks {
		fmt.Println(id, c.Type, c.Status) // critical until it has run
	}
	// Output:
	// 10.0.0.1 8080 [v1] map[zone:a] {10 1}
	// service:web-1 http critical
}

// A TTL check has the status that it was last given, until its time is over.
func ExampleAgent_UpdateTTL() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Minute}})

	err := client.Agent().UpdateTTL(ctx, "service:web", consul.HealthWarning, "disk almost full")
	if err != nil {
		log.Fatal(err)
	}
	status, instances, err := client.Agent().ServiceHealthByName(ctx, "web")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status, instances[0].Checks[0].Output)
	// Output: warning disk almost full
}

// A check may be about a service, as here, or about the node.
func ExampleAgent_CheckRegister() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web"})

	err := client.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{
		ID: "disk", Name: "disk space", ServiceID: "web",
		AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Agent().FailTTL(ctx, "disk", "full"))
	fmt.Println(errors.Is(client.Agent().FailTTL(ctx, "disc", "full"), consul.ErrUnknownCheck))
	// Output:
	// <nil>
	// true
}

// Maintenance takes an instance out of service without touching its checks.
func ExampleAgent_EnableServiceMaintenance() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web"})

	if err := client.Agent().EnableServiceMaintenance(ctx, "web", "new disk"); err != nil {
		log.Fatal(err)
	}
	entries, _, err := client.Health().Service(ctx, "web", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(entries[0].Checks.AggregatedStatus())
	fmt.Println(client.Agent().DisableServiceMaintenance(ctx, "web"))
	// Output:
	// maintenance
	// <nil>
}

// A service of the agent is waited on by the hash of its definition.
func ExampleAgent_Service() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 8080})

	_, meta, err := client.Agent().Service(ctx, "web", nil)
	if err != nil {
		log.Fatal(err)
	}
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 8081}) // somebody changes it
	service, _, err := client.Agent().Service(ctx, "web", &consul.QueryOptions{WaitHash: meta.LastContentHash})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(service.Port)
	// Output: 8081
}

// The members of the gossip pool are the agents that this one knows.
func ExampleAgent_Members() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddMember(consul.AgentMember{Name: "node2", Addr: "10.0.0.2", Port: 8301, Status: consul.MemberFailed})

	members, err := agent.Client().Agent().Members(context.Background(), consul.MembersOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range members {
		fmt.Println(m.Name, m.Status)
	}
	// Unordered output:
	// node1 alive
	// node2 failed
}
