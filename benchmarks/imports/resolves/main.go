// Command resolves is what a program costs that registers itself and resolves
// others, with packages consul and discovery.
package main

import (
	"context"
	"fmt"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func main() {
	c, err := consul.NewClient(consul.Config{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	self, err := discovery.Register(ctx, c, &consul.AgentServiceRegistration{Name: "web"}, nil)
	if err != nil {
		panic(err)
	}
	defer self.Close()
	resolver := discovery.NewResolver(c, nil)
	defer resolver.Close()
	fmt.Println(resolver.Pick(ctx, "db"))
}
