//go:build go1.25

package scenario

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/conformance/agent"
	"github.com/lictor-go/consul/conformance/recording"
	"github.com/lictor-go/consul/consulmock"
)

// unplayable are the scenarios that the fake cannot play, with the reason.
var unplayable = map[string]string{
	"cluster-client":           "a server and a client; the fake is one agent",
	"cluster-leader-loss":      "three servers and their elections; the fake is one agent",
	"conn-limit":               "counts the TCP connections of an address; the fake's are in memory here",
	"check-alias-missing-node": "a check that ends the process of 1.8.7",
}

// realTime are the scenarios that are played to the fake in real time, over
// sockets, because the fake probes servers.
var realTime = map[string]bool{"check-kinds": true}

// fakeTarget is the fake agent, in a bubble where time is virtual or not.
type fakeTarget struct {
	t       *testing.T
	rec     *recording.Recording
	server  *consulmock.Server
	dialer  func(ctx context.Context, network, addr string) (net.Conn, error)
	addrs   *strings.Replacer
	bubbled bool
	running bool
}

func newFakeTarget(t *testing.T, rec *recording.Recording, bubbled bool) *fakeTarget {
	f := &fakeTarget{t: t, rec: rec, bubbled: bubbled, addrs: strings.NewReplacer()}
	recorded := rec.Agents[0]
	opts := []consulmock.Option{consulmock.WithVersion(rec.Version), consulmock.WithNode(recorded.Name)}
	if recorded.Role != "dev" {
		opts = append(opts, consulmock.WithCompactJSON(true))
	}
	for _, c := range recorded.Config {
		switch {
		case strings.HasPrefix(c, "acl "):
			opts = append(opts, consulmock.WithTokens(consulmock.Token{
				SecretID:   agent.ManagementToken,
				AccessorID: "aaaaaaaa-1111-1111-1111-111111111111",
				Rules:      everything,
			}))
			if !strings.Contains(c, " agent = ") {
				opts = append(opts, consulmock.WithAgentToken(""))
			}
		case strings.HasPrefix(c, "use_streaming_backend"):
			opts = append(opts, consulmock.WithStreaming(false))
		case strings.HasPrefix(c, "default_query_time"):
			opts = append(opts, consulmock.WithQueryTimes(2*time.Second, 3*time.Second))
		}
	}
	if !bubbled {
		_, port, _ := strings.Cut(recorded.Addr, ":")
		base := 0
		if _, err := fmt.Sscan(port, &base); err != nil {
			t.Fatal(err)
		}
		f.addrs = strings.NewReplacer(startProbed(t, "127.0.0.1", base-base%50)...)
		opts = append(opts, consulmock.WithProbes(true))
	}
	f.server = consulmock.NewServer(opts...)
	f.dialer = f.server.Transport().(*http.Transport).DialContext
	f.running = true
	return f
}

const everything = `
acl = "write"
operator = "write"
agent_prefix "" { policy = "write" }
node_prefix "" { policy = "write" }
service_prefix "" { policy = "write" }
key_prefix "" { policy = "write" }
session_prefix "" { policy = "write" }
event_prefix "" { policy = "write" }
`

func (f *fakeTarget) dial(e *recording.Entry) (dialer, string) {
	addr := f.rec.Agents[0].Addr
	return func(ctx context.Context) (net.Conn, error) {
		return f.dialer(ctx, "tcp", addr)
	}, addr
}

func (f *fakeTarget) rewrite(text string) string { return f.addrs.Replace(text) }

func (f *fakeTarget) event(e recording.Event) error {
	switch e.Event {
	case "start":
		if !f.running {
			f.server.Restart(f.rec.Agents[0].Role != "dev")
			f.running = true
		}
	case "signal":
		f.server.Stop()
		f.running = false
	case "ready", "exited":
	default:
		return fmt.Errorf("unknown event %q", e.Event)
	}
	return nil
}

func (f *fakeTarget) settle() {
	if f.bubbled {
		synctest.Wait()
		return
	}
	time.Sleep(10 * time.Millisecond)
}

func (f *fakeTarget) virtual() bool { return f.bubbled }

// TestFake plays every recording to the fake in the recording's version.
func TestFake(t *testing.T) {
	versions, err := recording.Versions()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			recordings, err := recording.Load(version)
			if err != nil {
				t.Fatal(err)
			}
			run := newReport(t, "fake", version)
			for _, rec := range recordings {
				t.Run(rec.Scenario, func(t *testing.T) { playFake(t, run, rec) })
			}
		})
	}
}

func playFake(t *testing.T, run *report, rec *recording.Recording) {
	if why := unplayable[rec.Scenario]; why != "" {
		run.add(row{scenario: rec.Scenario, note: "not played: " + why})
		t.Skip(why)
	}
	if realTime[rec.Scenario] {
		t.Parallel()
	}
	var answers map[string]*answer
	var err error
	inTime := func(t *testing.T) {
		f := newFakeTarget(t, rec, !realTime[rec.Scenario])
		defer f.server.Close()
		answers, err = play(rec, f)
	}
	if realTime[rec.Scenario] {
		inTime(t)
	} else {
		synctest.Test(t, inTime)
	}
	if err != nil {
		t.Fatal(err)
	}
	slack := 20 * time.Millisecond // about what an answer took when it was recorded
	if realTime[rec.Scenario] {
		slack = time.Second
	}
	run.judge(t, rec, compare(rec, answers, tolerance{slack: slack}))
}
