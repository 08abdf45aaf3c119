//go:build go1.25

package scenario

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
	"github.com/lictor-go/consul/internal/agenttest"
)

// realTarget is real agents of the recording's version.
type realTarget struct {
	t       *testing.T
	rec     *recording.Recording
	agents  map[string]*agenttest.Agent
	addrs   *strings.Replacer // from recorded addresses to ours
	idle    idleConns
	started bool
}

// Ports of a recorded agent, counted from its HTTP port.
const (
	recordedRPC     = 3
	recordedSerfLAN = 4
	recordedSerfWAN = 5
)

func newRealTarget(t *testing.T, rec *recording.Recording) *realTarget {
	r := &realTarget{t: t, rec: rec, agents: map[string]*agenttest.Agent{}}
	t.Cleanup(r.idle.close)
	var pairs []string
	var before []*agenttest.Agent
	for _, recorded := range rec.Agents {
		a := agenttest.Prepare(t, options(t, recorded, before))
		before = append(before, a)
		r.agents[recorded.Name] = a
		host, port, err := net.SplitHostPort(recorded.Addr)
		if err != nil {
			t.Fatal(err)
		}
		base, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		at := func(offset int) string { return fmt.Sprintf("%s:%d", host, base+offset) }
		pairs = append(pairs, recorded.Addr, a.Addr, at(recordedRPC), a.RPC, at(recordedSerfLAN), a.SerfLAN, at(recordedSerfWAN), a.SerfWAN)
		if len(r.agents) == 1 {
			lane := base - base%50
			pairs = append(pairs, startProbed(t, host, lane)...)
		}
	}
	r.addrs = strings.NewReplacer(pairs...)
	return r
}

const keyListPolicy = "enable_key_list_policy = true"

// options are those of a recorded agent. Agents join those before them.
func options(t *testing.T, recorded recording.Agent, before []*agenttest.Agent) agenttest.Options {
	o := agenttest.Options{Node: recorded.Name}
	switch recorded.Role {
	case "server":
		o.Role = agenttest.Server
	case "client":
		o.Role = agenttest.Client
	}
	for _, c := range recorded.Config {
		switch {
		case strings.HasPrefix(c, "-bootstrap-expect="):
			n, err := strconv.Atoi(strings.TrimPrefix(c, "-bootstrap-expect="))
			if err != nil {
				t.Fatal(err)
			}
			o.Expect = n
		case strings.HasPrefix(c, "-retry-join="):
			o.Join = before
		case strings.HasPrefix(c, "-data-dir"), strings.HasPrefix(c, "performance"):
		case strings.HasPrefix(c, "acl "):
			o.ACL = true
			o.NoAgentToken = !strings.Contains(c, " agent = ")
			if strings.Contains(c, keyListPolicy) {
				o.Config = append(o.Config, "acl { "+keyListPolicy+" }")
			}
		default:
			o.Config = append(o.Config, c)
		}
	}
	return o
}

func (r *realTarget) dial(e *recording.Entry) (dialer, string) {
	addr := r.agents[e.Agent].Addr
	return func(ctx context.Context) (net.Conn, error) {
		for {
			conn, err := net.Dial("tcp", addr)
			if err == nil || e.Error == "connection refused" || ctx.Err() != nil {
				return conn, err
			}
			time.Sleep(10 * time.Millisecond) // it is starting, and was up at this point when it was recorded
		}
	}, addr
}

func (r *realTarget) rewrite(text string) string { return r.addrs.Replace(text) }

func (r *realTarget) event(e recording.Event) error {
	a := r.agents[e.Agent]
	switch e.Event {
	case "start":
		a.Launch()
	case "ready":
		a.WaitReady()
		if !r.started {
			// The recorder let a new agent come to rest.
			time.Sleep(1500 * time.Millisecond)
		}
		r.started = true
	case "signal":
		switch e.Comment {
		case "killed":
			a.Signal(syscall.SIGKILL)
		case "terminated":
			a.Signal(syscall.SIGTERM)
		case "interrupt":
			a.Signal(os.Interrupt)
		default:
			return fmt.Errorf("unknown signal %q", e.Comment)
		}
	case "exited":
		a.WaitExit()
	case "idle-connections":
		return r.idle.event(e.Comment, func() (net.Conn, error) { return net.Dial("tcp", a.Addr) })
	default:
		return fmt.Errorf("unknown event %q", e.Event)
	}
	return nil
}

// settle gives a request the time to arrive, since nothing tells when it has.
func (r *realTarget) settle() { time.Sleep(10 * time.Millisecond) }

func (r *realTarget) virtual() bool { return false }

// unrepeatable are the scenarios that real agents play otherwise every time.
var unrepeatable = map[string]string{
	"cluster-client":         "when a member is taken for failed is a matter of chance, and with it the number of requests",
	"cluster-client-session": "when a member is taken for failed, and for well again, is a matter of chance",
	"cluster-leader-loss":    "elections are a matter of chance",
	"cluster-session":        "elections are a matter of chance",
	"cluster-session-quorum": "which server is the leader is a matter of chance, and what it knows of the others",
}

// TestAgent plays every recording to real agents of the same version. Were the
// agents' behaviour a matter of chance, or the comparison too strict, it would
// fail.
func TestAgent(t *testing.T) {
	version := agenttest.Version(t)
	recordings, err := recording.Load(version)
	if err != nil {
		t.Skipf("%v; CONSUL_BIN is a version that was never recorded", err)
	}
	run := newReport(t, "agent", version)
	for _, rec := range recordings {
		t.Run(rec.Scenario, func(t *testing.T) {
			t.Parallel()
			if why := unrepeatable[rec.Scenario]; why != "" {
				run.add(row{scenario: rec.Scenario, note: "not played: " + why})
				t.Skip(why)
			}
			run.judgeInRealTime(t, rec, tolerance{slack: 2 * time.Second}, func() (map[string]*answer, error) {
				return play(rec, newRealTarget(t, rec))
			})
		})
	}
}
