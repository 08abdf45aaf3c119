package discovery_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// firstPicker is a balancer that can be looked for after it has been dropped.
type firstPicker struct{ service [1 << 10]byte }

func (*firstPicker) Pick([]discovery.Instance) int { return 0 }

// TestForgottenServicesLeaveNothing picks from hundreds of services, and waits
// until the garbage collector has taken what was known of them.
func TestForgottenServicesLeaveNothing(t *testing.T) {
	const services = 300
	agent := consulmock.New(t)
	gone := make(chan struct{}, services)
	r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
		IdleTimeout: time.Nanosecond,
		Balancer: func() discovery.Balancer {
			b := new(firstPicker)
			runtime.SetFinalizer(b, func(*firstPicker) { gone <- struct{}{} })
			return b
		},
	})
	defer r.Close()
	for n := range services {
		service := fmt.Sprint("s", n)
		agent.AddService(&consul.AgentServiceRegistration{Name: service})
		if _, err := r.Pick(context.Background(), service); err != nil {
			t.Fatal(err)
		}
	}
	for left := services; left > 0; {
		runtime.GC()
		for ; len(gone) > 0; left-- {
			<-gone
		}
	}
}
