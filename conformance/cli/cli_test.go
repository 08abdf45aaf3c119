// Package cli runs other people's programs against the fake agent: Consul's own
// command line tool, consul-template, and a client in another language. What they do
// with keys, sessions and events they do against a real agent as well.
package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }

// tool returns the program, which the variable CONSUL_BIN names, or which is
// consul in PATH. Where there is none, the test is skipped.
func tool(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("CONSUL_BIN")
	if bin == "" {
		bin = "consul"
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		t.Skip("there is no consul in PATH, and CONSUL_BIN is not set")
	}
	return path
}

// onAgents runs f at the fake of every release, and at a real agent if there is one.
// The URL is the agent's.
func onAgents(t *testing.T, f func(t *testing.T, url string)) {
	t.Parallel()
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run("fake "+version, func(t *testing.T) {
			t.Parallel()
			f(t, consulmock.New(t, consulmock.WithVersion(version)).URL())
		})
	}
	t.Run("agent", func(t *testing.T) {
		t.Parallel()
		f(t, "http://"+agenttest.Start(t, agenttest.Options{}).Addr)
	})
}

// command returns a run of the tool with the agent at a URL.
func command(t *testing.T, url string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, tool(t), args...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+url, "CONSUL_HTTP_TOKEN=")
	return cmd
}

func run(t *testing.T, url string, args ...string) string {
	t.Helper()
	out, err := command(t, url, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("consul %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestCommands(t *testing.T) {
	for _, version := range []string{"1.21.4", "1.8.7"} {
		t.Run(version, func(t *testing.T) {
			s := consulmock.New(t, consulmock.WithVersion(version), consulmock.WithNode("n7"))
			file := filepath.Join(t.TempDir(), "web.json")
			definition := `{"service":{"name":"web","id":"web-1","port":8080,"tags":["v1"],"meta":{"a":"b"},"check":{"ttl":"1h","status":"passing"}}}`
			if err := os.WriteFile(file, []byte(definition), 0o600); err != nil {
				t.Fatal(err)
			}
			// Each is a command and what it has to print, blanks aside.
			for _, tt := range [][2]string{
				{"members", "n7 127.0.0.1:8301 alive server " + version},
				{"catalog services", "consul"},
				{"catalog nodes", "n7 "},
				{"catalog nodes -detailed", "lan=127.0.0.1"},
				{"catalog datacenters", "dc1"},
				{"services register " + file, "Registered service: web"},
				{"services register -name=db -port=5432", "Registered service: db"},
				{"catalog services -tags", "web v1"},
				{"catalog nodes -service=web", "n7 "},
				{"catalog nodes -filter=Node==n7", "n7 "},
				{"catalog nodes -filter=Node==other", "No nodes match the given query"},
				{"info", "check_ttls = 1"},
				{"operator raft list-peers", "n7 "},
				{"operator raft list-peers", "127.0.0.1:8300 leader true 3"},
				{"maint -enable -service=web-1 -reason=tired", "now enabled"},
				{"maint", "Reason: tired"},
				{"maint -disable -service=web-1", "now disabled"},
				{"services deregister -id=web-1", "Deregistered service: web-1"},
			} {
				out := run(t, s.URL(), strings.Fields(tt[0])...)
				if got := strings.Join(strings.Fields(out), " ") + " "; !strings.Contains(got, tt[1]) {
					t.Errorf("consul %s: got %s\nwant %s", tt[0], out, tt[1])
				}
			}
			out, err := command(t, s.URL(), "catalog", "nodes", "-filter=Bogus==1").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), `Selector "Bogus" is not valid`) {
				t.Errorf("got %s, %v", out, err)
			}
		})
	}
}

// The tool's watch runs its handler for what is there, and for each change.
func TestWatch(t *testing.T) {
	s := consulmock.New(t)
	lines := output(t, command(t, s.URL(), "watch", "-type=service", "-service=web", "cat"))
	want := func(ids ...string) {
		t.Helper()
		for lines.Scan() {
			var entries []struct{ Service struct{ ID string } }
			if err := json.Unmarshal(lines.Bytes(), &entries); err != nil {
				t.Fatalf("%v in %s", err, lines.Text())
			}
			if len(entries) == len(ids) && (len(ids) == 0 || entries[0].Service.ID == ids[0]) {
				return
			}
		}
		t.Fatalf("the watch ended before it saw %q: %v", ids, lines.Err())
	}
	want()
	run(t, s.URL(), "services", "register", "-name=web", "-id=web-1")
	want("web-1")
	run(t, s.URL(), "services", "deregister", "-id=web-1")
	want()
}

// output starts a program that is killed when the test ends, and returns what it
// prints, line by line.
func output(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return bufio.NewScanner(out)
}
