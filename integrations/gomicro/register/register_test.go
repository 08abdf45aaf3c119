package register_test

import (
	"errors"
	"net/url"
	"os"
	"testing"

	"go-micro.dev/v4"
	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	_ "github.com/lictor-go/consul/integrations/gomicro/register"
)

// A program that names no registry in code has the one that the variables name, at
// the address that they name.
func TestRegister(t *testing.T) {
	for _, at := range []string{"CONSUL_HTTP_ADDR", "MICRO_REGISTRY_ADDRESS", "--registry_address"} {
		t.Run(at, func(t *testing.T) {
			fake := consulmock.New(t)
			fake.AddService(&consul.AgentServiceRegistration{Name: "greeter", ID: "1", Address: "10.0.0.1", Port: 80})
			u, err := url.Parse(fake.URL())
			if err != nil {
				t.Fatal(err)
			}
			args := os.Args
			defer func() { os.Args = args }()
			if at == "--registry_address" {
				os.Args = []string{args[0], "--registry=consul", at + "=" + u.Host}
			} else {
				os.Args = args[:1] // those of the tests are not for go-micro
				t.Setenv(at, u.Host)
				t.Setenv("MICRO_REGISTRY", "consul")
			}

			service := micro.NewService(micro.Name("client"))
			service.Init()
			r := service.Options().Registry
			if r.String() != "consul" {
				t.Fatalf("the registry is %s", r)
			}
			if services, err := r.GetService("greeter"); err != nil || len(services) != 1 {
				t.Errorf("found %v, error %v", services, err)
			}
			if _, err := service.Client().Options().Selector.Select("greeter"); err != nil {
				t.Errorf("the client's selector: %v", err)
			}
			if _, err := r.GetService("nobody"); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("an unknown service: %v", err)
			}
		})
	}
}
