//go:build go1.25

package discovery_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul/discovery"
)

// logged is a handler that keeps the level and the message of each record.
type logged struct {
	slog.Handler
	mu      sync.Mutex
	records []string
}

func newLogged() *logged { return &logged{Handler: slog.DiscardHandler} }

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r.Level.String()+" "+r.Message)
	return nil
}

// above returns the records that are not for debugging, and the number of those
// that are.
func (l *logged) above() (lines string, debug int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, r := range l.records {
		if strings.HasPrefix(r, "DEBUG ") {
			debug++
		} else {
			list = append(list, r)
		}
	}
	return strings.Join(list, "; "), debug
}

// TestLogOfAnOutage checks that an outage is logged when it begins and when it
// ends, while events tell of each failure.
func TestLogOfAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		beats, watch := newLogged(), newLogged()
		agent.register(webTTL(), &discovery.RegisterOptions{Logger: slog.New(beats)})
		r := discovery.NewResolver(agent.client, &discovery.ResolverOptions{Logger: slog.New(watch), OnEvent: agent.note})
		defer r.Close()
		want(t, "instances", instances(t, r, "web"), "web-1")
		agent.Stop()
		time.Sleep(10 * time.Minute)
		agent.Start()
		time.Sleep(time.Minute)
		for _, test := range []struct {
			log    *logged
			want   string
			events int
		}{
			{beats, "INFO service registered; WARN heartbeat failed; INFO heartbeats succeed again", len(eventsOf[discovery.BeatFailedEvent](agent))},
			{watch, "INFO instances changed; WARN watch failed; INFO watch succeeds again", len(eventsOf[discovery.WatchErrorEvent](agent))},
		} {
			lines, debug := test.log.above()
			if !strings.HasPrefix(lines, test.want) || strings.Count(lines, "WARN") != 1 {
				t.Errorf("logged %s; want %s", lines, test.want)
			}
			want(t, "failures", debug+1, test.events)
		}
		want(t, "recoveries", len(eventsOf[discovery.WatchRecoveredEvent](agent)), 1)
	})
}
