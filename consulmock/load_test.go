package consulmock_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// 10,000 instances, and 2,000 blocked queries of which each change wakes some.
func TestManyInstancesAndWaits(t *testing.T) {
	const (
		services   = 100
		instances  = 100 // of each
		waiters    = 2000
		perService = waiters / services
		changes    = 10
	)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := consulmock.New(t, consulmock.WithCompactJSON(true))
	client := s.Client()
	name := func(i int) string { return fmt.Sprintf("service-%d", i) }
	began := time.Now()
	for i := range services {
		for j := range instances {
			s.AddService(&consul.AgentServiceRegistration{
				ID: fmt.Sprintf("%s-%d", name(i), j), Name: name(i), Port: j + 1,
				Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthPassing},
			})
		}
	}
	t.Logf("%d registrations took %s", services*instances, time.Since(began))

	began = time.Now()
	woken := make(chan string, waiters)
	var all sync.WaitGroup
	for i := range services {
		_, meta, err := client.Health().Service(ctx, name(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range perService {
			all.Add(1)
			go func() {
				defer all.Done()
				entries, _, err := client.Health().Service(ctx, name(i), &consul.QueryOptions{WaitIndex: meta.LastIndex, PassingOnly: true})
				if err == nil && len(entries) != instances-1 {
					err = fmt.Errorf("%d instances, want %d", len(entries), instances-1)
				}
				if err == nil {
					woken <- name(i)
				} else if ctx.Err() == nil {
					t.Error(err)
				}
			}()
		}
	}
	for waiting := 0; waiting < waiters; {
		waiting = 0
		for _, r := range s.Requests() {
			if r.Query.Has("index") && r.Status == 0 {
				waiting++
			}
		}
	}
	t.Logf("%d queries wait after %s", waiters, time.Since(began))

	began = time.Now()
	for i := range changes {
		s.SetCheckStatus(fmt.Sprintf("service:%s-0", name(i)), consul.HealthCritical, "")
		for range perService {
			if got := <-woken; got != name(i) {
				t.Fatalf("a change of %s woke a query for %s", name(i), got)
			}
		}
	}
	t.Logf("%d changes woke %d queries in %s", changes, changes*perService, time.Since(began))
	cancel()
	all.Wait()
}

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
