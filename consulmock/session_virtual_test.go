//go:build go1.25

package consulmock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// newSession creates a session without checks, which have to be asked for.
func newSession(t *testing.T, c *consul.Client, e consul.SessionEntry) (id string) {
	t.Helper()
	if e.NodeChecks == nil {
		e.NodeChecks = []string{}
	}
	id, err := c.Session().Create(context.Background(), &e, nil)
	must(t, err)
	return id
}

// wantSession fails the test unless a session is there, or is not.
func wantSession(t *testing.T, c *consul.Client, id string, want bool) {
	t.Helper()
	synctest.Wait()
	got, _, err := c.Session().Info(context.Background(), id, nil)
	must(t, err)
	if (got != nil) != want {
		t.Errorf("the session is %+v; want one: %t", got, want)
	}
}

// wantRefusal fails the test unless an error has a text in it.
func wantRefusal(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %s", err, text)
	}
}

// A session ends twice its TTL after it was created or last renewed.
func TestSessionTTL(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			ctx := context.Background()
			id := newSession(t, c, consul.SessionEntry{TTL: 10 * time.Second})
			time.Sleep(18 * time.Second)
			_, err := c.Session().Renew(ctx, id, nil)
			must(t, err)
			time.Sleep(20*time.Second - 1)
			wantSession(t, c, id, true)
			time.Sleep(time.Nanosecond)
			wantSession(t, c, id, false)
			if _, err := c.Session().Renew(ctx, id, nil); !errors.Is(err, consul.ErrUnknownSession) {
				t.Errorf("renewing it: %v", err)
			}
			must(t, c.Session().Destroy(ctx, id, nil))
		}, consulmock.WithVersion(version))
	}
}

// The TTL of a session that was destroyed ends nothing, and one without a TTL stays.
func TestSessionWithoutTTL(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		id := newSession(t, c, consul.SessionEntry{})
		gone := newSession(t, c, consul.SessionEntry{TTL: time.Minute})
		must(t, c.Session().Destroy(context.Background(), gone, nil))
		_, before, err := c.Session().List(context.Background(), nil)
		must(t, err)
		time.Sleep(time.Hour)
		wantSession(t, c, id, true)
		_, after, err := c.Session().List(context.Background(), nil)
		must(t, err)
		if before.LastIndex != after.LastIndex {
			t.Errorf("the index has moved from %d to %d", before.LastIndex, after.LastIndex)
		}
	})
}

// A server that starts again gives every session its whole time, as a leader does that
// has just been elected.
func TestSessionAfterRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		id := newSession(t, c, consul.SessionEntry{TTL: 10 * time.Second})
		time.Sleep(15 * time.Second)
		s.Stop()
		time.Sleep(time.Hour)
		s.Start()
		time.Sleep(20 * time.Second)
		wantSession(t, c, id, true)
		time.Sleep(time.Second) // after which the server has been the leader for 20
		wantSession(t, c, id, false)

		id = newSession(t, c, consul.SessionEntry{})
		s.Restart(false)
		wantSession(t, c, id, false)
	})
}

// A session ends when one of its checks is critical or goes, and with its node.
func TestSessionEndsWithItsChecks(t *testing.T) {
	ctx := context.Background()
	for name, end := range map[string]func(t *testing.T, s *consulmock.Server, c *consul.Client){
		"critical": func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			must(t, c.Agent().FailTTL(ctx, "service:web", ""))
		},
		"expired": func(t *testing.T, s *consulmock.Server, c *consul.Client) { time.Sleep(time.Minute) },
		"deregistered": func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			must(t, c.Agent().CheckDeregister(ctx, "service:web"))
		},
		"deregistered with its service": func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			s.RemoveService("web")
		},
		"replaced": func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			must(t, c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
				Name: "web", ReplaceExistingChecks: true, Check: &consul.AgentServiceCheck{CheckID: "other", TTL: time.Minute, Status: consul.HealthPassing},
			}))
		},
		"removed from the catalog": func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			s.RemoveNode(&consul.CatalogDeregistration{Node: "node1", CheckID: "service:web"})
		},
		"gone with the node": func(t *testing.T, s *consulmock.Server, c *consul.Client) {
			s.RemoveNode(&consul.CatalogDeregistration{Node: "node1"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
				must(t, c.Agent().ServiceRegister(ctx, ttlService("web", time.Minute)))
				id := newSession(t, c, consul.SessionEntry{ServiceChecks: []consul.SessionServiceCheck{{ID: "service:web"}}})
				other := newSession(t, c, consul.SessionEntry{})
				must(t, c.Agent().WarnTTL(ctx, "service:web", "so so"))
				wantSession(t, c, id, true)
				end(t, s, c)
				wantSession(t, c, id, false)
				wantSession(t, c, other, name != "gone with the node")
			})
		})
	}
}

// A session needs checks that are there and not critical.
func TestSessionWithBadChecks(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		must(t, c.Agent().CheckRegister(ctx, &consul.AgentCheckRegistration{Name: "sick", AgentServiceCheck: consul.AgentServiceCheck{TTL: time.Minute}}))
		for check, want := range map[string]string{"sick": "Check 'sick' is in critical state", "none": "Missing check 'none' registration"} {
			_, err := c.Session().Create(ctx, &consul.SessionEntry{NodeChecks: []string{check}}, nil)
			wantRefusal(t, err, "500 apply failed: "+want)
		}
		_, err := c.Session().Create(ctx, &consul.SessionEntry{Node: "none"}, nil)
		wantRefusal(t, err, "500 apply failed: Missing node registration")
	})
}

// Sessions whose time is over at the same moment end in the order in which they were
// created.
func TestSessionsOfOneMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, s *consulmock.Server, c *consul.Client) {
		ctx := context.Background()
		const n = 20
		for i := range n {
			id := newSession(t, c, consul.SessionEntry{TTL: 10 * time.Second})
			_, err := c.KV().Acquire(ctx, &consul.KVPair{Key: fmt.Sprintf("%02d", i), Session: id}, nil)
			must(t, err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		pairs, _, err := c.KV().List(ctx, "", nil)
		must(t, err)
		for i := range n - 1 {
			if pairs[i].ModifyIndex >= pairs[i+1].ModifyIndex {
				t.Errorf("%s was freed at index %d, %s at %d", pairs[i].Key, pairs[i].ModifyIndex, pairs[i+1].Key, pairs[i+1].ModifyIndex)
			}
		}
	})
}
