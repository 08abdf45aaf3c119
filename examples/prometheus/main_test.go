package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

func TestMetrics(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1"})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, consul.Config{Transport: agent.Transport()}, "127.0.0.1:0", []string{"web"})
	}()
	resolver := discovery.NewResolver(agent.Client(), nil)
	defer resolver.Close()
	client := &http.Client{Transport: discovery.NewTransport(resolver, &http.Transport{DisableKeepAlives: true})}
	wanted := []string{
		`consul_registered{id="metrics",service="metrics"} 1`,
		`consul_instances{service="web"} 1`,
		`consul_instance_changes_total{change="added",service="web"} 1`,
	}
	page := ""
	for ctx.Err() == nil && !containsAll(page, wanted) {
		resp, err := client.Get("http://metrics/metrics")
		if err != nil {
			continue // not there yet
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		page = string(body)
	}
	if !containsAll(page, wanted) {
		t.Errorf("the page is\n%s\nwant %q", page, wanted)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
