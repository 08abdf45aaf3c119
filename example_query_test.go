package consul_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// Options narrow a query. What has no option of its own has the filter.
func ExampleQueryOptions() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()
	for id, zone := range map[string]string{"web-1": "a", "web-2": "b"} {
		agent.AddService(&consul.AgentServiceRegistration{
			Name: "web", ID: id, Tags: []string{"v1"}, Meta: map[string]string{"zone": zone},
		})
	}

	for _, q := range []*consul.QueryOptions{
		nil, // everything, as the client's Config and the agent have it
		{Tags: []string{"v1"}, PassingOnly: true},
		{Filter: `Service.Meta.zone == "b"`},
		{Tags: []string{"v2"}},
	} {
		entries, _, err := client.Health().Service(ctx, "web", q)
		if err != nil {
			log.Fatal(err)
		}
		for _, e := range entries {
			fmt.Print(e.Service.ID, " ")
		}
		fmt.Println(len(entries))
	}
	// Output:
	// web-1 web-2 2
	// web-1 web-2 2
	// web-2 1
	// 0
}

// The loop behind a watch. What is missing are pauses: after errors, and when
// answers come too fast. Package discovery has them.
func ExampleQueryMeta() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	q := &consul.QueryOptions{WaitTime: time.Minute, Previous: new(consul.Result)}
	for seen := 0; seen < 3; {
		entries, meta, err := client.Health().Service(ctx, "web", q)
		if err != nil {
			log.Fatal(err)
		}
		if meta.Result != q.Previous {
			fmt.Println(len(entries), "instances")
			seen++
		}
		if meta.LastIndex < q.WaitIndex {
			meta.LastIndex = 0 // start over
		}
		q.WaitIndex, q.Previous = meta.LastIndex, meta.Result

		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: fmt.Sprint("web-", seen)})
	}
	// Output:
	// 0 instances
	// 1 instances
	// 2 instances
}

// With the result of the response before, a read costs what has changed.
func ExampleQueryOptions_previous() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1"})
	client, ctx := agent.Client(), context.Background()

	before, meta, err := client.Health().Service(ctx, "web", &consul.QueryOptions{Previous: new(consul.Result)})
	if err != nil {
		log.Fatal(err)
	}
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-2"})
	after, _, err := client.Health().Service(ctx, "web", &consul.QueryOptions{Previous: meta.Result})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(after), after[0] == before[0]) // the same pointer: not decoded again
	// Output:
	// 2 true
}

// The worst check decides about an instance, those of its node included.
func ExampleHealthChecks_AggregatedStatus() {
	checks := consul.HealthChecks{
		{CheckID: "serfHealth", Status: consul.HealthPassing},
		{CheckID: "service:web:1", Status: consul.HealthWarning},
	}
	fmt.Println(checks.AggregatedStatus())
	// Output: warning
}

// Health knows the checks of everything, also by their status.
func ExampleHealth_State() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Minute}})

	checks, _, err := agent.Client().Health().State(context.Background(), consul.HealthCritical, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range checks {
		fmt.Println(c.Node, c.ServiceName, c.CheckID, c.Status)
	}
	// Output: node1 web service:web critical
}

// The catalog knows all services of the datacenter, healthy or not.
func ExampleCatalog() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", Tags: []string{"v1"}, Port: 8080})
	client, ctx := agent.Client(), context.Background()

	services, _, err := client.Catalog().Services(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(services)
	instances, _, err := client.Catalog().Service(ctx, "web", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range instances {
		fmt.Println(i.Node, i.ServiceID, i.ServicePort)
	}
	// Output:
	// map[consul:[] web:[v1]]
	// node1 web 8080
}

// What runs without an agent is put into the catalog with its node.
func ExampleCatalog_Register() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	err := client.Catalog().Register(ctx, &consul.CatalogRegistration{
		Node: "printer", Address: "10.0.0.9", Service: &consul.AgentService{Service: "ipp", Port: 631},
	})
	if err != nil {
		log.Fatal(err)
	}
	entries, _, err := client.Health().Service(ctx, "ipp", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Println(e.Node.Node, e.Node.Address, e.Service.Port)
	}
	err = client.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "printer"})
	fmt.Println(err)
	// Output:
	// printer 10.0.0.9 631
	// <nil>
}

// Status says which servers there are, and which one leads.
func ExampleStatus() {
	agent := consulmock.NewServer()
	defer agent.Close()
	client, ctx := agent.Client(), context.Background()

	fmt.Println(client.Status().Leader(ctx))
	fmt.Println(client.Status().Peers(ctx))
	// Output:
	// 127.0.0.1:8300 <nil>
	// [127.0.0.1:8300] <nil>
}

// Raw writes, too: here a policy of the access control.
func ExampleRaw_Write() {
	agent := consulmock.NewServer(consulmock.WithTokens(consulmock.ManagementToken("for-operators")))
	defer agent.Close()

	policy := map[string]string{"Name": "web", "Rules": `service "web" { policy = "write" }`}
	var made struct{ Name, Rules string }
	err := agent.Client().Raw().Write(context.Background(), "/v1/acl/policy", policy, &made,
		&consul.WriteOptions{Token: "for-operators"})
	fmt.Println(made.Name, made.Rules, err)
	// Output: web service "web" { policy = "write" } <nil>
}
