package discovery

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEventsInLogs(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		event Event
		want  string
	}{
		{RegisteredEvent{"web", "web-1"}, `level=INFO msg="service registered" service=web id=web-1`},
		{HealedEvent{"web", "web-1", HealLost, boom, time.Second}, `level=INFO msg="service registered again" service=web id=web-1 took=1s cause=boom`},
		{HealedEvent{"web", "web-1", HealFailing, boom, time.Second}, `level=INFO msg="heartbeats succeed again" service=web id=web-1 took=1s cause=boom`},
		{HeartbeatFailedEvent{"web", "web-1", "c", boom, 1, time.Second}, `level=WARN msg="heartbeat failed" service=web id=web-1 check=c error=boom failures=1 retry_in=1s`},
		{HeartbeatFailedEvent{"web", "web-1", "c", boom, 2, time.Second}, `level=DEBUG msg="heartbeat failed" service=web id=web-1 check=c error=boom failures=2 retry_in=1s`},
		{DeregisteredEvent{"web", "web-1", nil}, `level=INFO msg="service deregistered" service=web id=web-1`},
		{DeregisteredEvent{"web", "web-1", boom}, `level=ERROR msg="service not deregistered" service=web id=web-1 error=boom`},
		{WatchErrorEvent{"web", "dc2", boom, 1, 0}, `level=WARN msg="watch failed" watch=web datacenter=dc2 error=boom failures=1 retry_in=0s`},
		{WatchErrorEvent{"web", "dc2", boom, 2, 0}, `level=DEBUG msg="watch failed" watch=web datacenter=dc2 error=boom failures=2 retry_in=0s`},
		{WatchRecoveredEvent{"web", "dc2", 3, time.Minute}, `level=INFO msg="watch succeeds again" watch=web datacenter=dc2 failures=3 took=1m0s`},
		{IndexResetEvent{"web", "", 9, 2}, `level=DEBUG msg="index went down" watch=web datacenter="" from=9 to=2`},
		{InstancesChangedEvent{"web", "dc1", 1, 2, 3, 4, 5}, `level=DEBUG msg="instances changed" service=web datacenter=dc1 added=1 removed=2 changed=3 total=4 held=5`},
	} {
		var buf bytes.Buffer
		var got Event
		logger := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
		observer{logger, func(e Event) { got = e }}.emit(test.event)
		if !strings.HasSuffix(strings.TrimSpace(buf.String()), test.want) {
			t.Errorf("logged %q, want %q", buf.String(), test.want)
		}
		if got != test.event {
			t.Errorf("event %v, want %v", got, test.event)
		}
		observer{}.emit(test.event) // silent
	}
}

// TestEventsKeepTheirOrder has a second event while the first one is passed on.
func TestEventsKeepTheirOrder(t *testing.T) {
	var e *entry
	var totals []int
	next := func(total int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.events = append(e.events, InstancesChangedEvent{Total: total})
		e.emit()
	}
	e = &entry{r: &Resolver{opts: ResolverOptions{OnEvent: func(event Event) {
		total := event.(InstancesChangedEvent).Total
		if total == 1 {
			other := make(chan struct{})
			go func() {
				next(2)
				close(other)
			}()
			<-other
		}
		totals = append(totals, total)
	}}}}
	next(1)
	if want := []int{1, 2}; !slices.Equal(totals, want) {
		t.Errorf("totals %d, want %d", totals, want)
	}
}
