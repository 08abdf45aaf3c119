package coordination

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/internal/agenttest"
)

// tool starts "consul lock", with a shell command that shows that it runs by making a
// file, and runs until its input ends.
func tool(t *testing.T, a *agenttest.Agent, args ...string) (started func() bool, end func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "started")
	args = append([]string{"lock", "-pass-stdin"}, args...)
	cmd := exec.Command(agenttest.Binary(t), append(args, "touch "+file+"; cat")...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+a.Addr)
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return func() bool {
			_, err := os.Stat(file)
			return err == nil
		}, func() {
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("consul lock: %v", err)
			}
		}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for start := time.Now(); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// TestConsulLock checks that the command "consul lock" and a mutex, or a semaphore,
// exclude each other.
func TestConsulLock(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.Options{})
	c := a.Client()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t.Run("mutex", func(t *testing.T) {
		mutex := coordination.NewMutex(c, "tool/.lock", nil)
		started, end := tool(t, a, "tool")
		await(t, "the tool has the lock", started)
		if _, err := mutex.TryLock(ctx); !errors.Is(err, coordination.ErrHeld) {
			t.Fatalf("TryLock while the tool has the lock: %v", err)
		}
		locked := make(chan *coordination.Lease, 1)
		go func() {
			l, err := mutex.Lock(ctx)
			if err != nil {
				t.Error(err)
			}
			locked <- l
		}()
		end()
		l := <-locked
		started, end = tool(t, a, "tool")
		time.Sleep(time.Second)
		if started() || l == nil || !l.Valid() {
			t.Fatal("the tool runs although we have the lock")
		}
		must(t, l.Release(ctx))
		await(t, "the tool has the lock again", started)
		end()
	})
	t.Run("semaphore", func(t *testing.T) {
		semaphore := coordination.NewSemaphore(c, "pool", 2, nil)
		started, end := tool(t, a, "-n=2", "pool")
		await(t, "the tool has a place", started)
		l, err := semaphore.Acquire(ctx)
		must(t, err)
		if _, err := semaphore.TryAcquire(ctx); !errors.Is(err, coordination.ErrHeld) {
			t.Errorf("a third place: %v", err)
		}
		second, endSecond := tool(t, a, "-n=2", "pool")
		time.Sleep(time.Second)
		if second() {
			t.Fatal("the tool has a third place")
		}
		must(t, l.Release(ctx))
		await(t, "the tool has a second place", second)
		end()
		endSecond()
	})
	sessions, _, err := c.Session().List(ctx, &consul.QueryOptions{RequireConsistent: true})
	if must(t, err); len(sessions) > 0 {
		t.Errorf("%d sessions are left", len(sessions))
	}
}
