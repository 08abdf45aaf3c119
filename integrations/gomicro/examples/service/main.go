// Service is a go-micro service that is registered with a TTL: when the process
// ends in whatever way, clients stop calling it. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"go-micro.dev/v4"
	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/server"

	"github.com/lictor-go/consul/integrations/gomicro"
)

// Greeter greets. It has one endpoint, Greeter.Hello.
type Greeter struct{ id string }

type Request struct{ Name string }

type Response struct{ Text, Server string }

func (g *Greeter) Hello(_ context.Context, req *Request, rsp *Response) error {
	rsp.Text = "Hello " + req.Name
	rsp.Server = g.id
	return nil
}

func main() {
	id := flag.String("id", "1", "a word that no other instance has")
	flag.Parse()
	if err := logger.Init(logger.WithLevel(logger.ErrorLevel)); err != nil {
		log.Fatal(err)
	}

	// There is no call of service.Init, which would replace the times below by
	// those of go-micro's own flags: 30 s, and a TTL of 60 s.
	service := micro.NewService(
		micro.Name("greeter"),
		micro.Address("127.0.0.1:0"),
		micro.Registry(gomicro.NewRegistry()),
		micro.Broker(broker.NewMemoryBroker()),
		micro.RegisterInterval(5*time.Second),
		micro.RegisterTTL(15*time.Second),
		micro.AfterStart(func() error {
			fmt.Printf("greeter-%s is registered\n", *id)
			return nil
		}),
		micro.AfterStop(func() error {
			fmt.Printf("greeter-%s is deregistered\n", *id)
			return nil
		}),
	)
	if err := service.Server().Init(server.Id(*id)); err != nil {
		log.Fatal(err)
	}
	if err := micro.RegisterHandler(service.Server(), &Greeter{id: "greeter-" + *id}); err != nil {
		log.Fatal(err)
	}
	if err := service.Run(); err != nil {
		log.Fatal(err)
	}
}
