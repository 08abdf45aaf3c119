//go:build go1.25

package kratos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/kratos"
)

// TestGetServiceFromMemory sends no request while there is a watch, and for a minute
// after the last use, also while the agent is down.
func TestGetServiceFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		add(agent, "1")
		get := func(when string) {
			t.Helper()
			begin := time.Now()
			if list, err := r.GetService(t.Context(), "web"); err != nil || len(list) != 1 || time.Since(begin) > 0 {
				t.Errorf("%s: %v, %v after %s; want one at once", when, list, err, time.Since(begin))
			}
		}
		get("at first")
		synctest.Wait()
		before := len(agent.Requests())
		time.Sleep(59 * time.Second)
		get("within a minute")
		if n := len(agent.Requests()) - before; n > 1 { // the blocking query
			t.Errorf("%d requests", n)
		}
		time.Sleep(2 * time.Minute)
		before = len(agent.Requests())
		get("after a while")
		if n := len(agent.Requests()) - before; n == 0 {
			t.Error("no request after a while")
		}
		agent.Stop()
		time.Sleep(time.Hour)
		get("in an outage")
	})
}

// TestGetServiceTriesAgain waits for an agent that starts later, and not for one that
// refuses.
func TestGetServiceTriesAgain(t *testing.T) {
	for name, opts := range map[string]*kratos.Options{"one datacenter": nil, "all datacenters": {AllDatacenters: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent, r := newRegistry(t, opts)
				add(agent, "1")
				agent.Stop()
				go func() {
					time.Sleep(5 * time.Second)
					agent.Start()
				}()
				begin := time.Now()
				if list, err := r.GetService(t.Context(), "web"); err != nil || len(list) != 1 || time.Since(begin) > 8*time.Second {
					t.Errorf("%v, %v after %s", list, err, time.Since(begin))
				}
				agent.Inject(consulmock.Fault{Path: "/v1/health/service/db", Status: http.StatusForbidden, Body: "no"})
				begin = time.Now()
				_, err := r.GetService(t.Context(), "db")
				wantError(t, err, "403 no")
				if took := time.Since(begin); took > 0 {
					t.Errorf("a refusal took %s", took)
				}
			})
		})
	}
}

// TestEvents gets the events and the log of registrations, services and datacenters.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log bytes.Buffer
		seen := map[string]bool{}
		c := newCluster(t, "dc2")
		c.local.Inject(consulmock.Fault{Path: datacentersPath, Status: 500, Body: "no"})
		r := c.registry(t, &kratos.Options{
			AllDatacenters: true,
			Logger:         slog.New(slog.NewTextHandler(&log, nil)),
			OnEvent: func(e discovery.Event) {
				mu.Lock()
				defer mu.Unlock()
				switch e := e.(type) {
				case discovery.RegisteredEvent:
					seen["registered "+e.ID] = true
				case discovery.DeregisteredEvent:
					seen["deregistered "+e.ID] = true
				case discovery.InstancesChangedEvent:
					seen[fmt.Sprint(e.Total, " in ", e.Datacenter)] = true
				case discovery.WatchErrorEvent:
					seen["error of "+e.Watch] = true
				case discovery.WatchRecoveredEvent:
					seen["recovery of "+e.Watch] = true
				}
			},
		})
		if err := r.Register(t.Context(), hello("1")); err != nil {
			t.Fatal(err)
		}
		if list, err := r.GetService(t.Context(), "helloworld"); err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"registered 1", "deregistered 1", "1 in dc1", "error of datacenters", "recovery of datacenters"} {
			if !seen[what] {
				t.Errorf("no event %q among %v", what, seen)
			}
		}
		for _, line := range []string{"service registered", "datacenters"} {
			if !strings.Contains(log.String(), line) {
				t.Errorf("the log lacks %q:\n%s", line, &log)
			}
		}
	})
}

// TestCloseDuringRegister deregisters what is being registered while Close begins,
// and lets nothing be registered later.
func TestCloseDuringRegister(t *testing.T) {
	for _, background := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			agent, r := newRegistry(t, &kratos.Options{Background: background})
			release := hangs(agent, "register")
			begun := make(chan error, 3)
			for _, id := range []string{"1", "1", "2"} {
				go func() { begun <- r.Register(t.Context(), hello(id)) }()
			}
			synctest.Wait()
			closed := make(chan error, 1)
			go func() { closed <- r.Close() }()
			synctest.Wait()
			for _, id := range []string{"1", "2", "3"} {
				if err := r.Register(t.Context(), hello(id)); !errors.Is(err, discovery.ErrClosed) {
					t.Errorf("Register during Close: %v; want ErrClosed", err)
				}
			}
			release()
			for range 3 {
				<-begun // an error or none
			}
			if err := errors.Join(<-closed, r.Close()); err != nil {
				t.Error(err)
			}
			wantVersions(t, agent, map[string]string{})
			if err := r.Deregister(t.Context(), hello("1")); err != nil {
				t.Errorf("Deregister after Close: %v", err)
			}
		})
	}
}

// TestCloseInTime closes within the time that the comment says when the agent hangs.
func TestCloseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, &kratos.Options{Timeout: 2 * time.Second})
		for n := range 20 {
			if err := r.Register(t.Context(), hello(fmt.Sprint(n))); err != nil {
				t.Fatal(err)
			}
		}
		hang := agent.Inject(consulmock.Fault{Path: "/v1/**", Hang: make(chan struct{}), Always: true})
		w := watch(t, r)
		go r.Register(t.Context(), hello("late"))
		go r.GetService(t.Context(), "web")
		synctest.Wait()
		begin := time.Now()
		wantError(t, r.Close(), `"0"`, `"19"`, "deadline exceeded")
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("Close took %s; want at most 5 s and the timeout and some", took)
		}
		if _, err := w.Next(); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("Next: %v; want ErrClosed", err)
		}
		hang()
	})
}

// TestCloseAfterDeregisters closes while removals of one instance wait for each other.
func TestCloseAfterDeregisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, &kratos.Options{Timeout: 2 * time.Second})
		agent.Inject(consulmock.Fault{Path: "/v1/**", Hang: make(chan struct{}), Always: true})
		go r.Register(t.Context(), hello("1"))
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 3 {
			wantError(t, r.Deregister(ended, hello("1")), "canceled")
		}
		begin := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > (3+3*5)*time.Second {
			t.Errorf("Close took %s; want at most the timeout and some, and 5 s for each removal", took)
		}
	})
}

// TestEverythingAtOnce calls all methods from many goroutines while the agent fails,
// hangs and restarts, and closes the registry in the midst. Nothing stays registered,
// and no goroutine is left, for which the bubble fails the test.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, "dc2")
			r := c.registry(t, &kratos.Options{AllDatacenters: seed%2 == 0, Background: seed%4 < 2, Timeout: time.Second})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var running sync.WaitGroup
			for n := range uint64(8) {
				running.Add(1)
				go func() {
					defer running.Done()
					random := rand.New(rand.NewPCG(seed, n))
					for range 30 {
						callAtRandom(ctx, r, random)
						time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
					}
				}()
			}
			random := rand.New(rand.NewPCG(seed, 99))
			for range 8 {
				fault := consulmock.Fault{Path: "/v1/**", Times: 1 + random.IntN(5), Latency: time.Duration(random.IntN(900)) * time.Millisecond}
				if random.IntN(2) == 0 {
					fault.Status = 500
				}
				c.local.Inject(fault)
				time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
				if random.IntN(3) == 0 {
					c.local.Restart(random.IntN(2) == 0)
				}
			}
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			running.Wait()
			time.Sleep(time.Minute)
			if got := versions(t, c.local); len(got) != 0 {
				t.Errorf("seed %d: the agent still has %v", seed, got)
			}
		})
	}
}

// callAtRandom calls one of the methods, of which some get too little time.
func callAtRandom(ctx context.Context, r *kratos.Registry, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
	defer cancel()
	i := helloVersion(fmt.Sprint(random.IntN(3)), fmt.Sprint(random.IntN(3)))
	switch random.IntN(5) {
	case 0, 1:
		r.Register(ctx, i)
	case 2:
		r.Deregister(ctx, i)
	case 3:
		r.GetService(ctx, i.Name)
	case 4:
		w, err := r.Watch(ctx, i.Name)
		if err != nil {
			return
		}
		if random.IntN(2) == 0 {
			time.AfterFunc(100*time.Millisecond, func() { w.Stop() })
		}
		for err == nil {
			_, err = w.Next()
		}
	}
	i.ID, i.Version, i.Metadata["zone"], i.Endpoints[0] = "reused", "reused", "reused", "reused"
}
