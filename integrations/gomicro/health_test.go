//go:build go1.25

package gomicro

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// health is what a program thinks of itself.
type health struct {
	mu     sync.Mutex
	status consul.HealthStatus
	note   string
}

func (h *health) set(status consul.HealthStatus, note string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status, h.note = status, note
}

func (h *health) get(context.Context) (consul.HealthStatus, string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status, h.note
}

// output returns the status and the note of a node's check.
func output(t *testing.T, fake *consulmock.Server, id string) (consul.HealthStatus, string) {
	t.Helper()
	checks, err := fake.Client().Agent().Checks(t.Context(), nil)
	check(t, err)
	c := checks["service:"+id]
	if c == nil {
		t.Fatalf("no check of node %s: %v", id, checks)
	}
	return c.Status, c.Output
}

// What the function returns is what clients see: from the start, at each heartbeat
// and at each refresh.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t)
		h := &health{status: consul.HealthCritical, note: "no database"}
		r := NewRegistry(Client(fake.Client()), Health(h.get))
		told := collecting(t, r, registry.WatchService("greeter"))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		if status, note := output(t, fake, "1"); status != consul.HealthCritical || note != "no database" {
			t.Errorf("at first: %s, %q", status, note)
		}
		if got := told(); len(got) != 0 {
			t.Errorf("at first: %v", got)
		}
		h.set(consul.HealthPassing, "")
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		if got := told(); !slices.Equal(got, []string{"create greeter 1"}) {
			t.Errorf("passing at a refresh: %v", got)
		}
		h.set(consul.HealthWarning, "slow")
		time.Sleep(25 * time.Second)
		if status, note := output(t, fake, "1"); status != consul.HealthWarning || note != "slow" {
			t.Errorf("warning at a heartbeat: %s, %q", status, note)
		}
		if got := told(); len(got) != 0 {
			t.Errorf("warning at a heartbeat: %v", got)
		}
		h.set("well", "")
		time.Sleep(25 * time.Second)
		if status, note := output(t, fake, "1"); status != consul.HealthCritical || !strings.Contains(note, `"well"`) {
			t.Errorf("no status at all: %s, %q", status, note)
		}
		if got := told(); !slices.Equal(got, []string{"delete greeter 1"}) {
			t.Errorf("no status at all: %v", got)
		}
		if n := count(fake, registerPath); n != 1 {
			t.Errorf("registered %d times", n)
		}
		check(t, r.Deregister(greeter("1")))
	})
}

// Options about registrations concern those that come later.
func TestHealthThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t)
		h := &health{status: consul.HealthWarning, note: "slow"}
		r := NewRegistry(Client(fake.Client()))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		check(t, r.Init(Health(h.get)))
		for _, id := range []string{"1", "2"} {
			check(t, r.Register(greeter(id), registry.RegisterTTL(time.Minute)))
		}
		if status, note := output(t, fake, "1"); status != consul.HealthPassing || note != "" {
			t.Errorf("the first: %s, %q", status, note)
		}
		if status, note := output(t, fake, "2"); status != consul.HealthWarning || note != "slow" {
			t.Errorf("the second: %s, %q", status, note)
		}
		for _, id := range []string{"1", "2"} {
			check(t, r.Deregister(greeter(id)))
		}
	})
}

// A node without heartbeats has no status to be reported.
func TestHealthWithoutTTL(t *testing.T) {
	r := NewRegistry(Client(consulmock.New(t).Client()), Health(new(health).get))
	if err := r.Register(greeterAt("1", "10.0.0.1:80")); err == nil || !strings.Contains(err.Error(), "Health") {
		t.Errorf("error %v", err)
	}
}

// A function that hangs lets the node turn critical, and does not hold up a refresh
// for longer than the timeout.
func TestHealthThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := consulmock.New(t)
		var hangs atomic.Bool
		hung := make(chan struct{})
		r := NewRegistry(Client(fake.Client()), Health(func(context.Context) (consul.HealthStatus, string) {
			if hangs.Load() {
				<-hung
			}
			return consul.HealthPassing, ""
		}))
		check(t, r.Register(greeter("1"), registry.RegisterTTL(time.Minute)))
		hangs.Store(true)
		start := time.Now()
		if err := r.Register(greeter("1"), registry.RegisterTTL(time.Minute)); err == nil {
			t.Error("no error")
		}
		took(t, "the refresh", start, defaultTimeout)
		time.Sleep(51 * time.Second)
		if got := nodes(t, r); len(got) != 0 {
			t.Errorf("after the TTL: %v", got)
		}
		close(hung)
		check(t, r.Deregister(greeter("1")))
	})
}
