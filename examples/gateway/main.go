// Gateway is an HTTP reverse proxy in front of many services: it routes /NAME/path to a
// healthy instance of the service NAME. It follows the services that have a tag, or those
// that are named.
//
//	go run ./examples/gateway
//
// It talks to an agent of its own, a fake one that lives in the program, with services
// whose instances fail while requests are sent. With a real agent it serves that agent's
// services until it is interrupted, those with the tag, or those named:
//
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./examples/gateway -listen 127.0.0.1:8080 -tag public
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./examples/gateway -listen 127.0.0.1:8080 shop billing
//
// The gateway itself is in gateway.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	tag := flag.String("tag", "gateway", "tag of the services that get a route, unless some are named")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if os.Getenv("CONSUL_HTTP_ADDR") == "" {
		err = demonstrate(ctx, os.Stdout)
	} else {
		err = run(ctx, *listen, *tag, flag.Args(), os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// run serves the services of a real agent until ctx ends.
func run(ctx context.Context, listen, tag string, names []string, log io.Writer) error {
	cfg, err := consul.ConfigFromEnv()
	if err != nil {
		return err
	}
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	logger.Info("listening", "address", listener.Addr().String())
	return serve(ctx, client, listener, tag, names, logger)
}

// serve serves the named services until ctx ends, or those with the tag if none is named.
func serve(ctx context.Context, client *consul.Client, listener net.Listener, tag string, names []string, logger *slog.Logger) error {
	options := &discovery.ResolverOptions{Balancer: discovery.LeastLoaded, Logger: logger}
	if len(names) == 0 {
		options.Query.Tags = []string{tag}
	}
	resolver := discovery.NewResolver(client, options) // one for all services
	defer resolver.Close()
	g := newGateway(resolver, logger)

	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	if len(names) > 0 {
		g.setRoutes(names)
	} else {
		following.Add(1)
		go func() {
			defer following.Done()
			g.follow(ctx, client, tag)
		}()
	}

	server := &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()
	select {
	case err := <-serving:
		return err
	case <-ctx.Done():
	}
	shutdown, cancelShutdown := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelShutdown()
	err := server.Shutdown(shutdown) // requests under way are served to their end
	if serveErr := <-serving; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
