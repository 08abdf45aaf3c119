package consul_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// forgetFailed removes the client agents that have failed and will not come back,
// as when machines are replaced.
func forgetFailed(ctx context.Context, client *consul.Client, replaced func(node string) bool) error {
	members, err := client.Agent().Members(ctx, consul.MembersOptions{})
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Status != consul.MemberFailed || m.Tags["role"] == "consul" || !replaced(m.Name) {
			continue // alive, or a server, or it may come back
		}
		if err := client.Agent().ForceLeave(ctx, m.Name, consul.ForceLeaveOptions{Prune: true}); err != nil {
			return err
		}
	}
	return nil
}

// Machines are replaced: what remains of one is removed from the cluster.
func ExampleAgent_ForceLeave() {
	agent := consulmock.NewServer()
	defer agent.Close()
	agent.AddMember(consul.AgentMember{Name: "vm-7", Status: consul.MemberFailed, Tags: map[string]string{"role": "node"}})
	agent.AddMember(consul.AgentMember{Name: "vm-8", Status: consul.MemberAlive, Tags: map[string]string{"role": "node"}})
	ctx, client := context.Background(), agent.Client()

	list := func() {
		members, err := client.Agent().Members(ctx, consul.MembersOptions{})
		if err != nil {
			log.Fatal(err)
		}
		slices.SortFunc(members, func(a, b *consul.AgentMember) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range members {
			fmt.Println(m.Name, m.Tags["role"], m.Status)
		}
	}
	list()
	if err := forgetFailed(ctx, client, func(node string) bool { return node == "vm-7" }); err != nil {
		log.Fatal(err)
	}
	fmt.Println("then")
	list()
	// Output:
	// node1 consul alive
	// vm-7 node failed
	// vm-8 node alive
	// then
	// node1 consul alive
	// vm-8 node alive
}
