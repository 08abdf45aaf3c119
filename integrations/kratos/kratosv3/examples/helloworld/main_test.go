package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-kratos/kratos/v3/log"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

func TestHelloworld(t *testing.T) {
	log.SetDefault(slog.New(slog.DiscardHandler))
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
				served <- run(ctx, []string{"server", "-id", "one"}, write)
				write.Close()
			}()
			line := make([]byte, 200)
			if n, err := read.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "helloworld-one serves http://127.0.0.1:") {
				t.Fatalf("printed %q, %v", line[:n], err)
			}
			var out strings.Builder
			if err := run(t.Context(), []string{"client", "-calls", "2"}, &out); err != nil {
				t.Error(err)
			}
			if want := strings.Repeat("Hello HTTP, this is one\n", 2) + strings.Repeat("Hello gRPC, this is one\n", 2); out.String() != want {
				t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
			}
			cancel()
			if err := <-served; err != nil {
				t.Error("server: ", err)
			}
			client, err := consul.NewClient(consul.Config{Address: os.Getenv("CONSUL_HTTP_ADDR")})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			if services, err := client.Agent().Services(t.Context(), nil); err != nil || len(services) != 0 {
				t.Errorf("after the server's end the agent has %v, %v", services, err)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"client", "-calls", "many"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// TestReadme checks that the Go in the README of both registries is in this program,
// except for blanks. A line "// ..." stands for what is left out.
func TestReadme(t *testing.T) {
	read := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	plain := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(read("../../../README.md"), -1)
	if len(blocks) == 0 {
		t.Error("no Go in the README")
	}
	for _, block := range blocks {
		program := plain(read("main.go"))
		for _, part := range regexp.MustCompile(`(?m)^\s*// \.\.\.$`).Split(block[1], -1) {
			_, rest, found := strings.Cut(program, plain(part))
			if !found {
				t.Errorf("not in main.go, or not in this order:\n%s", part)
				continue
			}
			program = rest
		}
	}
}
