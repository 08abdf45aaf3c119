// Prometheus shows the events of package discovery as metrics for Prometheus: a
// server that registers itself, follows the services that it is told to, and
// serves /metrics. The agent is the one that Consul's own environment variables
// name, or the local one:
//
//	go run . -listen 127.0.0.1:9090 -watch web,db
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	watch := flag.String("watch", "", "services to follow, separated by commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		err = run(ctx, cfg, *listen, strings.FieldsFunc(*watch, func(r rune) bool { return r == ',' }))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, cfg consul.Config, listen string, services []string) error {
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}
	defer server.Close()
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()

	addr := listener.Addr().(*net.TCPAddr)
	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		Name: "metrics", Address: addr.IP.String(), Port: addr.Port, Check: &consul.AgentServiceCheck{TTL: 15 * time.Second},
	}, &discovery.RegisterOptions{OnEvent: m.observe})
	if err != nil {
		return err
	}
	resolver := discovery.NewResolver(client, &discovery.ResolverOptions{OnEvent: m.observe})
	defer resolver.Close()
	for _, service := range services {
		go func() {
			for range resolver.Watch(ctx, service) { // the events tell all
			}
		}()
	}
	select {
	case err = <-serving:
	case <-ctx.Done():
	}
	return errors.Join(err, reg.Close())
}
