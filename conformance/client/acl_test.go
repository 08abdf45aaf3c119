package client

import (
	"errors"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// newToken makes a token with a policy of the rules.
func newToken(t *testing.T, c *consul.Client, name, rules string) string {
	t.Helper()
	ctx := limit(t)
	check(t, c.Raw().Write(ctx, "/v1/acl/policy", map[string]string{"Name": name, "Rules": rules}, nil, nil))
	var token struct{ SecretID string }
	check(t, c.Raw().Write(ctx, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": name}}}, &token, nil))
	return token.SecretID
}

func TestACL(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{ACL: true})
	c, ctx := a.Client(), limit(t)
	anonymous := c.WithToken("")
	writer := c.WithToken(newToken(t, c, "web-writer", `service "web" { policy = "write" } node_prefix "" { policy = "read" }`))
	web := &consul.AgentServiceRegistration{Name: "web", Port: 80, Check: &consul.AgentServiceCheck{TTL: time.Hour}}

	t.Run("denied", func(t *testing.T) {
		bogus := c.WithToken("99999999-9999-9999-9999-999999999999")
		for who, c := range map[string]*consul.Client{"anonymous": anonymous, "bogus": bogus} {
			errs := []error{
				c.Agent().ServiceRegister(ctx, web),
				c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "c", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Hour}}),
				c.Agent().EnableNodeMaintenance(ctx, ""),
				c.Agent().Leave(ctx),
				c.Agent().Reload(ctx),
				c.Agent().ForceLeave(ctx, "node1", consul.ForceLeaveOptions{}),
				c.Agent().Join(ctx, "127.0.0.1:1", consul.JoinOptions{}),
				c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "n", Address: "192.0.2.1"}),
				c.Raw().Write(ctx, "/v1/kv/x", []byte("y"), nil, nil),
			}
			_, err := c.Agent().Self(ctx)
			errs = append(errs, err)
			for line, err := range c.Agent().Monitor(ctx, "") {
				if line == "" {
					errs = append(errs, err)
				}
			}
			for i, err := range errs {
				if !errors.Is(err, consul.ErrPermissionDenied) {
					t.Errorf("%s, call %d: error %v; want ErrPermissionDenied", who, i, err)
				}
			}
		}
	})

	t.Run("allowed", func(t *testing.T) {
		check(t, writer.Agent().ServiceRegister(ctx, web))
		check(t, writer.Agent().PassTTL(ctx, "service:web", ""))
		err := writer.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: "db"})
		wantError(t, err, consul.ErrPermissionDenied)
		eventually(t, "the catalog has the service", func() bool {
			entries, _, err := writer.Health().Service(ctx, "web", &consul.QueryOptions{PassingOnly: true})
			check(t, err)
			return len(entries) == 1
		})
	})

	t.Run("filtered", func(t *testing.T) {
		reader := c.WithToken(newToken(t, c, "db-reader", `service "db" { policy = "read" }`))
		for who, c := range map[string]*consul.Client{"anonymous": anonymous, "reader": reader} {
			entries, meta, err := c.Health().Service(ctx, "web", nil)
			check(t, err)
			want(t, who+" sees instances", len(entries), 0)
			// Old agents do not say so; new ones not to the anonymous.
			want(t, who+" is told", meta.ResultsFilteredByACLs, who == "reader" && !a.Old())
			if !a.Old() {
				want(t, "policy", meta.DefaultACLPolicy, "deny")
			}
			services, err := c.Agent().Services(ctx, nil)
			check(t, err)
			want(t, who+" sees services", len(services), 0)
		}
		_, meta, err := c.Health().Service(ctx, "web", nil)
		check(t, err)
		want(t, "filtered", meta.ResultsFilteredByACLs, false)
	})

	t.Run("token of a request", func(t *testing.T) {
		entries, _, err := anonymous.Health().Service(ctx, "web", &consul.QueryOptions{Token: agenttest.ManagementToken})
		check(t, err)
		want(t, "instances", len(entries), 1)
		check(t, anonymous.Raw().Write(ctx, "/v1/kv/x", []byte("y"), nil, &consul.WriteOptions{Token: agenttest.ManagementToken}))
		cfg := a.Config()
		cfg.Token = ""
		cfg.Header = map[string][]string{"X-Consul-Token": {agenttest.ManagementToken}}
		other, err := consul.NewClient(cfg)
		check(t, err)
		_, err = other.Agent().Self(ctx)
		check(t, err)
		fromFile, err := consul.NewClient(consul.Config{Address: a.Addr, Token: "wrong",
			TokenFile: write(t, t.TempDir(), "token", []byte(agenttest.ManagementToken+"\n"))})
		check(t, err)
		_, err = fromFile.Agent().Self(ctx)
		check(t, err)
	})

	t.Run("revoked while waiting", func(t *testing.T) {
		var token struct{ AccessorID, SecretID string }
		check(t, c.Raw().Write(ctx, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": "web-writer"}}}, &token, nil))
		revoked := c.WithToken(token.SecretID)
		_, meta, err := revoked.Health().Service(ctx, "web", nil)
		check(t, err)
		waiting, sent := onSent(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-sent
			err := errors.Join(c.Raw().Delete(ctx, "/v1/acl/token/"+token.AccessorID, nil, nil), writer.Agent().FailTTL(ctx, "service:web", ""))
			if err != nil {
				t.Error(err)
			}
		}()
		_, _, err = revoked.Health().Service(waiting, "web", &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second})
		<-done
		wantError(t, err, consul.ErrPermissionDenied)
	})
}
