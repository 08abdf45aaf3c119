// Package coordination runs package coordination against real agents: beside the official
// tool, and while agents, servers, networks and holders fail. It measures how long it
// takes until somebody else has the lock.
package coordination

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestMain runs the tests, or the process of a holder that a test has started.
func TestMain(m *testing.M) {
	if addr := os.Getenv("COORDINATION_TEST_AGENT"); addr != "" {
		if err := hold(addr); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(agenttest.Main(m))
}

// slack is what a busy machine may add to the times.
const slack = 5 * time.Second

// shortTTL lets agents accept the TTLs of the tests.
const shortTTL = `session_ttl_min = "500ms"`

// options are those of a session with other times than the defaults.
func options(ttl time.Duration) *coordination.SessionOptions {
	return &coordination.SessionOptions{TTL: ttl, LockDelay: ttl}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lock acquires the mutex at a key.
func lock(t *testing.T, c *consul.Client, key string, ttl time.Duration) *coordination.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*ttl+30*time.Second)
	defer cancel()
	l, err := coordination.NewMutex(c, key, &coordination.MutexOptions{SessionOptions: options(ttl)}).Lock(ctx)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // there may be no agent any more
		l.Release(ctx)
	})
	return l
}

// guarded writes to a key of its own under the guard of a lease.
func guarded(c *consul.Client, l *coordination.Lease) error {
	ops := append(l.Guard(), consul.TxnOp{KV: &consul.KVTxnOp{Verb: consul.KVSet, Key: "guarded", Value: []byte("x")}})
	_, err := c.Txn().Apply(context.Background(), ops, nil)
	return err
}

// process is a holder in a process of its own.
type process struct {
	*exec.Cmd
	lines *bufio.Scanner
}

// startHolder starts a process that acquires the mutex at a key, and returns when it has.
func startHolder(t *testing.T, addr, key string, ttl time.Duration) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "COORDINATION_TEST_AGENT="+addr, "COORDINATION_TEST_KEY="+key, "COORDINATION_TEST_TTL="+ttl.String())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	p := &process{cmd, bufio.NewScanner(out)}
	p.want(t, "acquired")
	return p
}

// want fails the test unless the process prints a line that begins so.
func (p *process) want(t *testing.T, prefix string) {
	t.Helper()
	if !p.lines.Scan() || !strings.HasPrefix(p.lines.Text(), prefix) {
		t.Fatalf("the holder prints %q; want %s", p.lines.Text(), prefix)
	}
}

// hold is the process. When it was stopped for a while it prints what it finds first.
func hold(addr string) error {
	ttl, err := time.ParseDuration(os.Getenv("COORDINATION_TEST_TTL"))
	if err != nil {
		return err
	}
	c, err := consul.NewClient(consul.Config{Address: addr})
	if err != nil {
		return err
	}
	mutex := coordination.NewMutex(c, os.Getenv("COORDINATION_TEST_KEY"), &coordination.MutexOptions{SessionOptions: options(ttl)})
	lease, err := mutex.Lock(context.Background())
	if err != nil {
		return err
	}
	fmt.Println("acquired", lease.Token())
	valid := true
	for last := time.Now(); time.Since(last) < ttl; {
		last = time.Now()
		time.Sleep(time.Millisecond)
		if valid = lease.Valid(); !valid && time.Since(last) < ttl {
			return context.Cause(lease.Context())
		}
	}
	fmt.Println("valid:", valid)
	err = guarded(c, lease)
	fmt.Println("refused:", errors.Is(err, consul.ErrStaleIndex) || errors.Is(err, consul.ErrNotFound), err)
	<-lease.Context().Done()
	fmt.Println("lost:", errors.Is(context.Cause(lease.Context()), coordination.ErrLost))
	return nil
}
