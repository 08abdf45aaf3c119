package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// A heartbeat is refused once, because the servers have no leader.
func ExampleServer_Inject() {
	ctx := context.Background()
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()
	client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web", Check: &consul.AgentServiceCheck{TTL: 15e9}})

	agent.Inject(consulmock.Fault{Method: "PUT", Path: "/v1/agent/check/pass/*", NoLeader: true})
	for range 2 {
		err := client.Agent().PassTTL(ctx, "service:web", "")
		fmt.Println(errors.Is(err, consul.ErrNoLeader), err)
	}
	// Output:
	// true consul: PUT http://127.0.0.1:8500/v1/agent/check/pass/service:web: 500 No cluster leader
	// false <nil>
}

// A test waits until a query waits, instead of sleeping.
func ExampleObserver() {
	ctx := context.Background()
	agent := consulmock.NewServer()
	defer agent.Close()
	client := agent.Client()
	_, meta, _ := client.Health().Service(ctx, "web", nil)

	waits := &consulmock.Observer{}
	agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Observe: waits})
	found := make(chan int)
	go func() {
		entries, _, _ := client.Health().Service(ctx, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex})
		found <- len(entries)
	}()
	waits.Wait(1, ctx.Done())
	client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"})
	fmt.Println(<-found, waits.Count())
	// Output: 1 1
}

// What an agent answers is recorded, and replayed without the agent.
func ExampleRecord() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "leader.har")

	agent := consulmock.NewServer() // in earnest, a real one
	recorder, err := consulmock.Record(agent.URL(), file)
	if err != nil {
		fmt.Println(err)
		return
	}
	leader(recorder.URL())
	recorder.Close()
	agent.Close()

	replay, err := consulmock.NewReplayServer(file, func(problem string) { fmt.Println(problem) })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer replay.Close()
	leader(replay.URL())
	fmt.Println(len(replay.Leftovers()))
	// Output:
	// 127.0.0.1:8300
	// 127.0.0.1:8300
	// 0
}

func leader(address string) {
	client, err := consul.NewClient(consul.Config{Address: address})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	leader, err := client.Status().Leader(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(leader)
}
