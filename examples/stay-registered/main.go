// Stay-registered is an HTTP server that registers itself with the local agent,
// or the one that Consul's own environment variables name. When it is
// interrupted, it leaves in order: it turns critical, so that nobody picks it any
// more, ends the requests that it has, and deregisters itself.
//
//	go run ./examples/stay-registered -name web -listen 127.0.0.1:8080
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
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func main() {
	name := flag.String("name", "web", "name of the service")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	drain := flag.Duration("drain", 2*time.Second, "time between turning critical and leaving")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		err = run(ctx, cfg, *name, *listen, *drain, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, cfg consul.Config, name, listen string, drain time.Duration, log io.Writer) error {
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", listener.Addr())
	})}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }()

	addr := listener.Addr().(*net.TCPAddr)
	reg, err := discovery.Register(ctx, client, &consul.AgentServiceRegistration{
		Name: name, ID: fmt.Sprintf("%s-%d", name, addr.Port), Address: addr.IP.String(), Port: addr.Port,
		Check: &consul.AgentServiceCheck{TTL: 15 * time.Second, DeregisterCriticalServiceAfter: 10 * time.Minute},
	}, &discovery.RegisterOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		server.Close()
		return errors.Join(err, ignoreClosed(<-serving))
	}
	select {
	case err := <-serving:
		return errors.Join(err, reg.Close())
	case <-ctx.Done():
	}
	reg.SetStatus(consul.HealthCritical, "shutting down")
	time.Sleep(drain) // until everybody has seen it
	shutdown, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(shutdown), reg.Close(), ignoreClosed(<-serving))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
