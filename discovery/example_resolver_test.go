package discovery_test

import (
	"context"
	"fmt"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// A loop sees the healthy instances, and every change of them. However many loops
// there are, the agent is asked once.
func ExampleResolver_Watch() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1"})
	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()

	for instances, err := range resolver.Watch(context.Background(), "web") {
		if err != nil {
			fmt.Println(err) // the last instances stay valid
			continue
		}
		fmt.Println(len(instances), "instances")
		if len(instances) == 0 {
			break
		}
		agent.RemoveService("web-1") // somebody stops it
	}
	// Output:
	// 1 instances
	// 0 instances
}

// What has the same key goes to the same instance, in every process.
func ExampleResolver_PickKey() {
	agent := consulmock.NewServer()
	defer agent.Close()
	for _, id := range []string{"cache-1", "cache-2", "cache-3"} {
		agent.AddService(&consul.AgentServiceRegistration{Name: "cache", ID: id})
	}
	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()

	var picked []string
	for _, key := range []string{"user-17", "user-18", "user-17"} {
		instance, err := resolver.PickKey(context.Background(), "cache", key)
		if err != nil {
			fmt.Println(err)
			return
		}
		picked = append(picked, instance.ID)
	}
	fmt.Println(picked[0] == picked[2])
	// Output: true
}

// The last good answer stays in use while the agent is away; State reports it.
func ExampleResolver_State() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1"})
	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()

	for _, err := range resolver.Watch(context.Background(), "web") {
		if err != nil {
			break
		}
		agent.Stop()
	}
	state, ok := resolver.State("web")
	fmt.Println(ok, state.Err != nil, !state.Answered.IsZero())
	instance, err := resolver.Pick(context.Background(), "web")
	fmt.Println(instance.ID, err)
	// Output:
	// true true true
	// web-1 <nil>
}

// A resolver can be told what counts as an instance.
func ExampleResolverOptions() {
	agent := consulmock.NewServer()
	defer agent.Close()
	for id, status := range map[string]consul.HealthStatus{"db-1": consul.HealthPassing, "db-2": consul.HealthWarning} {
		agent.AddService(&consul.AgentServiceRegistration{
			Name: "db", ID: id, Tags: []string{"primary"},
			Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: status},
		})
	}
	resolver := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		Query:        consul.QueryOptions{Tags: []string{"primary"}},
		AllowWarning: true,
	})
	defer resolver.Close()

	instances, err := resolver.Instances(context.Background(), "db")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range instances {
		fmt.Println(i.ID, i.Status, i.Weight)
	}
	// Output:
	// db-1 passing 1
	// db-2 warning 1
}

// InstanceOf makes an Instance of what an agent said about an instance.
func ExampleInstanceOf() {
	i := discovery.InstanceOf(&consul.ServiceEntry{
		Node:    &consul.Node{Node: "node1", Address: "fd00::1"},
		Service: &consul.AgentService{ID: "web-1", Service: "web", Port: 8080},
		Checks:  consul.HealthChecks{{Status: consul.HealthPassing}},
	})
	fmt.Println(i.HostPort(), i.Status, i.Weight) // the service has no address of its own
	// Output: [fd00::1]:8080 passing 1
}
