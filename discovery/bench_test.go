package discovery_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// BenchmarkSubscribers holds 10,000 loops over 100 services of three instances,
// and reports the memory and the connections that they take. Each loop is a
// goroutine, whose stack counts too.
func BenchmarkSubscribers(b *testing.B) {
	const services, subscribers = 100, 10000
	agent := consulmock.New(b)
	var connections atomic.Int32
	base := agent.Transport().(*http.Transport)
	dial := base.DialContext
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			connections.Add(1)
		}
		return conn, err
	}
	defer base.CloseIdleConnections()
	c, err := consul.NewClient(consul.Config{Transport: base})
	if err != nil {
		b.Fatal(err)
	}
	name := func(n int) string { return fmt.Sprintf("s%02d", n%services) }
	for n := range 3 * services {
		agent.AddService(&consul.AgentServiceRegistration{Name: name(n), ID: fmt.Sprint(name(n), "-", n), Port: 80, Tags: []string{"a", "b"}})
	}
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for range b.N {
		connections.Store(0)
		r := discovery.NewResolver(c, nil)
		for n := range services { // what a service takes however many watch it
			if _, err := r.Instances(context.Background(), name(n)); err != nil {
				b.Fatal(err)
			}
		}
		before := memory()
		ctx, cancel := context.WithCancel(context.Background())
		var first, ended sync.WaitGroup
		first.Add(subscribers)
		ended.Add(subscribers)
		for n := range subscribers {
			go func() {
				defer ended.Done()
				once := false
				for list := range r.Watch(ctx, name(n)) {
					if len(list) == 3 && !once {
						once = true
						first.Done()
					}
				}
			}()
		}
		first.Wait()
		b.ReportMetric(float64(memory()-before)/subscribers, "B/subscriber")
		b.ReportMetric(float64(connections.Load()), "connections")
		cancel()
		ended.Wait()
		r.Close()
	}
}

// BenchmarkPick picks from a service of 100 instances.
func BenchmarkPick(b *testing.B) {
	agent := consulmock.New(b)
	for n := range 100 {
		agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: fmt.Sprint(n), Port: 80})
	}
	ctx := context.Background()
	for _, balancer := range []struct {
		name string
		new  func() discovery.Balancer
	}{
		{"Random", discovery.Random}, {"RoundRobin", discovery.RoundRobin},
		{"WeightedRandom", discovery.WeightedRandom}, {"LeastLoaded", discovery.LeastLoaded},
	} {
		b.Run(balancer.name, func(b *testing.B) {
			r := discovery.NewResolver(agent.Client(), &discovery.ResolverOptions{Balancer: balancer.new})
			defer r.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := r.Pick(ctx, "web"); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	b.Run("PickKey", func(b *testing.B) {
		r := discovery.NewResolver(agent.Client(), nil)
		defer r.Close()
		b.ReportAllocs()
		for range b.N {
			if _, err := r.PickKey(ctx, "web", "user-1"); err != nil {
				b.Error(err)
			}
		}
	})
}
