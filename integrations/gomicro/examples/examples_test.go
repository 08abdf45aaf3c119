// Package examples has the walk-through for go-micro: a service and two clients,
// each in a folder with its command and what it prints. The tests run all of it.
package examples

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestExamples runs the programs on the fake, and on a real agent if there is
// one, and compares what they print with their README.
func TestExamples(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "./...").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("fake", func(t *testing.T) { walk(t, bin, consulmock.New(t).URL()) })
	t.Run("real agent", func(t *testing.T) { walk(t, bin, agenttest.Start(t, agenttest.Options{}).Addr) })
}

func walk(t *testing.T, bin, address string) {
	program := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+address)
		cmd.Stderr = os.Stderr
		return cmd
	}
	stops := []func(){}
	for _, id := range []string{"1", "2"} {
		stops = append(stops, startService(t, program("service", "-id", id), id))
	}
	for _, name := range []string{"random", "roundrobin"} {
		out, err := program(name).Output()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := expected(t, name, 0); string(out) != want {
			t.Errorf("%s: printed %q, want %q", name, out, want)
		}
	}
	for _, stop := range stops {
		stop()
	}
}

// startService starts a service and waits for its first line. The function that
// it returns interrupts it and waits for its last.
func startService(t *testing.T, cmd *exec.Cmd, id string) (stop func()) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		killer.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewReader(stdout)
	read := func(which int) {
		t.Helper()
		want := strings.ReplaceAll(expected(t, "service", which), "greeter-1", "greeter-"+id)
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("service %s: printed %q, want %q; error %v", id, line, want, err)
		}
	}
	read(0)
	return func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		read(1)
	}
}

// expected returns one of the indented blocks that follow "Expected output" in
// the README of a folder.
func expected(t *testing.T, folder string, which int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(data), "Expected output:\n\n")
	if !ok {
		t.Fatalf("%s/README.md has no expected output", folder)
	}
	var blocks []string
	block := ""
	for _, line := range strings.SplitAfter(after, "\n") {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			block += text
		} else if block != "" {
			blocks = append(blocks, block)
			block = ""
		}
	}
	if block != "" {
		blocks = append(blocks, block)
	}
	return blocks[which]
}
