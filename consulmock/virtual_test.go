//go:build go1.25

package consulmock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

func TestTTLExpiresInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		client := consulmock.New(t).Client()
		if err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
			Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Minute, Status: consul.HealthPassing},
		}); err != nil {
			t.Fatal(err)
		}
		_, meta, err := client.Health().Service(ctx, "web", nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		entries, _, err := client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex})
		if err != nil {
			t.Fatal(err)
		}
		if got := entries[0].Checks.AggregatedStatus(); got != consul.HealthCritical {
			t.Errorf("status %q, want critical", got)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("expired after %s, want 1m0s", got)
		}
	})
}
