//go:build go1.25

package discovery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestRetry ends a pause that would last for some minutes of an hour, at random.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := consulmock.New(t)
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", Port: 80})
		agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Status: 500, Body: "no"})
		var pause time.Duration
		r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{
			MinBackoff: time.Hour,
			MaxBackoff: time.Hour,
			OnEvent: func(e discovery.Event) {
				if e, ok := e.(discovery.WatchErrorEvent); ok {
					pause = e.RetryIn
				}
			},
		})
		defer r.Close()
		r.Retry("web") // nobody has asked for it
		begin := time.Now()
		go r.Instances(context.Background(), "web")
		synctest.Wait()
		r.Retry("web")
		instances, err := r.Instances(context.Background(), "web")
		if err != nil || len(instances) != 1 {
			t.Fatalf("Instances: %v, %v; want one", instances, err)
		}
		if took := time.Since(begin); took >= pause {
			t.Errorf("took %s; the pause was %s", took, pause)
		}
	})
}
