//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// troubled makes an agent go from one trouble into the next, a few seconds in
// each, for two minutes.
func troubled(agent *fakeAgent) {
	troubles := []consulmock.Fault{
		{},
		{Latency: 2 * time.Second},
		{NoLeader: true, Latency: 7 * time.Second},
		{RateLimit: 3 * time.Second},
		{Hang: make(chan struct{})},
		{Drop: consulmock.DropAnswer},
		{Index: 1},
		{TruncateAt: 10},
	}
	for i, f := range troubles {
		f.Always = true
		time.AfterFunc(time.Duration(i)*8*time.Second, func() {
			remove := agent.Inject(f)
			time.AfterFunc(8*time.Second, remove)
		})
	}
	time.AfterFunc(64*time.Second, agent.Stop)
	time.AfterFunc(72*time.Second, agent.Start)
	time.AfterFunc(80*time.Second, func() { agent.Restart(false) })
}

// moments calls test with each of many times after which something is to end.
func moments(t *testing.T, test func(t *testing.T, agent *fakeAgent, after time.Duration)) {
	for after := 10 * time.Millisecond; after < 100*time.Second; after += 2330 * time.Millisecond {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			agent.add("web", "a")
			troubled(agent)
			test(t, agent, after)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			now, _ := agent.wire.inFlight()
			want(t, "requests under way in the end", now, 0)
		})
	}
}

func TestWatchEndsAtAnyMoment(t *testing.T) {
	moments(t, func(t *testing.T, agent *fakeAgent, after time.Duration) {
		ctx := within(t, after)
		start := time.Now()
		for range discovery.WatchService(ctx, agent.client, "web", nil) {
		}
		want(t, "ended after", time.Since(start), after)
		_, most := agent.wire.inFlight()
		want(t, "requests at the same time", most, 1) // so one connection
	})
}

func TestResolverClosesAtAnyMoment(t *testing.T) {
	moments(t, func(t *testing.T, agent *fakeAgent, after time.Duration) {
		r := discovery.NewResolver(agent.client, &discovery.ResolverOptions{MaxQueries: 2})
		var wg sync.WaitGroup
		for _, service := range []string{"web", "db", "api", "none"} {
			wg.Go(func() {
				var last error
				for _, err := range r.Watch(t.Context(), service) {
					last = err
				}
				if !errors.Is(last, discovery.ErrClosed) {
					t.Errorf("a watch ended with %v", last)
				}
			})
			wg.Go(func() {
				if _, err := r.Instances(t.Context(), service); err != nil && !errors.Is(err, discovery.ErrClosed) {
					t.Error(err)
				}
			})
		}
		time.Sleep(after)
		start := time.Now()
		r.Close()
		wg.Wait()
		want(t, "Close took", time.Since(start), 0)
	})
}

func TestRegistrationClosesAtAnyMoment(t *testing.T) {
	moments(t, func(t *testing.T, agent *fakeAgent, after time.Duration) {
		kept := &consul.AgentServiceRegistration{Name: "kept", Check: &consul.AgentServiceCheck{TTL: 6 * time.Second}}
		reg := agent.register(kept, &discovery.RegisterOptions{Background: true})
		var wg sync.WaitGroup
		wg.Go(func() { // an update hangs, or fails, or is being made again
			for port := 1; ; port++ {
				def := *kept
				def.Port = port
				err := reg.Update(within(t, time.Duration(port%4)*time.Second), &def)
				if err != nil && strings.HasSuffix(err.Error(), "the registration is closed") {
					return
				}
				time.Sleep(700 * time.Millisecond)
			}
		})
		time.Sleep(after)
		start := time.Now()
		err := reg.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close after %s took %s", after, took)
		}
		wg.Wait()
		time.Sleep(2 * time.Minute)
		entries, _, e := agent.Client().Health().Service(t.Context(), "kept", nil)
		if e != nil || err == nil && len(entries) > 0 {
			t.Errorf("Close after %s left %d behind, %v", after, len(entries), e)
		}
	})
}

func TestRegisterEndsAtAnyMoment(t *testing.T) {
	for _, f := range []consulmock.Fault{{Latency: time.Second}, {Latency: 4 * time.Second, NoLeader: true}} {
		for after := 10 * time.Millisecond; after < 8*time.Second; after += 370 * time.Millisecond {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				f.Always, f.Path = true, "/v1/agent/**"
				remove := agent.Inject(f)
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				start := time.Now()
				reg, err := discovery.Register(ctx, agent.client, webTTL(), &discovery.RegisterOptions{OnEvent: agent.note})
				if took := time.Since(start); took > after+time.Second {
					t.Errorf("Register took %s, the context %s", took, after)
				}
				remove()
				if err == nil {
					if err := reg.Err(); err != nil && strings.Contains(err.Error(), "not registered") {
						t.Errorf("registered, but %v", err)
					}
					time.Sleep(time.Minute)
					want(t, "registered", len(eventsOf[discovery.RegisteredEvent](agent)), 1)
					want(t, "health", agent.health(), "passing")
					err = reg.Close()
					if err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Minute)
				want(t, "health", agent.health(), "gone")
			})
		}
	}
}
