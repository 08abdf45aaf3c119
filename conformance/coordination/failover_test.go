package coordination

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/coordination"
	"github.com/lictor-go/consul/internal/agenttest"
)

var measureTTL = flag.Duration("ttl", 3*time.Second, "TTL and LockDelay of the sessions in TestFailover; 15s is the default of the package")

// failure is something that happens to a holder, or around it.
type failure struct {
	name    string
	happens func(t *testing.T, f *field)
	process bool // the holder is a process of its own, which cannot be seen into

	// How long after the failure the holder has to notice, and another one to have the
	// lock; 0 means that nothing must be lost.
	noticed, taken func(ttl time.Duration) time.Duration
}

// minTTL is the TTL for failures that must lose nothing, for which there has to be time.
const minTTL = 15 * time.Second

// field is what a failure happens to: a holder on an agent that is a client, behind a
// network that can be silent, and a server.
type field struct {
	server, agent *agenttest.Agent
	relay         *agenttest.Relay
	holder        *process
	lease         *coordination.Lease
	key           string
}

func soon(time.Duration) time.Duration            { return slack }
func never(time.Duration) time.Duration           { return 0 }
func afterDelay(ttl time.Duration) time.Duration  { return ttl + slack }
func afterExpiry(ttl time.Duration) time.Duration { return 3*ttl + slack }
func withinLease(ttl time.Duration) time.Duration { return ttl - ttl/5 + slack }
func (f *field) session(t *testing.T) (id string) {
	p, _, err := f.server.Client().KV().Get(context.Background(), f.key, nil)
	must(t, err)
	return p.Session
}

var failures = []failure{
	{"released", func(t *testing.T, f *field) { must(t, f.lease.Release(context.Background())) }, false, soon, soon},
	{"key deleted", func(t *testing.T, f *field) { must(t, f.server.Client().KV().Delete(context.Background(), f.key, nil)) }, false, soon, soon},
	{"session destroyed", func(t *testing.T, f *field) {
		must(t, f.server.Client().Session().Destroy(context.Background(), f.session(t), nil))
	}, false, soon, afterDelay},
	{"holder's process killed", func(t *testing.T, f *field) { must(t, f.holder.Process.Kill()) }, true, nil, afterExpiry},
	{"holder's process stopped (SIGSTOP)", func(t *testing.T, f *field) { must(t, f.holder.Process.Signal(syscall.SIGSTOP)) }, true, nil, afterExpiry},
	{"holder's network silent", func(t *testing.T, f *field) { f.relay.Hold() }, false, withinLease, afterExpiry},
	{"holder's agent frozen (SIGSTOP)", func(t *testing.T, f *field) { f.agent.Signal(syscall.SIGSTOP) }, false, withinLease, afterExpiry},
	{"holder's agent killed", func(t *testing.T, f *field) { f.agent.Kill() }, false, withinLease, afterExpiry},
	{"holder's agent leaves (SIGTERM)", func(t *testing.T, f *field) { f.agent.Signal(syscall.SIGTERM) }, false, withinLease, afterExpiry},
	{"holder's agent killed, and restarted at once", func(t *testing.T, f *field) {
		f.agent.Kill()
		f.agent.Launch()
	}, false, never, never},
	{"holder's agent frozen for 5 s", func(t *testing.T, f *field) {
		f.agent.Signal(syscall.SIGSTOP)
		time.Sleep(minTTL / 3)
		f.agent.Signal(syscall.SIGCONT)
	}, false, never, never},
}

// TestFailover lets a holder fail in every way, and checks when it notices, that another
// one has the lock in time, and not before. With -v it prints a table; with -ttl 15s it is
// that of the defaults, and takes some minutes.
func TestFailover(t *testing.T) {
	t.Parallel()
	version := agenttest.Version(t)
	rows := make([]string, len(failures))
	t.Run("failures", func(t *testing.T) {
		server := agenttest.Start(t, agenttest.Options{Role: agenttest.Server, Config: []string{shortTTL}})
		for i, f := range failures {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				rows[i] = f.run(t, server, i)
			})
		}
	})
	rows = slices.DeleteFunc(rows, func(r string) bool { return r == "" })
	if testing.Verbose() {
		fmt.Printf("\nConsul %s, TTL and LockDelay %s:\n\n| what happens | the holder notices after | another one has the lock after |\n|---|---|---|\n%s\n",
			version, *measureTTL, strings.Join(rows, "\n"))
	}
}

func (f *failure) run(t *testing.T, server *agenttest.Agent, i int) (row string) {
	ttl := *measureTTL
	if f.taken(ttl) == 0 {
		ttl = max(ttl, minTTL)
	}
	// With a node of its own that others do not know.
	on := &field{server: server, key: fmt.Sprintf("app/lock-%d", i)}
	on.agent = agenttest.Start(t, agenttest.Options{Role: agenttest.Client, Node: fmt.Sprintf("client%d", i), Join: []*agenttest.Agent{server}, Config: []string{shortTTL}})
	on.relay = agenttest.NewRelay(t, on.agent.Addr)
	c, err := consul.NewClient(consul.Config{Address: on.relay.Addr})
	must(t, err)
	t.Cleanup(c.CloseIdleConnections)
	if f.process {
		on.holder = startHolder(t, on.relay.Addr, on.key, ttl)
	} else {
		on.lease = lock(t, c, on.key, ttl)
	}
	time.Sleep(ttl / 2)

	var noticed, taken time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 4*ttl+2*slack)
	defer cancel()
	if on.lease != nil {
		wg.Add(1)
		go func() {
			defer wg.Done()
			select {
			case <-on.lease.Context().Done():
				noticed = time.Since(start)
			case <-ctx.Done():
			}
		}()
	}
	f.happens(t, on)
	other := coordination.NewMutex(server.Client(), on.key, &coordination.MutexOptions{SessionOptions: options(ttl)})
	octx := ctx
	if f.taken(ttl) == 0 { // long enough for the holder to notice if anything is lost
		var cancelOther context.CancelFunc
		octx, cancelOther = context.WithTimeout(ctx, ttl+slack)
		defer cancelOther()
	}
	l, err := other.Lock(octx)
	if err == nil {
		taken = time.Since(start)
		if on.lease != nil && on.lease.Valid() {
			t.Error("two leases are valid")
		}
		must(t, l.Release(context.Background()))
	}
	if f.taken(ttl) == 0 {
		cancel()
	}
	wg.Wait()
	if f.noticed != nil {
		check(t, "the holder notices", noticed, f.noticed(ttl))
	}
	check(t, "another one has the lock", taken, f.taken(ttl))
	return fmt.Sprintf("| %s | %s | %s |", f.name, text(f.noticed != nil, noticed), text(true, taken))
}

func check(t *testing.T, what string, got, most time.Duration) {
	t.Helper()
	if (got == 0) != (most == 0) || got > most {
		t.Errorf("%s after %s; want at most %s (0: not at all)", what, got, most)
	}
}

func text(isKnown bool, d time.Duration) string {
	switch {
	case !isKnown:
		return "-"
	case d == 0:
		return "not at all: nothing is lost"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// cluster starts three servers, and returns which one leads.
func cluster(t *testing.T) (servers []*agenttest.Agent, leader int) {
	t.Helper()
	for _, name := range []string{"server1", "server2", "server3"} {
		servers = append(servers, agenttest.Prepare(t, agenttest.Options{Node: name, Role: agenttest.Server, Expect: 3, Join: servers}))
	}
	for _, s := range servers {
		s.Launch()
	}
	for _, s := range servers {
		s.WaitReady()
	}
	address, err := servers[0].Client().Status().Leader(context.Background())
	must(t, err)
	leader = slices.IndexFunc(servers, func(s *agenttest.Agent) bool { return s.RPC == address })
	if leader < 0 {
		t.Fatalf("no server has the address %s of the leader", address)
	}
	return servers, leader
}

// writes waits until a server accepts writes.
func writes(t *testing.T, a *agenttest.Agent) {
	t.Helper()
	c := a.Client()
	await(t, "a leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return c.KV().Put(ctx, &consul.KVPair{Key: "x"}, nil) == nil
	})
}

// TestLeaderKilled kills the leader of three servers. The lease of a holder on another
// server survives the election.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	const ttl = 15 * time.Second
	servers, leader := cluster(t)
	follower := servers[(leader+1)%3]
	lease := lock(t, follower.Client(), "app/lock", ttl)
	time.Sleep(ttl / 5)
	servers[leader].Kill()
	start := time.Now()
	writes(t, follower)
	t.Logf("writes again after %s", time.Since(start))
	time.Sleep(ttl)
	if !lease.Valid() {
		t.Fatalf("the lease is lost: %v", context.Cause(lease.Context()))
	}
	must(t, guarded(follower.Client(), lease))
	must(t, lease.Release(context.Background()))
	start = time.Now()
	must(t, lock(t, follower.Client(), "app/lock", ttl).Release(context.Background()))
	t.Logf("acquired again after %s", time.Since(start))
}

// TestQuorumLost kills two of three servers for longer than a lease lasts. The leader of an
// election on the third one stops leading, and leads again as soon as there is a leader of
// the servers: with a greater token, and without waiting for a lock-delay.
func TestQuorumLost(t *testing.T) {
	t.Parallel()
	const ttl = 15 * time.Second
	servers, leader := cluster(t)
	follower := servers[(leader+1)%3]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	leads, stops := make(chan *coordination.Lease), make(chan error)
	done := make(chan error, 1)
	go func() {
		e := coordination.NewElection(follower.Client(), "app/leader", &coordination.ElectionOptions{SessionOptions: options(ttl)})
		done <- e.Run(ctx, func(ctx context.Context, l *coordination.Lease) error {
			leads <- l
			<-ctx.Done()
			stops <- context.Cause(ctx)
			return nil
		})
	}()
	first := <-leads
	down := []*agenttest.Agent{servers[leader], servers[(leader+2)%3]}
	start := time.Now()
	for _, s := range down {
		s.Kill()
	}
	if cause := <-stops; !errors.Is(cause, coordination.ErrLost) {
		t.Errorf("the cause is %v", cause)
	}
	if lost := time.Since(start); lost > ttl-ttl/5+slack {
		t.Errorf("lost only after %s", lost)
	}
	for _, s := range down {
		s.Launch()
	}
	writes(t, follower)
	start = time.Now()
	again := <-leads
	took := time.Since(start)
	t.Logf("leads again %s after the servers have a leader", took)
	if again.Token() <= first.Token() || took > ttl/3+slack {
		t.Errorf("token %d follows %d after %s", again.Token(), first.Token(), took)
	}
	cancel()
	<-stops
	<-done
}
