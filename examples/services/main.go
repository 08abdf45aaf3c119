// Services shows the ways to query the local agent for what is registered with it: every
// service, one service, and those that a filter selects. It registers three services
// first, and deregisters them when it is done.
//
//	go run ./examples/services
//
// It talks to the agent at CONSUL_HTTP_ADDR, and understands the other variables of
// Consul's own tools. Without CONSUL_HTTP_ADDR that is http://127.0.0.1:8500.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		var client *consul.Client
		if client, err = consul.NewClient(cfg); err == nil {
			err = run(ctx, client, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

var demo = []*consul.AgentServiceRegistration{
	{ID: "demo-web-1", Name: "demo-web", Address: "10.0.0.1", Port: 80, Tags: []string{"v1"}, Meta: map[string]string{"zone": "a"}},
	{ID: "demo-web-2", Name: "demo-web", Address: "10.0.0.2", Port: 80, Tags: []string{"v2"}, Meta: map[string]string{"zone": "b"}},
	{ID: "demo-db", Name: "demo-db", Address: "10.0.0.3", Port: 5432},
}

func run(ctx context.Context, client *consul.Client, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	agent := client.Agent()
	for _, s := range demo {
		if err := agent.ServiceRegister(ctx, s); err != nil {
			return err
		}
		// Also after an interrupt, when ctx has ended.
		defer agent.ServiceDeregister(context.WithoutCancel(ctx), s.ID)
	}

	services, err := agent.Services(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "every service:")
	list(out, services)

	one, _, err := agent.Service(ctx, "demo-db", nil)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the service demo-db:")
	list(out, map[string]*consul.AgentService{one.ID: one})

	_, _, err = agent.Service(ctx, "demo-none", nil)
	if !errors.Is(err, consul.ErrNotFound) {
		return fmt.Errorf("service demo-none: %v; want that there is none", err)
	}
	fmt.Fprintln(out, "the service demo-none: not found")

	for _, filter := range []string{`Service == "demo-web"`, `"v2" in Tags and Meta.zone == "b"`} {
		services, err := agent.Services(ctx, &consul.QueryOptions{Filter: filter})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "those with %s:\n", filter)
		list(out, services)
	}
	return nil
}

func list(out io.Writer, services map[string]*consul.AgentService) {
	for _, id := range slices.Sorted(maps.Keys(services)) {
		s := services[id]
		fmt.Fprintf(out, "  %-10s  %-8s  %s:%d  tags [%s]\n", id, s.Service, s.Address, s.Port, strings.Join(s.Tags, " "))
	}
}
