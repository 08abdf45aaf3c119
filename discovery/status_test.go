package discovery_test

import (
	"context"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestAnyStatus sees instances of every status with their weights.
func TestAnyStatus(t *testing.T) {
	agent := consulmock.New(t)
	for _, status := range []consul.HealthStatus{consul.HealthPassing, consul.HealthWarning, consul.HealthCritical} {
		agent.AddService(&consul.AgentServiceRegistration{
			Name: "web", ID: string(status), Port: 80,
			Weights: &consul.AgentWeights{Passing: 5, Warning: 2},
			Check:   &consul.AgentServiceCheck{TTL: time.Hour, Status: status},
		})
	}
	for _, test := range []struct {
		opts discovery.ResolverOptions
		want map[string]int
	}{
		{discovery.ResolverOptions{}, map[string]int{"passing": 5}},
		{discovery.ResolverOptions{AllowWarning: true}, map[string]int{"passing": 5, "warning": 2}},
		{discovery.ResolverOptions{AnyStatus: true}, map[string]int{"passing": 5, "warning": 2, "critical": 0}},
	} {
		r := discovery.NewResolver(agent.Client(), &test.opts)
		instances, err := r.Instances(context.Background(), "web")
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, i := range instances {
			got[i.ID] = i.Weight
		}
		if len(got) != len(test.want) {
			t.Errorf("AllowWarning %t, AnyStatus %t: %v; want %v", test.opts.AllowWarning, test.opts.AnyStatus, got, test.want)
		}
		for id, weight := range test.want {
			if got[id] != weight {
				t.Errorf("weight of %s: %d; want %d", id, got[id], weight)
			}
		}
	}
}
