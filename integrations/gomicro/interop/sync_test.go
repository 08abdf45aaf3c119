package interop

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go-micro.dev/v4/sync"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	consulsync "github.com/lictor-go/consul/integrations/gomicro/sync"
	"github.com/lictor-go/consul/internal/agenttest"
)

// syncs make locks and elections at an agent.
var syncs = map[string]func(addresses ...string) sync.Sync{
	"ours": func(addresses ...string) sync.Sync { return consulsync.NewSync(sync.Nodes(addresses...)) },
}

// syncScenarios are the bugs of go-micro's plugin sync/consul (v4), which is not
// available as a Go module. Its source (commit 6026888) fails each of them. Each returns
// what is wrong.
var syncScenarios = []struct {
	bug string
	run func(t *testing.T, agent *consulmock.Server, open func(addresses ...string) sync.Sync) error
}{
	{"LockWait is ignored", ignoredWait},
	{"Status never tells that the lead is lost", silentStatus},
	{"a lock that was lost is unlocked without a word", silentLoss},
	{"Init with other nodes goes on with the old ones", ignoredInit},
	{"a second agent is of no use", ignoredNodes},
}

func TestSyncBugs(t *testing.T) {
	for _, s := range syncScenarios {
		withBoth(t, s.bug, syncs, func(t *testing.T, open func(addresses ...string) sync.Sync) error {
			return s.run(t, consulmock.New(t), open)
		})
	}
}

// within returns an error if a call takes so long that it waits for ever.
func within(what string, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		return fmt.Errorf("%s has not returned", what)
	}
}

func ignoredWait(t *testing.T, agent *consulmock.Server, open func(...string) sync.Sync) error {
	first, second := open(addressOf(agent)), open(addressOf(agent))
	if err := first.Lock("a"); err != nil {
		return err
	}
	defer first.Unlock("a")
	return within("Lock", func() error {
		if err := second.Lock("a", sync.LockWait(10*time.Millisecond)); err != sync.ErrLockTimeout {
			return fmt.Errorf("Lock: %v", err)
		}
		return nil
	})
}

// lose ends the session that holds a key.
func lose(agent *consulmock.Server, key string) error {
	ctx, c := context.Background(), agent.Client()
	p, _, err := c.KV().Get(ctx, key, nil)
	if err != nil {
		return err
	}
	return c.Session().Destroy(ctx, p.Session, nil)
}

func silentStatus(t *testing.T, agent *consulmock.Server, open func(...string) sync.Sync) error {
	l, err := open(addressOf(agent)).Leader("db")
	if err != nil {
		return err
	}
	defer l.Resign()
	status := l.Status()
	if err := lose(agent, "db"); err != nil {
		return err
	}
	return within("the status", func() error {
		if lost := <-status; !lost {
			return errors.New("the status is false")
		}
		return nil
	})
}

func silentLoss(t *testing.T, agent *consulmock.Server, open func(...string) sync.Sync) error {
	s := open(addressOf(agent))
	if err := s.Lock("a"); err != nil {
		return err
	}
	if err := lose(agent, "a"); err != nil {
		return err
	}
	if lease, ok := consulsync.Lease(s, "a"); ok { // theirs cannot tell
		<-lease.Context().Done()
	}
	if err := s.Unlock("a"); err == nil {
		return errors.New("Unlock of a lock that was lost returns no error")
	}
	return nil
}

func ignoredInit(t *testing.T, agent *consulmock.Server, open func(...string) sync.Sync) error {
	s, second := open(addressOf(agent)), consulmock.New(t)
	if err := s.Init(sync.Nodes(addressOf(second))); err != nil {
		return err
	}
	if err := s.Lock("a"); err != nil {
		return err
	}
	defer s.Unlock("a")
	if p, _, err := second.Client().KV().Get(context.Background(), "a", nil); p == nil {
		return fmt.Errorf("the key is not at the second agent (%v)", err)
	}
	return nil
}

func ignoredNodes(t *testing.T, agent *consulmock.Server, open func(...string) sync.Sync) error {
	address, second := addressOf(agent), addressOf(consulmock.New(t))
	s := open(address, second)
	agent.Stop()
	return within("Lock", func() error {
		if err := s.Lock("a"); err != nil {
			return err
		}
		return s.Unlock("a")
	})
}

// TestSyncOnTheWire has the official client's lock, which is the plugin's, and ours
// exclude each other, on the fake and on a real agent, if there is one.
func TestSyncOnTheWire(t *testing.T) {
	check := func(t *testing.T, c *consul.Client, address string) {
		theirs, err := api.NewClient(&api.Config{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		lock, err := theirs.LockOpts(&api.LockOptions{Key: "a", LockTryOnce: true, LockWaitTime: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ours := consulsync.NewSync(consulsync.Client(c))
		defer consulsync.Close(ours)
		if err := ours.Lock("a"); err != nil {
			t.Fatal(err)
		}
		if lost, err := lock.Lock(nil); lost != nil || err != nil {
			t.Errorf("theirs beside ours: %v, %v", lost != nil, err)
		}
		if err := ours.Unlock("a"); err != nil {
			t.Error(err)
		}
		if lost, err := lock.Lock(nil); lost == nil || err != nil {
			t.Fatalf("theirs after ours: %v, %v", lost != nil, err)
		}
		if err := ours.Lock("a", sync.LockWait(100*time.Millisecond)); err != sync.ErrLockTimeout {
			t.Errorf("ours beside theirs: %v", err)
		}
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
		if err := ours.Lock("a"); err != nil {
			t.Errorf("ours after theirs: %v", err)
		}
	}
	t.Run("fake", func(t *testing.T) {
		agent := consulmock.New(t)
		check(t, agent.Client(), addressOf(agent))
	})
	t.Run("real", func(t *testing.T) {
		a := agenttest.Start(t, agenttest.Options{})
		check(t, a.Client(), a.Addr)
	})
}
