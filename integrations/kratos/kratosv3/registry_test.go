package kratosv3_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-kratos/kratos/v3/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos/kratosv3"
	"github.com/lictor-go/consul/internal/agenttest"
)

// onEachAgent runs the test with the fake and with a real agent, if there is one.
func onEachAgent(t *testing.T, test func(t *testing.T, c *consul.Client)) {
	t.Run("fake", func(t *testing.T) { test(t, consulmock.New(t).Client()) })
	t.Run("real", func(t *testing.T) { test(t, agenttest.Start(t, agenttest.Options{}).Client()) })
}

// TestRegistry has every method do its work. The example is about whole apps.
func TestRegistry(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r := kratosv3.New(c, nil)
		w, err := r.Watch(ctx, "some.dotted/service")
		if err != nil {
			t.Fatal(err)
		}
		i := &registry.ServiceInstance{
			ID: "1", Name: "some.dotted/service", Version: "v1", Metadata: map[string]string{"a": "b"},
			Endpoints: []string{"grpc://127.0.0.1:1?isSecure=true"},
		}
		if err := r.Register(ctx, i); err != nil {
			t.Fatal(err)
		}
		if list, err := w.Next(); err != nil || len(list) != 1 || !list[0].Equal(i) {
			t.Fatalf("Next: %v, %v; want %v", list, err, i)
		}
		if list, err := r.GetService(ctx, i.Name); err != nil || len(list) != 1 || !list[0].Equal(i) {
			t.Fatalf("GetService: %v, %v; want %v", list, err, i)
		}
		if err := r.Deregister(ctx, i); err != nil {
			t.Fatal(err)
		}
		if list, err := w.Next(); err != nil || len(list) != 0 {
			t.Fatalf("Next: %v, %v; want none", list, err)
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := w.Next(); err != context.Canceled {
			t.Errorf("Next after Stop: %v", err)
		}
		if _, err := r.Watch(ctx, ""); err == nil {
			t.Error("Watch of nothing is no error")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.GetService(ctx, i.Name); err == nil {
			t.Error("GetService after Close is no error")
		}
	})
}
