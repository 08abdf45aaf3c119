// Roundrobin calls the instances of the greeter service in turn. See README.md.
package main

import (
	"context"
	"fmt"
	"log"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/selector"

	"github.com/lictor-go/consul/integrations/gomicro"
)

type Request struct{ Name string }

type Response struct{ Text, Server string }

func main() {
	s := selector.NewSelector(
		selector.Registry(gomicro.NewRegistry()),
		selector.SetStrategy(selector.RoundRobin),
	)
	c := client.NewClient(client.ContentType("application/json"))

	// Each Select starts at a random instance, so whoever calls in turn asks once
	// and goes on from there. What is selected does not change any more.
	next, err := s.Select("greeter")
	if err != nil {
		log.Fatal(err)
	}
	answered := map[string]int{}
	for range 10 {
		node, err := next()
		if err != nil {
			log.Fatal(err)
		}
		var rsp Response
		req := c.NewRequest("greeter", "Greeter.Hello", &Request{"Marcus"})
		if err := c.Call(context.Background(), req, &rsp, client.WithAddress(node.Address)); err != nil {
			log.Fatal(err)
		}
		answered[rsp.Server]++
	}
	for _, server := range []string{"greeter-1", "greeter-2"} {
		fmt.Printf("%s answered %d of 10 calls\n", server, answered[server])
	}
}
