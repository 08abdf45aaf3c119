// Quickstart shows the whole life of a service: three instances of web are
// registered, beat, are watched and picked; one fails and is seen leaving; then
// all are deregistered.
//
//	go run ./examples/quickstart
//
// It talks to the agent at CONSUL_HTTP_ADDR, and understands the other variables
// of Consul's own tools. Without CONSUL_HTTP_ADDR that is http://127.0.0.1:8500.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul"
)

const (
	service = "web"
	ttl     = 1500 * time.Millisecond
)

var ids = []string{"web-1", "web-2", "web-3"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	cfg, err := consul.ConfigFromEnv()
	if err != nil {
		return err
	}
	client, err := consul.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	log := newTimeline(out)

	self, err := client.Agent().Self(ctx)
	if err != nil {
		return err
	}
	log.printf("agent", "%s, Consul %s, at %v", self.Config.NodeName, self.Config.Version, cfg.Address)

	// The watch runs beside everything else until it is told to stop.
	watchCtx, stopWatch := context.WithCancel(ctx)
	views := make(chan []string)
	var watching sync.WaitGroup
	watching.Add(1)
	go func() {
		defer watching.Done()
		watch(watchCtx, client, log, views)
	}()
	defer watching.Wait()
	defer stopWatch()

	// What is registered is deregistered, whatever happens in between.
	instances := map[string]*instance{}
	defer func() {
		for _, i := range instances {
			i.close()
		}
	}()
	for n, id := range ids {
		i, err := register(ctx, client, log, id, 8081+n)
		if err != nil {
			return err
		}
		instances[id] = i
	}
	if err := await(ctx, views, "web-1 web-2 web-3"); err != nil {
		return err
	}
	if err := pick(ctx, client, log); err != nil {
		return err
	}

	if err := instances["web-2"].fail(ctx); err != nil {
		return err
	}
	if err := await(ctx, views, "web-1 web-3"); err != nil {
		return err
	}
	if err := pick(ctx, client, log); err != nil {
		return err
	}

	for _, id := range ids {
		instances[id].close()
		delete(instances, id)
	}
	return await(ctx, views, "")
}

// instance is a registered instance and its heartbeat.
type instance struct {
	id      string
	client  *consul.Client
	log     *timeline
	beats   chan struct{} // one value for each beat
	stop    context.CancelFunc
	stopped chan struct{}
}

func register(ctx context.Context, client *consul.Client, log *timeline, id string, port int) (*instance, error) {
	err := client.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		ID:      id,
		Name:    service,
		Address: "127.0.0.1",
		Port:    port,
		Tags:    []string{"quickstart"},
		Check: &consul.AgentServiceCheck{
			TTL:                            ttl,
			Status:                         consul.HealthPassing,
			DeregisterCriticalServiceAfter: time.Minute, // should this program be killed
		},
		ReplaceExistingChecks: true,
	})
	if err != nil {
		return nil, err
	}
	log.printf("register", "%s, to be heard of every %s", id, ttl)
	i := &instance{id: id, client: client, log: log, beats: make(chan struct{}), stopped: make(chan struct{})}
	ctx, i.stop = context.WithCancel(ctx)
	go i.beat(ctx)
	return i, nil
}

// beat says three times in the TTL that the instance is well.
func (i *instance) beat(ctx context.Context) {
	defer close(i.stopped)
	ticker := time.NewTicker(ttl / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := i.client.Agent().PassTTL(ctx, "service:"+i.id, "serving"); err != nil && ctx.Err() == nil {
			i.log.printf("beat", "%s: %v", i.id, err)
			continue
		}
		select {
		case i.beats <- struct{}{}:
		default:
		}
	}
}

// fail lets the instance beat twice and then fall silent, as if it had crashed.
func (i *instance) fail(ctx context.Context) error {
	for n := 1; n <= 2; n++ {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a heartbeat of %s: %w", i.id, ctx.Err())
		case <-i.beats:
			i.log.printf("beat", "%s is well", i.id)
		}
	}
	i.stop()
	<-i.stopped
	i.log.printf("fail", "%s beats no more", i.id)
	return nil
}

// close ends the heartbeat and deregisters the instance. It has a context of its
// own, because it also cleans up after an interrupt.
func (i *instance) close() {
	i.stop()
	<-i.stopped
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := i.client.Agent().ServiceDeregister(ctx, i.id); err != nil && !errors.Is(err, consul.ErrUnknownService) {
		i.log.printf("deregister", "%s: %v", i.id, err)
		return
	}
	i.log.printf("deregister", "%s", i.id)
}

// watch sends the IDs of the healthy instances whenever they change.
func watch(ctx context.Context, client *consul.Client, log *timeline, views chan<- []string) {
	q := &consul.QueryOptions{PassingOnly: true, Tags: []string{"quickstart"}, WaitTime: 30 * time.Second}
	last := "none yet"
	for ctx.Err() == nil {
		entries, meta, err := client.Health().Service(ctx, service, q)
		if err != nil {
			if ctx.Err() == nil {
				log.printf("watch", "%v", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			q.WaitIndex = 0
			continue
		}
		if meta.LastIndex < q.WaitIndex {
			meta.LastIndex = 0 // the index went back: start anew
		}
		q.WaitIndex = meta.LastIndex

		seen := []string{}
		for _, e := range entries {
			seen = append(seen, e.Service.ID)
		}
		now := strings.Join(seen, " ")
		if now == last {
			continue // something else changed
		}
		last = now
		log.printf("watch", "%d healthy %s", len(seen), now)
		select {
		case <-ctx.Done():
		case views <- seen:
		}
	}
}

// await returns when the watch has seen exactly the IDs.
func await(ctx context.Context, views <-chan []string, want string) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the instances %q: %w", want, ctx.Err())
		case seen := <-views:
			if strings.Join(seen, " ") == want {
				return nil
			}
		}
	}
}

// pick asks for the healthy instances and chooses one.
func pick(ctx context.Context, client *consul.Client, log *timeline) error {
	entries, _, err := client.Health().Service(ctx, service, &consul.QueryOptions{PassingOnly: true, Tags: []string{"quickstart"}})
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errors.New("no healthy instance to pick")
	}
	s := entries[rand.IntN(len(entries))].Service
	log.printf("pick", "%s at %s", s.ID, net.JoinHostPort(s.Address, strconv.Itoa(s.Port)))
	return nil
}

// timeline prints lines with the time since it began.
type timeline struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func newTimeline(out io.Writer) *timeline { return &timeline{out: out, start: time.Now()} }

func (l *timeline) printf(what, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%6.3fs  %-10s  %s\n", time.Since(l.start).Seconds(), what, fmt.Sprintf(format, args...))
}
