// Elected-worker is a worker of which any number may run, on any number of machines, and
// of which one works at a time. It prints when it leads and what it does. Run it three
// times, and end, kill or stop the one that leads:
//
//	go run ./cmd/consulmock &
//	go run ./examples/elected-worker -name a
//	go run ./examples/elected-worker -name b
//	go run ./examples/elected-worker -name c
//
// Each prints its process ID, which is another one than that of "go run". Interrupted, a
// leader steps down, and another one leads at once. Killed (kill -9), it is
// replaced when its session has expired, after twice the TTL, and the lock-delay of 15 s is
// over: after 35 s. Stopped (kill -STOP) as long as that, it finds that it has lost the lead
// when it goes on (kill -CONT), and what it was about to write is refused.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
)

func main() {
	hostname, _ := os.Hostname()
	w := &worker{out: os.Stdout}
	flag.StringVar(&w.name, "name", fmt.Sprintf("%s-%d", hostname, os.Getpid()), "what others see of this worker when it leads")
	flag.StringVar(&w.key, "key", "elected-worker", "key of the election; the work is counted below it")
	flag.DurationVar(&w.ttl, "ttl", 10*time.Second, "TTL of the session; agents accept 10s or more")
	flag.DurationVar(&w.every, "every", time.Second, "time between two pieces of work")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := consul.ConfigFromEnv()
	if err == nil {
		err = w.run(ctx, cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type worker struct {
	name, key  string
	ttl, every time.Duration
	client     *consul.Client

	mu  sync.Mutex
	out io.Writer
}

// say prints a line of the timeline.
func (w *worker) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.out, "%s  %s  %s\n", time.Now().Format("15:04:05.000"), w.name, fmt.Sprintf(format, args...))
}

// run is a candidate, and works when it leads, until ctx ends.
func (w *worker) run(ctx context.Context, cfg consul.Config) (err error) {
	if w.client, err = consul.NewClient(cfg); err != nil {
		return err
	}
	election := coordination.NewElection(w.client, w.key, &coordination.ElectionOptions{
		Value:          []byte(w.name),
		SessionOptions: &coordination.SessionOptions{Name: w.name, TTL: w.ttl},
	})
	ctx, cancel := context.WithCancel(ctx)
	var observing sync.WaitGroup
	observing.Add(1)
	go func() {
		defer observing.Done()
		w.observe(ctx, election)
	}()
	w.say("is a candidate, process %d", os.Getpid())
	err = election.Run(ctx, w.lead)
	cancel()
	observing.Wait()
	w.say("has ended")
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// observe prints who leads, if it is somebody else.
func (w *worker) observe(ctx context.Context, election *coordination.Election) {
	for leader, err := range election.Observe(ctx) {
		switch {
		case err != nil:
			w.say("cannot see who leads: %v", err)
		case leader.Session == "":
			w.say("sees no leader")
		case string(leader.Value) != w.name:
			w.say("sees that %s leads", leader.Value)
		}
	}
}

// lead works as long as the lease lasts.
func (w *worker) lead(ctx context.Context, lease *coordination.Lease) error {
	w.say("leads, token %d", lease.Token())
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		n, err := w.count(ctx, lease)
		switch {
		case err == nil:
			w.say("has done %d", n)
		case ctx.Err() == nil:
			w.say("could not work: %v", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.say("leads no more: %v", context.Cause(ctx))
			return nil
		}
	}
}

// count is the work: it counts in a key. The guard makes sure that nobody counts who does
// not lead any more, not even a process that was stopped between reading and writing.
func (w *worker) count(ctx context.Context, lease *coordination.Lease) (n int, err error) {
	key := w.key + "/done"
	pair, _, err := w.client.KV().Get(ctx, key, &consul.QueryOptions{RequireConsistent: true})
	if err != nil {
		return 0, err
	}
	if pair != nil {
		if n, err = strconv.Atoi(string(pair.Value)); err != nil {
			return 0, err
		}
	}
	n++
	write := consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: key, Value: []byte(strconv.Itoa(n))}}
	_, err = w.client.Txn().Apply(ctx, append(lease.Guard(), write), nil)
	return n, err
}
