package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/lictor-go/consul"
)

// A subscriber watches the service web and calls seen with the port of its only
// instance, at first and at each change, until ctx ends.
type subscriber func(ctx context.Context, addr string, seen func(port int)) error

// latency measures how soon a change of a service at a real agent arrives at a
// subscriber: from the start of the request that makes it to the call of the
// subscriber's function.
func latency() error {
	const changes = 100
	binary := os.Getenv("CONSUL_BIN")
	if binary == "" {
		fmt.Println("No latencies: CONSUL_BIN does not name a Consul binary.")
		return nil
	}
	addr, stop, err := startAgent(binary)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Println("| from a change to the subscriber, real agent | median | 90th percentile |\n|---|---|---|")
	for _, s := range []struct {
		name string
		run  subscriber
	}{{"our blocking queries in a loop", subscribeOurs}, {"consul/api's watch plan", subscribePlan}} {
		took, err := change(addr, s.run, changes)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		slices.Sort(took)
		fmt.Printf("| %s | %s | %s |\n", s.name, us(took[len(took)/2]), us(took[len(took)*9/10]))
	}
	return nil
}

// change changes the service's port and waits for the subscriber to see it.
func change(addr string, subscribe subscriber, changes int) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := consul.NewClient(consul.Config{Address: addr})
	if err != nil {
		return nil, err
	}
	register := func(port int) error {
		return client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Port: port})
	}
	if err := register(1); err != nil {
		return nil, err
	}
	seen := make(chan int, 16)
	ended := make(chan error, 1)
	go func() { ended <- subscribe(ctx, addr, func(port int) { seen <- port }) }()
	var took []time.Duration
	start := time.Now()
	for port := 1; port <= changes; {
		select {
		case p := <-seen:
			if p != port {
				continue
			}
			if port > 1 {
				took = append(took, time.Since(start))
			}
			port++
			time.Sleep(20 * time.Millisecond) // the subscriber asks again
			start = time.Now()
			if err := register(port); err != nil {
				return nil, err
			}
		case err := <-ended:
			return nil, fmt.Errorf("the subscription ended: %w", err)
		}
	}
	return took, nil
}

func subscribeOurs(ctx context.Context, addr string, seen func(int)) error {
	client, err := consul.NewClient(consul.Config{Address: addr})
	if err != nil {
		return err
	}
	q := &consul.QueryOptions{}
	for {
		entries, meta, err := client.Health().Service(ctx, "web", q)
		if err != nil {
			return err
		}
		if !meta.Unchanged && len(entries) == 1 {
			seen(entries[0].Service.Port)
		}
		q.WaitIndex, q.Known = meta.LastIndex, meta.Fingerprint
	}
}

func subscribePlan(ctx context.Context, addr string, seen func(int)) error {
	plan, err := watch.Parse(map[string]any{"type": "service", "service": "web"})
	if err != nil {
		return err
	}
	plan.Handler = func(_ uint64, value any) {
		if entries := value.([]*api.ServiceEntry); len(entries) == 1 {
			seen(entries[0].Service.Port)
		}
	}
	context.AfterFunc(ctx, plan.Stop)
	return plan.Run(addr)
}

// startAgent starts an agent in development mode on free ports and waits until it
// has a leader.
func startAgent(binary string) (addr string, stop func(), err error) {
	ports, err := freePorts(4)
	if err != nil {
		return "", nil, err
	}
	args := []string{"agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=err",
		"-dns-port=-1", "-grpc-port=-1", "-https-port=-1",
		fmt.Sprint("-http-port=", ports[0]), fmt.Sprint("-server-port=", ports[1]),
		fmt.Sprint("-serf-lan-port=", ports[2]), fmt.Sprint("-serf-wan-port=", ports[3])}
	if help, _ := exec.Command(binary, "agent", "-help").Output(); strings.Contains(string(help), "-grpc-tls-port") {
		args = append(args, "-grpc-tls-port=-1") // old agents do not know it
	}
	return launch(exec.Command(binary, args...), fmt.Sprint("127.0.0.1:", ports[0]))
}

// freePorts returns ports that nobody listens on at the moment.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func launch(cmd *exec.Cmd, addr string) (string, func(), error) {
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop := func() {
		if err := cmd.Process.Kill(); err != nil {
			log.Print(err)
		}
		cmd.Wait()
	}
	client, err := consul.NewClient(consul.Config{Address: addr})
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		leader, err := client.Status().Leader(ctx)
		if err == nil && leader != "" {
			return addr, stop, nil
		}
		select {
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("the agent did not start: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
