package consulmock_test

import (
	"context"
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
