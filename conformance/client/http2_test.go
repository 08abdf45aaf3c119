package client

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/internal/agenttest"
)

// newHTTP2 starts an agent, and returns a client that reaches it over https through
// a relay.
func newHTTP2(t *testing.T) (*agenttest.Agent, *consul.Client, *agenttest.Relay) {
	t.Helper()
	ca := agenttest.NewCA(t, "right")
	a := agenttest.Start(t, agenttest.Options{TLS: &agenttest.TLS{Cert: ca.Issue("agent"), Clients: ca.CertPEM}})
	r := agenttest.NewRelay(t, a.HTTPS)
	c, err := consul.NewClient(consul.Config{Address: "https://" + r.Addr, TLS: consul.TLSConfig{CAPEM: ca.CertPEM}})
	check(t, err)
	t.Cleanup(c.CloseIdleConnections)
	return a, c, r
}

// waitTogether has n queries wait that are not about instances, which are not
// streamed, and returns when they are sent.
func waitTogether(ctx context.Context, c *consul.Client, n int) *sync.WaitGroup {
	var ended, arrived sync.WaitGroup
	for range n {
		ended.Add(1)
		arrived.Add(1)
		waiting, sent := onSent(ctx)
		go func() {
			defer ended.Done()
			c.Catalog().Nodes(waiting, &consul.QueryOptions{WaitIndex: 1 << 40, WaitTime: 20 * time.Second})
		}()
		go func() {
			defer arrived.Done()
			select {
			case <-sent:
			case <-ctx.Done():
			}
		}()
	}
	arrived.Wait()
	return &ended
}

// TestCanceledQueries cancels many queries that wait. New agents hold their places
// until the wait is over, and take no other request over the same connection:
// heartbeats have another one.
func TestCanceledQueries(t *testing.T) {
	t.Parallel()
	_, c, r := newHTTP2(t)
	ctx := limit(t)
	for range 4 {
		canceled, cancel := context.WithCancel(ctx)
		ended := waitTogether(canceled, c, 200)
		cancel()
		ended.Wait()
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		check(t, c.Agent().ServiceRegister(short, &consul.AgentServiceRegistration{Name: "web"}))
		cancel()
	}
	dialed, _, _ := r.Counts()
	t.Logf("%d connections", dialed)
}

// TestBurst sends 1,000 queries at once, to an agent that allows 200 connections.
func TestBurst(t *testing.T) {
	t.Parallel()
	_, c, r := newHTTP2(t)
	ctx, cancel := context.WithCancel(limit(t))
	ended := waitTogether(ctx, c, 1000)
	dialed, open, most := r.Counts()
	t.Logf("%d connections, %d at the same time at most, %d opened", open, most, dialed)
	if most > 50 {
		t.Errorf("%d connections at the same time", most)
	}
	cancel()
	ended.Wait()
}

// TestRestartOverHTTP2 restarts an agent under a watch, which goes on at the lower
// index of the new one.
func TestRestartOverHTTP2(t *testing.T) {
	t.Parallel()
	a, c, _ := newHTTP2(t)
	ctx := limit(t)
	for _, name := range []string{"a", "b", "c"} { // for a higher index
		check(t, c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: name}))
	}
	var failed time.Time
	restarted, registered := time.Time{}, time.Time{}
	for services, err := range discovery.WatchService(ctx, c, "web", nil) {
		switch {
		case err != nil && failed.IsZero():
			failed = time.Now()
		case err == nil && restarted.IsZero():
			restarted = time.Now()
			go func() {
				a.Restart(false)
				registered = time.Now()
				if err := a.Client().Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "web"}); err != nil {
					t.Error(err)
				}
			}()
		case len(services) == 1:
			if took := failed.Sub(restarted); failed.IsZero() || took > 2*time.Second {
				t.Errorf("the end of the agent was noticed after %s", took)
			}
			t.Logf("noticed after %s, the new instance is seen %s after it is registered", failed.Sub(restarted), time.Since(registered))
			return
		}
	}
	t.Error("the watch has ended")
}

// TestFrozenOverHTTP2 stops an agent under a query that would wait for minutes. Pings
// find out.
func TestFrozenOverHTTP2(t *testing.T) {
	t.Parallel()
	a, c, _ := newHTTP2(t)
	ctx := limit(t)
	waiting, sent := onSent(ctx)
	go func() {
		<-sent
		a.Signal(syscall.SIGSTOP)
	}()
	start := time.Now()
	_, _, err := c.Catalog().Nodes(waiting, &consul.QueryOptions{WaitIndex: 1 << 40, WaitTime: 5 * time.Minute})
	wantError(t, err, nil, "consul: GET https://", "/v1/catalog/nodes: http2: client connection lost")
	if took := time.Since(start); took < 25*time.Second || took > 40*time.Second {
		t.Errorf("noticed after %s, want 30 s", took)
	}
	a.Signal(syscall.SIGCONT)
	_, _, err = c.Catalog().Nodes(ctx, nil)
	check(t, err)
}

// TestWithoutHTTP2 switches HTTP/2 off.
func TestWithoutHTTP2(t *testing.T) {
	t.Parallel()
	ca := agenttest.NewCA(t, "right")
	a := agenttest.Start(t, agenttest.Options{TLS: &agenttest.TLS{Cert: ca.Issue("agent"), Clients: ca.CertPEM}})
	for _, want := range []int{1, 2} {
		cfg := consul.Config{Address: "https://" + a.HTTPS, TLS: consul.TLSConfig{CAPEM: ca.CertPEM}}
		if want == 1 {
			cfg.TLS.Base = &tls.Config{NextProtos: []string{"http/1.1"}}
		}
		cfg.WrapTransport = func(base http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(r)
				if err == nil && resp.ProtoMajor != want {
					t.Errorf("%s, want HTTP/%d", resp.Proto, want)
				}
				return resp, err
			})
		}
		check(t, leader(t, cfg))
	}
}
