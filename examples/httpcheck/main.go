// Httpcheck shows a plain HTTP service that knows nothing of Consul but its
// registration: the agent requests its health every second, and deregisters it when
// it has been critical for a minute. The program starts the service as a process of
// its own, kills it when it is healthy, and prints what becomes of it.
//
//	go run ./examples/httpcheck
//
// It talks to the agent at CONSUL_HTTP_ADDR, and understands the other variables of
// Consul's own tools. Without CONSUL_HTTP_ADDR that is http://127.0.0.1:8500. It
// takes one minute and a half to two, because agents remove such services
// every 30 seconds.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
)

const (
	id      = "httpcheck-1"
	service = "httpcheck"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		err = serve(os.Stdout)
	} else {
		err = show(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "httpcheck:", err)
		os.Exit(1)
	}
}

// serve is the service. It prints its address first.
func serve(out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "serving") })
	fmt.Fprintln(out, l.Addr())
	return http.Serve(l, nil)
}

// show starts the service as a process, and kills that.
func show(ctx context.Context) error {
	cfg, err := consul.ConfigFromEnv()
	if err != nil {
		return err
	}
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	process := exec.Command(os.Args[0], "serve")
	stdout, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	kill := func() {
		process.Process.Kill()
		process.Wait()
	}
	defer kill()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the service has not started: %w", err)
	}
	return run(ctx, client, strings.TrimSpace(address), kill, os.Stdout)
}

// run registers the service at the address, kills it when it is healthy, and returns
// when it is gone.
func run(ctx context.Context, client *consul.Client, address string, kill func(), out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	begin := time.Now()
	log := func(format string, args ...any) {
		fmt.Fprintf(out, "%5.0fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := register(ctx, client, address); err != nil {
		return err
	}
	// Only if something goes wrong here: else the agent will have done it.
	defer client.Agent().ServiceDeregister(context.WithoutCancel(ctx), id)
	log("registered at %s", address)

	killed := false
	last := consul.HealthStatus("")
	for entries, err := range discovery.WatchService(ctx, client, service, nil) {
		switch {
		case err != nil:
			log("the agent: %v", err)
			continue
		case len(entries) == 0 && killed:
			log("gone")
			return nil
		case len(entries) == 0:
			continue // not in the catalog yet
		}
		status := entries[0].Checks.AggregatedStatus()
		if status == last {
			continue
		}
		last = status
		log("%s", status)
		if status == consul.HealthPassing && !killed {
			kill()
			killed = true
			log("killed")
		}
	}
	return errors.Join(errors.New("the service is not gone"), ctx.Err())
}

func register(ctx context.Context, client *consul.Client, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	return client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		ID: id, Name: service, Address: host, Port: n,
		Check: &consul.AgentServiceCheck{
			HTTP:                           "http://" + address + "/health",
			Interval:                       time.Second,
			Timeout:                        time.Second,
			DeregisterCriticalServiceAfter: time.Minute, // the least that agents take
		},
	})
}
