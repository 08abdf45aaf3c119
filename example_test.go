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

// A service registers itself, says that it is well, is found, and goes. The agent
// here is a fake one; a real one is at consul.Config{} or what ConfigFromEnv says.
func Example() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		Name:  "web",
		Port:  8080,
		Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Agent().PassTTL(ctx, "service:web", "serving"); err != nil {
		log.Fatal(err)
	}
	entries, _, err := client.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Println(e.Service.ID, e.Service.Port, e.Checks.AggregatedStatus())
	}
	if err := client.Agent().ServiceDeregister(ctx, "web"); err != nil {
		log.Fatal(err)
	}
	// Output: web 8080 passing
}

// A blocking query is answered when its result may have changed.
func ExampleHealth_Service() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	entries, meta, err := client.Health().Service(ctx, "web", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(entries), "instances")

	agent.AddService(&consul.AgentServiceRegistration{Name: "web"})
	entries, _, err = client.Health().Service(ctx, "web", &consul.QueryOptions{
		WaitIndex: meta.LastIndex,
		WaitTime:  time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(entries), "instances")
	// Output:
	// 0 instances
	// 1 instances
}

// Conditions are told apart by errors.Is, on agents of all versions.
func ExampleStatusError() {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		agent := consulmock.NewServer(consulmock.WithVersion(version))
		err := agent.Client().Agent().PassTTL(context.Background(), "service:web", "")
		agent.Close()

		var status *consul.StatusError
		if errors.As(err, &status) {
			fmt.Println(version, status.Code, errors.Is(err, consul.ErrUnknownCheck))
		}
	}
	// Output:
	// 1.8.7 500 true
	// 1.21.4 404 true
}

// Raw reaches the endpoints that have no method of their own.
func ExampleRaw() {
	agent := consulmock.NewServer()
	defer agent.Close()

	var self struct{ Config struct{ NodeName string } }
	_, err := agent.Client().Raw().Query(context.Background(), "/v1/agent/self", &self, nil)
	fmt.Println(self.Config.NodeName, err)
	// Output: node1 <nil>
}

// A Config prints without its secrets.
func ExampleConfig() {
	cfg := consul.Config{Address: "https://consul.example:8501/prefix", Token: "secret"}
	client, err := consul.NewClient(cfg)
	fmt.Println(client, err)
	// Output: consul.Client{https://consul.example:8501/prefix} <nil>
}
