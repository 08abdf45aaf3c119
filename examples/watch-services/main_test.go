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
	agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1", Address: "10.0.0.1", Port: 80})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, consul.Config{Transport: agent.Transport()}, w)
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	expect := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasSuffix(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("no line ends with %q", want)
	}
	expect(" web: web-1 at 10.0.0.1:80")
	agent.AddService(&consul.AgentServiceRegistration{Name: "db", ID: "db-1", Address: "10.0.0.2", Port: 5432})
	expect(" db: db-1 at 10.0.0.2:5432")
	agent.RemoveService("web-1")
	expect(" web: none")
	cancel()
	for lines.Scan() {
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
