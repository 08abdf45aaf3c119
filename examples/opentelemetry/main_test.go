package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

func TestRun(t *testing.T) {
	agent := consulmock.New(t)
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1"})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, consul.Config{Transport: agent.Transport()}, []string{"web"}, 10*time.Millisecond, w)
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	for {
		if !lines.Scan() {
			t.Fatal("the gauge was not printed")
		}
		if strings.HasPrefix(lines.Text(), "consul.instances ") && strings.Contains(lines.Text(), `"Value":1`) {
			break
		}
	}
	cancel()
	for lines.Scan() {
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
