package interop

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/grpcresolver"
	"github.com/lictor-go/consul/integrations/grpcresolver/weighted"
	"github.com/lictor-go/consul/internal/agenttest"
	"github.com/lictor-go/consul/internal/outage"
)

// The variables that make the test program a server.
const (
	envAgent = "INTEROP_AGENT"
	envName  = "INTEROP_NAME"
	envID    = "INTEROP_ID"

	envInterval = "INTEROP_INTERVAL" // of checks, as time.Duration writes it
)

const checkInterval = 10 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(envAgent) == "" {
		m.Run()
		return
	}
	interval, err := time.ParseDuration(os.Getenv(envInterval))
	if err != nil {
		panic(err)
	}
	client, err := consul.NewClient(consul.Config{Address: os.Getenv(envAgent)})
	if err != nil {
		panic(err)
	}
	if _, err = serve(client, os.Getenv(envName), os.Getenv(envID), nil, interval); err != nil {
		panic(err)
	}
	outage.Serve()
}

// serve starts a gRPC server and registers it by hand.
func serve(c *consul.Client, name, id string, weights *consul.AgentWeights, interval time.Duration) (stop func(), err error) {
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
			{TCP: l.Addr().String(), Interval: interval, Status: consul.HealthPassing},
			{TTL: 20 * time.Second, Status: consul.HealthPassing},
		},
	}, nil)
	return func() {
		r.Close()
		s.Stop()
	}, err
}

func dial(t testing.TB, b resolver.Builder, target, policy string) grpc_health_v1.HealthClient {
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
			stop, err := serve(c, "web", id, &consul.AgentWeights{Passing: weight, Warning: 1}, checkInterval)
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
	t.Run("real", func(t *testing.T) { test(t, agenttest.Start(t, agenttest.Options{}).Client()) })
}

var killPolicies = []string{"round_robin", "pick_first"}

// TestCalls kills one of two instances (as with kill -9) while clients call them:
// calls go on.
func TestCalls(t *testing.T) {
	test := func(t *testing.T, c *consul.Client, address string) {
		callers := map[string]grpc_health_v1.HealthClient{}
		for _, policy := range killPolicies {
			callers[policy] = dial(t, grpcresolver.New(&grpcresolver.Options{Client: c}), "consul:///web", policy)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results, err := killOne(ctx, c, address, "web", time.Second, 0, callers)
		if err != nil {
			t.Fatal(err)
		}
		for policy, r := range results {
			if r.Last > 4*time.Second {
				t.Errorf("%s: calls failed for %s: %v", policy, r.Last, r.Errors)
			}
		}
	}
	t.Run("fake", func(t *testing.T) {
		fake := consulmock.New(t, consulmock.WithProbes(true))
		test(t, fake.Client(), fake.URL())
	})
	t.Run("real", func(t *testing.T) {
		a := agenttest.Start(t, agenttest.Options{})
		test(t, a.Client(), a.Addr)
	})
}

// BenchmarkKill does so several times with each resolver, and prints for how long
// calls failed. It takes half a minute.
func BenchmarkKill(b *testing.B) {
	a := agenttest.Start(b, agenttest.Options{})
	client := a.Client()
	const runs = 10
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	all := outage.Repeat(b, runs, func(run int) (map[string]outage.Result, error) {
		name := fmt.Sprintf("web-%d", run)
		callers := map[string]grpc_health_v1.HealthClient{}
		for _, policy := range killPolicies {
			callers[policy+", ours"] = dial(b, grpcresolver.New(&grpcresolver.Options{Client: client}), "consul:///"+name, policy)
			callers[policy+", theirs"] = dial(b, theirs, "consul://"+a.Addr+"/"+name+"?healthy=true", policy)
		}
		// The kills are spread over the time between two checks.
		return killOne(ctx, client, a.Addr, name, checkInterval, time.Duration(run)*checkInterval/runs, callers)
	})
	fmt.Printf("%d kills, Consul %s\n%s", runs, a.Version, outage.Table(all))
}

// killOne starts two servers and kills the one that pick_first has chosen.
func killOne(ctx context.Context, c *consul.Client, address, name string, interval, after time.Duration, callers map[string]grpc_health_v1.HealthClient) (map[string]outage.Result, error) {
	kills := map[string]func(){} // by ID
	for n := range 2 {
		id := fmt.Sprintf("%s-%d", name, n)
		kill, err := outage.Start(envAgent+"="+address, envName+"="+name, envID+"="+id, fmt.Sprintf("%s=%s", envInterval, interval))
		if err != nil {
			return nil, err
		}
		defer kill()
		kills[id] = kill
	}
	if err := outage.AwaitInstances(ctx, c, name, len(kills)); err != nil {
		return nil, err
	}
	calls := map[string]func() error{}
	for who, caller := range callers {
		for range 50 {
			if _, err := caller.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
				return nil, fmt.Errorf("%s, before the kill: %w", who, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		calls[who] = func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := caller.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			return err
		}
	}
	time.Sleep(after)
	entries, _, err := c.Health().Service(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	// Both resolvers list addresses in the order of their texts.
	victim := slices.MinFunc(entries, func(a, b *consul.ServiceEntry) int {
		return cmp.Compare(discovery.InstanceOf(a).HostPort(), discovery.InstanceOf(b).HostPort())
	}).Service.ID
	return outage.Kill{
		Client: c, Service: name, Kill: kills[victim], Callers: calls, Every: 5 * time.Millisecond, After: 5 * time.Second,
	}.Measure(ctx)
}
