package consulmock_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// BenchmarkHealthService reads a service of ten instances over a connection in
// memory.
func BenchmarkHealthService(b *testing.B) {
	s := consulmock.New(b)
	for i := range 10 {
		s.AddService(&consul.AgentServiceRegistration{
			ID: fmt.Sprint("web-", i), Name: "web", Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthPassing},
		})
	}
	client := s.Client()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, _, err := client.Health().Service(context.Background(), "web", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPassTTL updates a check over a connection in memory.
func BenchmarkPassTTL(b *testing.B) {
	s := consulmock.New(b)
	s.AddService(&consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: time.Hour}})
	client := s.Client()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := client.Agent().PassTTL(context.Background(), "service:web", "fine"); err != nil {
			b.Fatal(err)
		}
	}
}
