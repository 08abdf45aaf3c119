package consul

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"
)

// What an agent returns of a session creates an equal one.
func TestSessionRoundTrip(t *testing.T) {
	for text, want := range map[string]sessionDefinition{
		`{"LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null}`: {
			LockDelay: "15s", Behavior: SessionRelease, NodeChecks: &[]string{"serfHealth"}},
		`{"LockDelay":0,"Behavior":"delete","TTL":"10s","NodeChecks":null,"Checks":["x"]}`: {
			LockDelay: "0s", Behavior: SessionDelete, TTL: "10s", NodeChecks: &[]string{}, Checks: []string{"x"}},
	} {
		var e SessionEntry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if got, want := show(e.definition()), show(want); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var again SessionEntry
		if err := json.Unmarshal(data, &again); err != nil || show(again) != show(e) {
			t.Errorf("%s was encoded as %s, and decoded as %s, %v", text, data, show(again), err)
		}
	}
}

func TestSessionErrors(t *testing.T) {
	ctx := context.Background()
	client, asked := newTestAgent(t, Config{}, canned{body: "[]"})
	_, err := client.Session().Create(ctx, &SessionEntry{TTL: -time.Second}, nil)
	wantError(t, err, "SessionEntry.TTL is -1s")
	wantError(t, client.Session().Destroy(ctx, "", nil), "session ID is empty")
	if asked.Count > 0 {
		t.Errorf("%d requests were sent", asked.Count)
	}
	_, err = client.Session().Renew(ctx, "s", nil)
	wantError(t, err, "no session in it")

	client, _ = newTestAgent(t, Config{}, canned{code: 404, body: "Session id 's' not found"})
	_, err = client.Session().Renew(ctx, "s", nil)
	if !errors.Is(err, ErrUnknownSession) || !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown session: %v", err)
	}
}

// Agents take a lock-delay of less than a microsecond for seconds.
func TestShortLockDelay(t *testing.T) {
	for delay, want := range map[time.Duration]string{
		0: "", 1: "1µs", 999: "1µs", 1500: "1.5µs", -1: "0s", time.Minute: "1m0s", math.MinInt64: "0s", math.MaxInt64: "2562047h47m16.854775807s",
	} {
		e := SessionEntry{LockDelay: delay}
		if got := e.definition().LockDelay; got != want {
			t.Errorf("%d ns: sent %q, want %q", delay, got, want)
		}
	}
}
