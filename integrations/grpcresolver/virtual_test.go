//go:build go1.25

package grpcresolver_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/grpcresolver"
)

const webPath = "/v1/health/service/web"

// TestAgentHangs says what is wrong when an agent accepts connections and is silent,
// and recovers when it is not any more.
func TestAgentHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, nil)
		impatient := grpcresolver.New(&grpcresolver.Options{Client: agent.Client(), Timeout: 3 * time.Second})
		agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
		hang := make(chan struct{})
		agent.Inject(consulmock.Fault{Path: webPath, Hang: hang, Always: true})
		for target, after := range map[string]time.Duration{
			"consul:///web": 10 * time.Second, "consul:///web?timeout=2s": 2 * time.Second,
			"consul:///web?wait=30s": 3 * time.Second, "consul:///web?wait=30s&timeout=1s": time.Second, // with the option
		} {
			b := b
			if strings.Contains(target, "wait") {
				b = impatient
			}
			begin := time.Now()
			c := newConn()
			r, err := tryBuild(b, target, c)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			c.awaitError(t, "has said nothing")
			if took := time.Since(begin); took != after {
				t.Errorf("%s: an error after %s; want %s", target, took, after)
			}
			defer c.awaitAddrs(t, "10.0.0.1:80")
		}
		close(hang)
	})
}

// TestAgentAway starts without an agent, gets one, loses it, and gets it back.
func TestAgentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, nil)
		agent.AddService(unchecked("1", "10.0.0.1"))
		agent.Stop()
		c, r := buildResolver(t, b, "consul:///web")
		defer r.Close()
		synctest.Wait()
		if states, errs := c.counts(); states != 0 || errs != 1 {
			t.Fatalf("without an agent: %d states, %d errors; want an error at once", states, errs)
		}
		agent.Start()
		time.Sleep(5 * time.Second) // the default of max-backoff
		c.awaitAddrs(t, "10.0.0.1:80")

		agent.Stop()
		time.Sleep(time.Hour)
		if states, errs := c.counts(); states != 1 || errs != 1 {
			t.Fatalf("after an hour without the agent: %d states, %d errors; want the instances kept", states, errs)
		}
		agent.AddService(unchecked("2", "10.0.0.2"))
		agent.Start()
		begin := time.Now()
		c.awaitAddrs(t, "10.0.0.1:80", "10.0.0.2:80")
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("the new instance was seen %s after the return of the agent", took)
		}
	})
}

// TestWait has queries that wait for a minute, or for as long as the target says.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for target, want := range map[string]int{"consul:///web": 60, "consul:///web?wait=10m": 6} {
			agent, b := onFake(t, nil)
			c, r := buildResolver(t, b, target)
			c.awaitError(t, "no healthy instance")
			time.Sleep(time.Hour)
			r.Close()
			// Agents add up to a sixteenth to a wait.
			if n := len(agent.Requests()); n < want-want/16 || n > want+2 {
				t.Errorf("%s: %d queries in an hour; want about %d", target, n, want)
			}
		}
	})
}

// unchecked is an instance of the service web without a check, which is healthy also
// after a restart of the agent.
func unchecked(id, address string) *consul.AgentServiceRegistration {
	r := web(id, address, 80, consul.HealthPassing)
	r.Check = nil
	return r
}

// TestResolveNow cuts the pause after a failed query short, which would be as long as
// half an hour, but does not make a healthy query start again.
func TestResolveNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, nil)
		agent.AddService(unchecked("1", "10.0.0.1"))
		agent.Stop()
		c, r := buildResolver(t, b, "consul:///web?max-backoff=30m")
		defer r.Close()
		time.Sleep(24 * time.Hour)
		agent.Start()
		synctest.Wait()
		begin := time.Now()
		for range 5 {
			r.ResolveNow(resolver.ResolveNowOptions{})
		}
		c.awaitAddrs(t, "10.0.0.1:80")
		if took := time.Since(begin); took > 0 {
			t.Errorf("ResolveNow took %s", took)
		}
		synctest.Wait()
		before := len(agent.Requests())
		for range 100 {
			r.ResolveNow(resolver.ResolveNowOptions{})
		}
		synctest.Wait()
		if n := len(agent.Requests()) - before; n != 0 {
			t.Errorf("%d more requests by ResolveNow while all was well", n)
		}
	})
}

// TestResolveNowIsPaced: a channel whose connections fail calls ResolveNow often.
func TestResolveNowIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, nil)
		agent.Inject(consulmock.Fault{Path: webPath, Status: 500, Body: "no", Always: true})
		_, r := buildResolver(t, b, "consul:///web")
		defer r.Close()
		for range 6000 {
			r.ResolveNow(resolver.ResolveNowOptions{})
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(agent.Requests()); n > 75 {
			t.Errorf("%d requests in a minute; want about one a second", n)
		}
	})
}

// TestEmptyGrace keeps instances for exactly as long as the target says.
func TestEmptyGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, &grpcresolver.Options{EmptyGrace: time.Hour})
		agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
		c, r := buildResolver(t, b, "consul:///web?empty-grace=30s")
		defer r.Close()
		now, never := build(t, b, "consul:///web?empty-grace=0s"), build(t, b, "consul:///web")
		for _, c := range []*conn{c, now, never} {
			c.awaitAddrs(t, "10.0.0.1:80")
		}
		agent.RemoveService("1")
		synctest.Wait()
		now.awaitAddrs(t)
		now.awaitError(t, `no healthy instance of service "web"`)
		time.Sleep(29 * time.Second)
		c.awaitAddrs(t, "10.0.0.1:80")
		agent.AddService(web("2", "10.0.0.2", 80, consul.HealthPassing))
		synctest.Wait()
		c.awaitAddrs(t, "10.0.0.2:80")
		time.Sleep(time.Minute)
		c.awaitAddrs(t, "10.0.0.2:80")

		agent.RemoveService("2")
		begin := time.Now()
		c.awaitAddrs(t)
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("the empty list came after %s; want 30s", took)
		}
		never.awaitAddrs(t, "10.0.0.2:80")
	})
}

// TestNoNews passes on nothing when nothing that a channel needs has changed.
func TestNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, nil)
		agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
		c, r := buildResolver(t, b, "consul:///web?limit=1")
		defer r.Close()
		c.awaitAddrs(t, "10.0.0.1:80")
		agent.SetCheckStatus("service:1", consul.HealthPassing, "another output")
		agent.AddService(web("2", "10.0.0.2", 80, consul.HealthPassing)) // beyond the limit
		agent.Inject(consulmock.Fault{Path: webPath, Status: 500, Times: 3})
		time.Sleep(time.Hour)
		if states, errs := c.counts(); states != 1 || errs != 0 {
			t.Errorf("%d states, %d errors; want the first state only", states, errs)
		}
	})
}

// TestIndexReset loses no change when the index goes back.
func TestIndexReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, nil)
		agent.AddService(web("1", "10.0.0.1", 80, consul.HealthPassing))
		agent.Inject(consulmock.Fault{Path: webPath, Index: 1_000_000})
		c, r := buildResolver(t, b, "consul:///web")
		defer r.Close()
		c.awaitAddrs(t, "10.0.0.1:80")
		time.Sleep(2 * time.Minute) // one query ahead of time ends with the lower index
		begin := time.Now()
		agent.AddService(web("2", "10.0.0.2", 80, consul.HealthPassing))
		c.awaitAddrs(t, "10.0.0.1:80", "10.0.0.2:80")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the change was seen after %s", took)
		}
	})
}

// TestCloseAtAnyPoint closes while nothing is known, while a query waits, and
// during a pause; the bubble fails the test if a goroutine is left.
func TestCloseAtAnyPoint(t *testing.T) {
	for _, name := range []string{"waiting", "hanging", "pausing"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent, b := onFake(t, nil)
				switch name {
				case "hanging":
					// A channel of the bubble, or its clock would stop.
					agent.Inject(consulmock.Fault{Path: webPath, Hang: make(chan struct{}), Always: true})
				case "pausing":
					agent.Inject(consulmock.Fault{Path: webPath, Status: 500, Always: true})
				}
				_, r := buildResolver(t, b, "consul:///web")
				synctest.Wait()
				begin := time.Now()
				r.Close()
				synctest.Wait()
				if took := time.Since(begin); took > 0 {
					t.Errorf("Close took %s", took)
				}
				before := len(agent.Requests())
				time.Sleep(time.Hour)
				if n := len(agent.Requests()) - before; n > 0 {
					t.Errorf("%d requests after Close", n)
				}
			})
		})
	}
}

// TestChannelsComeAndGo builds, uses and closes resolvers of the same and of other
// targets at the same time, while instances come and go. The bubble fails the test
// if a goroutine is left.
func TestChannelsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, b := onFake(t, &grpcresolver.Options{EmptyGrace: time.Second})
		stop := make(chan struct{})
		var changes, channels sync.WaitGroup
		changes.Add(1)
		go func() {
			defer changes.Done()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				agent.AddService(unchecked("1", "10.0.0.1"))
				if n%3 == 0 {
					agent.RemoveService("1")
				}
				if n%50 == 0 {
					agent.Restart(true)
				}
			}
		}()
		for n := range 8 {
			channels.Add(1)
			go func() {
				defer channels.Done()
				for i := range 50 {
					target := []string{"consul:///web", "consul:///web?limit=1", "consul:///web?tag=none", "consul:///other?timeout=1ms"}[(n+i)%4]
					r, err := tryBuild(b, target, newConn())
					if err != nil {
						t.Error(err)
						return
					}
					for range n {
						go r.ResolveNow(resolver.ResolveNowOptions{})
						time.Sleep(time.Duration(i) * time.Millisecond)
					}
					go r.Close()
					r.Close()
				}
			}()
		}
		channels.Wait()
		close(stop)
		changes.Wait()
		synctest.Wait()
		before := len(agent.Requests())
		time.Sleep(time.Hour)
		if n := len(agent.Requests()) - before; n > 0 {
			t.Errorf("%d requests after the last channel was closed", n)
		}
	})
}
