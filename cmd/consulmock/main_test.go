package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// text collects output that is written while it is read.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// command is a running command.
type command struct {
	url    string
	stderr *text
	wait   func() int // returns the exit status
	stop   func() int // as wait, after a signal
}

// start runs the command in this process.
func start(t *testing.T, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	c := &command{stderr: &text{}}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"-http-addr", "127.0.0.1:0"}, args...), in, c.stderr)
		in.Close()
	}()
	c.wait = sync.OnceValue(func() int { return <-ended })
	c.stop = func() int {
		cancel()
		return c.wait()
	}
	t.Cleanup(func() { c.stop() })
	c.url = address(t, out)
	return c
}

// address reads where a command listens.
func address(t *testing.T, out io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "consulmock: listening on ")
	if !ok || err != nil {
		t.Fatalf("it said %q, %v", line, err)
	}
	go io.Copy(io.Discard, out)
	return url
}

func client(t *testing.T, url string) *consul.Client {
	t.Helper()
	c, err := consul.NewClient(consul.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestFlagsReachTheAgent(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	c := start(t, "-node", "n7", "-node-id", id, "-node-meta", "a:b", "-node-meta", "c:d:e", "-datacenter", "dc7", "-consul-version", "1.8.7", "-session-ttl-min", "1s", "-log")
	ctx := context.Background()
	self, err := client(t, c.url).Agent().Self(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := self.Config; got.NodeName != "n7" || got.NodeID != id || got.Datacenter != "dc7" || got.Version != "1.8.7" {
		t.Errorf("got %+v", got)
	}
	nodes, _, err := client(t, c.url).WithToken("secret").Catalog().Nodes(ctx, nil)
	if err != nil || nodes[0].Meta["a"] != "b" || nodes[0].Meta["c"] != "d:e" {
		t.Errorf("got %+v, %v", nodes, err)
	}
	if _, err := client(t, c.url).Session().Create(ctx, &consul.SessionEntry{TTL: time.Second}, nil); err != nil {
		t.Error(err)
	}
	for _, query := range []string{"token=secret", "stale;token=secret", "a=%0Aforged"} {
		resp, err := http.Get(c.url + "/v1/status/leader?" + query)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if status := c.stop(); status != 0 {
		t.Errorf("status %d", status)
	}
	if got := c.stderr.String(); !strings.Contains(got, "GET /v1/agent/self: 200 in ") || strings.Contains(got, "secret") || strings.Contains(got, "\nforged") {
		t.Errorf("log %s", got)
	}
}

func TestRecordThenReplay(t *testing.T) {
	ctx := context.Background()
	file := filepath.Join(t.TempDir(), "rec.har")
	agent := consulmock.New(t)
	c := start(t, "-record", file, "-target", agent.URL())
	if _, err := client(t, c.url).Status().Leader(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, c.url).Status().Peers(ctx); err != nil {
		t.Fatal(err)
	}
	if status := c.stop(); status != 0 {
		t.Errorf("status %d, %s", status, c.stderr)
	}
	c = start(t, "-replay", file)
	if _, err := client(t, c.url).Status().Leader(ctx); err != nil {
		t.Error(err)
	}
	if _, err := client(t, c.url).Agent().Self(ctx); err == nil {
		t.Error("an answer that was not recorded")
	}
	if status := c.stop(); status != 0 {
		t.Errorf("status %d", status)
	}
	got := c.stderr.String()
	if !strings.Contains(got, "has no response for GET /v1/agent/self") || !strings.Contains(got, "not requested: e002 GET /v1/status/peers") {
		t.Errorf("it said %s", got)
	}
}

func TestRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := filepath.Join(t.TempDir(), "broken.har")
	if err := os.WriteFile(broken, []byte(`{"log":{"version":"1.2","entries":[{}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	xhar := filepath.Join(t.TempDir(), "x.har")
	tests := []struct {
		args string
		want string
	}{
		{"-http-addr " + taken.Addr().String(), "address already in use"},
		{"-http-addr 127.0.0.1", "missing port"},
		{"-replay " + broken, "broken.har: entry 1: request.method is missing"},
		{"-replay none.har", "none.har"},
		{"-record " + filepath.Join(broken, "x") + " -target http://127.0.0.1:1", "not a directory"},
		{"-record " + xhar + "", "-record and -target need each other"},
		{"-target http://127.0.0.1:1", "-record and -target need each other"},
		{"-record " + xhar + " -target 127.0.0.1:1", "target"},
		{"-record " + xhar + " -replay y.har -target http://127.0.0.1:1", "exclude each other"},
		{"-consul-version 1.2", `version "1.2": want 1.21.4 or 1.8.7`},
		{"-node-meta a", "want key:value"},
		{"-session-ttl-min 0s", "lowest TTL of sessions 0s: want more than 0"},
		{"-session-ttl-min 1s -replay y.har", "-session-ttl-min has no effect"},
		{"-node-id x", "want a UUID"},
		{"-token =x", "want secret or secret=rules"},
		{"-token x=nonsense", "rules of token 1: "},
		{"-token x=nonsense -token y", "rules of token 1: "},
		{"-token x -token x", "token 2 has the SecretID of one before it"},
		{"-token x -replay y.har", "-token has no effect"},
		{"-control -replay y.har", "-control has no effect"},
		{"-control-remote", "-control-remote has no effect without -control"},
		{"-http-addr 0.0.0.0:0 -control", "-control at 0.0.0.0:0: want an address of the loopback interface"},
		{"-node x -replay y.har", "-node has no effect"},
		{"-consul-version 1.8.7 -record y.har -target http://127.0.0.1:1", "-consul-version has no effect"},
		{"-datacenter=", `name of the datacenter ""`},
		{"-node=", "the name of the node is empty"},
		{"-bogus", "bogus"},
		{"agent", `argument "agent"`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {

			var out, stderr bytes.Buffer
			args := append([]string{"-http-addr", "127.0.0.1:0"}, strings.Fields(tt.args)...)
			status := run(context.Background(), args, &out, &stderr)
			if status != 2 || strings.Count(stderr.String(), "\n") != 1 || !strings.HasPrefix(stderr.String(), "consulmock: ") || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("status %d, %q; want 2 and one line with %q", status, stderr.String(), tt.want)
			}
			if out.Len() > 0 {
				t.Errorf("it said %q", out.String())
			}
		})
	}
}

// The command ends after the agent was told to leave, also by a client that does
// not wait for the response.
func TestLeave(t *testing.T) {
	c := start(t, "-log")
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error)
	go func() { left <- client(t, c.url).Agent().Leave(ctx) }()
	for !strings.Contains(page(t, c.url), "waiting for") {
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if status := c.wait(); status != 0 {
		t.Errorf("status %d, %s", status, c.stderr)
	}
}

func TestHelp(t *testing.T) {
	var out, stderr bytes.Buffer
	if status := run(context.Background(), []string{"-h"}, &out, &stderr); status != 0 || stderr.Len() > 0 {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	for _, name := range []string{"http-addr", "node", "node-id", "node-meta", "datacenter", "consul-version", "session-ttl-min", "token", "replay", "record", "target", "control", "control-remote", "log"} {
		if !strings.Contains(out.String(), "  -"+name) {
			t.Errorf("-%s is not explained", name)
		}
	}
	for _, want := range []string{
		"HTTP, TCP and UDP checks run at their interval", `(default "127.0.0.1:8500")`, `(default "node1")`, `(default "dc1")`, `(default "1.21.4")`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

// Checks are run, and requests without a token may do everything.
func TestChecksAreRun(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	ctx := context.Background()
	c := client(t, start(t).url)
	if err := c.Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{
		Name: "web", Check: &consul.AgentServiceCheck{TCP: target.Addr().String(), Interval: time.Millisecond},
	}); err != nil {
		t.Fatal(err)
	}
	for entries, err := range discovery.WatchService(ctx, c, "web", &discovery.WatchOptions{Query: consul.QueryOptions{PassingOnly: true}}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 1 {
			break
		}
	}
}

func TestTokens(t *testing.T) {
	ctx := context.Background()
	c := start(t, "-token", "root", "-token", `web=service "web" { policy = "write" }`)
	for _, tt := range []struct {
		token, service string
		allowed        bool
	}{
		{"root", "web", true},
		{"root", "db", true},
		{"web", "web", true},
		{"web", "db", false},
		{"", "web", false},
		{"nobody", "web", false},
	} {
		err := client(t, c.url).WithToken(tt.token).Agent().ServiceRegister(ctx, &consul.AgentServiceRegistration{Name: tt.service})
		if tt.allowed && err != nil || !tt.allowed && !errors.Is(err, consul.ErrPermissionDenied) {
			t.Errorf("token %q, service %s: %v", tt.token, tt.service, err)
		}
	}
}

// build returns the path of the built command, for tests that send it signals.
func build(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such signals")
	}
	binary := filepath.Join(t.TempDir(), "consulmock")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// Where the first signal does not end the command, because nobody reads what it
// has to say at its end, the second one does.
func TestSecondSignal(t *testing.T) {
	binary, file := build(t), filepath.Join(t.TempDir(), "long.har")
	entry := `{"startedDateTime":"2026-01-01T00:00:00Z","time":1,"request":{"method":"GET","url":"http://a/` + strings.Repeat("x", 1000) + `"},"response":{"status":200}}`
	long := `{"log":{"version":"1.2","entries":[` + strings.Repeat(entry+",", 999) + entry + `]}}`
	if err := os.WriteFile(file, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-http-addr", "127.0.0.1:0", "-replay", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StderrPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address(t, out)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(err.Error(), "signal") {
				t.Errorf("it ended with %v, want a signal", err)
			}
			return
		default:
			cmd.Process.Signal(os.Interrupt)
		}
	}
}

// The built command ends within a second of a signal, with a query that waits.
func TestSignals(t *testing.T) {
	binary := build(t)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.Command(binary, "-http-addr", "127.0.0.1:0", "-log")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		url := address(t, out)
		ctx := context.Background()
		c := client(t, url)
		_, meta, err := c.Catalog().Services(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, _, err := c.Catalog().Services(ctx, &consul.QueryOptions{WaitIndex: meta.LastIndex})
			failed <- err
		}()
		for !strings.Contains(page(t, url), "waiting for") {
		}
		begin := time.Now()
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		// It takes a fraction of a second; the query would have waited for minutes.
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%v: it took %s", sig, took)
		}
		var status *consul.StatusError
		if err := <-failed; err == nil || errors.As(err, &status) {
			t.Errorf("%v: the query ended with %v", sig, err)
		}
	}
}

// page returns what the page shows.
func page(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/ui/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
