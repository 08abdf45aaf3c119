// Command ours is what a program that registers and looks up costs with our client.
package main

import (
	"context"
	"fmt"

	"github.com/lictor-go/consul"
)

func main() {
	c, err := consul.NewClient(consul.Config{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	if err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"}); err != nil {
		panic(err)
	}
	fmt.Println(c.Health().Service(ctx, "web", nil))
}
