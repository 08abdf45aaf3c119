//go:build go1.25

package discovery_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
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
			{beats, "INFO service registered; WARN heartbeat failed; INFO heartbeats succeed again", len(eventsOf[discovery.HeartbeatFailedEvent](agent))},
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

// TestFailedRegisterIsSilent checks that nothing but the error tells of a failed
// Register, since nothing is tried again.
func TestFailedRegisterIsSilent(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				log := newLogged()
				agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Status: 500})
				reg, err := discovery.Register(t.Context(), agent.client, webTTL(), &discovery.RegisterOptions{
					Background: background, Logger: slog.New(log), OnEvent: agent.note,
				})
				wanted := ""
				if background {
					if err != nil {
						t.Fatal(err)
					}
					defer reg.Close()
					wanted = "WARN heartbeat failed; INFO service registered"
				} else if err == nil {
					t.Fatal("no error")
				}
				time.Sleep(10 * time.Second)
				lines, _ := log.above()
				want(t, "log", lines, wanted)
			})
		})
	}
}

// TestFirstReportFails has the agent take the registration, but not the report
// after it: that is tried again.
func TestFirstReportFails(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		log := newLogged()
		agent.Inject(consulmock.Fault{Path: "/v1/agent/check/update/**", Status: 500})
		agent.register(webTTL(), &discovery.RegisterOptions{Logger: slog.New(log), Status: consul.HealthWarning})
		time.Sleep(10 * time.Second)
		lines, _ := log.above()
		want(t, "log", lines, "INFO service registered; WARN heartbeat failed; INFO heartbeats succeed again")
		want(t, "health", agent.health(), "warning")
	})
}
