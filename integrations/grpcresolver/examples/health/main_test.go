package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

func TestHealth(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) string{
		"fake": func(t *testing.T) string { return consulmock.New(t).URL() },
		"real": func(t *testing.T) string { return agenttest.Start(t, agenttest.Options{}).Addr },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CONSUL_HTTP_ADDR", start(t))
			ctx, cancel := context.WithCancel(t.Context())
			read, write := io.Pipe()
			served := make(chan error, 1)
			go func() {
				served <- run(ctx, []string{"server", "-id", "one", "-weight", "3"}, write)
				write.Close()
			}()
			var address string
			if _, err := fmt.Fscanf(read, "health-one serves %s\n", &address); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := run(t.Context(), []string{"client", "-calls", "3", "consul:///health?lb=consul_weighted"}, &out); err != nil {
				t.Error(err)
			}
			if want := strings.Repeat(address+" says SERVING\n", 3); out.String() != want {
				t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
			}
			cancel()
			if err := <-served; err != nil {
				t.Error("server: ", err)
			}
		})
	}
}

// TestErrors compares what calls say, when there is no agent or no server, with the
// README of the resolver.
func TestErrors(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{"agent": "127.0.0.1:1", "server": consulmock.New(t).URL()} {
		t.Setenv("CONSUL_HTTP_ADDR", address)
		err := run(t.Context(), []string{"client", "consul:///health?lb=round_robin"}, io.Discard)
		if err == nil {
			t.Errorf("no %s, and no error", name)
			continue
		}
		if line := "health: " + strings.NewReplacer("127.0.0.1:1:", "127.0.0.1:8500:", "127.0.0.1:1/", "127.0.0.1:8500/").Replace(err.Error()); !strings.Contains(string(page), "\n    "+line+"\n") {
			t.Errorf("without %s: not in the README: %s", name, line)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"client"}, {"client", "-calls", "many"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
