//go:build go1.25

package scenario

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

// unplayable are the scenarios that the fake cannot play, with the reason.
var unplayable = map[string]string{
	"cluster-client":         "a server and a client; the fake is one agent",
	"cluster-client-session": "a server and a client; the fake is one agent",
	"cluster-leader-loss":    "three servers and their elections; the fake is one agent",
	"cluster-session":        "three servers and their elections; the fake is one agent",
	"cluster-session-quorum": "three servers and their elections; the fake is one agent",
	"rpc-limit":              "a server and a client; the fake is one agent",
	"rate-limit":             "the fake does not count requests; a fault gives the answers of one that does",
}

// realTime are the scenarios that are played to the fake in real time, over
// sockets: it probes servers, or counts connections.
var realTime = map[string]bool{"check-kinds": true, "check-kind-probe": true, "conn-limit": true}

// fakeTarget is a fake for each agent of a recording, in a bubble where time is
// virtual or not.
type fakeTarget struct {
	t       *testing.T
	rec     *recording.Recording
	agents  map[string]*fakeAgent
	addrs   *strings.Replacer
	idle    idleConns
	bubbled bool
}

type fakeAgent struct {
	role    string
	addr    string // recorded
	opts    []consulmock.Option
	server  *consulmock.Server // nil before the first start
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	running bool
}

func newFakeTarget(t *testing.T, rec *recording.Recording, bubbled bool) *fakeTarget {
	f := &fakeTarget{t: t, rec: rec, agents: map[string]*fakeAgent{}, bubbled: bubbled, addrs: strings.NewReplacer()}
	for _, a := range rec.Agents {
		opts := append(fakeOptions(a), consulmock.WithVersion(rec.Version))
		if !bubbled {
			opts = append(opts, consulmock.WithProbes(true))
		}
		f.agents[a.Name] = &fakeAgent{role: a.Role, addr: a.Addr, opts: opts}
	}
	if !bubbled {
		_, port, _ := strings.Cut(rec.Agents[0].Addr, ":")
		base, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		f.addrs = strings.NewReplacer(startProbed(t, "127.0.0.1", base-base%50)...)
	}
	return f
}

// fakeOptions are those of a fake that stands for a recorded agent.
func fakeOptions(a recording.Agent) []consulmock.Option {
	opts := []consulmock.Option{
		consulmock.WithNode(a.Name),
		consulmock.WithCompactJSON(a.Role != "dev"),
		consulmock.WithMaxConnsPerClient(200), // an agent's default
	}
	for _, c := range a.Config {
		switch {
		case strings.HasPrefix(c, "acl "):
			opts = append(opts, consulmock.WithTokens(consulmock.Token{
				SecretID:   agenttest.ManagementToken,
				AccessorID: "aaaaaaaa-1111-1111-1111-111111111111",
				Rules:      everything,
			}))
			if !strings.Contains(c, " agent = ") {
				opts = append(opts, consulmock.WithAgentToken(""))
			}
			if strings.Contains(c, "enable_key_list_policy = true") {
				opts = append(opts, consulmock.WithKeyListPolicy(true))
			}
		case strings.HasPrefix(c, "limits { kv_max_value_size = 100 txn_max_req_len = 1000"):
			opts = append(opts, consulmock.WithKeyLimits(100, 1000))
		case strings.HasPrefix(c, "session_ttl_min = "):
			opts = append(opts, consulmock.WithSessionTTLMin(time.Second))
		case strings.HasPrefix(c, "use_streaming_backend"):
			opts = append(opts, consulmock.WithStreaming(false))
		case strings.HasPrefix(c, "default_query_time"):
			opts = append(opts, consulmock.WithQueryTimes(2*time.Second, 3*time.Second))
		case strings.HasPrefix(c, "translate_wan_addrs"):
			opts = append(opts, consulmock.WithTranslateAddresses(true))
		case strings.HasPrefix(c, "limits { http_max_conns_per_client = 3"):
			opts = append(opts, consulmock.WithMaxConnsPerClient(3))
		}
	}
	return opts
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
	a := f.agents[e.Agent]
	return func(ctx context.Context) (net.Conn, error) { return a.dial(ctx, "tcp", a.addr) }, a.addr
}

func (f *fakeTarget) rewrite(text string) string { return f.addrs.Replace(text) }

func (f *fakeTarget) event(e recording.Event) error {
	a := f.agents[e.Agent]
	switch {
	case a.server == nil && e.Event == "ready":
		// An agent takes a moment to start, and counts from then on.
		f.launch(a)
	case a.server != nil && e.Event == "start" && !a.running:
		a.server.Restart(a.role != "dev")
		a.running = true
	case e.Event == "signal":
		a.server.Stop()
		a.running = false
	case e.Event == "start", e.Event == "ready", e.Event == "exited":
	case e.Event == "idle-connections":
		return f.idle.event(e.Comment, func() (net.Conn, error) { return a.dial(context.Background(), "tcp", a.addr) })
	default:
		return fmt.Errorf("unknown event %q", e.Event)
	}
	return nil
}

func (f *fakeTarget) launch(a *fakeAgent) {
	a.server = consulmock.NewServer(a.opts...)
	a.running = true
	a.dial = a.server.Transport().(*http.Transport).DialContext
	if !f.bubbled {
		addr := strings.TrimPrefix(a.server.URL(), "http://")
		a.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
	}
}

func (f *fakeTarget) close() {
	f.idle.close()
	for _, a := range f.agents {
		if a.server != nil {
			a.server.Close()
		}
	}
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
	playAll(t, "fake", playFake)
}

func playFake(t *testing.T, run *report, rec *recording.Recording) {
	if why := unplayable[rec.Scenario]; why != "" {
		run.add(row{scenario: rec.Scenario, note: "not played: " + why})
		t.Skip(why)
	}
	if realTime[rec.Scenario] {
		t.Parallel()
		run.judgeInRealTime(t, rec, tolerance{slack: time.Second}, func() (map[string]*answer, error) {
			f := newFakeTarget(t, rec, false)
			defer f.close()
			return play(rec, f)
		})
		return
	}
	var answers map[string]*answer
	var err error
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTarget(t, rec, true)
		defer f.close()
		answers, err = play(rec, f)
	})
	if err != nil {
		t.Fatal(err)
	}
	slack := 20 * time.Millisecond // about what an answer took when it was recorded
	run.judge(t, rec, compare(rec, answers, tolerance{slack: slack}), "")
}
