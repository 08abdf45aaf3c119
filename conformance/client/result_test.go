package client

import (
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestPrevious waits twice for what does not change, and then for what does. Only
// what has changed is decoded.
func TestPrevious(t *testing.T) {
	t.Parallel()
	c := agenttest.Start(t, agenttest.Options{}).Client()
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
	if meta.Result == nil {
		t.Error("no result")
	}

	q.Previous = meta.Result
	same, meta, err := c.Health().Service(ctx, "web", q)
	check(t, err)
	want(t, "unchanged", ids(same), []string{"web-1"})
	if meta.Result != q.Previous || same[0] != entries[0] || meta.LastIndex != first.LastIndex {
		t.Errorf("the same result: %t, the same instance: %t, index %d; want true, true, %d",
			meta.Result == q.Previous, same[0] == entries[0], meta.LastIndex, first.LastIndex)
	}

	register(t, c, &consul.AgentServiceRegistration{ID: "web-2", Name: "web"})
	changed, meta, err := c.Health().Service(ctx, "web", q)
	check(t, err)
	want(t, "decoded after a change", ids(changed), []string{"web-1", "web-2"})
	if meta.Result == q.Previous {
		t.Error("the result of a changed response is the one from before")
	}
}
