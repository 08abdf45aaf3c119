package client

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestUnknown asks for what is not there. The conditions are the same on all
// agents, with ACLs and without, although their words are not.
func TestUnknown(t *testing.T) {
	for name, acl := range map[string]bool{"no ACLs": false, "ACLs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := agenttest.Start(t, agenttest.Options{ACL: acl})
			c, ctx := a.Client(), limit(t)
			unknown := func(what string, err, target error, oldSaysNothing bool) {
				t.Helper()
				if oldSaysNothing && a.Old() && !acl {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					return
				}
				if !errors.Is(err, target) || !errors.Is(err, consul.ErrNotFound) {
					t.Errorf("%s: error %v; want %v", what, err, target)
				}
			}
			_, _, err := c.Agent().Service(ctx, "nope", nil)
			unknown("Service", err, consul.ErrUnknownService, false)
			unknown("ServiceDeregister", c.Agent().ServiceDeregister(ctx, "nope"), consul.ErrUnknownService, true)
			unknown("EnableServiceMaintenance", c.Agent().EnableServiceMaintenance(ctx, "nope", ""), consul.ErrUnknownService, false)
			unknown("DisableServiceMaintenance", c.Agent().DisableServiceMaintenance(ctx, "nope"), consul.ErrUnknownService, false)
			unknown("CheckRegister", c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "c", ServiceID: "nope",
				AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute}}), consul.ErrUnknownService, false)
			unknown("CheckDeregister", c.Agent().CheckDeregister(ctx, "nope"), consul.ErrUnknownCheck, true)
			unknown("PassTTL", c.Agent().PassTTL(ctx, "nope", ""), consul.ErrUnknownCheck, false)
			unknown("WarnTTL", c.Agent().WarnTTL(ctx, "nope", ""), consul.ErrUnknownCheck, false)
			unknown("FailTTL", c.Agent().FailTTL(ctx, "nope", ""), consul.ErrUnknownCheck, false)
			unknown("UpdateTTL", c.Agent().UpdateTTL(ctx, "nope", consul.HealthPassing, ""), consul.ErrUnknownCheck, false)

			_, err = c.Raw().Query(ctx, "/v1/kv/nope", nil, nil)
			wantError(t, err, consul.ErrNotFound)
			_, err = c.Raw().Query(ctx, "/v1/nope", nil, nil)
			wantError(t, err, consul.ErrNotFound)
			if errors.Is(err, consul.ErrUnknownCheck) || errors.Is(err, consul.ErrUnknownService) {
				t.Errorf("%v is about a check or a service", err)
			}
		})
	}
}

// TestNoLeader asks a server that waits in vain for others.
func TestNoLeader(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{Role: agenttest.Server, Expect: 3, NoLeader: true,
		Config: []string{`performance { rpc_hold_timeout = "100ms" }`}})
	c, ctx := a.Client(), limit(t)
	leader, err := c.Status().Leader(ctx)
	check(t, err)
	want(t, "leader", leader, "")
	peers, err := c.Status().Peers(ctx)
	check(t, err)
	want(t, "peers", len(peers), 0)

	_, _, err = c.Catalog().Nodes(ctx, nil)
	wantError(t, err, consul.ErrNoLeader, "/v1/catalog/nodes: 500 No cluster leader")
	_, _, err = c.Health().Service(ctx, "web", &consul.QueryOptions{AllowStale: true})
	wantError(t, err, consul.ErrNoLeader)
	err = c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "n", Address: "192.0.2.1"})
	wantError(t, err, consul.ErrNoLeader)
	err = c.Raw().Write(ctx, "/v1/kv/x", []byte("y"), nil, nil)
	wantError(t, err, consul.ErrNoLeader)
}

// TestConnectionLimit opens more connections than the agent allows.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{Config: []string{"limits { http_max_conns_per_client = 3 }"}})
	c, ctx := a.Client(), limit(t)
	var err, healthErr error
	eventually(t, "the agent refuses connections", func() bool {
		// Some of these are refused too, while older ones are being closed.
		conn, dialErr := net.Dial("tcp", a.Addr)
		check(t, dialErr)
		t.Cleanup(func() { conn.Close() })
		c.CloseIdleConnections()
		_, err = c.Agent().Services(ctx, nil)
		_, healthErr = c.Agent().ServiceHealthByID(ctx, "web") // where 429 can also be an answer
		return err != nil && !errors.Is(healthErr, consul.ErrUnknownService)
	})
	if a.Old() { // which closes the connection without a word
		if errors.Is(err, consul.ErrRateLimited) || ctx.Err() != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	wantError(t, err, consul.ErrRateLimited, "429", "too many")
	wantError(t, healthErr, consul.ErrRateLimited, "429", "too many")
}

// TestGone asks an agent that has ended.
func TestGone(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c, ctx := a.Client(), limit(t)
	_, meta, err := c.Catalog().Nodes(ctx, nil)
	check(t, err)
	waiting, sent := onSent(ctx)
	result := make(chan error, 1)
	go func() {
		_, _, err := c.Catalog().Nodes(waiting, &consul.QueryOptions{WaitIndex: meta.LastIndex + 1000, WaitTime: time.Minute})
		result <- err
	}()
	<-sent
	a.Kill()
	// On a connection that has been used before, package net/http sends it once
	// more; so the end of the first or the refusal of the second is reported.
	wantError(t, <-result, nil, "consul: GET http://", "/v1/catalog/nodes: ")
	_, err = c.Agent().Services(ctx, nil)
	wantError(t, err, nil, "consul: GET http://", "/v1/agent/services: ", "connection refused")
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is a timeout", err)
	}
	a.Restart(false)
	_, err = c.Agent().Services(ctx, nil)
	check(t, err)
}

// TestRequestLimit sends more requests than the server allows. A leader says
// something else of writes than of reads.
func TestRequestLimit(t *testing.T) {
	t.Parallel()
	if agenttest.IsOld(agenttest.Version(t)) {
		t.Skip("1.8 has no limit of requests")
	}
	a := agenttest.Start(t, agenttest.Options{Config: []string{`limits { request_limits { mode = "enforcing" read_rate = 1 write_rate = 1 } }`}})
	c, ctx := a.Client(), limit(t)
	var err error
	eventually(t, "a read is refused", func() bool {
		_, _, err = c.Catalog().Nodes(ctx, nil)
		return err != nil
	})
	wantError(t, err, consul.ErrRateLimited, "429")
	eventually(t, "a write is refused", func() bool {
		err = c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "n", Address: "192.0.2.1"})
		return err != nil
	})
	wantError(t, err, consul.ErrRateLimited, "503")
}
