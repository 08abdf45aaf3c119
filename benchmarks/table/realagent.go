package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/lictor-go/consul"
)

// startRealAgent starts an agent in development mode on free ports and waits until it
// has a leader.
func startRealAgent(binary string) (addr string, stop func(), err error) {
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
