//go:build go1.25

package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// inBubble runs a test with a server in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, s *consulmock.Server, c *consul.Client), opts ...consulmock.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := consulmock.New(t, opts...)
		test(t, s, s.Client())
	})
}

// must fails the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// agentCheck returns a check of the agent.
func agentCheck(t *testing.T, c *consul.Client, id string) *consul.AgentCheck {
	t.Helper()
	checks, err := c.Agent().Checks(context.Background(), nil)
	must(t, err)
	if checks[id] == nil {
		t.Fatalf("no check %q in %v", id, checks)
	}
	return checks[id]
}

func ttlService(id string, ttl time.Duration) *consul.AgentServiceRegistration {
	return &consul.AgentServiceRegistration{ID: id, Name: id, Check: &consul.AgentServiceCheck{TTL: ttl, Status: consul.HealthPassing}}
}

// A TTL check turns critical exactly its TTL after the last update, and says
// what its last output was.
func TestTTLExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Minute)))
		check := func(status consul.HealthStatus, output string) {
			t.Helper()
			got := agentCheck(t, c, "service:web")
			if got.Status != status || got.Output != output {
				t.Errorf("got %s %q, want %s %q", got.Status, got.Output, status, output)
			}
		}
		time.Sleep(time.Minute - 1)
		check(consul.HealthPassing, "")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		check(consul.HealthCritical, "TTL expired")

		must(t, c.Agent().PassTTL(ctx, "service:web", "all is well"))
		check(consul.HealthPassing, "all is well")
		time.Sleep(time.Minute)
		synctest.Wait()
		check(consul.HealthCritical, "TTL expired (last output before timeout follows): all is well")

		// To register again keeps the status, but starts the time anew and
		// forgets the output for the text.
		must(t, c.Agent().WarnTTL(ctx, "service:web", "so so"))
		must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Minute)))
		check(consul.HealthWarning, "so so")
		time.Sleep(time.Minute)
		synctest.Wait()
		check(consul.HealthCritical, "TTL expired")
	})
}

// A service goes at the first sweep after its check was critical long enough,
// which is never less than a minute. Sweeps are every 30 s of the agent's life.
func TestDeregisterCriticalServiceAfter(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			ctx := context.Background()
			start := time.Now()
			for id, after := range map[string]time.Duration{"floor": 10 * time.Second, "later": 70 * time.Second, "third": 91 * time.Second, "saved": time.Minute} {
				r := ttlService(id, 10*time.Minute)
				r.Check.Status = consul.HealthCritical
				r.Check.DeregisterCriticalServiceAfter = after
				must(t, c.Agent().ServiceRegister(ctx, r))
			}
			there := func() string {
				services, err := c.Agent().Services(ctx, nil)
				must(t, err)
				var ids []string
				for _, id := range []string{"floor", "later", "third", "saved"} {
					if services[id] != nil {
						ids = append(ids, id)
					}
				}
				return strings.Join(ids, " ")
			}
			at := func(moment time.Duration, want string) {
				t.Helper()
				time.Sleep(time.Until(start.Add(moment)))
				synctest.Wait()
				if got := there(); got != want {
					t.Errorf("%s: after %s there are %q, want %q", version, moment, got, want)
				}
			}
			at(89*time.Second, "floor later third saved")
			must(t, c.Agent().PassTTL(ctx, "service:saved", ""))
			at(90*time.Second, "third saved")
			at(119*time.Second, "third saved")
			at(120*time.Second, "saved")
			at(5*time.Minute, "saved")
			entries, _, err := c.Health().Service(ctx, "third", nil)
			if must(t, err); len(entries) != 0 {
				t.Errorf("%s: the catalog still has %v", version, entries)
			}
		}, consulmock.WithVersion(version))
	}
}

// The longest time that can be given does not overflow into none.
func TestDeregisterCriticalServiceAfterCenturies(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		r := ttlService("web", time.Hour)
		r.Check.Status = consul.HealthCritical
		r.Check.DeregisterCriticalServiceAfter = math.MaxInt64
		must(t, c.Agent().ServiceRegister(context.Background(), r))
		time.Sleep(time.Hour)
		synctest.Wait()
		agentCheck(t, c, "service:web")
	})
}

// Classic waits are made longer by up to a sixteenth at random; streaming ones
// are exact.
func TestWaitTimeouts(t *testing.T) {
	const wait = 16 * time.Second
	measure := func(opts ...consulmock.Option) (shortest, longest time.Duration) {
		shortest = time.Hour
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			must(t, c.Agent().ServiceRegister(context.Background(), ttlService("web", time.Hour)))
			_, meta, err := c.Health().Service(context.Background(), "web", nil)
			must(t, err)
			for range 200 {
				start := time.Now()
				_, again, err := c.Health().Service(context.Background(), "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: wait})
				must(t, err)
				if again.LastIndex != meta.LastIndex {
					t.Fatalf("index %d, want %d", again.LastIndex, meta.LastIndex)
				}
				took := time.Since(start)
				shortest, longest = min(shortest, took), max(longest, took)
			}
		}, opts...)
		return shortest, longest
	}
	if a, b := measure(); a != wait || b != wait {
		t.Errorf("streaming waits took %s to %s, want %s", a, b, wait)
	}
	for _, o := range []consulmock.Option{consulmock.WithVersion("1.8.7"), consulmock.WithStreaming(false)} {
		a, b := measure(o)
		if a < wait || a > wait+100*time.Millisecond || b > wait+time.Second || b < wait+900*time.Millisecond {
			t.Errorf("classic waits took %s to %s, want them spread over 16s to 17s", a, b)
		}
	}
}

// The default wait and the longest one are the agent's.
func TestWaitLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		for _, test := range []struct{ ask, want time.Duration }{{0, 5 * time.Minute}, {time.Hour, 10 * time.Minute}} {
			start := time.Now()
			path := "/v1/health/service/web?index=1000000"
			if test.ask > 0 {
				path += "&wait=" + test.ask.String()
			}
			_, err := c.Raw().Query(context.Background(), path, nil, nil)
			must(t, err)
			if got := time.Since(start); got != test.want {
				t.Errorf("wait=%s took %s, want %s", test.ask, got, test.want)
			}
		}
	})
}

// WithQueryTimes sets both of them.
func TestQueryTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		for wait, want := range map[string]time.Duration{"": 2 * time.Second, "&wait=1s": time.Second, "&wait=1h": 3 * time.Second} {
			start := time.Now()
			_, err := c.Raw().Query(context.Background(), "/v1/health/service/web?index=1000000"+wait, nil, nil)
			must(t, err)
			if got := time.Since(start); got != want {
				t.Errorf("%q took %s, want %s", wait, got, want)
			}
		}
	}, consulmock.WithQueryTimes(2*time.Second, 3*time.Second))
}

// An hour in the life of 1,000 services whose checks are updated twice a minute.
func TestThousandServicesForAnHour(t *testing.T) {
	const services = 1000
	began := time.Now()
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		id := func(i int) string { return fmt.Sprintf("s%d", i) }
		for i := range services {
			s.AddService(ttlService(id(i), time.Minute))
		}
		for range 120 {
			time.Sleep(30 * time.Second)
			for i := range services {
				s.SetCheckStatus("service:"+id(i), consul.HealthPassing, "")
			}
		}
		checks, _, err := c.Health().State(context.Background(), consul.HealthCritical, nil)
		if must(t, err); len(checks) != 0 {
			t.Errorf("%d checks are critical, want none", len(checks))
		}
		// One of them is not updated any more.
		time.Sleep(59 * time.Second)
		for i := range services - 1 {
			s.SetCheckStatus("service:"+id(i), consul.HealthPassing, "")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		checks, _, err = c.Health().State(context.Background(), consul.HealthCritical, nil)
		if must(t, err); len(checks) != 1 || checks[0].CheckID != "service:"+id(services-1) {
			t.Errorf("critical are %v, want the last one", checks)
		}
	})
	t.Logf("an hour took %s", time.Since(began))
}

// 10,000 instances, and 2,000 blocked queries of which each change wakes those of
// one service.
func TestManyInstancesAndWaits(t *testing.T) {
	services := 100
	const (
		instances  = 100 // of each
		perService = 20  // queries that wait
		changes    = 10
	)
	if testing.Short() {
		services /= 10
	}
	name := func(i int) string { return fmt.Sprintf("service-%d", i) }
	began := time.Now()
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		for i := range services {
			for j := range instances {
				r := ttlService(fmt.Sprintf("%s-%d", name(i), j), time.Hour)
				r.Name = name(i)
				s.AddService(r)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		woken := make(chan string, services*perService)
		for i := range services {
			// Answers are dropped undecoded: it is the fake that is under load here.
			path := "/v1/health/service/" + name(i)
			meta, err := c.Raw().Query(ctx, path, nil, nil)
			must(t, err)
			for range perService {
				go func() {
					_, err := c.Raw().Query(ctx, path, nil, &consul.QueryOptions{WaitIndex: meta.LastIndex})
					if err == nil {
						woken <- name(i)
					} else if ctx.Err() == nil {
						t.Error(err)
					}
				}()
			}
		}
		synctest.Wait()
		if len(woken) > 0 {
			t.Fatalf("%d queries did not wait", len(woken))
		}
		for i := range changes {
			s.SetCheckStatus(fmt.Sprintf("service:%s-0", name(i)), consul.HealthCritical, "")
			synctest.Wait()
			if len(woken) != perService {
				t.Fatalf("a change of %s woke %d queries, want %d", name(i), len(woken), perService)
			}
			for range perService {
				if got := <-woken; got != name(i) {
					t.Fatalf("a change of %s woke a query for %s", name(i), got)
				}
			}
		}
		entries, _, err := c.Health().Service(ctx, name(0), &consul.QueryOptions{PassingOnly: true})
		if must(t, err); len(entries) != instances-1 {
			t.Errorf("%d instances pass, want %d", len(entries), instances-1)
		}
	}, consulmock.WithCompactJSON(true))
	t.Logf("took %s", time.Since(began))
}

// A killed agent cuts what waits and refuses what comes. With its data it knows
// its services again; TTL checks keep the status of an update that is fresh.
func TestRestartWithState(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		must(t, c.Agent().ServiceRegister(ctx, ttlService("fresh", time.Minute)))
		must(t, c.Agent().PassTTL(ctx, "service:fresh", "fine"))
		must(t, c.Agent().ServiceRegister(ctx, ttlService("stale", 5*time.Second)))
		must(t, c.Agent().PassTTL(ctx, "service:stale", "fine"))
		must(t, c.Agent().ServiceRegister(ctx, ttlService("initial", time.Minute)))
		must(t, c.Agent().EnableNodeMaintenance(ctx, "why"))
		cut := make(chan error)
		go func() {
			_, _, err := c.Health().Service(ctx, "fresh", &consul.QueryOptions{WaitIndex: 1 << 40})
			cut <- err
		}()
		synctest.Wait()
		s.Stop()
		if err := <-cut; err == nil {
			t.Error("a wait outlived the agent")
		}
		if _, err := c.Agent().Services(ctx, nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("a stopped agent: %v, want connection refused", err)
		}
		time.Sleep(10 * time.Second)
		s.Start()
		for id, want := range map[string]consul.HealthStatus{
			"service:fresh": consul.HealthPassing, "service:stale": consul.HealthCritical, "service:initial": consul.HealthCritical,
			"_node_maintenance": consul.HealthCritical,
		} {
			if got := agentCheck(t, c, id); got.Status != want {
				t.Errorf("%s is %s %q, want %s", id, got.Status, got.Output, want)
			}
		}
		time.Sleep(2 * time.Second)
		checks, _, err := c.Health().Checks(ctx, "stale", nil)
		if must(t, err); checks[0].Status != consul.HealthCritical {
			t.Errorf("the catalog says %v", checks[0])
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := agentCheck(t, c, "service:fresh"); got.Status != consul.HealthCritical || got.Output != "TTL expired" {
			t.Errorf("a minute later: %s %q", got.Status, got.Output)
		}
	})
}

func TestRestartWithoutState(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		before, err := c.Agent().Self(ctx)
		must(t, err)
		must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Minute)))
		s.Restart(false)
		synctest.Wait() // the client has noticed that its connections are gone
		if err := c.Agent().PassTTL(ctx, "service:web", ""); !errors.Is(err, consul.ErrUnknownCheck) {
			t.Errorf("PassTTL: %v, want ErrUnknownCheck", err)
		}
		services, _, err := c.Catalog().Services(ctx, nil)
		if must(t, err); len(services) != 1 {
			t.Errorf("the catalog has %v, want consul alone", services)
		}
		after, err := c.Agent().Self(ctx)
		if must(t, err); after.Config.NodeID == before.Config.NodeID {
			t.Error("the node has kept its ID")
		}
	})
}

// What the catalog has of the agent's node is put right within two minutes.
func TestFullSync(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		must(t, c.Agent().ServiceRegister(ctx, ttlService("mine", time.Hour)))
		must(t, c.Catalog().Deregister(ctx, &consul.CatalogDeregistration{Node: "node1", ServiceID: "mine"}))
		must(t, c.Catalog().Register(ctx, &consul.CatalogRegistration{
			Node: "node1", Address: "127.0.0.1", Service: &consul.AgentService{Service: "alien"},
		}))
		time.Sleep(time.Minute - time.Second)
		services, _, err := c.Catalog().Services(ctx, nil)
		if must(t, err); services["mine"] != nil || services["alien"] == nil {
			t.Errorf("within a minute the catalog has become %v", services)
		}
		time.Sleep(time.Minute + time.Second)
		services, _, err = c.Catalog().Services(ctx, nil)
		if must(t, err); services["mine"] == nil || services["alien"] != nil {
			t.Errorf("after two minutes the catalog has %v", services)
		}
	})
}

// Tags that somebody else has given a service in the catalog stay, if it is registered so,
// and become those of the agent.
func TestTagOverride(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		for name, override := range map[string]bool{"open": true, "closed": false} {
			must(t, c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: name, Tags: []string{"mine"}, EnableTagOverride: override}))
			must(t, c.Catalog().Register(ctx, &consul.CatalogRegistration{
				Node: "node1", SkipNodeUpdate: true, Service: &consul.AgentService{Service: name, Tags: []string{"theirs"}, EnableTagOverride: override},
			}))
		}
		time.Sleep(2 * time.Minute)
		inCatalog, _, err := c.Catalog().Services(ctx, nil)
		must(t, err)
		atAgent, err := c.Agent().Services(ctx, nil)
		must(t, err)
		for name, want := range map[string]string{"open": "theirs", "closed": "mine"} {
			if inCatalog[name][0] != want || atAgent[name].Tags[0] != want {
				t.Errorf("%s: the catalog has %s, the agent %s, want %s", name, inCatalog[name], atAgent[name].Tags, want)
			}
		}
	})
}

// A new output alone reaches the catalog after some minutes.
func TestOutputIsWrittenLate(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Hour)))
		must(t, c.Agent().PassTTL(ctx, "service:web", "new"))
		output := func() string {
			checks, _, err := c.Health().Checks(ctx, "web", nil)
			must(t, err)
			return checks[0].Output
		}
		time.Sleep(2 * time.Minute)
		if got := output(); got != "" {
			t.Errorf("after two minutes the catalog says %q", got)
		}
		time.Sleep(6 * time.Minute)
		if got := output(); got != "new" {
			t.Errorf("after eight minutes the catalog says %q", got)
		}
	})
}

// The streaming backend's index of a missing service stands still while those of
// other reads move on.
func TestStreamingIndexOfMissingService(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		missing := func(q *consul.QueryOptions) *consul.QueryMeta {
			_, meta, err := c.Health().Service(ctx, "missing", q)
			must(t, err)
			return meta
		}
		first := missing(nil)
		missing(&consul.QueryOptions{WaitIndex: first.LastIndex, WaitTime: time.Second})
		s.AddService(ttlService("other", time.Hour))
		now := missing(nil)
		streamed := missing(&consul.QueryOptions{WaitIndex: now.LastIndex, WaitTime: time.Second})
		if streamed.LastIndex >= now.LastIndex || streamed.KnownLeader || streamed.QueryBackend != "streaming" {
			t.Errorf("after %d came %+v", now.LastIndex, streamed)
		}
	})
}

// The streaming backend has an event about what a check was of and is not any more. Other
// reads of that do not learn of it.
func TestCheckMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		for _, name := range []string{"a", "b"} {
			must(t, c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: name}))
		}
		index := func(service string, q consul.QueryOptions) uint64 {
			_, meta, err := c.Health().Service(ctx, service, &q)
			must(t, err)
			return meta.LastIndex
		}
		moves := func(service string) (classic, streaming bool) {
			_, meta, err := c.Health().State(ctx, "any", nil)
			must(t, err)
			now := meta.LastIndex
			return index(service, consul.QueryOptions{}) == now, index(service, consul.QueryOptions{UseCache: true}) == now
		}
		moves("a")
		moves("b")
		moves("consul")
		for _, step := range []struct {
			of   string // service
			want string // which indexes move: of reads, and of the streaming backend
		}{
			{"a", "a: true true, b: false false, consul: false false"},
			{"b", "a: false true, b: true true, consul: false false"},
			{"", "a: true true, b: true true, consul: true true"},
			{"a", "a: true true, b: false true, consul: false true"},
		} {
			must(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{
				ID: "check", Name: "check", ServiceID: step.of, AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}}))
			time.Sleep(time.Second)
			got := make([]string, 0, 3)
			for _, service := range []string{"a", "b", "consul"} {
				classic, streaming := moves(service)
				got = append(got, fmt.Sprintf("%s: %t %t", service, classic, streaming))
			}
			if got := strings.Join(got, ", "); got != step.want {
				t.Errorf("check of %q: %s; want %s", step.of, got, step.want)
			}
		}
	})
}

// agent/service with a hash waits for the definition, and nothing else, to change.
func TestServiceHash(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		r := ttlService("web", time.Hour)
		must(t, c.Agent().ServiceRegister(ctx, r))
		_, meta, err := c.Agent().Service(ctx, "web", nil)
		must(t, err)
		done := make(chan error)
		wait := func() {
			go func() {
				_, _, err := c.Agent().Service(ctx, "web", &consul.QueryOptions{WaitHash: meta.LastContentHash, WaitTime: time.Minute})
				done <- err
			}()
			synctest.Wait()
		}
		wait()
		must(t, c.Agent().ServiceRegister(ctx, r))
		must(t, c.Agent().FailTTL(ctx, "service:web", ""))
		must(t, c.Agent().EnableServiceMaintenance(ctx, "web", ""))
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("woken (%v) by what is not the definition", err)
		default:
		}
		r.Port = 80
		must(t, c.Agent().ServiceRegister(ctx, r))
		must(t, <-done)
		_, meta, err = c.Agent().Service(ctx, "web", nil)
		must(t, err)
		wait()
		must(t, c.Agent().ServiceDeregister(ctx, "web"))
		if err := <-done; !errors.Is(err, consul.ErrUnknownService) {
			t.Errorf("after the deregistration: %v", err)
		}
	})
}

// The hash follows from the definition alone, that of a proxy too.
func TestServiceHashOfProxies(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		const body = `{"Name":"web","Port":1,"Kind":"connect-proxy","Locality":{"Region":"a"},"Proxy":{"DestinationServiceName":"db","Mode":"%s","Upstreams":[{"DestinationName":"x"}]}}`
		hash := func(mode string) string {
			must(t, c.Raw().Write(context.Background(), "/v1/agent/service/register", []byte(fmt.Sprintf(body, mode)), nil, nil))
			_, meta, err := c.Agent().Service(context.Background(), "web", nil)
			must(t, err)
			return meta.LastContentHash
		}
		first := hash("direct")
		if again := hash("direct"); again != first {
			t.Errorf("hash %s of the same definition, want %s", again, first)
		}
		if other := hash("transparent"); other == first {
			t.Errorf("another definition has the same hash, %s", other)
		}
	})
}

// The longest wait that can be given does not overflow into none, with a hash or
// with an index.
func TestLongestWaits(t *testing.T) {
	for _, path := range []string{"/v1/agent/service/web?hash=%s&wait=2562047h", "/v1/catalog/services?index=1000000&wait=2562047h"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			must(t, c.Agent().ServiceRegister(context.Background(), ttlService("web", time.Hour)))
			_, meta, err := c.Agent().Service(context.Background(), "web", nil)
			must(t, err)
			path = strings.Replace(path, "%s", meta.LastContentHash, 1)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://agent"+path, nil)
			must(t, err)
			client := &http.Client{Transport: s.Transport()}
			defer client.CloseIdleConnections()
			if resp, err := client.Do(req); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, %v", path, resp, err)
			}
		}, consulmock.WithQueryTimes(time.Minute, math.MaxInt64))
	}
}

// The times of [consulmock.WithQueryTimes] are not those of waits on a hash, which
// are 10 minutes long by default and have no maximum.
func TestHashWaitTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		must(t, c.Agent().ServiceRegister(context.Background(), ttlService("web", time.Hour)))
		_, meta, err := c.Agent().Service(context.Background(), "web", nil)
		must(t, err)
		for _, test := range []struct {
			wait string
			want time.Duration
		}{{"", 10 * time.Minute}, {"&wait=16s", 16 * time.Second}, {"&wait=16h", 16 * time.Hour}} {
			start := time.Now()
			_, err := c.Raw().Query(context.Background(), "/v1/agent/service/web?hash="+meta.LastContentHash+test.wait, nil, nil)
			must(t, err)
			if took := time.Since(start); took < test.want || took > test.want+test.want/16 {
				t.Errorf("wait %q took %s, want %s", test.wait, took, test.want)
			}
		}
	}, consulmock.WithQueryTimes(time.Second, 2*time.Second))
}

// The agent ends some seconds after leave was answered.
func TestLeave(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		start := time.Now()
		must(t, c.Agent().Leave(context.Background()))
		if got := time.Since(start); got != 11*time.Second {
			t.Errorf("left after %s, want 11s", got)
		}
		time.Sleep(time.Second)
		if _, err := c.Agent().Self(context.Background()); err == nil {
			t.Error("the agent is still there")
		}
	})
}

// Monitor follows the log until the client has enough.
func TestMonitor(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		time.AfterFunc(time.Second, func() { s.AddService(ttlService("web", time.Hour)) })
		for line, err := range c.Agent().Monitor(context.Background(), "debug") {
			if must(t, err); strings.Contains(line, "web") {
				break
			}
		}
	})
}

// Closing the server ends what waits, and leaves no goroutine behind: the bubble
// would not end otherwise.
func TestCloseEndsWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		for range 10 {
			go c.Catalog().Services(context.Background(), &consul.QueryOptions{WaitIndex: 1 << 40})
		}
		synctest.Wait()
		s.Close()
	})
}

// TestWakesWithTags waits for the instances with a tag, as the classic backend
// answers. The checks of others move the index, but wake nobody.
func TestWakesWithTags(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		for id, tags := range map[string][]string{"with": {"a"}, "without": nil} {
			r := ttlService(id, time.Hour)
			r.Name, r.Tags = "web", tags
			s.AddService(r)
		}
		s.AddNode(&consul.CatalogRegistration{Node: "ext", Address: "10.0.0.9", Service: &consul.AgentService{Service: "web"}})
		ask := func(q consul.QueryOptions) uint64 {
			q.Tags = []string{"a"}
			_, meta, err := c.Health().Service(t.Context(), "web", &q)
			must(t, err)
			return meta.LastIndex
		}
		for _, test := range []struct {
			what   string
			change func()
			wakes  bool
		}{
			{"check of an instance without the tag", func() { s.SetCheckStatus("service:without", consul.HealthWarning, "") }, false},
			{"node of an instance without the tag", func() { s.AddNode(&consul.CatalogRegistration{Node: "ext", Address: "10.0.0.8"}) }, false},
			{"check of an instance with the tag", func() { s.SetCheckStatus("service:with", consul.HealthWarning, "") }, true},
			{"check of its node", func() {
				s.AddCheck(&consul.AgentCheckRegistration{Name: "node", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}})
			}, true},
			{"instance without the tag", func() { s.RemoveService("without") }, true},
		} {
			index, start := ask(consul.QueryOptions{}), time.Now()
			time.AfterFunc(time.Second, test.change)
			ask(consul.QueryOptions{WaitIndex: index, WaitTime: time.Minute})
			if woke := time.Since(start) == time.Second; woke != test.wakes {
				t.Errorf("%s: answered after %s", test.what, time.Since(start))
			}
		}
	}, consulmock.WithStreaming(false))
}

// To 1.8.7 a state in another case is one that no check is in, and waits for it end with any
// change of a check. To 1.21.4 it is the same state.
func TestWakesWithStates(t *testing.T) {
	for version, want := range map[string]map[consul.HealthStatus]bool{
		"1.8.7": {"Passing": true, "passing": false}, "1.21.4": {"Passing": false, "passing": false},
	} {
		for state, wakes := range want {
			inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
				ctx := context.Background()
				critical := func(id string) {
					must(t, c.Catalog().Register(ctx, &consul.CatalogRegistration{
						Node: "ext", Address: "10.0.0.1", Check: &consul.AgentCheck{CheckID: id, Status: consul.HealthCritical},
					}))
				}
				critical("before")
				result := waitFor(t, time.Minute, func(q *consul.QueryOptions) (int, *consul.QueryMeta, error) {
					checks, meta, err := c.Health().State(ctx, state, q)
					return len(checks), meta, err
				})
				critical("now")
				if got := result(); (got.after == 0) != wakes {
					t.Errorf("%s: %s: the wait ended after %s with %+v, want a wake: %t", version, state, got.after, got, wakes)
				}
			}, consulmock.WithVersion(version))
		}
	}
}

// TestWakesWithNodeMeta waits for the nodes with a pair of metadata. Other nodes move
// the index, but wake nobody.
func TestWakesWithNodeMeta(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		register := func(node, address, rack string) {
			s.AddNode(&consul.CatalogRegistration{Node: node, Address: address, NodeMeta: map[string]string{"rack": rack}})
		}
		register("one", "10.0.0.1", "r1")
		register("two", "10.0.0.2", "r2")
		ask := func(q consul.QueryOptions) uint64 {
			q.NodeMeta = map[string]string{"rack": "r1"}
			_, meta, err := c.Catalog().Nodes(t.Context(), &q)
			must(t, err)
			return meta.LastIndex
		}
		for _, test := range []struct {
			what   string
			change func()
			wakes  bool
		}{
			{"another node", func() { register("two", "10.0.0.3", "r2") }, false},
			{"the node", func() { register("one", "10.0.0.4", "r1") }, true},
			{"the node goes elsewhere", func() { register("one", "10.0.0.4", "r2") }, true},
		} {
			index, start := ask(consul.QueryOptions{}), time.Now()
			time.AfterFunc(time.Second, test.change)
			ask(consul.QueryOptions{WaitIndex: index, WaitTime: time.Minute})
			if woke := time.Since(start) == time.Second; woke != test.wakes {
				t.Errorf("%s: answered after %s", test.what, time.Since(start))
			}
		}
	})
}
