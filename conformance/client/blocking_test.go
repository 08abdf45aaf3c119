package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// reads are all reads that can be waited on, about the service web and node1.
func reads(c *consul.Client) map[string]func(context.Context, *consul.QueryOptions) (*consul.QueryMeta, error) {
	return map[string]func(context.Context, *consul.QueryOptions) (*consul.QueryMeta, error){
		"Health.Service": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Health().Service(ctx, "web", q)
			return meta, err
		},
		"Health.Connect": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Health().Connect(ctx, "web", q)
			return meta, err
		},
		"Health.Checks": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Health().Checks(ctx, "web", q)
			return meta, err
		},
		"Health.Node": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Health().Node(ctx, "node1", q)
			return meta, err
		},
		"Health.State": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Health().State(ctx, consul.HealthAny, q)
			return meta, err
		},
		"Catalog.Services": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Catalog().Services(ctx, q)
			return meta, err
		},
		"Catalog.Service": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Catalog().Service(ctx, "web", q)
			return meta, err
		},
		"Catalog.Connect": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Catalog().Connect(ctx, "web", q)
			return meta, err
		},
		"Catalog.Node": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Catalog().Node(ctx, "node1", q)
			return meta, err
		},
		"Catalog.NodeServices": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			_, meta, err := c.Catalog().NodeServices(ctx, "node1", q)
			return meta, err
		},
		"Raw.Query": func(ctx context.Context, q *consul.QueryOptions) (*consul.QueryMeta, error) {
			return c.Raw().Query(ctx, "/v1/health/service/web?passing", nil, q)
		},
	}
}

func TestBlockingWakes(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
	for name, read := range reads(c) {
		t.Run(name, func(t *testing.T) {
			ctx := limit(t)
			web := &consul.AgentServiceRegistration{Name: "web", Port: 80, Connect: &consul.AgentServiceConnect{Native: true},
				Check: &consul.AgentServiceCheck{CheckID: "ttl", TTL: time.Hour}}
			register(t, c, web)
			before, err := read(ctx, nil)
			check(t, err)
			waiting, sent := onSent(ctx)
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				<-sent
				// Whatever is waited on depends on one of these.
				web.Tags = []string{"changed"}
				if err := errors.Join(c.Agent().ServiceRegister(ctx, web), c.Agent().PassTTL(ctx, "ttl", "")); err != nil {
					t.Error(err)
				}
			}()
			meta, err := read(waiting, &consul.QueryOptions{WaitIndex: before.LastIndex, WaitTime: 30 * time.Second})
			<-changed
			check(t, err)
			if meta.LastIndex <= before.LastIndex || meta.RequestTime >= 30*time.Second {
				t.Errorf("woken with index %d after %s; waited on %d", meta.LastIndex, meta.RequestTime, before.LastIndex)
			}
		})
	}
}

func TestBlockingTimesOut(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c := a.Client()
	cfg := a.Config()
	cfg.WaitTime = 150 * time.Millisecond
	patient, err := consul.NewClient(cfg)
	check(t, err)
	t.Cleanup(patient.CloseIdleConnections)
	check(t, c.Agent().ServiceRegister(limit(t), &consul.AgentServiceRegistration{Name: "web", Port: 80, Connect: &consul.AgentServiceConnect{Native: true}}))
	for _, client := range []struct {
		c    *consul.Client
		wait time.Duration // of the query
	}{{c, 150 * time.Millisecond}, {patient, 0}} {
		for name, read := range reads(client.c) {
			t.Run(fmt.Sprintf("%s of %s", name, client.wait), func(t *testing.T) {
				ctx := limit(t)
				before, err := read(ctx, nil)
				check(t, err)
				// Ahead of the present, so that no stray change ends the wait.
				meta, err := read(ctx, &consul.QueryOptions{WaitIndex: before.LastIndex + 1000, WaitTime: client.wait})
				check(t, err)
				if meta.RequestTime < 150*time.Millisecond || meta.RequestTime > 5*time.Second || meta.LastIndex > before.LastIndex {
					t.Errorf("index %d after %s; had %d, and waited for 150 ms", meta.LastIndex, meta.RequestTime, before.LastIndex)
				}
			})
		}
	}
}

func TestWaitHash(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
	ctx := limit(t)
	web := &consul.AgentServiceRegistration{Name: "web", Port: 1}
	register(t, c, web)
	s, meta, err := c.Agent().Service(ctx, "web", nil)
	check(t, err)

	same, sameMeta, err := c.Agent().Service(ctx, "web", &consul.QueryOptions{WaitHash: s.ContentHash, WaitTime: 100 * time.Millisecond})
	check(t, err)
	want(t, "hash", same.ContentHash, meta.LastContentHash)
	if sameMeta.RequestTime < 100*time.Millisecond {
		t.Errorf("waited for %s only", sameMeta.RequestTime)
	}
	waiting, sent := onSent(ctx)
	go func() {
		<-sent
		web.Port = 2
		if err := c.Agent().ServiceRegister(ctx, web); err != nil {
			t.Error(err)
		}
	}()
	changed, changedMeta, err := c.Agent().Service(waiting, "web", &consul.QueryOptions{WaitHash: s.ContentHash, WaitTime: 30 * time.Second})
	check(t, err)
	want(t, "port", changed.Port, 2)
	if changedMeta.RequestTime >= 30*time.Second || changedMeta.LastContentHash == s.ContentHash {
		t.Errorf("hash %s after %s", changedMeta.LastContentHash, changedMeta.RequestTime)
	}
	waiting, sent = onSent(ctx)
	go func() {
		<-sent
		if err := c.Agent().ServiceDeregister(ctx, "web"); err != nil {
			t.Error(err)
		}
	}()
	_, _, err = c.Agent().Service(waiting, "web", &consul.QueryOptions{WaitHash: changed.ContentHash, WaitTime: 30 * time.Second})
	wantError(t, err, consul.ErrUnknownService)
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
	ctx := limit(t)
	_, meta, err := c.Catalog().Nodes(ctx, nil)
	check(t, err)
	canceled, cancel := context.WithCancel(ctx)
	waiting, sent := onSent(canceled)
	go func() {
		<-sent
		cancel()
	}()
	start := time.Now()
	_, _, err = c.Catalog().Nodes(waiting, &consul.QueryOptions{WaitIndex: meta.LastIndex + 1000, WaitTime: time.Minute})
	wantError(t, err, context.Canceled, "consul: GET http://", "/v1/catalog/nodes: ")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ended after %s", took)
	}
	short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancelShort()
	_, _, err = c.Catalog().Nodes(short, &consul.QueryOptions{WaitIndex: meta.LastIndex + 1000, WaitTime: time.Minute})
	wantError(t, err, context.DeadlineExceeded)
	_, err = c.Agent().Services(canceled, nil)
	wantError(t, err, context.Canceled)
}

// TestFrozen stops an agent in the middle of a blocking query. Its connections
// stay open, and nothing ever comes.
func TestFrozen(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), limit(t)
	_, meta, err := c.Catalog().Nodes(ctx, nil)
	check(t, err)
	waiting, sent := onSent(ctx)
	var frozen atomic.Bool
	go func() {
		<-sent
		a.Signal(syscall.SIGSTOP)
		frozen.Store(true)
	}()
	const wait = 2 * time.Second
	const bound = wait + wait/16 + 20*time.Second
	start := time.Now()
	_, _, err = c.Catalog().Nodes(waiting, &consul.QueryOptions{WaitIndex: meta.LastIndex + 1000, WaitTime: wait})
	took := time.Since(start)
	if !frozen.Load() || took < bound || took > bound+5*time.Second {
		t.Errorf("ended after %s; want %s", took, bound)
	}
	wantError(t, err, context.DeadlineExceeded, "no response within "+bound.String())

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = c.Agent().Services(short, nil)
	wantError(t, err, context.DeadlineExceeded, "consul: GET http://", "/v1/agent/services: ")
	a.Signal(syscall.SIGCONT)
	_, err = c.Agent().Services(ctx, nil)
	check(t, err)
}
