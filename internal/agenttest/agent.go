// Package agenttest starts real Consul agents for tests: one dev agent in a line, or
// servers and clients that form a cluster, with ACLs, TLS or a unix socket. It
// finds the program through the variable CONSUL_BIN, or as consul in PATH; where
// there is none, the test is skipped.
//
// An agent listens on the loopback interface only, on ports that no other test
// process uses, keeps its data in a directory of the test's, and is killed when
// the test ends. A test that fails shows the agent's log.
package agenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// ManagementToken is the token that may do everything on an agent with
// Options.ACL.
const ManagementToken = "11111111-1111-1111-1111-111111111111"

// Role tells what an agent is in its cluster.
type Role int

const (
	Dev    Role = iota // a cluster of its own, without a data directory
	Server             // with a data directory
	Client             // with a data directory
)

// Options configure an agent. The zero Options are a dev agent named node1.
type Options struct {
	Node   string // name of the node; node1 if empty
	Role   Role
	Expect int      // number of servers that elect the first leader; 1 if 0
	Join   []*Agent // whose gossip pool to join, again and again until it works
	Config []string // more configuration, in HCL

	// ACL turns ACLs on: what no token allows is denied, and ManagementToken
	// allows everything. The agent itself uses that token unless NoAgentToken.
	ACL          bool
	NoAgentToken bool

	// TLS makes the agent serve HTTPS beside HTTP. Nil means it does not.
	TLS *TLS

	// Unix makes the agent serve a unix socket instead of a TCP port.
	Unix bool

	// NoLeader makes Start return as soon as the agent responds at all. Else it
	// returns when there is a leader who knows the agent's node.
	NoLeader bool
}

// Agent is a Consul process. Its methods are not safe for concurrent use.
type Agent struct {
	Node    string
	Version string // for example 1.21.4
	Addr    string // host:port of HTTP; empty with Options.Unix
	HTTPS   string // host:port of HTTPS; empty without Options.TLS
	Socket  string // path; empty without Options.Unix
	RPC     string // host:port of the servers' protocol
	SerfLAN string // host:port of the gossip pool of the datacenter
	SerfWAN string // host:port of the gossip pool of all servers

	tb     testing.TB
	opts   Options
	bin    string
	ports  *portBlock
	dir    string
	log    *os.File
	proc   *os.Process
	exited chan struct{}
}

// Start starts an agent and waits until it is ready.
func Start(tb testing.TB, o Options) *Agent {
	tb.Helper()
	a := Prepare(tb, o)
	a.Start()
	return a
}

// Prepare chooses the ports of an agent and configures it, but does not start
// it. That lets agents join each other that are started later.
func Prepare(tb testing.TB, o Options) *Agent {
	tb.Helper()
	bin := Binary(tb)
	version, err := versionOf(bin)
	if err != nil {
		tb.Fatal(err)
	}
	if o.Node == "" {
		o.Node = "node1"
	}
	// Not TempDir of the test: its name may be too long for a unix socket.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	a := &Agent{Node: o.Node, Version: version, tb: tb, opts: o, bin: bin, dir: dir}
	if a.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		tb.Fatal(err)
	}
	if a.ports, err = reservePorts(); err != nil {
		tb.Fatal(err)
	}
	a.RPC, a.SerfLAN, a.SerfWAN = a.ports.addr(portRPC), a.ports.addr(portSerfLAN), a.ports.addr(portSerfWAN)
	if o.Unix {
		a.Socket = filepath.Join(dir, "http.sock")
	} else {
		a.Addr = a.ports.addr(portHTTP)
	}
	if o.TLS != nil {
		a.HTTPS = a.ports.addr(portHTTPS)
	}
	tb.Cleanup(a.cleanup)
	return a
}

// Binary returns the path of the program, or skips the test if there is none.
func Binary(tb testing.TB) string {
	tb.Helper()
	if bin := os.Getenv("CONSUL_BIN"); bin != "" {
		if _, err := os.Stat(bin); err != nil {
			tb.Fatalf("CONSUL_BIN: %v", err)
		}
		return bin
	}
	bin, err := exec.LookPath("consul")
	if err != nil {
		tb.Skip("no real agent: set CONSUL_BIN to the path of a consul program, or have one in PATH")
	}
	return bin
}

// Version returns the version of the program, or skips the test if there is
// none.
func Version(tb testing.TB) string {
	tb.Helper()
	version, err := versionOf(Binary(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return version
}

func versionOf(bin string) (string, error) {
	out, err := exec.Command(bin, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", bin, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	_, version, ok := strings.Cut(string(line), "Consul v")
	if !ok {
		return "", fmt.Errorf("%s version: %q is not the version of a Consul agent", bin, line)
	}
	version, _, _ = strings.Cut(version, " ")
	return version, nil
}

// Old reports whether the agent is of the oldest supported line of versions,
// 1.8.
func (a *Agent) Old() bool { return IsOld(a.Version) }

// IsOld reports whether a version is of the oldest supported line, 1.8.
func IsOld(version string) bool { return strings.HasPrefix(version, "1.8.") }

// Start starts the process of an agent that is prepared or has ended, and waits
// until it is ready.
func (a *Agent) Start() {
	a.tb.Helper()
	a.Launch()
	a.WaitReady()
}

// Launch starts the process and waits for nothing.
func (a *Agent) Launch() {
	a.tb.Helper()
	args, err := a.args()
	if err != nil {
		a.tb.Fatal(err)
	}
	cmd := exec.Command(a.bin, args...)
	cmd.Dir = a.dir
	cmd.Stdout, cmd.Stderr = a.log, a.log
	cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	exited := make(chan struct{})
	go func() {
		// The system kills the child when the thread ends that started it, not
		// the process. So that thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		a.tb.Fatal(err)
	}
	a.proc, a.exited = cmd.Process, exited
}

// Signal sends a signal to the process. It does not wait for what it does.
func (a *Agent) Signal(s os.Signal) {
	a.tb.Helper()
	if err := a.proc.Signal(s); err != nil {
		a.tb.Errorf("agent %s: signal %s: %v", a.Node, s, err)
	}
}

// WaitExit waits until the process has ended.
func (a *Agent) WaitExit() {
	a.tb.Helper()
	select {
	case <-a.exited:
	case <-time.After(30 * time.Second):
		a.tb.Fatalf("agent %s has not ended within 30 s", a.Node)
	}
}

// Exited reports whether the process has ended.
func (a *Agent) Exited() bool {
	select {
	case <-a.exited:
		return true
	default:
		return false
	}
}

// Kill ends the process at once, with no time to say anything.
func (a *Agent) Kill() {
	a.tb.Helper()
	a.Signal(syscall.SIGKILL)
	a.WaitExit()
}

// Restart kills the process if it runs, and starts it again on the same ports.
// Without keepData it has forgotten everything, its node ID included. A dev
// agent always has.
func (a *Agent) Restart(keepData bool) {
	a.tb.Helper()
	if !a.Exited() {
		a.Kill()
	}
	if !keepData {
		if err := os.RemoveAll(a.dataDir()); err != nil {
			a.tb.Fatal(err)
		}
	}
	a.Start()
}

func (a *Agent) dataDir() string { return filepath.Join(a.dir, "data") }

// Config returns the configuration of a client for the agent: over HTTP or the
// unix socket, with ManagementToken where ACLs are on.
func (a *Agent) Config() consul.Config {
	cfg := consul.Config{Address: a.Addr}
	if a.Socket != "" {
		cfg.Address = "unix://" + a.Socket
	}
	if a.opts.ACL {
		cfg.Token = ManagementToken
	}
	return cfg
}

// Client returns a client for the agent, as Config describes it. Its idle
// connections are closed when the test ends.
func (a *Agent) Client() *consul.Client {
	a.tb.Helper()
	c, err := consul.NewClient(a.Config())
	if err != nil {
		a.tb.Fatal(err)
	}
	a.tb.Cleanup(c.CloseIdleConnections)
	return c
}

// WaitReady waits until the agent responds and, unless Options.NoLeader, until
// there is a leader who knows the agent's node.
func (a *Agent) WaitReady() {
	a.tb.Helper()
	c, err := consul.NewClient(a.Config())
	if err != nil {
		a.tb.Fatal(err)
	}
	defer c.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		problem := a.notReady(ctx, c)
		if problem == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-a.exited:
			a.tb.Fatalf("agent %s ended while starting", a.Node)
		case <-ctx.Done():
			a.tb.Fatalf("agent %s is not ready after 60 s: %v", a.Node, problem)
		}
	}
}

// notReady tells why the agent is not ready, if it is not.
func (a *Agent) notReady(ctx context.Context, c *consul.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if a.opts.NoLeader {
		_, err := c.Status().Peers(ctx)
		var status *consul.StatusError
		if errors.As(err, &status) {
			err = nil
		}
		return err
	}
	leader, err := c.Status().Leader(ctx)
	if err != nil || leader == "" {
		return errors.Join(err, errors.New("there is no leader"))
	}
	checks, _, err := c.Health().Node(ctx, a.Node, nil)
	if err == nil && len(checks) == 0 {
		err = errors.New("its node is not in the catalog yet")
	}
	return err
}

// cleanup ends the process, frees the ports and shows the log of a failed test.
func (a *Agent) cleanup() {
	if a.proc != nil && !a.Exited() {
		a.proc.Kill() // also ends a process that is stopped by a signal
		<-a.exited
	}
	a.ports.free()
	a.log.Close()
	if !a.tb.Failed() {
		return
	}
	const most = 8 << 10
	log := a.Log()
	if len(log) > most {
		log = "..." + log[len(log)-most:]
	}
	a.tb.Logf("log of agent %s:\n%s", a.Node, log)
}

// Log returns what the agent has logged since it was prepared, in all its runs.
func (a *Agent) Log() string {
	a.tb.Helper()
	data, err := os.ReadFile(a.log.Name())
	if err != nil {
		a.tb.Errorf("log of agent %s: %v", a.Node, err)
	}
	return string(data)
}
