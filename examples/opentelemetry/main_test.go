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
		cfg := consul.Config{Transport: agent.Transport(), Token: "s3cr3t"}
		done <- run(ctx, cfg, []string{"web"}, 10*time.Millisecond, w)
		w.Close()
	}()
	missing := map[string]func(line string) bool{
		"the gauge": func(line string) bool {
			return strings.HasPrefix(line, "consul.instances ") && strings.Contains(line, `"Value":1`)
		},
		"the span": func(line string) bool { return strings.HasPrefix(line, "span GET /v1/health/service/web took ") },
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		for what, is := range missing {
			if is(lines.Text()) {
				delete(missing, what)
			}
		}
		if strings.Contains(lines.Text(), "s3cr3t") {
			t.Errorf("the token is printed: %s", lines.Text())
		}
		if len(missing) == 0 {
			cancel()
		}
	}
	for what := range missing {
		t.Errorf("%s was not printed", what)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
