package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/benchmarks"
	"github.com/lictor-go/consul/consulmock"
)

// fake measures how many requests a second, one after the other, the fake agent
// answers, and a real one.
func fake(s scale) error {
	show("%s\n", "| requests a second, one after the other | `PassTTL` | `/v1/health/service/web`, 10 instances |\n|---|---|---|")
	server := consulmock.NewServer()
	defer server.Close()
	if err := fakeRow(s, "consulmock", strings.TrimPrefix(server.URL(), "http://")); err != nil {
		return err
	}
	binary := os.Getenv("CONSUL_BIN")
	if binary == "" {
		return nil
	}
	addr, stop, err := startRealAgent(binary)
	if err != nil {
		return err
	}
	defer stop()
	return fakeRow(s, "a real agent", addr)
}

func fakeRow(s scale, name, addr string) error {
	ctx := context.Background()
	client, err := consul.NewClient(consul.Config{Address: addr})
	if err != nil {
		return err
	}
	for i := range 10 {
		err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
			ID: fmt.Sprint("web-", i), Name: "web", Port: 80,
			Check: &consul.AgentServiceCheck{TTL: time.Hour, Status: consul.HealthPassing},
		})
		if err != nil {
			return err
		}
	}
	show("| %s", name)
	for _, op := range []benchmarks.Op{
		func() error { return client.Agent().PassTTL(ctx, "service:web-1", "") },
		func() error {
			_, _, err := client.Health().Service(ctx, "web", nil)
			return err
		},
	} {
		var all []cost
		for range s.rounds {
			c, err := measure(op, 300)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		show(" | %.0f", 1/median(times(all)))
	}
	show("%s\n", " |")
	return nil
}
