//go:build go1.25

package consulmock_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/discovery"
)

func TestSilenceIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		agent.AddService(&consul.AgentServiceRegistration{
			Name:  "web",
			Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
		})
		status := func() consul.HealthStatus {
			status, _, err := agent.Client().Agent().ServiceHealthByName(t.Context(), "web")
			if err != nil {
				t.Fatal(err)
			}
			return status
		}
		time.Sleep(59 * time.Second) // takes no time
		if got := status(); got != consul.HealthPassing {
			t.Errorf("%s after 59 s", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := status(); got != consul.HealthCritical {
			t.Errorf("%s after a minute", got)
		}
	})
}

func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		reg, err := discovery.Register(t.Context(), agent.Client(), &consul.AgentServiceRegistration{
			Name: "web", Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer reg.Close()

		agent.Stop()
		time.Sleep(time.Hour)
		agent.Restart(false)         // it has forgotten everything
		time.Sleep(15 * time.Second) // at most one TTL
		status, _, err := agent.Client().Agent().ServiceHealthByName(t.Context(), "web")
		if status != consul.HealthPassing {
			t.Errorf("got %s, %v", status, err)
		}
	})
}

type network func(*http.Request) (*http.Response, error)

func (n network) RoundTrip(r *http.Request) (*http.Response, error) { return n(r) }

func TestNextInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		for _, id := range []string{"web-1", "web-2"} {
			agent.AddService(&consul.AgentServiceRegistration{ID: id, Name: "web", Address: id, Port: 80})
		}
		resolver := discovery.NewResolver(agent.Client(), nil)
		defer resolver.Close()
		client := &http.Client{Transport: discovery.NewTransport(resolver, network(func(r *http.Request) (*http.Response, error) {
			if r.URL.Hostname() == "web-1" { // is gone
				return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}))}
		for range 10 {
			resp, err := client.Get("http://web/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	})
}

func TestAnotherLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		election := coordination.NewElection(agent.Client(), "app/leader", nil)
		ctx, end := context.WithCancel(t.Context())
		var candidates sync.WaitGroup
		defer candidates.Wait() // they release what they have
		defer end()
		for range 2 {
			candidates.Go(func() {
				election.Run(ctx, func(ctx context.Context, lease *coordination.Lease) error {
					<-ctx.Done() // the work
					return nil
				})
			})
		}
		synctest.Wait() // one of them leads now
		first, err := election.Leader(ctx)
		if err != nil || first.Session == "" {
			t.Fatalf("got %+v, %v", first, err)
		}
		agent.InvalidateSession(first.Session)
		time.Sleep(16 * time.Second) // until the lock-delay is over
		second, err := election.Leader(ctx)
		if err != nil || second.Token <= first.Token {
			t.Errorf("got %+v, %v", second, err)
		}
	})
}
