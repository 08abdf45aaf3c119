package agenttest

import (
	"context"
	"testing"

	"github.com/lictor-go/consul"
)

// TestRestart holds a server's data over a restart, and loses it if told to.
func TestRestart(t *testing.T) {
	t.Parallel()
	a := Start(t, Options{Role: Server})
	ctx := context.Background()
	c := a.Client()
	if err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{true, false} {
		a.Restart(keep)
		services, err := c.Agent().Services(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (services["web"] != nil) != keep {
			t.Errorf("after a restart that keeps data (%t), services are %v", keep, services)
		}
	}
}

// TestCluster forms a cluster of servers and clients.
func TestCluster(t *testing.T) {
	t.Parallel()
	var servers []*Agent
	for _, name := range []string{"server1", "server2", "server3"} {
		servers = append(servers, Prepare(t, Options{Node: name, Role: Server, Expect: 3, Join: servers}))
	}
	for _, s := range servers {
		s.Launch()
	}
	for _, s := range servers {
		s.WaitReady()
	}
	client := Start(t, Options{Node: "client1", Role: Client, Join: servers})
	peers, err := client.Client().Status().Peers(context.Background())
	if err != nil || len(peers) != 3 {
		t.Errorf("peers %v, error %v; want three peers", peers, err)
	}
}

// TestPorts reserves blocks of ports that do not overlap.
func TestPorts(t *testing.T) {
	used := map[int]bool{}
	for range 50 {
		b, err := reservePorts()
		if err != nil {
			t.Fatal(err)
		}
		defer b.free()
		for which := range portsPerBlock {
			if used[b.port(which)] {
				t.Fatalf("port %d is in two blocks", b.port(which))
			}
			used[b.port(which)] = true
		}
	}
}
