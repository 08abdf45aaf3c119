package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul"
)

// subscribers is what a process of subscribers is told.
type subscribers struct {
	Way            string // its name
	Address        string // of the agent
	Services, Each int    // services, and subscribers of each
}

// subscribersQuestion is what it is asked. It answers when all subscribers have got
// instances with a port, or are out of patience.
type subscribersQuestion struct {
	Port       int
	Patience   time.Duration
	Heartbeats int // to send before answering
}

// subscribersReport is what it answers.
type subscribersReport struct {
	Reached    int   // subscribers that have got the port
	Heartbeats int   // that have arrived
	Goroutines int   // more than there were before the subscribers
	Memory     int64 // bytes of heap and stacks, likewise
}

// beSubscribers follows services until nobody has questions any more.
func beSubscribers(in *json.Decoder, out *json.Encoder) error {
	var details subscribers
	if err := in.Decode(&details); err != nil {
		return err
	}
	log.SetOutput(io.Discard) // net/http would say that connections are refused
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	goroutines, memory := runtime.NumGoroutine(), inUse()
	ports, err := subscribe(ctx, details)
	if err != nil {
		return err
	}
	return serve(in, out, func(q subscribersQuestion) subscribersReport {
		end := time.Now().Add(q.Patience)
		for reached(ports, q.Port) < len(ports) && time.Now().Before(end) {
			time.Sleep(10 * time.Millisecond)
		}
		report := subscribersReport{Reached: reached(ports, q.Port)}
		report.Heartbeats = heartbeats(details.Address, q.Heartbeats)
		report.Goroutines, report.Memory = runtime.NumGoroutine()-goroutines, inUse()-memory
		return report
	})
}

// subscribe starts the subscribers, and returns the ports that they see.
func subscribe(ctx context.Context, details subscribers) ([]atomic.Int64, error) {
	var follow follow
	for _, w := range append(ways, connectionWays...) {
		if w.name == details.Way {
			var err error
			if follow, err = w.open(ctx, details.Address); err != nil {
				return nil, err
			}
		}
	}
	ports := make([]atomic.Int64, details.Services*details.Each)
	for i := range ports {
		go func() {
			var instances any // a subscriber keeps what it got
			for {
				follow(ctx, serviceName(i%details.Services), func(got any, port int) {
					instances = got
					ports[i].Store(int64(port))
				})
				time.Sleep(time.Second) // and tries again what failed
				runtime.KeepAlive(instances)
			}
		}()
	}
	return ports, nil
}

// reached returns how many ports are the one.
func reached(ports []atomic.Int64, port int) int {
	n := 0
	for i := range ports {
		if ports[i].Load() == int64(port) {
			n++
		}
	}
	return n
}

// heartbeats sends heartbeats, each over a connection of its own, and returns how
// many of them arrive.
func heartbeats(addr string, n int) (arrived int) {
	for range n {
		client, err := consul.NewClient(consul.Config{Address: addr})
		if err != nil {
			return arrived
		}
		if client.Agent().PassTTL(context.Background(), "service:web", "") == nil {
			arrived++
		}
		client.CloseIdleConnections()
	}
	return arrived
}
