package client

import (
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agent"
)

// TestKnown waits twice for what does not change, and then for what does. Only
// what the caller does not have is decoded.
func TestKnown(t *testing.T) {
	t.Parallel()
	c := agent.Start(t, agent.Options{}).Client()
	ctx := limit(t)
	register(t, c, &consul.AgentServiceRegistration{ID: "web-1", Name: "web"})
	_, first, err := c.Health().Service(ctx, "web", nil)
	check(t, err)
	// An agent that streams answers with an empty list if the wait is over before its
	// first view of the service has arrived.
	q := &consul.QueryOptions{WaitIndex: first.LastIndex, WaitTime: 500 * time.Millisecond}
	entries, meta, err := c.Health().Service(ctx, "web", q)
	check(t, err)
	want(t, "decoded", ids(entries), []string{"web-1"})
	if meta.Fingerprint == 0 || meta.Unchanged {
		t.Errorf("fingerprint %d, unchanged %t", meta.Fingerprint, meta.Unchanged)
	}

	q.Known = meta.Fingerprint
	entries, meta, err = c.Health().Service(ctx, "web", q)
	check(t, err)
	if entries != nil || !meta.Unchanged || meta.LastIndex != first.LastIndex {
		t.Errorf("got %d instances, unchanged %t, index %d; want none, true, %d", len(entries), meta.Unchanged, meta.LastIndex, first.LastIndex)
	}

	register(t, c, &consul.AgentServiceRegistration{ID: "web-2", Name: "web"})
	entries, meta, err = c.Health().Service(ctx, "web", q)
	check(t, err)
	want(t, "decoded after a change", ids(entries), []string{"web-1", "web-2"})
	if meta.Unchanged || meta.Fingerprint == q.Known {
		t.Error("a changed answer passes for the known one")
	}
}
