package grpcresolver_test

import (
	"context"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/grpcresolver"
	"github.com/lictor-go/consul/integrations/grpcresolver/weighted"
	"github.com/lictor-go/consul/internal/agenttest"
)

// onEachAgent runs the test with the fake and with a real agent, if there is one.
func onEachAgent(t *testing.T, test func(t *testing.T, c *consul.Client)) {
	t.Run("fake", func(t *testing.T) { test(t, consulmock.New(t).Client()) })
	t.Run("real", func(t *testing.T) { test(t, agenttest.Start(t, agenttest.Options{}).Client()) })
}

// server is a gRPC server that counts its connections.
type server struct {
	*grpc.Server
	net.Listener
	addr   string
	health *health.Server
	conns  atomic.Int32
}

func (s *server) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err == nil {
		s.conns.Add(1)
	}
	return c, err
}

// serve starts a gRPC server and registers it by hand, as any service may be that
// knows nothing of this module.
func serve(t *testing.T, c *consul.Client, id string, weights *consul.AgentWeights) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: grpc.NewServer(), Listener: l, addr: l.Addr().String(), health: health.NewServer()}
	s.health.SetServingStatus("web", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s, s.health)
	go s.Serve(s)
	t.Cleanup(s.Stop)
	reg := web(id, "127.0.0.1", l.Addr().(*net.TCPAddr).Port, consul.HealthPassing)
	reg.Weights = weights
	register(t, c, reg)
	return s
}

func register(t *testing.T, c *consul.Client, reg *consul.AgentServiceRegistration) {
	t.Helper()
	if err := c.Agent().ServiceRegister(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, c *consul.Client, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target,
		grpc.WithResolvers(grpcresolver.New(&grpcresolver.Options{Client: c})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// call returns the address of the server that has answered.
func call(ctx context.Context, conn *grpc.ClientConn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var p peer.Peer
	_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&p))
	if err != nil {
		return "", err
	}
	return p.Addr.String(), nil
}

// calls returns how many of n calls each server has got, after both have got one.
func calls(t *testing.T, conn *grpc.ClientConn, n int, servers ...string) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for deadline := time.Now().Add(patience); len(seen) < len(servers); {
		addr, err := call(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr]++; time.Now().After(deadline) {
			t.Fatalf("only %v; want %v", seen, servers)
		}
	}
	clear(seen)
	for range n {
		addr, err := call(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		seen[addr]++
	}
	return seen
}

func TestRoundRobin(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		one, two := serve(t, c, "1", nil).addr, serve(t, c, "2", nil).addr
		seen := calls(t, dial(t, c, "consul:///web?lb=round_robin"), 100, one, two)
		if seen[one] != 50 || seen[two] != 50 {
			t.Errorf("calls: %v; want 50 each", seen)
		}
	})
}

// TestPickFirst calls one instance until it is gone.
func TestPickFirst(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		serverOne, serverTwo := serve(t, c, "1", nil), serve(t, c, "2", nil)
		one, two := serverOne.addr, serverTwo.addr
		conn := dial(t, c, "consul:///web")
		first, err := call(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if seen := calls(t, conn, 20, first); seen[first] != 20 {
			t.Fatalf("calls: %v; want all to %s", seen, first)
		}
		id, other, stop := "1", two, serverOne.Stop
		if first == two {
			id, other, stop = "2", one, serverTwo.Stop
		}
		if err := c.Agent().ServiceDeregister(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); ; {
			if next, _ := call(t.Context(), conn); next == other {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("calls still go to the instance that is gone")
			}
		}
		stop()
		if next, err := call(t.Context(), conn); next != other {
			t.Errorf("afterwards: %s, %v; want %s", next, err, other)
		}
	})
}

// TestWeighted counts calls, changes the weights and counts again: by then the
// connections must be the same ones.
func TestWeighted(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		serverOne := serve(t, c, "1", &consul.AgentWeights{Passing: 9, Warning: 1})
		one, two := serverOne.addr, serve(t, c, "2", &consul.AgentWeights{Passing: 1, Warning: 1}).addr
		conn := dial(t, c, "consul:///web?healthy=false&lb="+weighted.Name)
		const n = 1000
		seen := calls(t, conn, n, one, two)
		wantShare(t, seen[one], n, 0.9)

		if err := c.Agent().UpdateTTL(t.Context(), "service:1", consul.HealthCritical, ""); err != nil {
			t.Fatal(err)
		}
		// Weight 0 with a critical check: no call, as long as there is another one.
		for deadline := time.Now().Add(patience); ; {
			seen = calls(t, conn, 20, two)
			if seen[one] == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("calls: %v; want none to the critical instance", seen)
			}
		}
		if err := c.Agent().UpdateTTL(t.Context(), "service:1", consul.HealthWarning, ""); err != nil {
			t.Fatal(err)
		}
		seen = calls(t, conn, n, one, two)
		wantShare(t, seen[one], n, 0.5)
		if n := serverOne.conns.Load(); n != 1 {
			t.Errorf("%d connections to the instance whose weight changed twice; want the first one only", n)
		}
	})
}

// TestWeightsOfNothing calls instances with the weight 0, as critical ones have, as
// long as there are no others.
func TestWeightsOfNothing(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		one, two := serve(t, c, "1", nil).addr, serve(t, c, "2", nil).addr
		for _, id := range []string{"1", "2"} {
			if err := c.Agent().UpdateTTL(t.Context(), "service:"+id, consul.HealthCritical, ""); err != nil {
				t.Fatal(err)
			}
		}
		calls(t, dial(t, c, "consul:///web?healthy=false&lb="+weighted.Name), 0, one, two)
	})
}

// TestWeightedWatchesHealth leaves out an instance whose own health service says
// that it does not serve, if the service config asks for that.
func TestWeightedWatchesHealth(t *testing.T) {
	c := consulmock.New(t).Client()
	sick, well := serve(t, c, "1", nil), serve(t, c, "2", nil).addr
	sick.health.SetServingStatus("web", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	conn, err := grpc.NewClient("consul:///web",
		grpc.WithResolvers(grpcresolver.New(&grpcresolver.Options{Client: c})),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+weighted.Name+`":{}}],"healthCheckConfig":{"serviceName":"web"}}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if seen := calls(t, conn, 50, well); len(seen) != 1 {
		t.Errorf("calls: %v; want all to the one that serves", seen)
	}
	sick.health.SetServingStatus("web", grpc_health_v1.HealthCheckResponse_SERVING)
	calls(t, conn, 0, well, sick.addr)
}

// wantShare allows for five standard deviations.
func wantShare(t *testing.T, got, n int, share float64) {
	t.Helper()
	if deviation := math.Abs(float64(got) - share*float64(n)); deviation > 5*math.Sqrt(share*(1-share)*float64(n)) {
		t.Errorf("%d of %d calls; want about %.0f%%", got, n, 100*share)
	}
}

// TestEmptied sees calls fail at once when the last instance leaves, and succeed
// when there is one again.
func TestEmptied(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		serve(t, c, "1", nil)
		conn := dial(t, c, "consul:///web?lb=round_robin")
		if _, err := call(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if err := c.Agent().ServiceDeregister(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); ; {
			_, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
			if status.Code(err) == codes.Unavailable {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("calls still succeed: %v", err)
			}
		}
		again := serve(t, c, "2", nil).addr
		if addr, err := call(t.Context(), conn); addr != again {
			t.Errorf("afterwards: %s, %v; want %s", addr, err, again)
		}
	})
}

// TestNoInstanceYet has the very first call fail with an error that names the
// service, and calls succeed when there is an instance.
func TestNoInstanceYet(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		conns := map[string]*grpc.ClientConn{}
		for _, policy := range []string{"round_robin", "pick_first", weighted.Name} {
			conns[policy] = dial(t, c, "consul:///web?lb="+policy)
			_, err := grpc_health_v1.NewHealthClient(conns[policy]).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `no healthy instance of service "web"`) {
				t.Errorf("%s: %v", policy, err)
			}
		}
		server := serve(t, c, "1", nil).addr
		for policy, conn := range conns {
			if addr, err := call(t.Context(), conn); addr != server {
				t.Errorf("%s: %s, %v; want %s", policy, addr, err, server)
			}
		}
	})
}

// TestUnhealthyLeaves turns one of two instances critical and passing again.
func TestUnhealthyLeaves(t *testing.T) {
	onEachAgent(t, func(t *testing.T, c *consul.Client) {
		one, two := serve(t, c, "1", nil).addr, serve(t, c, "2", nil).addr
		conn := dial(t, c, "consul:///web?lb=round_robin")
		calls(t, conn, 2, one, two)
		if err := c.Agent().FailTTL(t.Context(), "service:1", "drained"); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); calls(t, conn, 10, two)[one] > 0; {
			if time.Now().After(deadline) {
				t.Fatal("calls still go to the critical instance")
			}
		}
		if err := c.Agent().PassTTL(t.Context(), "service:1", ""); err != nil {
			t.Fatal(err)
		}
		calls(t, conn, 2, one, two)
	})
}
