package coordination

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestStoppedProcess stops a holder for so long that somebody else has the lock. What it
// finds first, when it goes on, is that its lease is not valid, and its guarded write is
// refused.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	a := agenttest.Start(t, agenttest.Options{Config: []string{shortTTL}})
	holder := startHolder(t, a.Addr, "app/lock", ttl)
	time.Sleep(ttl)
	must(t, holder.Process.Signal(syscall.SIGSTOP))
	next := lock(t, a.Client(), "app/lock", ttl)
	must(t, guarded(a.Client(), next))
	must(t, holder.Process.Signal(syscall.SIGCONT))
	holder.want(t, "valid: false")
	holder.want(t, "refused: true")
	holder.want(t, "lost: true")
	if !next.Valid() {
		t.Error("the other lease is lost")
	}
}

// TestGuardOnAgents checks the guard on a real agent: accepted as long as the lease lasts,
// and never again.
func TestGuardOnAgents(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	a := agenttest.Start(t, agenttest.Options{Config: []string{shortTTL}})
	c := a.Client()
	l := lock(t, c, "app/lock", ttl)
	must(t, guarded(c, l))
	must(t, c.KV().Delete(context.Background(), "app/lock", nil))
	if err := guarded(c, l); !errors.Is(err, consul.ErrNotFound) {
		t.Errorf("the key is gone: %v", err)
	}
	<-l.Context().Done()
	next := lock(t, c, "app/lock", ttl)
	if err := guarded(c, l); !errors.Is(err, consul.ErrStaleIndex) {
		t.Errorf("another one has the lock: %v", err)
	}
	must(t, guarded(c, next))
}
