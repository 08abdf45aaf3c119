// Mesh-certificates takes part in Consul's service mesh without a sidecar proxy, as
// far as certificates go: it follows the authorities of the mesh and the certificate
// of a service, both of which change, and keeps a TLS configuration up to date with
// them. To show that they work, it serves the service on the loopback interface and
// connects to it.
//
//	go run ./examples/mesh-certificates -service web
//
// It talks to the agent at CONSUL_HTTP_ADDR, and understands the other variables of
// Consul's own tools. The agent has to have the mesh enabled, as `consul agent -dev`
// has; the fake has no mesh.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

func main() {
	service := flag.String("service", "web", "the service to be")
	follow := flag.Bool("follow", false, "go on until interrupted, and print each change")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		var client *consul.Client
		if client, err = consul.NewClient(cfg); err == nil {
			err = run(ctx, client, *service, *follow, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mesh-certificates:", err)
		os.Exit(1)
	}
}

// run follows the certificates of the service, connects to itself once they are
// there, and goes on until ctx ends if it is to follow.
func run(ctx context.Context, client *consul.Client, service string, follow bool, out io.Writer) error {
	ctx, fail := context.WithCancelCause(ctx)
	lines := log.New(out, "", 0) // which goroutines may share
	m := new(mesh)
	var group sync.WaitGroup
	defer group.Wait()
	defer fail(nil)

	got := make(chan struct{}, 2)
	watch(ctx, &group, fail, got, readRoots(client), func(r *roots) error {
		lines.Printf("roots  %d", len(r.Roots))
		return m.setRoots(r)
	})
	watch(ctx, &group, fail, got, readLeaf(client, service), func(l *leaf) error {
		lines.Printf("leaf   %s", l.Service)
		return m.setLeaf(l)
	})
	for range 2 {
		select {
		case <-got:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	greeting, err := callSelf(ctx, m, service)
	if err != nil {
		return err
	}
	lines.Printf("hello  %s", greeting)
	if follow {
		<-ctx.Done()
	}
	return nil
}

// watch passes each response of a query to use, and reports on got that it has done so
// for the first time. Without a first one that can be used, all fails; later on, what is
// known stays in use, and the watch goes on.
func watch[T any](ctx context.Context, group *sync.WaitGroup, fail context.CancelCauseFunc, got chan<- struct{}, query discovery.Query[T], use func(T) error) {
	group.Add(1)
	go func() {
		defer group.Done()
		first := true
		for response, err := range discovery.Watch(ctx, query, nil) {
			if err == nil {
				err = use(response)
			}
			switch {
			case first && err != nil:
				fail(err)
				return
			case first:
				first = false
				got <- struct{}{}
			}
		}
	}()
}

// callSelf serves the service once, connects to it, and returns who said hello.
func callSelf(ctx context.Context, m *mesh, service string) (string, error) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", m.server())
	if err != nil {
		return "", err
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if conn := conn.(*tls.Conn); conn.HandshakeContext(ctx) == nil {
			fmt.Fprint(conn, conn.ConnectionState().PeerCertificates[0].URIs[0].Path)
		}
	}()
	conn, err := (&tls.Dialer{Config: m.client(service)}).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	return string(greeting), err
}
