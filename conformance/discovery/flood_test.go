package discovery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestManyServices follows 300 services from one process through an agent that
// allows it 200 connections, as agents do by default, and keeps 20 services of
// its own registered at the same time.
func TestManyServices(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, connections := client(t, a)
	ctx := context.Background()
	const watched, kept = 300, 20
	name := func(n int) string { return fmt.Sprintf("s%03d", n) }
	add := func(n, instance int) {
		if err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: name(n), ID: fmt.Sprintf("s%03d-%d", n, instance)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range watched {
		add(n, 0)
	}
	var mu sync.Mutex
	var failed []discovery.Event
	note := func(e discovery.Event) {
		switch e.(type) {
		case discovery.WatchErrorEvent, discovery.HeartbeatFailedEvent, discovery.HealedEvent:
			mu.Lock()
			failed = append(failed, e)
			mu.Unlock()
		}
	}
	for n := range kept {
		r, err := discovery.Register(ctx, c, &consul.AgentServiceRegistration{Name: "kept", ID: fmt.Sprint("kept-", n), Check: &consul.AgentServiceCheck{TTL: ttl}},
			&discovery.RegisterOptions{OnEvent: note})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
	}

	r := discovery.NewResolver(c, &discovery.ResolverOptions{OnEvent: note})
	defer r.Close()
	start := time.Now()
	var wg sync.WaitGroup
	for n := range watched {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if list, err := r.Instances(ctx, name(n)); err != nil || len(list) != 1 {
				t.Errorf("%s: %d instances, %v", name(n), len(list), err)
			}
		}()
	}
	wg.Wait()
	first := time.Since(start)

	most := int32(0)
	stop := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				most = max(most, connections.Load())
			}
		}
	}()
	time.Sleep(8 * time.Second) // the slots are taken by then
	var took []time.Duration
	for n := range watched {
		wg.Add(1)
		go func() {
			defer wg.Done()
			changed := time.Now()
			add(n, 1)
			await(t, name(n), 30*time.Second, func() bool {
				st, _ := r.State(name(n))
				return len(st.Instances) == 2
			})
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(changed))
		}()
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	close(stop)
	<-watching
	slices.Sort(took)

	entries, _, err := c.Health().Service(ctx, "kept", &consul.QueryOptions{PassingOnly: true})
	if err != nil || len(entries) != kept {
		t.Errorf("%d of %d registrations are passing, %v", len(entries), kept, err)
	}
	if len(failed) > 0 {
		t.Errorf("%d failures, the first one %+v", len(failed), failed[0])
	}
	if most > 150 {
		t.Errorf("%d connections", most)
	}
	// Six seconds, and what a busy machine adds.
	if slowest := took[len(took)-1]; slowest > 15*time.Second {
		t.Errorf("a change was seen after %s", slowest)
	}
	within := func(d time.Duration) int { n, _ := slices.BinarySearch(took, d); return n }
	t.Logf("Consul %s: first responses for %d services after %s; at most %d connections; changes seen within 100 ms: %d, median %s, slowest %s; heartbeats failed: 0",
		a.Version, watched, first.Round(time.Millisecond), most, within(100*time.Millisecond), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
}
