//go:build go1.25

package discovery_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// above returns the records that are not for debugging.
func (l *logged) above() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	isDebug := func(record string) bool { return strings.HasPrefix(record, "DEBUG ") }
	return strings.Join(slices.DeleteFunc(slices.Clone(l.records), isDebug), "; ")
}

// failures returns the number of records of failures, at any level.
func (l *logged) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(strings.Join(l.records, "; "), " failed")
}

// TestResolverIsSilentWhileAllIsWell follows services that come, change and go: nothing
// of that is for a log above the debug level, since a program may follow a thousand.
func TestResolverIsSilentWhileAllIsWell(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		log := newLogged()
		r := discovery.NewResolver(agent.client, &discovery.ResolverOptions{Logger: slog.New(log)})
		defer r.Close()
		for _, service := range []string{"web", "db", "none"} {
			instances(t, r, service)
		}
		agent.AddService(&consul.AgentServiceRegistration{Name: "db", Port: 5432})
		synctest.Wait()
		want(t, "instances", instances(t, r, "db"), "db")
		agent.RemoveService("db")
		time.Sleep(10 * time.Minute)
		want(t, "log", log.above(), "")
	})
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
			{watch, "WARN watch failed; INFO watch succeeds again", len(eventsOf[discovery.WatchErrorEvent](agent))},
		} {
			lines := test.log.above()
			if !strings.HasPrefix(lines, test.want) || strings.Count(lines, "WARN") != 1 {
				t.Errorf("logged %s; want %s", lines, test.want)
			}
			want(t, "failures", test.log.failures(), test.events)
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
				want(t, "log", log.above(), wanted)
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
		want(t, "log", log.above(), "INFO service registered; WARN heartbeat failed; INFO heartbeats succeed again")
		want(t, "health", agent.health(), "warning")
	})
}
