// Command api is what a program that registers and looks up costs with consul/api.
package main

import (
	"fmt"

	"github.com/hashicorp/consul/api"
)

func main() {
	c, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		panic(err)
	}
	if err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web"}); err != nil {
		panic(err)
	}
	fmt.Println(c.Health().Service("web", "", false, nil))
}
