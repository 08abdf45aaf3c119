// Opentelemetry hands the events of package discovery to OpenTelemetry as metrics,
// and the requests of the client as spans. It follows the services that it is told
// to, prints each span, and every now and then what has been measured; a real
// program would use exporters of its choice. The agent is the one that Consul's own
// environment variables name, or the local one:
//
//	go run . web db
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		err = run(ctx, cfg, os.Args[1:], 10*time.Second, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run follows services and prints spans and metrics until ctx ends.
func run(ctx context.Context, cfg consul.Config, services []string, interval time.Duration, w io.Writer) error {
	out := log.New(w, "", 0)
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(printer{out}))
	client, err := consul.NewClient(traced(cfg, tracer))
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	m, err := newMetrics(provider.Meter("github.com/lictor-go/consul/discovery"))
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
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.Join(provider.Shutdown(context.Background()), tracer.Shutdown(context.Background()))
		case <-tick.C:
		}
		var measured metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &measured); err != nil {
			if errors.Is(err, context.Canceled) {
				continue
			}
			return err
		}
		for _, scope := range measured.ScopeMetrics {
			for _, metric := range scope.Metrics {
				data, err := json.Marshal(metric.Data)
				if err != nil {
					return err
				}
				out.Printf("%s %s", metric.Name, data)
			}
		}
	}
}
