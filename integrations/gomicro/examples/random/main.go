// Random calls the greeter service twenty times, each time on an instance that
// was picked at random. See README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"

	"go-micro.dev/v4/client"
	"go-micro.dev/v4/selector"

	"github.com/lictor-go/consul/integrations/gomicro"
)

type Request struct{ Name string }

type Response struct{ Text, Server string }

func main() {
	c := client.NewClient(
		client.Selector(selector.NewSelector(
			selector.Registry(gomicro.NewRegistry()),
			selector.SetStrategy(selector.Random), // which is also the default
		)),
		client.ContentType("application/json"),
	)
	const calls = 20
	var servers []string
	for range calls {
		var rsp Response
		if err := c.Call(context.Background(), c.NewRequest("greeter", "Greeter.Hello", &Request{"Marcus"}), &rsp); err != nil {
			log.Fatal(err)
		}
		if rsp.Text != "Hello Marcus" {
			log.Fatalf("the answer is %q", rsp.Text)
		}
		servers = append(servers, rsp.Server)
	}
	slices.Sort(servers)
	fmt.Printf("%d calls were answered by %s\n", calls, strings.Join(slices.Compact(servers), " and "))
}
