package interop

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/conformance/agent"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/grpcresolver"
	"github.com/lictor-go/consul/integrations/grpcresolver/weighted"
)

// The variables that make the test program a server.
const (
	envAgent = "INTEROP_AGENT"
	envName  = "INTEROP_NAME"
	envID    = "INTEROP_ID"

	envKill = "INTEROP_KILL"
)

func TestMain(m *testing.M) {
	if os.Getenv(envAgent) == "" {
		m.Run()
		return
	}
	client, err := consul.NewClient(consul.Config{Address: os.Getenv(envAgent)})
	if err == nil {
		_, err = serve(client, os.Getenv(envName), os.Getenv(envID), nil)
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// serve starts a gRPC server and registers it by hand.
func serve(c *consul.Client, name, id string, weights *consul.AgentWeights) (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l)
	r, err := discovery.Register(context.Background(), c, &consul.AgentServiceRegistration{
		ID: id, Name: name, Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Weights: weights,
		Checks: []*consul.AgentServiceCheck{
			{TCP: l.Addr().String(), Interval: 10 * time.Second, Status: consul.HealthPassing},
			{TTL: 20 * time.Second, Status: consul.HealthPassing},
		},
	}, nil)
	return func() {
		r.Close()
		s.Stop()
	}, err
}

func dial(t *testing.T, b resolver.Builder, target, policy string) grpc_health_v1.HealthClient {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithResolvers(b), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, policy)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return grpc_health_v1.NewHealthClient(conn)
}

// TestPolicies has two instances, with the weights 3 and 1, answer calls.
func TestPolicies(t *testing.T) {
	test := func(t *testing.T, c *consul.Client) {
		for id, weight := range map[string]int{"heavy": 3, "light": 1} {
			stop, err := serve(c, "web", id, &consul.AgentWeights{Passing: weight, Warning: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
		}
		for policy, share := range map[string]float64{"round_robin": 0.5, weighted.Name: 0.75, "pick_first": 1} {
			calls := dial(t, grpcresolver.New(&grpcresolver.Options{Client: c}), "consul:///web", policy)
			seen := map[string]float64{}
			call := func() {
				t.Helper()
				var p peer.Peer
				if _, err := calls.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&p)); err != nil {
					t.Fatal(err)
				}
				seen[p.Addr.String()]++
			}
			for deadline := time.Now().Add(10 * time.Second); policy != "pick_first" && len(seen) < 2 && time.Now().Before(deadline); {
				call()
			}
			clear(seen)
			const n = 1000
			for range n {
				call()
			}
			most := 0.0
			for _, got := range seen {
				most = max(most, got)
			}
			if math.Abs(most-share*n) > 5*math.Sqrt(0.25*n) {
				t.Errorf("%s: calls %v; want %.0f%% for one", policy, seen, 100*share)
			}
		}
	}
	t.Run("fake", func(t *testing.T) { test(t, consulmock.New(t).Client()) })
	t.Run("real", func(t *testing.T) { test(t, agent.Start(t, agent.Options{}).Client()) })
}

// TestKill kills one of two instances (as with kill -9) while clients call them every
// 5 ms, several times, and prints how long calls failed.
func TestKill(t *testing.T) {
	if os.Getenv(envKill) == "" {
		t.Skip("takes 40 s: set " + envKill + "=1")
	}
	a := agent.Start(t, agent.Options{})
	client := a.Client()
	const runs = 5
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		results = map[string][]outage{}
	)
	for n := range runs {
		name := fmt.Sprintf("web-%d", n)
		callers := map[string]grpc_health_v1.HealthClient{}
		for _, policy := range []string{"round_robin", "pick_first"} {
			callers["ours, "+policy] = dial(t, grpcresolver.New(&grpcresolver.Options{Client: client}), "consul:///"+name, policy)
			callers["theirs, "+policy] = dial(t, theirs, "consul://"+a.Addr+"/"+name+"?healthy=true", policy)
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for caller, o := range kill(t, client, a.Addr, name, callers) {
				mu.Lock()
				results[caller] = append(results[caller], o)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	var table strings.Builder
	fmt.Fprintf(&table, "%-20s  last failed call after the kill: median, max; failed calls: most, of all\n", "")
	for _, caller := range []string{"ours, round_robin", "theirs, round_robin", "ours, pick_first", "theirs, pick_first"} {
		list := results[caller]
		if len(list) != runs {
			t.Fatalf("%s: %d results", caller, len(list))
		}
		slices.SortFunc(list, func(a, b outage) int { return cmp.Compare(a.last, b.last) })
		most := 0
		for _, o := range list {
			most = max(most, o.failed)
		}
		fmt.Fprintf(&table, "%-20s  %6.3f s  %6.3f s  %4d of %d\n",
			caller, list[runs/2].last.Seconds(), list[runs-1].last.Seconds(), most, list[runs-1].calls)
	}
	t.Logf("%d kills each\n%s", runs, table.String())
}

// outage is what happened to calls after the kill.
type outage struct {
	last          time.Duration // the last failed one
	failed, calls int
}

func kill(t *testing.T, client *consul.Client, address, name string, callers map[string]grpc_health_v1.HealthClient) map[string]outage {
	var servers []*exec.Cmd
	for n := range 2 {
		s := exec.Command(os.Args[0])
		s.Env = append(os.Environ(), envAgent+"="+address, envName+"="+name, fmt.Sprintf("%s=%s-%d", envID, name, n))
		if err := s.Start(); err != nil {
			t.Error(err)
			return nil
		}
		defer func() {
			s.Process.Kill()
			s.Wait()
		}()
		servers = append(servers, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for entries := 0; entries < len(servers); time.Sleep(50 * time.Millisecond) {
		list, _, err := client.Health().Service(ctx, name, &consul.QueryOptions{PassingOnly: true})
		if entries = len(list); ctx.Err() != nil {
			t.Error("no two instances: ", err)
			return nil
		}
	}
	for who, c := range callers {
		for range 50 {
			if _, err := c.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
				t.Errorf("%s: before the kill: %v", who, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	// The first instance is the one that pick_first has chosen, if its port is the
	// lower one in the order of texts; otherwise it is not affected.
	outages := map[string]outage{}
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	killed := time.Now()
	servers[0].Process.Kill()
	for who, c := range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var o outage
			for time.Since(killed) < 25*time.Second {
				callCtx, cancel := context.WithTimeout(ctx, time.Second)
				_, err := c.Check(callCtx, &grpc_health_v1.HealthCheckRequest{})
				cancel()
				if o.calls++; err != nil {
					o.failed++
					o.last = time.Since(killed)
				}
				time.Sleep(5 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			outages[who] = o
		}()
	}
	wg.Wait()
	return outages
}
