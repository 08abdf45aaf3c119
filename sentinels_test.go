package consul_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// TestConditions meets each condition in the way in which programs do.
func TestConditions(t *testing.T) {
	all := []error{
		consul.ErrNotFound, consul.ErrPermissionDenied, consul.ErrNoLeader, consul.ErrRateLimited, consul.ErrUnknownCheck,
		consul.ErrUnknownService, consul.ErrResponseTooLarge,
	}
	onEveryVersion(t, func(t *testing.T, agent *consulmock.Server, isOld bool) {
		agent.AddService(web("web-1"))
		client := agent.Client()
		small, err := consul.NewClient(consul.Config{Transport: agent.Transport(), MaxResponseBytes: 10})
		succeed(t, err)
		denying := consulmock.New(t, consulmock.WithACLDefaultDeny())
		for name, tt := range map[string]struct {
			fault consulmock.Fault
			call  func() error
			means []error
		}{
			"unknown check": {call: func() error { return client.Agent().PassTTL(ctx, "none", "") },
				means: []error{consul.ErrUnknownCheck, consul.ErrNotFound}},
			"unknown service": {call: func() error { return client.Agent().EnableServiceMaintenance(ctx, "none", "") },
				means: []error{consul.ErrUnknownService, consul.ErrNotFound}},
			"unknown endpoint": {call: func() error { _, err := client.Raw().Query(ctx, "/v1/none", nil, nil); return err },
				means: []error{consul.ErrNotFound}},
			"no token": {call: func() error { return denying.Client().Agent().ServiceRegister(ctx, web("web-1")) },
				means: []error{consul.ErrPermissionDenied}},
			"unknown token": {call: func() error { return denying.Client().WithToken("x").Agent().ServiceRegister(ctx, web("web-1")) },
				means: []error{consul.ErrPermissionDenied}},
			"no leader": {fault: consulmock.Fault{NoLeader: true}, call: func() error { _, _, err := client.Catalog().Nodes(ctx, nil); return err },
				means: []error{consul.ErrNoLeader}},
			"rate limit": {fault: consulmock.Fault{RateLimit: -1}, call: func() error { _, _, err := client.Catalog().Nodes(ctx, nil); return err },
				means: []error{consul.ErrRateLimited}},
			"too large": {call: func() error { _, _, err := small.Catalog().Nodes(ctx, nil); return err },
				means: []error{consul.ErrResponseTooLarge}},
			"another failure": {fault: consulmock.Fault{Status: 500, Body: "disk full"}, call: func() error { return client.Agent().Reload(ctx) }},
		} {
			if tt.fault.Status != 0 || tt.fault.NoLeader || tt.fault.RateLimit != 0 {
				agent.Inject(tt.fault)
			}
			err := tt.call()
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			for _, condition := range all {
				meant := false
				for _, m := range tt.means {
					meant = meant || m == condition
				}
				if errors.Is(err, condition) != meant {
					t.Errorf("%s: %v is %q: %t, want %t", name, err, condition, !meant, meant)
				}
			}
		}
	})
}

// An agent refuses connections that are too many. Old ones just close them.
func TestTooManyConnections(t *testing.T) {
	for version, isOld := range map[string]bool{"1.21.4": false, "1.8.7": true} {
		agent := consulmock.New(t, consulmock.WithVersion(version), consulmock.WithMaxConnsPerClient(1))
		waits := &consulmock.Observer{}
		agent.Inject(consulmock.Fault{Observe: waits})
		client := agent.Client()
		_, meta, err := agent.Client().Catalog().Nodes(ctx, nil)
		succeed(t, err)
		client.CloseIdleConnections()
		_ = meta
		waits.Wait(1, nil)
		_, err = client.Status().Leader(ctx)
		if isOld {
			if err == nil || errors.As(err, new(*consul.StatusError)) {
				t.Errorf("got %v", err)
			}
			continue
		}
		wantError(t, err, consul.ErrRateLimited, "429 Your IP is issuing too many concurrent connections")
	}
}

// The body that an error keeps, and the pause that an agent asks for.
func TestStatusErrorFields(t *testing.T) {
	agent := consulmock.New(t)
	agent.Inject(consulmock.Fault{Status: 500, Body: strings.Repeat("x", 10_000)})
	var status *consul.StatusError
	wantStatus(t, agent.Client().Agent().Reload(ctx), &status, 500, "")
	want(t, "method, address and path", status.Method+" "+status.Address+status.Path, "PUT http://127.0.0.1:8500/v1/agent/reload")
	if n := len(strings.TrimRight(status.Body, "…")); n != 4096 {
		t.Errorf("the error keeps %d bytes of the body", n)
	}
	want(t, "no pause", status.RetryAfter, 0)
	agent.Inject(consulmock.Fault{RateLimit: 3 * time.Second})
	wantStatus(t, agent.Client().Agent().Reload(ctx), &status, 429, "")
	want(t, "pause", status.RetryAfter, 3*time.Second)
}
