// Health is a gRPC server with the standard health service that registers itself,
// and a client that calls all its instances in turn.
//
//	go run ./examples/health server -id one
//	go run ./examples/health client 'consul:///health?lb=round_robin'
//
// Both talk to the agent at CONSUL_HTTP_ADDR, and understand the other variables of
// Consul's own tools. Without CONSUL_HTTP_ADDR that is http://127.0.0.1:8500.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/grpcresolver"
	_ "github.com/lictor-go/consul/integrations/grpcresolver/weighted" // for lb=consul_weighted
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("health", flag.ContinueOnError)
	id := flags.String("id", "one", "server: the ID of the instance")
	weight := flags.Int("weight", 1, "server: the weight of the instance")
	calls := flags.Int("calls", 4, "client: how many calls")
	if len(args) == 0 {
		return errors.New("want server or client")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case args[0] == "server":
		return serve(ctx, *id, *weight, out)
	case args[0] == "client" && flags.NArg() == 1:
		return call(ctx, flags.Arg(0), *calls, out)
	}
	return errors.New("want server, or client with a target")
}

// serve runs an instance until ctx ends.
func serve(ctx context.Context, id string, weight int, out io.Writer) error {
	cfg, err := consul.ConfigFromEnv()
	if err != nil {
		return err
	}
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	r, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		ID: "health-" + id, Name: "health", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port,
		Weights: &consul.AgentWeights{Passing: weight, Warning: 1},
		Checks: []*consul.AgentServiceCheck{
			{TTL: 15 * time.Second, DeregisterCriticalServiceAfter: 10 * time.Minute},
			{GRPC: l.Addr().String(), Interval: 10 * time.Second, Status: consul.HealthPassing},
		},
	}, nil)
	if err != nil {
		server.Stop()
		return err
	}
	fmt.Fprintf(out, "health-%s serves %s\n", id, l.Addr())
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	err = errors.Join(err, r.Close()) // first, so that clients have left
	server.GracefulStop()
	return err
}

// call prints which instance has answered each call.
func call(ctx context.Context, target string, n int, out io.Writer) error {
	conn, err := grpc.NewClient(target,
		grpc.WithResolvers(grpcresolver.New(nil)),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for range n {
		var p peer.Peer
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s says %s\n", p.Addr, answer.Status)
	}
	return nil
}
