//go:build go1.25

package consulmock_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// Without a leader, what needs it is refused, waits that need it end, and the rest goes
// on. The new leader gives each session its whole time.
func TestElectLeader(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			ctx := context.Background()
			id := newSession(t, c, consul.SessionEntry{TTL: 10 * time.Second})
			must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Hour)))
			_, meta, err := c.Catalog().Nodes(ctx, nil)
			must(t, err)
			type ended struct {
				err   error
				after time.Duration
			}
			start := time.Now()
			wait := func(q consul.QueryOptions, service bool) <-chan ended {
				done := make(chan ended, 1)
				q.WaitIndex, q.WaitTime = meta.LastIndex+100, time.Minute
				go func() {
					var err error
					if service {
						_, _, err = c.Health().Service(ctx, "web", &q)
					} else {
						_, _, err = c.Catalog().Nodes(ctx, &q)
					}
					done <- ended{err, time.Since(start)}
				}()
				return done
			}
			cut, stale, streaming := wait(consul.QueryOptions{}, false), wait(consul.QueryOptions{AllowStale: true}, false), wait(consul.QueryOptions{}, true)
			time.Sleep(18 * time.Second)
			s.ElectLeader()
			synctest.Wait()
			if got := <-cut; !errors.Is(got.err, consul.ErrNoLeader) || got.after != 18*time.Second {
				t.Errorf("a wait ended after %s with %v", got.after, got.err)
			}

			for what, do := range map[string]func() error{
				"renew":    func() error { _, err := c.Session().Renew(ctx, id, nil); return err },
				"create":   func() error { _, err := c.Session().Create(ctx, nil, nil); return err },
				"destroy":  func() error { return c.Session().Destroy(ctx, id, nil) },
				"put":      func() error { return c.KV().Put(ctx, &consul.KVPair{Key: "k"}, nil) },
				"get":      func() error { _, _, err := c.KV().Get(ctx, "k", nil); return err },
				"register": func() error { return c.Catalog().Register(ctx, &consul.CatalogRegistration{Node: "n", Address: "::1"}) },
				"read":     func() error { _, _, err := c.Health().Service(ctx, "web", nil); return err },
			} {
				if err := do(); !errors.Is(err, consul.ErrNoLeader) {
					t.Errorf("%s without a leader: %v", what, err)
				}
			}
			_, _, err = c.Health().Service(ctx, "web", &consul.QueryOptions{AllowStale: true})
			must(t, err)
			must(t, c.Agent().FailTTL(ctx, "service:web", "ill"))
			fire(t, c, consul.UserEvent{Name: "e"})
			if leader, err := c.Status().Leader(ctx); err != nil || leader != "" {
				t.Errorf("the leader is %q, %v", leader, err)
			}

			time.Sleep(3*time.Second + 20*time.Second - 1)
			wantSession(t, c, id, true)
			entries, _, err := c.Health().Service(ctx, "web", nil)
			must(t, err)
			if got := entries[0].Checks.AggregatedStatus(); got != consul.HealthCritical {
				t.Errorf("the check is %s in the catalog", got)
			}
			time.Sleep(time.Nanosecond)
			wantSession(t, c, id, false)
			if got := <-stale; got.err != nil || got.after < time.Minute {
				t.Errorf("a stale wait ended after %s with %v", got.after, got.err)
			}
			if got := <-streaming; version == "1.21.4" && got.err != nil || version == "1.8.7" && !errors.Is(got.err, consul.ErrNoLeader) {
				t.Errorf("%s: a wait that may be served by the streaming backend ended after %s with %v", version, got.after, got.err)
			}
		}, consulmock.WithVersion(version))
	}
}

// An election that is begun during another one takes its place, and a stopped server has
// none.
func TestElectLeaderAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		leader := func(want bool) {
			t.Helper()
			if got, err := c.Status().Leader(context.Background()); err != nil || (got != "") != want {
				t.Errorf("the leader is %q, %v; want one: %t", got, err, want)
			}
		}
		s.ElectLeader()
		time.Sleep(2 * time.Second)
		s.ElectLeader()
		time.Sleep(3*time.Second - 1)
		leader(false)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		leader(true)

		s.ElectLeader()
		s.Stop()
		s.ElectLeader()
		s.Start()
		leader(true)
	})
}

func TestInvalidateSession(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		id := newSession(t, c, consul.SessionEntry{TTL: time.Minute, Behavior: consul.SessionDelete})
		ok, err := c.KV().Acquire(ctx, &consul.KVPair{Key: "lock", Session: id}, nil)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if dump := s.Dump(); !strings.Contains(dump, "session "+id) || !strings.Contains(dump, "held by session "+id) {
			t.Errorf("the dump lacks the session:\n%s", dump)
		}
		s.InvalidateSession(id)
		wantSession(t, c, id, false)
		if pair, _, err := c.KV().Get(ctx, "lock", nil); err != nil || pair != nil {
			t.Errorf("its key is %+v, %v", pair, err)
		}
		defer func() {
			if p := recover(); p == nil {
				t.Error("an unknown session can be ended")
			}
		}()
		s.InvalidateSession(id)
	})
}
