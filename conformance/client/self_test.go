package client

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestSelf asks an agent about itself.
func TestSelf(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), limit(t)
	self, err := c.Agent().Self(ctx)
	check(t, err)
	want(t, "version", self.Config.Version, a.Version)
	want(t, "name", self.Config.NodeName, "node1")
	want(t, "server", self.Config.Server, true)
	if len(self.Stats) == 0 || len(self.Member) == 0 || len(self.DebugConfig) == 0 {
		t.Error("statistics, member or configuration is missing")
	}
	host, err := c.Agent().Host(ctx)
	check(t, err)
	if host.CollectionTime == 0 || len(host.Memory) == 0 {
		t.Errorf("host is %+v", host)
	}
	version, err := c.Agent().Version(ctx)
	if a.Old() {
		wantError(t, err, consul.ErrNotFound)
	} else {
		check(t, err)
		want(t, "version", version.HumanVersion, a.Version)
	}
	eventually(t, "there are metrics", func() bool {
		metrics, err := c.Agent().Metrics(ctx)
		check(t, err)
		return len(metrics.Gauges) > 0 && len(metrics.Counters) > 0 && len(metrics.Samples) > 0
	})
	check(t, c.Agent().Reload(ctx))
	members, err := c.Agent().Members(ctx, consul.MembersOptions{})
	check(t, err)
	if len(members) != 1 || members[0].Name != "node1" || members[0].Status != consul.MemberAlive || members[0].Tags["role"] != "consul" {
		t.Errorf("members are %+v", members)
	}
	members, err = c.Agent().Members(ctx, consul.MembersOptions{WAN: true})
	check(t, err)
	want(t, "name in the pool of all datacenters", members[0].Name, "node1.dc1")
	members, err = c.Agent().Members(ctx, consul.MembersOptions{Filter: `Name == "other"`})
	check(t, err)
	want(t, "filtered", len(members) == 0, !a.Old())
	_, err = c.Agent().Members(ctx, consul.MembersOptions{Segment: "x"})
	wantStatus(t, err, http.StatusInternalServerError)
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
	ctx := limit(t)
	// The agent logs each request at the level debug, this one's included.
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ticker := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ticker.C:
				if _, err := c.Agent().Services(ctx, nil); err != nil {
					t.Error(err)
					return
				}
			case <-stop:
				ticker.Stop()
				return
			}
		}
	}()
	lines := 0
	for line, err := range c.Agent().Monitor(ctx, "debug") {
		check(t, err)
		if strings.Contains(line, "/v1/agent/services") {
			if lines++; lines == 3 {
				break
			}
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	var last error
	for line, err := range c.Agent().Monitor(canceled, "debug") {
		if line != "" {
			cancel()
		}
		last = err
	}
	cancel()
	wantError(t, last, context.Canceled, "consul: GET http://", "/v1/agent/monitor: ")
	close(stop)
	<-stopped
	for line, err := range c.Agent().Monitor(ctx, "bogus") {
		want(t, "line", line, "")
		wantStatus(t, err, http.StatusBadRequest)
	}
}

// TestCluster joins a client to a server, and takes it away in three ways.
func TestCluster(t *testing.T) {
	t.Parallel()
	server := agenttest.Start(t, agenttest.Options{Node: "server1", Role: agenttest.Server})
	client := agenttest.Start(t, agenttest.Options{Node: "client1", Role: agenttest.Client, NoLeader: true})
	s, c, ctx := server.Client(), client.Client(), limit(t)
	status := func() consul.MemberStatus {
		members, err := s.Agent().Members(ctx, consul.MembersOptions{})
		check(t, err)
		for _, m := range members {
			if m.Name == "client1" {
				return m.Status
			}
		}
		return consul.MemberNone
	}

	inCatalog := func() bool {
		node, _, err := s.Catalog().Node(ctx, "client1", nil)
		check(t, err)
		return node.Node != nil
	}

	_, _, err := c.Catalog().Nodes(ctx, nil)
	wantError(t, err, nil, "No known Consul servers")
	err = c.Agent().Join(ctx, "127.0.0.1:1", consul.JoinOptions{})
	wantStatus(t, err, http.StatusInternalServerError)
	wantError(t, err, nil, "connection refused")
	check(t, c.Agent().Join(ctx, server.SerfLAN, consul.JoinOptions{}))
	eventually(t, "the client is alive", func() bool { return status() == consul.MemberAlive })
	eventually(t, "the client sees the catalog", func() bool {
		nodes, _, err := c.Catalog().Nodes(ctx, nil)
		return err == nil && len(nodes) == 2
	})
	start := time.Now()
	check(t, c.Agent().Leave(ctx))
	t.Logf("the client left in %s", time.Since(start))
	client.WaitExit()
	eventually(t, "the client has left", func() bool { return status() == consul.MemberLeft })
	t.Logf("its node is in the catalog: %t", inCatalog())

	client.Launch()
	eventually(t, "the client answers", func() bool {
		return c.Agent().Join(ctx, server.SerfLAN, consul.JoinOptions{}) == nil
	})
	eventually(t, "the client is alive", func() bool { return status() == consul.MemberAlive })
	eventually(t, "its node is there", inCatalog)
	client.Kill()
	start = time.Now()
	eventually(t, "the client has failed", func() bool { return status() == consul.MemberFailed })
	eventually(t, "its node is critical", func() bool {
		checks, _, err := s.Health().Node(ctx, "client1", nil)
		check(t, err)
		return checks.AggregatedStatus() == consul.HealthCritical
	})
	t.Logf("the failure was noticed after %s", time.Since(start))
	want(t, "in the catalog", inCatalog(), true)
	check(t, s.Agent().ForceLeave(ctx, "client1", consul.ForceLeaveOptions{}))
	eventually(t, "the client has left", func() bool { return status() == consul.MemberLeft })
	eventually(t, "its node is gone", func() bool { return !inCatalog() })
	check(t, s.Agent().ForceLeave(ctx, "client1", consul.ForceLeaveOptions{Prune: true}))
	eventually(t, "the client is forgotten", func() bool { return status() == consul.MemberNone })
	wantError(t, s.Agent().ForceLeave(ctx, "nope", consul.ForceLeaveOptions{}), nil, "nope")
	start = time.Now()
	check(t, s.Agent().Leave(ctx))
	t.Logf("the server left in %s", time.Since(start))
	server.WaitExit()
}

// TestDatacenters joins two datacenters and asks one about the other.
func TestDatacenters(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{Node: "node1"})
	b := agenttest.Start(t, agenttest.Options{Node: "node2", Config: []string{`datacenter = "dc2"`}})
	c, ctx := a.Client(), limit(t)
	check(t, b.Client().Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "far"}))
	check(t, c.Agent().Join(ctx, b.SerfWAN, consul.JoinOptions{WAN: true}))
	eventually(t, "the other datacenter is known", func() bool {
		dcs, _, err := c.Catalog().Datacenters(ctx, nil)
		check(t, err)
		return len(dcs) == 2
	})
	eventually(t, "the other datacenter answers", func() bool {
		entries, _, err := c.Health().Service(ctx, "far", &consul.QueryOptions{Datacenter: "dc2"})
		return err == nil && len(entries) == 1
	})
	entries, _, err := c.WithDatacenter("dc2").Health().Service(ctx, "far", nil)
	check(t, err)
	want(t, "node", entries[0].Node.Datacenter, "dc2")
	members, err := c.Agent().Members(ctx, consul.MembersOptions{WAN: true})
	check(t, err)
	want(t, "members of both", len(members), 2)
	b.Kill()
	err = c.Agent().ForceLeave(ctx, "node2.dc2", consul.ForceLeaveOptions{WAN: true, Prune: true})
	if a.Old() { // which looks in the pool of the datacenter all the same
		wantError(t, err, nil, "No node found")
		return
	}
	check(t, err)
	members, err = c.Agent().Members(ctx, consul.MembersOptions{WAN: true})
	check(t, err)
	want(t, "members of one", len(members), 1)
}
