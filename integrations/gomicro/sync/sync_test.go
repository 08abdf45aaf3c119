//go:build go1.25

package sync_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go-micro.dev/v4/sync"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
	consulsync "github.com/lictor-go/consul/integrations/gomicro/sync"
)

// bubble runs a test in virtual time with a fake agent of each version. A goroutine
// that is left behind fails the test.
func bubble(t *testing.T, test func(t *testing.T, agent *consulmock.Server)) {
	t.Helper()
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, consulmock.New(t, consulmock.WithVersion(version))) })
		})
	}
}

// open returns a Sync that is closed when the test ends.
func open(t *testing.T, agent *consulmock.Server, opts ...sync.Option) sync.Sync {
	s := consulsync.NewSync(append([]sync.Option{consulsync.Client(agent.Client())}, opts...)...)
	t.Cleanup(func() {
		if err := consulsync.Close(s); err != nil {
			t.Error(err)
		}
	})
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair returns a key, which has to exist.
func pair(t *testing.T, agent *consulmock.Server, key string) *consul.KVPair {
	t.Helper()
	p, _, err := agent.Client().KV().Get(t.Context(), key, nil)
	check(t, err)
	if p == nil {
		t.Fatalf("there is no key %s", key)
	}
	return p
}

// sessions returns how many there are.
func sessions(t *testing.T, agent *consulmock.Server) int {
	t.Helper()
	list, _, err := agent.Client().Session().List(t.Context(), nil)
	check(t, err)
	return len(list)
}

// lose ends the session that holds a key.
func lose(t *testing.T, agent *consulmock.Server, key string) {
	t.Helper()
	check(t, agent.Client().Session().Destroy(t.Context(), pair(t, agent, key).Session, nil))
	synctest.Wait()
}

// TestOnTheWire has the plugin's keys, values and flags.
func TestOnTheWire(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		s := open(t, agent, sync.Prefix("/go/"))
		check(t, s.Lock("a/b"))
		if p := pair(t, agent, "-go-a-b"); p.Session == "" || len(p.Value) != 0 || p.Flags != 0x2ddccbc058a50c18 {
			t.Errorf("the key of a lock is %+v", p)
		}
		l, err := s.Leader("db")
		check(t, err)
		if p := pair(t, agent, "-go-db"); p.Session == "" || string(p.Value) != "db" || p.Flags != 0x2ddccbc058a50c18 {
			t.Errorf("the key of a lead is %+v", p)
		}
		check(t, l.Resign())
		check(t, s.Unlock("a/b"))
		if n := sessions(t, agent); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// TestLockWaits waits for another process, and for a lock of this one.
func TestLockWaits(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		first, second := open(t, agent), open(t, agent)
		for _, other := range []sync.Sync{first, second} {
			check(t, first.Lock("a"))
			time.AfterFunc(10*time.Minute, func() { first.Unlock("a") })
			begin := time.Now()
			check(t, other.Lock("a"))
			if took := time.Since(begin).Round(time.Second); took != 10*time.Minute {
				t.Errorf("locked after %s", took)
			}
			check(t, other.Unlock("a"))
		}
	})
}

// TestLockWait gives up after a time.
func TestLockWait(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		first, second := open(t, agent), open(t, agent)
		check(t, first.Lock("a", sync.LockWait(math.MaxInt64)))
		for _, wait := range []time.Duration{1, time.Second, time.Hour} {
			begin := time.Now()
			if err := second.Lock("a", sync.LockWait(wait)); err != sync.ErrLockTimeout {
				t.Errorf("wait %s: %v", wait, err)
			}
			if took := time.Since(begin); took < wait || took > wait+time.Second {
				t.Errorf("wait %s: gave up after %s", wait, took)
			}
		}
		check(t, first.Unlock("a"))
		check(t, second.Lock("a", sync.LockWait(-1)))
	})
}

// TestContext ends calls that wait.
func TestContext(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		first := open(t, agent)
		check(t, first.Lock("a"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		second := consulsync.NewSync(sync.WithContext(ctx), consulsync.Client(agent.Client()))
		if err := second.Lock("a", sync.LockWait(time.Hour)); !errors.Is(err, context.Canceled) {
			t.Errorf("Lock: %v", err)
		}
		if _, err := second.Leader("a"); !errors.Is(err, context.Canceled) {
			t.Errorf("Leader: %v", err)
		}
	})
}

// TestLostLock loses a lock while it is held. An event tells, the context of its lease
// ends, and Unlock returns the loss.
func TestLostLock(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		var lost []coordination.LostEvent
		s := open(t, agent, consulsync.OnEvent(func(e coordination.Event) {
			if e, ok := e.(coordination.LostEvent); ok && e.Key != "" {
				lost = append(lost, e)
			}
		}))
		check(t, s.Lock("a"))
		lease, ok := consulsync.Lease(s, "a")
		if !ok || !lease.Valid() || lease.Token() == 0 {
			t.Fatalf("lease %v, %t", lease, ok)
		}
		lose(t, agent, "a")
		if lease.Valid() || !errors.Is(context.Cause(lease.Context()), coordination.ErrLost) || len(lost) != 1 || lost[0].Key != "a" {
			t.Errorf("valid %t, %v, events %v", lease.Valid(), context.Cause(lease.Context()), lost)
		}
		// Somebody else in this process gets it before the first one has noticed.
		check(t, s.Lock("a"))
		if err := s.Unlock("a"); !errors.Is(err, coordination.ErrLost) {
			t.Errorf("Unlock of the first: %v", err)
		}
		if next, ok := consulsync.Lease(s, "a"); !ok || !next.Valid() || next.Token() <= lease.Token() {
			t.Errorf("the second has lost its lease with the first: %t", ok)
		}
		check(t, s.Unlock("a"))
		if err := s.Unlock("a"); err == nil || !strings.Contains(err.Error(), `unlocking "a": it is not held`) {
			t.Errorf("Unlock without a Lock: %v", err)
		}
		if lease, ok := consulsync.Lease(s, "a"); lease != nil || ok {
			t.Error("a lease after Unlock")
		}
	})
}

// TestStatus tells that a lead is lost, once, and on the same channel.
func TestStatus(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		s := open(t, agent)
		l, err := s.Leader("db")
		check(t, err)
		select {
		case <-l.Status():
			t.Error("a status although nothing has happened")
		case <-time.After(time.Hour):
		}
		lose(t, agent, "db")
		if lost, open := <-l.Status(); !lost || !open {
			t.Errorf("after the loss: %t, %t", lost, open)
		}
		if _, open := <-l.Status(); open {
			t.Error("the loss is told twice")
		}
		for range 2 {
			check(t, l.Resign())
		}
	})
}

// TestDeletedKey deletes the key of a lead, which is a loss too.
func TestDeletedKey(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		l, err := open(t, agent).Leader("db")
		check(t, err)
		agent.RemoveKey("db")
		begin := time.Now()
		if lost := <-l.Status(); !lost || time.Since(begin) > time.Second {
			t.Errorf("%t after %s", lost, time.Since(begin))
		}
	})
}

// TestResign hands the lead over at once.
func TestResign(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		first, second := open(t, agent), open(t, agent)
		l, err := first.Leader("db")
		check(t, err)
		elected := make(chan sync.Leader)
		go func() {
			l, err := second.Leader("db")
			if err != nil {
				t.Error(err)
			}
			elected <- l
		}()
		select {
		case <-elected:
			t.Fatal("two leaders")
		case <-time.After(time.Hour):
		}
		begin := time.Now()
		check(t, l.Resign())
		check(t, (<-elected).Resign())
		if took := time.Since(begin); took > time.Second {
			t.Errorf("handed over after %s", took)
		}
		for range 2 {
			if lost, open := <-l.Status(); lost || open {
				t.Errorf("status after Resign: %t, %t", lost, open)
			}
			check(t, l.Resign())
		}
	})
}

// TestClose releases everything at once, and leaves no session.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		s := open(t, agent)
		for _, id := range []string{"a", "b", "c"} {
			check(t, s.Lock(id))
		}
		lose(t, agent, "c")
		l, err := s.Leader("db")
		check(t, err)
		if n := sessions(t, agent); n != 3 {
			t.Errorf("%d sessions", n)
		}
		for range 2 {
			check(t, consulsync.Close(s))
		}
		if n := sessions(t, agent); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if lost := <-l.Status(); lost {
			t.Error("Close counts as a loss")
		}
		check(t, s.Lock("a")) // it goes on to work
		if err := consulsync.Close(other{}); err == nil {
			t.Error("another Sync is closed")
		}
		if _, ok := consulsync.Lease(other{}, "a"); ok {
			t.Error("another Sync has leases")
		}
	})
}

type other struct{ sync.Sync }

// TestSessions checks what the options make of the sessions.
func TestSessions(t *testing.T) {
	for _, test := range []struct {
		opts           []sync.Option
		lock           []sync.LockOption
		ttl, lockDelay time.Duration
	}{
		{nil, nil, 15 * time.Second, 15 * time.Second},
		{nil, []sync.LockOption{sync.LockTTL(30 * time.Second)}, 30 * time.Second, 30 * time.Second},
		{nil, []sync.LockOption{sync.LockTTL(time.Hour)}, time.Hour, time.Minute},
		{[]sync.Option{consulsync.SessionTTL(10 * time.Second)}, nil, 10 * time.Second, 15 * time.Second},
		{[]sync.Option{consulsync.SessionTTL(10 * time.Second), consulsync.LockDelay(20 * time.Second)}, nil, 10 * time.Second, 20 * time.Second},
	} {
		bubble(t, func(t *testing.T, agent *consulmock.Server) {
			s := open(t, agent, test.opts...)
			check(t, s.Lock("a", test.lock...))
			list, _, err := agent.Client().Session().List(t.Context(), nil)
			check(t, err)
			if len(list) != 1 || list[0].TTL != test.ttl || list[0].LockDelay != test.lockDelay || list[0].Name != "go-micro" || len(list[0].NodeChecks) != 0 {
				t.Errorf("sessions %+v, want TTL %s, lock-delay %s and no checks", list, test.ttl, test.lockDelay)
			}
		})
	}
}

// TestWrongParameters returns errors, and does not wait.
func TestWrongParameters(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		s := open(t, agent)
		for _, id := range []string{"", ".", "..", "a\nb"} {
			if err := s.Lock(id); err == nil || !strings.Contains(err.Error(), "want a name of printable characters") {
				t.Errorf("Lock of %q: %v", id, err)
			}
			if _, err := s.Leader(id); err == nil || !strings.Contains(err.Error(), "want a name of printable characters") {
				t.Errorf("Leader of %q: %v", id, err)
			}
		}
		for _, ttl := range []time.Duration{1, 5 * time.Second, 100 * time.Hour} {
			begin := time.Now()
			if err := s.Lock("a", sync.LockTTL(ttl)); err == nil || !strings.Contains(err.Error(), "TTL") || time.Since(begin) > time.Second {
				t.Errorf("Lock with a TTL of %s: %v after %s", ttl, err, time.Since(begin))
			}
		}
	})
	for _, opt := range []sync.Option{consulsync.Client(nil), consulsync.Config(consul.Config{Address: "ftp://x"}), sync.Nodes("a/b", "c")} {
		s := consulsync.NewSync(opt)
		_, err := s.Leader("a")
		for _, err := range []error{err, s.Lock("a"), s.Init()} {
			if err == nil || !strings.HasPrefix(err.Error(), "gomicro: ") {
				t.Errorf("%v", err)
			}
		}
	}
}

// TestInit changes the agent for what comes later. What is held stays where it is.
func TestInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := consulmock.New(t), consulmock.New(t)
		s := open(t, first, sync.Prefix("p-"))
		check(t, s.Lock("a"))
		check(t, s.Init(consulsync.Client(second.Client()), sync.Prefix("q-")))
		check(t, s.Lock("b"))
		if p := pair(t, first, "p-a"); p.Session == "" {
			t.Errorf("at the first agent %+v", p)
		}
		if p := pair(t, second, "q-b"); p.Session == "" {
			t.Errorf("at the second agent %+v", p)
		}
		check(t, s.Unlock("a"))
		if p := pair(t, first, "p-a"); p.Session != "" {
			t.Errorf("after Unlock %+v", p)
		}
		if s.String() != "consul" || s.Options().Prefix != "q-" {
			t.Errorf("%s, %+v", s, s.Options().Prefix)
		}
	})
}

// TestContextAfterClient sets a context after the other options, and later. They stay.
func TestContextAfterClient(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := open(t, agent, consulsync.SessionTTL(20*time.Second), sync.WithContext(ctx))
		check(t, s.Lock("a"))
		check(t, s.Init(sync.WithContext(ctx)))
		check(t, s.Init(sync.WithContext(nil)))
		check(t, s.Lock("b"))
		list, _, err := agent.Client().Session().List(t.Context(), nil)
		check(t, err)
		if len(list) != 2 || list[0].TTL != 20*time.Second || list[1].TTL != 20*time.Second {
			t.Errorf("sessions %+v", list)
		}
		check(t, s.Init(sync.WithContext(ctx)))
		if err := s.Lock("a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock: %v", err)
		}
		check(t, s.Unlock("a")) // the context ends calls that wait, and no lock
	})
}

// TestUnlockAgain unlocks while the agent is away, and again when it is back.
func TestUnlockAgain(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		first, second := open(t, agent), open(t, agent)
		for _, again := range []func() error{
			func() error { return first.Unlock("a") },
			func() error { return consulsync.Close(first) },
		} {
			check(t, first.Lock("a"))
			agent.Stop()
			if err := first.Unlock("a"); err == nil || !strings.HasPrefix(err.Error(), `gomicro: unlocking "a": `) {
				t.Errorf("Unlock without an agent: %v", err)
			}
			if lease, ok := consulsync.Lease(first, "a"); ok {
				t.Errorf("a lease after Unlock: %v", lease)
			}
			agent.Start()
			check(t, again())
			begin := time.Now()
			check(t, second.Lock("a"))
			if took := time.Since(begin); took > time.Second {
				t.Errorf("locked after %s", took)
			}
			if err := first.Unlock("a"); err == nil || !strings.Contains(err.Error(), "it is not held") {
				t.Errorf("Unlock once more: %v", err)
			}
			check(t, second.Unlock("a"))
		}
		// An acquisition forgets an Unlock that has failed.
		check(t, first.Lock("a"))
		agent.Stop()
		if err := first.Unlock("a"); err == nil {
			t.Error("unlocked without an agent")
		}
		agent.Start()
		check(t, first.Lock("a"))
		check(t, first.Unlock("a"))
		if err := first.Unlock("a"); err == nil {
			t.Error("unlocked twice")
		}
	})
}

// TestResignAgain resigns while the agent is away, and again when it is back.
func TestResignAgain(t *testing.T) {
	bubble(t, func(t *testing.T, agent *consulmock.Server) {
		first, second := open(t, agent), open(t, agent)
		for _, again := range []func(sync.Leader) error{
			sync.Leader.Resign,
			func(sync.Leader) error { return consulsync.Close(first) },
		} {
			l, err := first.Leader("db")
			check(t, err)
			agent.Stop()
			if err := l.Resign(); err == nil || !strings.HasPrefix(err.Error(), `gomicro: resigning "db": `) {
				t.Errorf("Resign without an agent: %v", err)
			}
			agent.Start()
			check(t, again(l))
			begin := time.Now()
			next, err := second.Leader("db")
			check(t, err)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("elected after %s", took)
			}
			check(t, next.Resign())
		}
	})
}
