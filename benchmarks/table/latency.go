package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/lictor-go/consul"
)

const (
	burstPause = 50 * time.Millisecond
	floodPause = 20 * time.Millisecond
)

// follower follows a service of its own, which is changed to see how soon it
// notices. A change is another port.
type follower struct {
	way
	client  *consul.Client // makes the changes
	service string
	port    int        // of the last change
	seen    chan int   // ports
	ended   chan error // from follow

	first, third, last []float64 // seconds until changes were seen
	lists              []float64 // seen during floods
}

// latency measures how soon a change of a service at a real agent arrives at a
// subscriber: from the start of the request that makes it to the call of the
// subscriber's function. Subscribers take turns.
func latency(s scale) error {
	binary := os.Getenv("CONSUL_BIN")
	if binary == "" {
		show("%s\n", "No latencies: CONSUL_BIN does not name a Consul binary.")
		return nil
	}
	addr, stop, err := startRealAgent(binary)
	if err != nil {
		return err
	}
	defer stop()
	return latencyAt(s, addr)
}

func latencyAt(s scale, addr string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client, err := consul.NewClient(consul.Config{Address: addr})
	if err != nil {
		return err
	}
	self, err := client.Agent().Self(ctx)
	if err != nil {
		return err
	}
	var all []*follower
	for i, w := range []way{watchService, resolver, ourLoop, apiPlan, apiLoop, kratos} {
		f := &follower{way: w, client: client, service: fmt.Sprint("web-", i), seen: make(chan int, 1000), ended: make(chan error, 1)}
		if err := f.start(ctx, addr); err != nil {
			return err
		}
		all = append(all, f)
	}
	if err := inTurns(all, s.bursts, s.burstEvery, func(f *follower) error { return f.burst(ctx) }); err != nil {
		return err
	}
	if err := inTurns(all, s.floods, s.floodEvery, func(f *follower) error { return f.flood(ctx, s.floodChanges) }); err != nil {
		return err
	}
	show("| from a change to the subscriber, agent %s | median | 90th percentile | times that of WatchService | third of three changes, %s apart "+
		"| last of %d changes, %s apart | lists seen of these |\n|---|---|---|---|---|---|---|\n", self.Config.Version, burstPause, s.floodChanges, floodPause)
	for _, f := range all {
		show("| %s | %s | %s | %.1f | %s | %s | %.0f |\n", f.name, us(seconds(median(f.first))), us(seconds(quantile(f.first, 0.9))),
			median(ratios(f.first, all[0].first)), us(seconds(median(f.third))), us(seconds(median(f.last))), median(f.lists))
	}
	return nil
}

// inTurns lets all do something in each of n rounds, which begin so far apart. All
// are at rest when a round begins, the first one too.
func inTurns(all []*follower, n int, apart time.Duration, do func(*follower) error) error {
	next := time.Now()
	for round := range n {
		next = next.Add(apart)
		time.Sleep(time.Until(next))
		for i := range all {
			f := all[(round+i)%len(all)]
			if err := do(f); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	return nil
}

// start registers the service and follows it.
func (f *follower) start(ctx context.Context, addr string) error {
	if err := f.change(ctx); err != nil {
		return err
	}
	follow, err := f.open(ctx, addr)
	if err != nil {
		return err
	}
	go func() {
		f.ended <- follow(ctx, f.service, func(_ any, port int) { f.seen <- port })
	}()
	_, err = f.await()
	return err
}

// burst measures three changes, each soon after the one before was seen.
func (f *follower) burst(ctx context.Context) error {
	var took []float64
	for range 3 {
		time.Sleep(burstPause)
		start := time.Now()
		if err := f.change(ctx); err != nil {
			return err
		}
		if _, err := f.await(); err != nil {
			return err
		}
		took = append(took, time.Since(start).Seconds())
	}
	f.first, f.third = append(f.first, took[0]), append(f.third, took[2])
	return nil
}

// flood measures the last of many changes that wait for nobody.
func (f *follower) flood(ctx context.Context, changes int) error {
	var start time.Time
	for range changes {
		time.Sleep(floodPause)
		start = time.Now()
		if err := f.change(ctx); err != nil {
			return err
		}
	}
	lists, err := f.await()
	f.last, f.lists = append(f.last, time.Since(start).Seconds()), append(f.lists, float64(lists))
	return err
}

// change registers the service with another port.
func (f *follower) change(ctx context.Context) error {
	f.port++
	return f.client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: f.service, Address: "127.0.0.1", Port: f.port})
}

// await waits until the last change is seen, and returns how many lists were.
func (f *follower) await() (lists int, err error) {
	late := time.After(30 * time.Second)
	for {
		select {
		case port := <-f.seen:
			lists++
			if port == f.port {
				return lists, nil
			}
		case err := <-f.ended:
			return lists, fmt.Errorf("the subscription ended: %w", err)
		case <-late:
			return lists, fmt.Errorf("port %d is not seen", f.port)
		}
	}
}
