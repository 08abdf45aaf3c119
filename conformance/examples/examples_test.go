// Package examples runs examples of the root module as their READMEs say, on the
// fake agent and on a real one, and compares what they print with what is there.
package examples

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agent"
)

// onAgents runs a test on the fake and on a real agent, each with its address.
func onAgents(t *testing.T, test func(t *testing.T, address string)) {
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		test(t, consulmock.New(t, consulmock.WithProbes(true)).URL())
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, agent.Start(t, agent.Options{}).Addr)
	})
}

func TestServices(t *testing.T) {
	onAgents(t, func(t *testing.T, address string) {
		got, want := run(t, "services", address), expected(t, "services")
		if got != want {
			t.Errorf("printed\n%s\nthe README has\n%s", got, want)
		}
	})
}

// TestHTTPCheck takes a minute and a half, because agents do.
func TestHTTPCheck(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and a half")
	}
	neutral := func(s string) string {
		s = regexp.MustCompile(`(?m)^ *\d+s  `).ReplaceAllString(s, "")
		s = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(s, "ADDRESS")
		// The first run of the check may come before the program has looked.
		return strings.Replace(s, "critical\npassing\n", "passing\n", 1)
	}
	onAgents(t, func(t *testing.T, address string) {
		got, want := run(t, "httpcheck", address), expected(t, "httpcheck")
		if neutral(got) != neutral(want) {
			t.Errorf("printed\n%s\nthe README has\n%s", got, want)
		}
	})
}

// run builds an example and returns what it prints.
func run(t *testing.T, name, address string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", bin, "./examples/"+name)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v, after it has printed\n%s", err, out)
	}
	return string(out)
}

// expected returns the indented block after "It prints" in the README of an
// example.
func expected(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../examples/" + name + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "It prints")
	_, block, ok := strings.Cut(after, ":\n\n")
	if !ok {
		t.Fatalf("%s/README.md does not say what it prints", name)
	}
	var lines strings.Builder
	for _, line := range strings.SplitAfter(block, "\n") {
		text, isIndented := strings.CutPrefix(line, "    ")
		if !isIndented {
			break
		}
		lines.WriteString(text)
	}
	return lines.String()
}
