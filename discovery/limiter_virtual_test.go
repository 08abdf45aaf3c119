//go:build go1.25

package discovery_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestResolverConnections follows 300 services of an agent that allows 200
// connections, and keeps 20 services registered at the same time.
func TestResolverConnections(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		const services = 300
		name := func(n int) string { return fmt.Sprintf("s%03d", n) }
		for n := range services {
			agent.add(name(n), name(n)+"-1")
		}
		for n := range 20 {
			reg := webTTL()
			reg.ID = fmt.Sprint("web-", n)
			agent.register(reg, nil)
		}
		r := agent.resolver(nil)
		start := time.Now()
		var wg sync.WaitGroup
		for n := range services {
			wg.Go(func() { want(t, "first", instances2(t, r, name(n)), name(n)+"-1") })
		}
		wg.Wait()
		want(t, "time to the first answers", time.Since(start), 0)

		slowest := time.Duration(0)
		for n := 0; n < services; n += 7 {
			agent.add(name(n), name(n)+"-2")
			changed := time.Now()
			for ids2 := name(n) + "-1 " + name(n) + "-2"; instances2(t, r, name(n)) != ids2; {
				time.Sleep(100 * time.Millisecond)
			}
			slowest = max(slowest, time.Since(changed))
		}
		if slowest > 6500*time.Millisecond {
			t.Errorf("a change was seen after %s, want at most 6s and a bit", slowest)
		}
		if _, most := agent.wire.inFlight(); most > 128+20+1 {
			t.Errorf("%d requests at the same time, want at most 128 queries and what the registrations and the test need", most)
		}
		if beats := agent.wire.count(updatePath); beats < 20*3 {
			t.Errorf("%d heartbeats", beats)
		}
		if errs := eventsOf[discovery.HeartbeatFailedEvent](agent); len(errs) > 0 {
			t.Errorf("%d heartbeats failed, such as %v", len(errs), errs[0].Err)
		}
		if errs := eventsOf[discovery.WatchErrorEvent](agent); len(errs) > 0 {
			t.Errorf("%d errors, such as %v", len(errs), errs[0].Err)
		}
	}, consulmock.WithMaxConnsPerClient(200))
}

// TestResolverHangingDatacenter follows a hundred services that the first
// datacenter does not have and the second does not report on: the first queries
// about other services do not wait for those.
func TestResolverHangingDatacenter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, dc1, dc2 := twoDatacenters(t)
		dc2.Inject(consulmock.Fault{Path: "/v1/health/**", Always: true, Hang: make(chan struct{})})
		r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: []string{"dc1", "dc2"}})
		defer r.Close()
		dc1.add("web", "a")
		ctx := within(t, time.Hour)
		for n := range 100 {
			go r.Instances(ctx, fmt.Sprint("missing-", n))
		}
		synctest.Wait()
		start := time.Now()
		want(t, "instances", instances2(t, r, "web"), "a")
		want(t, "waited", time.Since(start), 0)
		_, most := dc2.wire.inFlight()
		want(t, "requests about the datacenter that hangs", most, 8)
	})
}

// TestResolverMaxQueries follows more services than there may be queries.
func TestResolverMaxQueries(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 8} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			r := agent.resolver(&discovery.ResolverOptions{MaxQueries: limit})
			for n := range 10 {
				service := fmt.Sprint("s", n)
				agent.AddService(&consul.AgentServiceRegistration{Name: service, ID: service + "-1"})
				start := time.Now()
				want(t, "first instances", instances2(t, r, service), service+"-1")
				want(t, "waited", time.Since(start), 0)
			}
			time.Sleep(time.Minute)
			agent.AddService(&consul.AgentServiceRegistration{Name: "s3", ID: "s3-2"})
			time.Sleep(6100 * time.Millisecond)
			want(t, "instances after a change", instances(t, r, "s3"), "s3-1 s3-2")
			_, most := agent.wire.inFlight()
			want(t, fmt.Sprintf("queries at the same time, of %d allowed", limit), most, limit)
		})
	}
}

// TestResolverPlacesBecomeFree forgets the service whose query has the only place
// to wait: the other one gets it.
func TestResolverPlacesBecomeFree(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		r := agent.resolver(&discovery.ResolverOptions{MaxQueries: 2})
		instances2(t, r, "first")
		synctest.Wait()
		go func() {
			for range r.Watch(t.Context(), "second") {
			}
		}()
		seen := func() time.Duration {
			changed := time.Now()
			before := len(eventsOf[discovery.InstancesChangedEvent](agent))
			agent.AddService(&consul.AgentServiceRegistration{Name: "second", ID: fmt.Sprint("second-", before)})
			for len(eventsOf[discovery.InstancesChangedEvent](agent)) == before {
				time.Sleep(10 * time.Millisecond)
			}
			return time.Since(changed)
		}
		time.Sleep(time.Minute)
		slowest := time.Duration(0)
		for range 5 {
			slowest = max(slowest, seen())
			time.Sleep(1700 * time.Millisecond)
		}
		if slowest < time.Second || slowest > 6100*time.Millisecond {
			t.Errorf("without a place to wait a change was seen after %s at most", slowest)
		}
		time.Sleep(10 * time.Minute) // the first one is forgotten
		if took := seen(); took > 10*time.Millisecond {
			t.Errorf("with a place to wait a change was seen after %s", took)
		}
		r.Close()
	})
}

// TestResolverOverHTTP2 follows more services than there are places for queries, of an
// agent whose requests share connections: all wait, and none is polled. With
// MaxQueries that number holds, and so it does when the agent speaks HTTP/1 again.
func TestResolverOverHTTP2(t *testing.T) {
	for _, limit := range []int{0, 200} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			const services = 300
			var major atomic.Int32
			major.Store(2)
			base := agent.wire.base
			agent.wire.base = roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(r)
				if err == nil {
					resp.ProtoMajor = int(major.Load())
				}
				return resp, err
			})
			name := func(n int) string { return fmt.Sprintf("s%03d", n) }
			r := agent.resolver(&discovery.ResolverOptions{MaxQueries: limit})
			follow := func() {
				for n := range services {
					go func() {
						for range r.Watch(t.Context(), name(n)) {
						}
					}()
				}
				time.Sleep(2 * time.Minute) // until all queries have begun anew
				synctest.Wait()
			}
			follow()
			waiting, _ := agent.wire.inFlight()
			if want := services; limit == 0 && waiting != want || limit > 0 && waiting > limit {
				t.Errorf("%d queries are under way, want %d, or at most %d", waiting, want, limit)
			}
			if limit == 0 {
				changed := time.Now()
				agent.add(name(299), "new")
				for instances2(t, r, name(299)) == "" {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(changed); took > 10*time.Millisecond {
					t.Errorf("a change was seen after %s", took)
				}
				major.Store(1)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if waiting, _ := agent.wire.inFlight(); waiting > 128 {
					t.Errorf("%d queries are under way over HTTP/1", waiting)
				}
			}
			r.Close()
		})
	}
}
