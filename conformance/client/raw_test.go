package client

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestMissingKey waits for a key that does not exist yet.
func TestMissingKey(t *testing.T) {
	t.Parallel()
	c, ctx := agenttest.Start(t, agenttest.Options{}).Client(), limit(t)
	var value []byte
	meta, err := c.Raw().Query(ctx, "/v1/kv/app/size?raw", &value, nil)
	wantError(t, err, consul.ErrNotFound, "/v1/kv/app/size: 404")
	if meta == nil || meta.LastIndex == 0 {
		t.Fatalf("got %+v", meta)
	}
	q := &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 300 * time.Millisecond}
	meta, err = c.Raw().Query(ctx, "/v1/kv/app/size?raw", &value, q)
	wantError(t, err, consul.ErrNotFound)
	if meta.RequestTime < q.WaitTime {
		t.Errorf("waited for %s only", meta.RequestTime)
	}
	written := make(chan error, 1)
	go func() { written <- c.Raw().Write(ctx, "/v1/kv/app/size", []byte("large"), nil, nil) }()
	q.WaitTime = time.Minute
	_, err = c.Raw().Query(ctx, "/v1/kv/app/size?raw", &value, q)
	check(t, err)
	check(t, <-written)
	want(t, "value", string(value), "large")
}

// TestPayloadOfUnknownLength fires an event whose payload does not tell its length.
// The agent would drop it if it came in chunks.
func TestPayloadOfUnknownLength(t *testing.T) {
	t.Parallel()
	c, ctx := agenttest.Start(t, agenttest.Options{}).Client(), limit(t)
	var event struct{ Payload []byte }
	check(t, c.Raw().Write(ctx, "/v1/event/fire/deploy", io.MultiReader(strings.NewReader("v1"), strings.NewReader(".2")), &event, nil))
	want(t, "payload", string(event.Payload), "v1.2")
}
