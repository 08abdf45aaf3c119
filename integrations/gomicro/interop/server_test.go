//go:build go1.25

package interop

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/broker"
	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/server"
	"go-micro.dev/v4/transport"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/gomicro"
)

// program is a server of go-micro, with what it thinks of itself. Its times are those
// of go-micro's flags.
type program struct {
	mu     sync.Mutex
	status consul.HealthStatus
}

func (p *program) health(context.Context) (consul.HealthStatus, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, "no database"
}

func (p *program) registerCheck(ctx context.Context) error {
	if status, note := p.health(ctx); status != consul.HealthPassing {
		return errors.New(note)
	}
	return nil
}

// becomes sets the status, and waits until after the next refresh.
func (p *program) becomes(status consul.HealthStatus) {
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
	time.Sleep(31 * time.Second)
}

func serveInMemory(t *testing.T, r registry.Registry, opts ...server.Option) {
	t.Helper()
	s := server.NewRPCServer(append([]server.Option{
		server.Name("greeter"), server.Id("1"), server.Address("127.0.0.1:80"), server.Registry(r),
		server.Transport(transport.NewMemoryTransport()), server.Broker(broker.NewMemoryBroker()),
		server.RegisterInterval(30 * time.Second), server.RegisterTTL(time.Minute),
	}, opts...)...)
	check(t, s.Start())
	t.Cleanup(func() { check(t, s.Stop()) })
}

// TestServerThatIsNotWell shows that go-micro v4.11.0 deregisters a node when its
// RegisterCheck fails, and registers it again in the same moment, at each refresh:
// clients go on calling it. With the option Health they do not until all is well.
func TestServerThatIsNotWell(t *testing.T) {
	for name, foundWhenNotWell := range map[string]bool{"RegisterCheck": true, "Health": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := consulmock.New(t)
				p := &program{status: consul.HealthPassing}
				opts := []registry.Option{gomicro.Client(fake.Client())}
				var serverOpts []server.Option
				if name == "Health" {
					opts = append(opts, gomicro.Health(p.health))
				} else {
					serverOpts = append(serverOpts, server.RegisterCheck(p.registerCheck))
				}
				r := gomicro.NewRegistry(opts...)
				serveInMemory(t, r, serverOpts...)
				for _, step := range []struct {
					status consul.HealthStatus
					found  bool
				}{
					{consul.HealthPassing, true},
					{consul.HealthCritical, foundWhenNotWell},
					{consul.HealthCritical, foundWhenNotWell},
					{consul.HealthPassing, true},
				} {
					p.becomes(step.status)
					if services, err := r.GetService("greeter"); (err == nil) != step.found {
						t.Errorf("%s: found %v, error %v; want it found: %t", step.status, services, err, step.found)
					}
				}
				deregistered := slices.ContainsFunc(fake.Requests(), func(r consulmock.Request) bool {
					return r.Path == "/v1/agent/service/deregister/greeter-1"
				})
				if deregistered != foundWhenNotWell {
					t.Errorf("deregistered: %t", deregistered)
				}
			})
		})
	}
}
