package consulmock_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

func TestRegisterAndFind(t *testing.T) {
	ctx := context.Background()
	agent := consulmock.New(t)
	client := agent.Client()
	_, meta, err := client.Health().Service(ctx, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		Name: "web", Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Minute},
	}); err != nil {
		t.Fatal(err)
	}
	entries, meta, err := client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex})
	if err != nil || len(entries) != 1 || entries[0].Service.Port != 80 {
		t.Fatal(entries, meta, err)
	}
	if err := client.Agent().PassTTL(ctx, "service:web", "fine"); err != nil {
		t.Fatal(err)
	}
	entries, _, err = client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, PassingOnly: true})
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
}

// A server of the network, a server of memory and a handler are one.
func TestWaysToReachIt(t *testing.T) {
	s := consulmock.New(t)
	s.AddService(&consul.AgentServiceRegistration{Name: "web"})
	outer := httptest.NewServer(s.Handler())
	defer outer.Close()
	for name, cfg := range map[string]consul.Config{
		"URL": {Address: s.URL()}, "Transport": {Transport: s.Transport()}, "Handler": {Address: outer.URL},
	} {
		c, err := consul.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		services, err := c.Agent().Services(context.Background(), nil)
		if err != nil || services["web"] == nil {
			t.Errorf("%s: %v, %v", name, services, err)
		}
		c.CloseIdleConnections()
	}
	before := s.URL()
	s.Restart(true)
	if s.URL() != before {
		t.Errorf("the address has changed from %s to %s", before, s.URL())
	}
}
