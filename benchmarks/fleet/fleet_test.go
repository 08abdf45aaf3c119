// Package fleet simulates, in virtual time, what the changes of one service cost when
// many programs watch it.
//
//	go test ./fleet -v -watchers 1000
package fleet

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

var watchers = flag.Int("watchers", 2, "how many programs watch the service")

const (
	instances = 10
	service   = "web"
	slice     = 100 * time.Millisecond // in which responses count as simultaneous
	first     = 5 * time.Second        // of the changes, which do not count for the busiest slice: bursts cannot be spread
	after     = 10 * time.Second       // how long the simulation goes on after the last change
)

// changes are a number of changes of the service, so far apart.
type changes struct {
	name  string
	count int
	apart time.Duration
}

// setting is how programs watch.
type setting struct {
	name    string
	options func() *discovery.WatchOptions
}

func fixed(burst int, interval time.Duration) func() *discovery.WatchOptions {
	return func() *discovery.WatchOptions { return &discovery.WatchOptions{Burst: burst, MinInterval: interval} }
}

// spread chooses the interval of each watcher at random, half of it to one and a
// half, so that they do not stay in step.
func spread(burst int, interval time.Duration) func() *discovery.WatchOptions {
	return func() *discovery.WatchOptions {
		return &discovery.WatchOptions{Burst: burst, MinInterval: interval/2 + rand.N(interval)}
	}
}

var (
	allChanges = []changes{
		{"one change", 1, time.Second},
		{"100 changes, one a second", 100, time.Second},
		{"100 changes in 10 s", 100, 100 * time.Millisecond},
		{"600 changes in 60 s", 600, 100 * time.Millisecond},
	}
	settings = []setting{
		{"the defaults: `Burst` 10, `MinInterval` 1 s", fixed(10, time.Second)},
		{"`Burst` 1", fixed(1, time.Second)},
		{"`Burst` 1, `MinInterval` 5 s", fixed(1, 5*time.Second)},
		{"`MinInterval` of 0.5 s to 1.5 s at random", spread(10, time.Second)},
		{"`Burst` 1, `MinInterval` of 2.5 s to 7.5 s at random", spread(1, 5*time.Second)},
		{"no limit", fixed(1<<30, time.Nanosecond)},
	}
)

// TestFleet prints what each watcher receives, and how much of it all receive at
// the same time.
func TestFleet(t *testing.T) {
	fmt.Printf("%d watchers of a service of %d instances:\n\n", *watchers, instances)
	fmt.Println("| changes | watched with | responses for each watcher | of those in the busiest 100 ms, after the first 5 s " +
		"| lists seen | last change seen after: median | all |\n|---|---|---|---|---|---|---|")
	for _, c := range allChanges {
		for i, s := range settings {
			if c.count == 1 && i > 0 {
				break // nothing limits a single one
			}
			synctest.Test(t, func(t *testing.T) { simulate(t, c, s) })
		}
	}
}

// fleet is what is measured.
type fleet struct {
	base  http.RoundTripper
	start time.Time // of the changes

	mu        sync.Mutex
	responses []time.Time
	lists     int
	seen      []time.Duration // the last change, since it was made
}

// RoundTrip notes a response.
func (f *fleet) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := f.base.RoundTrip(req)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.responses = append(f.responses, time.Now())
	}
	return resp, err
}

func simulate(t *testing.T, c changes, s setting) {
	agent := consulmock.New(t)
	change := func(port int) {
		agent.AddService(&consul.AgentServiceRegistration{Name: service, ID: fmt.Sprint("web-", port%instances), Port: port})
	}
	for i := range instances {
		change(10000 + i)
	}
	f := &fleet{base: agent.Transport()}
	client, err := consul.NewClient(consul.Config{Transport: f})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	var last time.Time // the last change, whose port is final
	final := 20000 + c.count - 1
	for range *watchers {
		ended.Go(func() {
			for entries, err := range discovery.WatchService(ctx, client, service, s.options()) {
				if err != nil {
					t.Error(err)
				}
				f.see(entries, final, func() time.Duration { return time.Since(last) })
			}
		})
	}
	time.Sleep(20 * time.Second) // all are at rest
	f.mu.Lock()
	f.responses, f.lists = nil, 0
	f.mu.Unlock()
	f.start = time.Now()
	for i := range c.count {
		last = time.Now()
		change(20000 + i)
		time.Sleep(c.apart)
	}
	time.Sleep(after)
	cancel()
	ended.Wait()
	f.report(t, c, s)
}

// see notes a list.
func (f *fleet) see(entries []*consul.ServiceEntry, final int, since func() time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if slices.ContainsFunc(entries, func(e *consul.ServiceEntry) bool { return e.Service.Port == final }) {
		f.seen = append(f.seen, since())
	}
}

func (f *fleet) report(t *testing.T, c changes, s setting) {
	if len(f.seen) != *watchers {
		t.Errorf("%s, %s: %d of %d watchers have seen the last change", c.name, s.name, len(f.seen), *watchers)
		return
	}
	slices.Sort(f.seen)
	busiest, from := 0, 0
	for to := range f.responses {
		for f.responses[to].Sub(f.responses[from]) >= slice {
			from++
		}
		if f.responses[from].Sub(f.start) >= first {
			busiest = max(busiest, to-from+1)
		}
	}
	each := func(n int) float64 { return float64(n) / float64(*watchers) }
	fmt.Printf("| %s | %s | %.1f | %.2f | %.1f | %.1f s | %.1f s |\n", c.name, s.name,
		each(len(f.responses)), each(busiest), each(f.lists), f.seen[len(f.seen)/2].Seconds(), f.seen[len(f.seen)-1].Seconds())
}
