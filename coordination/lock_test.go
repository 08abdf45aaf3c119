//go:build go1.25

package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

// TryLock reports who holds the lock, or that its lock-delay is not over, without
// waiting, and leaves nothing behind.
func TestTryLock(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := context.Background()
		a, b := agent.host(), agent.host()
		lease, err := a.mutex(&coordination.MutexOptions{Value: []byte("10.0.0.1")}).TryLock(ctx)
		must(t, err)
		start := time.Now()
		_, err = b.mutex(nil).TryLock(ctx)
		var held *coordination.HeldError
		if !errors.Is(err, coordination.ErrHeld) || !errors.As(err, &held) ||
			held.Key != key || held.Sessions[0] != agent.holder(t, key) || string(held.Value) != "10.0.0.1" {
			t.Errorf("held: %v", err)
		}
		must(t, agent.client.Session().Destroy(ctx, agent.holder(t, key), nil))
		_, err = b.mutex(nil).TryLock(ctx)
		if !errors.Is(err, coordination.ErrDelayed) || !errors.Is(err, consul.ErrLockDelay) {
			t.Errorf("during the lock-delay: %v", err)
		}
		must(t, lease.Release(ctx))
		agent.Stop()
		if _, err = b.mutex(nil).TryLock(ctx); err == nil {
			t.Error("no agent: no error")
		}
		wantBetween(t, "everything has ended", start, 0, 0)
		agent.Start()
		agent.wantNothing(t)
	})
}

// The end of a context ends the wait for a lock at that moment, and leaves nothing behind.
func TestContextEndsWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a, b := agent.host(), agent.host()
		holder := a.session(t, nil)
		lease := lock(t, a.mutex(&coordination.MutexOptions{Session: holder}))
		for _, m := range []*coordination.Mutex{
			b.mutex(nil), b.mutex(&coordination.MutexOptions{Session: b.session(t, nil)}),
			a.mutex(&coordination.MutexOptions{Session: holder}), // waits for the lease of its own session
		} {
			start := time.Now()
			cause := errors.New("shutdown")
			ctx, cancel := context.WithCancelCause(context.Background())
			time.AfterFunc(100*time.Second, func() { cancel(cause) })
			l, err := m.Lock(ctx)
			if l != nil || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
				t.Errorf("Lock returned %v, %v", l, err)
			}
			wantBetween(t, "Lock has ended", start, 100*time.Second, 100*time.Second)
		}
		wantValid(t, lease)
		if sessions, _, _ := agent.client.Session().List(context.Background(), nil); len(sessions) != 2 {
			t.Errorf("%d sessions; want the two of the test", len(sessions))
		}
	})
}

// With an agent that cannot be reached Lock waits until it can, and an end of its context
// comes with the last error.
func TestLockWithoutAgent(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := agent.host().mutex(nil).Lock(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "last error was: consul: GET") {
			t.Errorf("Lock returned %v", err)
		}
		for _, o := range []coordination.SessionOptions{{}, {TTL: time.Hour, AllowOverlap: true}} {
			agent.Stop()
			time.AfterFunc(time.Minute, agent.Start)
			start := time.Now()
			lease := lock(t, agent.host().mutex(&coordination.MutexOptions{SessionOptions: &o}))
			wantBetween(t, "acquired", start, time.Minute, time.Minute+ttl/3)
			must(t, lease.Release(context.Background()))
		}
	})
}

// What an agent refuses for good is an error at once.
func TestLockRefused(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for kinds, fault := range map[string]consulmock.Fault{
			"read":   {Path: "/v1/kv/**", Status: 403, Body: "Permission denied"},
			"create": {Path: "/v1/session/create", Status: 403, Body: "Permission denied"},
			"TTL":    {Path: "/v1/session/create", Status: 500, Body: "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"},
			"txn":    {Path: "/v1/txn", Status: 403, Body: "Permission denied"},
		} {
			remove := agent.Inject(fault)
			start := time.Now()
			if _, err := agent.host().mutex(nil).Lock(context.Background()); err == nil {
				t.Errorf("%s: no error", kinds)
			}
			wantBetween(t, kinds+" is refused", start, 0, 0)
			remove()
			agent.wantNothing(t)
		}
		agent.SetKey(key, []byte("configuration"))
		if _, err := agent.host().mutex(nil).Lock(context.Background()); !errors.Is(err, coordination.ErrConflict) {
			t.Errorf("another use of the key: %v", err)
		}
	})
}

// What passes does not keep anybody from the lock.
func TestLockRetries(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, path := range []string{"/v1/kv/**", "/v1/session/create", "/v1/txn"} {
			for _, fault := range []consulmock.Fault{
				{NoLeader: true}, {RateLimit: -1}, {Status: 503, Body: "rate limit exceeded for operation"}, {Status: 500, Body: "rpc error"},
				{Status: 502}, {Status: 408}, {Drop: consulmock.ResetRequest}, {Drop: consulmock.DropAnswer}, {TruncateAt: 3}, {Body: "<html>"},
			} {
				fault.Path = path
				agent.Inject(fault)
				start := time.Now()
				lease := lock(t, agent.host().mutex(nil))
				wantBetween(t, fmt.Sprintf("%+v: acquired", fault), start, 0, ttl/15+100*time.Millisecond)
				must(t, lease.Release(context.Background()))
			}
		}
	})
}

// Reads that are old, from a server that does not know that it leads no more, do not make
// anybody send requests without a pause, and TryLock fails.
func TestOldReads(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		must(t, lock(t, agent.host().mutex(nil)).Release(context.Background()))
		remove := agent.Inject(consulmock.Fault{
			Path: "/v1/kv/**", Always: true, Status: 404, Header: http.Header{"X-Consul-Index": {"1"}},
			Match: func(r *http.Request) bool { return kind(r) != "confirm" },
		})
		a := agent.host()
		if l, err := a.mutex(nil).TryLock(context.Background()); !errors.Is(err, consul.ErrStaleIndex) {
			t.Errorf("TryLock returned %v, %v", l, err)
		}
		time.AfterFunc(time.Minute, remove)
		start := time.Now()
		lease := lock(t, a.mutex(nil))
		wantBetween(t, "acquired", start, time.Minute, time.Minute+ttl/3)
		if n := a.wire.count("txn"); n > 60 {
			t.Errorf("%d transactions", n)
		}
		must(t, lease.Release(context.Background()))
		agent.wantNothing(t)
	})
}

// With a long TTL no request takes longer than 10 s.
func TestLongTTL(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, k := range []string{"read", "create", "txn"} {
			a := agent.host()
			a.wire.failTimes(silent, 1, is(k))
			start := time.Now()
			lease := lock(t, a.mutex(&coordination.MutexOptions{SessionOptions: &coordination.SessionOptions{TTL: 24 * time.Hour, AllowOverlap: true}}))
			wantBetween(t, k+": acquired", start, 10*time.Second, 11*time.Second)
			time.Sleep(time.Hour)
			wantValid(t, lease)
			must(t, lease.Release(context.Background()))
		}
	})
}

// A response that is lost, whichever, does not keep anybody from the lock.
func TestLostResponses(t *testing.T) {
	for _, tr := range []failure{lostRequest, lostResponse, silent, mute} {
		for _, k := range []string{"read", "create", "txn", "renew", "confirm", "wait", "destroy"} {
			for _, shared := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/%s/%t", tr, k, shared), func(t *testing.T) {
					bubble(t, func(t *testing.T, agent *fakeAgent) {
						a, b := agent.host(), agent.host()
						opts := &coordination.MutexOptions{}
						if shared {
							opts.Session = a.session(t, nil)
						}
						m := a.mutex(opts)
						last := uint64(0)
						for when := range 3 {
							fail := func(moment int) {
								if moment == when {
									a.wire.failTimes(tr, 1, is(k))
								}
							}
							fail(0)
							start := time.Now()
							lease := lock(t, m)
							wantBetween(t, "acquired", start, 0, 2*ttl/3)
							fail(1)
							time.Sleep(7 * time.Second)
							wantValid(t, lease)
							if lease.Token() <= last {
								t.Errorf("token %d follows %d", lease.Token(), last)
							}
							fail(2)
							must(t, lease.Release(context.Background()))
							a.wire.fail(none, nil)
							start = time.Now()
							next := lock(t, b.mutex(nil))
							wantBetween(t, "another one has it", start, 0, 0)
							last = next.Token()
							must(t, next.Release(context.Background()))
						}
						if opts.Session != nil {
							must(t, opts.Session.Close())
						}
						time.Sleep(2 * ttl) // of a session whose creation had no response
						agent.wantNothing(t)
					})
				})
			}
		}
	}
}

// A context that ends while a request is under way, whichever, leaves nothing held: the
// agent may have carried it out.
func TestContextEndsDuringAcquisition(t *testing.T) {
	for _, k := range []string{"read", "create", "txn"} {
		for _, shared := range []bool{false, true} {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				a, b := agent.host(), agent.host()
				opts := &coordination.MutexOptions{}
				if shared {
					opts.Session = a.session(t, nil)
				}
				for _, try := range []bool{false, true} {
					m := a.mutex(opts)
					a.wire.failTimes(mute, 1, is(k))
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					start := time.Now()
					acquire := m.Lock
					if try {
						acquire = m.TryLock
					}
					l, err := acquire(ctx)
					cancel()
					if k == "create" && shared {
						must(t, err) // there is no such request
						must(t, l.Release(context.Background()))
						continue
					}
					if l != nil || !errors.Is(err, context.DeadlineExceeded) {
						t.Fatalf("%s: Lock returned %v, %v", k, l, err)
					}
					wantBetween(t, "Lock has ended", start, time.Second, time.Second)
					if h := agent.holder(t, key); h != "" {
						t.Errorf("%s: %s holds the key", k, h)
					}
					next := lock(t, b.mutex(nil))
					wantBetween(t, "another one has it", start, time.Second, time.Second)
					must(t, next.Release(context.Background()))
				}
				if opts.Session != nil {
					must(t, opts.Session.Close())
				}
				time.Sleep(2 * ttl) // of a session whose creation had no response
				agent.wantNothing(t)
			})
		}
	}
}

// An acquisition that reaches the servers only after it was given up is undone by the
// session.
func TestLateAcquisition(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		late := make(chan struct{})
		remove := agent.Inject(consulmock.Fault{Path: "/v1/txn", Latency: 4 * time.Second, Observe: nil, Match: func(*http.Request) bool {
			select {
			case <-late:
				return false
			default:
				close(late)
				return true
			}
		}})
		defer remove()
		id := s.ID()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if l, err := a.mutex(&coordination.MutexOptions{Session: s}).Lock(ctx); err == nil {
			t.Fatalf("Lock returned %v", l)
		}
		// What an agent does with a request that its client has given up:
		_, err := agent.client.KV().Acquire(context.Background(), &consul.KVPair{Key: key, Session: id, Flags: 0x2ddccbc058a50c18}, nil)
		must(t, err)
		if agent.holder(t, key) != id {
			t.Fatal("the key is not held")
		}
		time.Sleep(ttl / 3)
		synctest.Wait()
		if h := agent.holder(t, key); h != "" {
			t.Errorf("%s holds the key", h)
		}
		wantOpen(t, s)
	})
}

// A request to acquire that reaches the servers after the one that was sent in its place
// acquires nothing: the session would hold the key for nobody.
func TestLateRequest(t *testing.T) {
	for _, exists := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			m := a.mutex(&coordination.MutexOptions{Session: a.session(t, nil)})
			if exists {
				must(t, lock(t, m).Release(context.Background()))
			}
			a.wire.failTimes(lateRequest, 1, is("txn"))
			must(t, lock(t, m).Release(context.Background()))
			time.Sleep(late)
			synctest.Wait()
			if h := agent.holder(t, key); h != "" {
				t.Errorf("the key exists: %t: %s holds it", exists, h)
			}
		})
	}
}

// Somebody who writes to the key after it was read as free is not overwritten.
func TestOtherUseOfKey(t *testing.T) {
	for _, exists := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			if exists {
				must(t, lock(t, a.mutex(nil)).Release(context.Background()))
			}
			remove := agent.Inject(consulmock.Fault{Path: "/v1/session/create", Latency: time.Second})
			defer remove()
			time.AfterFunc(time.Second/2, func() { agent.SetKey(key, []byte("configuration")) })
			if _, err := a.mutex(nil).Lock(context.Background()); !errors.Is(err, coordination.ErrConflict) {
				t.Errorf("the key exists: %t: Lock returned %v", exists, err)
			}
			if p, _, err := agent.client.KV().Get(context.Background(), key, nil); err != nil || string(p.Value) != "configuration" {
				t.Errorf("the key exists: %t: it has %+v, %v", exists, p, err)
			}
		})
	}
}

// Of two calls at once, on one mutex or two, with sessions of their own or a shared one,
// one has the lock at a time.
func TestTwoLocksAtOnce(t *testing.T) {
	for _, shared := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			opts := &coordination.MutexOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			m := a.mutex(opts)
			var (
				wg     sync.WaitGroup
				mu     sync.Mutex
				inside int
				last   uint64
			)
			for i := range 10 {
				wg.Go(func() {
					mine := m
					if i%2 == 0 {
						mine = a.mutex(opts)
					}
					for range 3 {
						l := lock(t, mine)
						mu.Lock()
						if inside++; inside > 1 || l.Token() <= last {
							t.Errorf("%d have the lock; token %d follows %d", inside, l.Token(), last)
						}
						last = l.Token()
						mu.Unlock()
						time.Sleep(time.Second)
						wantValid := l.Valid()
						mu.Lock()
						inside--
						mu.Unlock()
						if !wantValid {
							t.Errorf("lost: %v", context.Cause(l.Context()))
						}
						must(t, l.Release(context.Background()))
					}
				})
			}
			wg.Wait()
			if shared {
				if _, err := m.TryLock(context.Background()); err != nil {
					t.Error(err)
				}
				_, err := m.TryLock(context.Background())
				if !errors.Is(err, coordination.ErrHeld) {
					t.Errorf("the lock of the same session: %v", err)
				}
				must(t, opts.Session.Close())
			}
			agent.wantNothing(t)
		})
	}
}

// When a lock is released, few of those who wait write to the servers.
func TestNoHerd(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a, b := agent.host(), agent.host()
		lease := lock(t, a.mutex(nil))
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan *coordination.Lease, 100)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if l, err := b.mutex(nil).Lock(ctx); err == nil {
					got <- l
				}
			})
		}
		time.Sleep(time.Minute)
		before := b.wire.count("txn")
		start := time.Now()
		must(t, lease.Release(ctx))
		lease = <-got
		wantBetween(t, "handed over", start, 0, 50*time.Millisecond)
		time.Sleep(time.Second)
		if n := b.wire.count("txn") - before; n > 3 {
			t.Errorf("%d of 100 tried to acquire the lock", n)
		}
		if n := b.wire.count("create"); n > 4 {
			t.Errorf("%d sessions for 100 who wait", n)
		}
		cancel()
		wg.Wait()
		must(t, lease.Release(context.Background()))
		agent.wantNothing(t)
	})
}

// A response without the key is an error, and what the agent has done is found.
func TestOddResponse(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for _, body := range []string{"{}", `{"Results":[]}`, `{"Results":[null]}`, `{"Results":[{"KV":null}]}`, "[]", "true", "x"} {
			agent.Inject(consulmock.Fault{Path: "/v1/txn", Status: 200, Body: body})
			start := time.Now()
			lease := lock(t, agent.host().mutex(nil))
			wantBetween(t, "acquired", start, 0, time.Second)
			must(t, lease.Release(context.Background()))
			agent.Inject(consulmock.Fault{Path: "/v1/txn", Status: 200, Body: body})
			if l, err := agent.host().mutex(nil).TryLock(context.Background()); err == nil {
				t.Errorf("%s: TryLock returned %v", body, l)
			}
			agent.wantNothing(t)
		}
	})
}

// The session of another agent's servers is an error, not the loss of the session. That
// it really has ended is found out, too.
func TestSessionOfOtherServers(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		lease := lock(t, a.mutex(&coordination.MutexOptions{Session: s}))
		other := consulmock.New(t)
		m := coordination.NewMutex(other.Client(), "other", &coordination.MutexOptions{Session: s})
		for _, acquire := range []func(context.Context) (*coordination.Lease, error){m.Lock, m.TryLock} {
			if _, err := acquire(context.Background()); err == nil || !strings.Contains(err.Error(), "different servers") || errors.Is(err, coordination.ErrLost) {
				t.Errorf("got %v", err)
			}
		}
		wantOpen(t, s)
		wantValid(t, lease)
		must(t, lease.Release(context.Background()))
		m = coordination.NewMutex(agent.host().client, key, &coordination.MutexOptions{Session: s})
		must(t, lock(t, m).Release(context.Background()))
		agent.InvalidateSession(s.ID())
		if _, err := m.Lock(context.Background()); !errors.Is(err, coordination.ErrLost) {
			t.Errorf("after the end of the session: %v", err)
		}
	})
}

// A value that fits into a transaction fits into a lock, however that is acquired.
func TestLargeValue(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		value := make([]byte, 380<<10)
		m := a.mutex(&coordination.MutexOptions{Value: value, Session: a.session(t, nil)})
		lease := lock(t, m) // there is no such key
		must(t, lease.Release(context.Background()))
		lease = lock(t, m) // there is one
		must(t, agent.client.KV().Put(context.Background(), &consul.KVPair{Key: key, Flags: 0x2ddccbc058a50c18}, nil))
		wantLost(t, lease, coordination.LossOverwritten)
		lease = lock(t, m) // and the session holds it
		p, _, err := agent.client.KV().Get(context.Background(), key, nil)
		if must(t, err); len(p.Value) != len(value) || p.Flags != 0x2ddccbc058a50c18 {
			t.Errorf("the value has %d bytes, the flags are %#x", len(p.Value), p.Flags)
		}
		must(t, lease.Release(context.Background()))
	})
}

// What is wrong with the parameters is an error that names it, and nothing is sent.
func TestParameters(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := context.Background()
		s := agent.host().session(t, nil)
		before := len(agent.Requests())
		mutex := func(key string, opts *coordination.MutexOptions) error {
			_, err := coordination.NewMutex(agent.client, key, opts).TryLock(ctx)
			return err
		}
		semaphore := func(prefix string, limit int) error {
			_, err := coordination.NewSemaphore(agent.client, prefix, limit, nil).TryAcquire(ctx)
			return err
		}
		_, noClient := coordination.NewMutex(nil, "k", nil).Lock(ctx)
		_, noContext := coordination.NewMutex(agent.client, "k", nil).Lock(nilContext)
		_, noSession := coordination.NewSession(nilContext, agent.client, nil)
		_, noSessionClient := coordination.NewSession(ctx, nil, nil)
		election := coordination.NewElection(agent.client, "k", nil)
		_, leader := election.Leader(nilContext)
		_, zeroMutex := new(coordination.Mutex).Lock(ctx)
		_, zeroLeader := new(coordination.Election).Leader(ctx)
		for want, err := range map[string]error{
			`key "": it is empty`:                       mutex("", nil),
			`key "/a": it starts`:                       mutex("/a", nil),
			`key "a//b": it has an empty element`:       mutex("a//b", nil),
			`key "a/../b": it has an element`:           mutex("a/../b", nil),
			`key "a\nb": it has a character`:            mutex("a\nb", nil),
			`key "a\xff": it is not UTF-8`:              mutex("a\xff", nil),
			`key "a//": it has an empty element`:        semaphore("a//", 1),
			"both a Session and SessionOptions":         mutex("k", &coordination.MutexOptions{Session: s, SessionOptions: &coordination.SessionOptions{}}),
			"TTL is -1ns":                               mutex("k", &coordination.MutexOptions{SessionOptions: &coordination.SessionOptions{TTL: -1}}),
			`semaphore "k": limit is 0; want 1 or more`: semaphore("k", 0),
			`semaphore "k": limit is -1`:                semaphore("k", -1),
			"nil client":                                noClient,
			"nil context":                               noContext,
			"coordination: nil context":                 noSession,
			"coordination: nil client":                  noSessionClient,
			"nil function":                              election.Run(ctx, nil),
			"coordination: nil contex":                  election.Run(nilContext, nil),
			"coordination: nil conte":                   leader,
			"not made by NewMutex":                      zeroMutex,
			"or NewElection":                            zeroLeader,
			"the Session was not made by NewSession":    mutex("k", &coordination.MutexOptions{Session: new(coordination.Session)}),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v; want %s", err, want)
			}
		}
		if n := len(agent.Requests()) - before; n > 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

// A session that is gone as soon as it was made is not made again at full speed.
func TestSessionsThatDoNotLast(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		remove := agent.Inject(consulmock.Fault{Path: "/v1/txn", Always: true, Status: 409,
			Body: `{"Results":null,"Errors":[{"OpIndex":1,"What":"invalid session \"x\""}]}`})
		defer remove()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := a.mutex(nil).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, consul.ErrUnknownSession) {
			t.Errorf("Lock returned %v", err)
		}
		if n := a.wire.count("create"); n < 10 || n > 100 {
			t.Errorf("%d sessions in a minute", n)
		}
		if _, err := a.mutex(nil).TryLock(context.Background()); !errors.Is(err, consul.ErrUnknownSession) {
			t.Errorf("TryLock returned %v", err)
		}
	})
}
