//go:build go1.25

package coordination_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/coordination"
)

func (h *host) election(value string) *coordination.Election {
	return coordination.NewElection(h.client, key, &coordination.ElectionOptions{Value: []byte(value)})
}

// Leader returns who leads, with the token of the lease, or nobody.
func TestLeader(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx := context.Background()
		e := agent.host().election("10.0.0.1")
		want := func(value string, token uint64) {
			t.Helper()
			l, err := agent.host().election("").Leader(ctx)
			if must(t, err); string(l.Value) != value || l.Token != token || (l.Session == "") != (token == 0) {
				t.Errorf("the leader is %+v", l)
			}
		}
		want("", 0)
		lease, err := e.Campaign(ctx)
		must(t, err)
		want("10.0.0.1", lease.Token())
		must(t, lease.Release(ctx))
		want("", 0) // although the value is still there
		agent.Stop()
		if _, err := e.Leader(ctx); err == nil {
			t.Error("no agent, no error")
		}
	})
}

// Observe yields the leader, every other one, and that there is none.
func TestObserve(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx, cancel := context.WithCancel(context.Background())
		var seen []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for l, err := range agent.host().election("").Observe(ctx) {
				if err != nil {
					seen = append(seen, "error")
					continue
				}
				seen = append(seen, string(l.Value))
				if (l.Session == "") != (len(l.Value) == 0) || (l.Token == 0) != (len(l.Value) == 0) {
					t.Errorf("the leader is %+v", l)
				}
			}
		}()
		term := func(value string, end func(*coordination.Lease)) {
			lease, err := agent.host().election(value).Campaign(context.Background())
			must(t, err)
			time.Sleep(time.Minute)
			end(lease)
			must(t, lease.Release(context.Background()))
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Minute)
		release := func(l *coordination.Lease) { l.Release(context.Background()) }
		term("a", release)
		term("b", release)
		term("b", func(*coordination.Lease) { agent.RemoveKey(key) })
		term("c", func(*coordination.Lease) {
			agent.client.Session().Destroy(context.Background(), agent.holder(t, key), nil)
		})
		term("d", func(*coordination.Lease) {
			agent.Stop() // a query that fails
			agent.Start()
		})
		cancel()
		<-done
		if got := fmt.Sprintf("%q", seen); got != `["" "a" "" "b" "" "b" "" "c" "" "d" "error" ""]` {
			t.Errorf("seen %s", got)
		}
		for _, err := range agent.host().election("").Observe(nilContext) {
			if err == nil {
				t.Error("a nil context is no error")
			}
		}
	})
}

// Of several candidates one leads at a time. When it steps down, another one does; when
// it has died, another one does.
func TestRun(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx, cancel := context.WithCancel(context.Background())
		leads := make(chan string)
		var hosts []*host
		ended := make(chan error)
		var last uint64
		for i := range 3 {
			h := agent.host()
			hosts = append(hosts, h)
			name := fmt.Sprint(i)
			go func() {
				ended <- h.election(name).Run(ctx, func(ctx context.Context, l *coordination.Lease) error {
					if l.Token() <= last {
						t.Errorf("token %d follows %d", l.Token(), last)
					}
					last = l.Token()
					leads <- name
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(time.Minute):
						return nil // steps down
					}
				})
			}()
		}
		first := <-leads
		start := time.Now()
		second := <-leads
		wantBetween(t, "stepped down", start, time.Minute, time.Minute+100*time.Millisecond)
		if first == second {
			t.Errorf("%s leads again; others want to", first)
		}
		var dead int
		fmt.Sscan(second, &dead)
		hosts[dead].wire.fail(silent, nil)
		start = time.Now()
		third := <-leads
		wantBetween(t, "another one leads", start, 2*ttl+lockDelay-ttl/3, 2*ttl+lockDelay+jitter)
		if third == second {
			t.Errorf("%s leads without a network", third)
		}
		hosts[dead].wire.fail(none, nil)
		cancel()
		for range hosts {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		}
		agent.wantNothing(t)
	})
}

// Run goes on after a loss with what lead returns then, and ends with another error.
func TestRunErrors(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		own := errors.New("disk full")
		terms := 0
		err := agent.host().election("").Run(context.Background(), func(ctx context.Context, l *coordination.Lease) error {
			terms++
			if terms == 4 {
				return own
			}
			must(t, agent.client.Session().Destroy(context.Background(), agent.holder(t, key), nil))
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, coordination.ErrLost) {
				t.Errorf("the cause is %v", cause)
			}
			return []error{nil, ctx.Err(), fmt.Errorf("working: %w", context.Cause(ctx))}[terms-1]
		})
		if terms != 4 || err != own {
			t.Errorf("after %d terms Run returned %v", terms, err)
		}
		agent.wantNothing(t)
	})
}

// A leader that the servers have kept during an outage leads again at once, with the same
// session and a greater token; and also when its session may have ended but has not.
func TestRunAfterOutage(t *testing.T) {
	for _, outage := range []time.Duration{lifetime + time.Second, 2*ttl - ttl/3 - time.Second} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			ctx, cancel := context.WithCancel(context.Background())
			leads := make(chan *coordination.Lease)
			done := make(chan error)
			go func() {
				done <- agent.host().election("").Run(ctx, func(ctx context.Context, l *coordination.Lease) error {
					leads <- l
					<-ctx.Done()
					return nil
				})
			}()
			first := <-leads
			session := agent.holder(t, key)
			time.Sleep(time.Minute)
			synctest.Wait()
			remove := agent.Inject(consulmock.Fault{Always: true, NoLeader: true})
			time.Sleep(outage)
			remove()
			start := time.Now()
			again := <-leads
			wantBetween(t, "leads again", start, 0, ttl/3)
			if again.Token() <= first.Token() || agent.holder(t, key) != session {
				t.Errorf("token %d follows %d; session %s follows %s", again.Token(), first.Token(), agent.holder(t, key), session)
			}
			cancel()
			<-done
			agent.wantNothing(t)
		})
	}
}

// After an outage so long that a session may have ended, what it holds is given back
// before a new one is made, should the servers have kept it.
func TestRunAfterLongOutage(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		ctx, cancel := context.WithCancel(context.Background())
		a := agent.host()
		leads := make(chan *coordination.Lease)
		done := make(chan error)
		go func() {
			done <- a.election("").Run(ctx, func(ctx context.Context, l *coordination.Lease) error {
				leads <- l
				<-ctx.Done()
				return nil
			})
		}()
		<-leads
		session := agent.holder(t, key)
		a.wire.fail(silent, nil)
		for range 10 { // as the new leader of the servers does, which knows no age
			time.Sleep(ttl)
			_, err := agent.client.Session().Renew(context.Background(), session, nil)
			must(t, err)
		}
		a.wire.fail(none, nil)
		start := time.Now()
		<-leads
		wantBetween(t, "leads again", start, 0, 2*ttl/3)
		if agent.holder(t, key) == session {
			t.Error("the session is the old one")
		}
		cancel()
		<-done
		agent.wantNothing(t)
	})
}

// Run with a session of the caller's ends with it, and leaves it.
func TestRunWithSession(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		s := a.session(t, nil)
		e := coordination.NewElection(a.client, key, &coordination.ElectionOptions{Session: s})
		ctx, cancel := context.WithCancel(context.Background())
		err := e.Run(ctx, func(context.Context, *coordination.Lease) error {
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) || agent.holder(t, key) != "" {
			t.Errorf("Run returned %v; %s holds the key", err, agent.holder(t, key))
		}
		wantOpen(t, s)
		err = e.Run(context.Background(), func(ctx context.Context, _ *coordination.Lease) error {
			must(t, agent.client.Session().Destroy(context.Background(), s.ID(), nil))
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, coordination.ErrLost) && !errors.Is(err, consul.ErrUnknownSession) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// Run gives the lead back if lead panics, or ends its goroutine, also with a session that
// stays.
func TestRunPanics(t *testing.T) {
	for _, shared := range []bool{false, true} {
		bubble(t, func(t *testing.T, agent *fakeAgent) {
			a := agent.host()
			opts := &coordination.ElectionOptions{}
			if shared {
				opts.Session = a.session(t, nil)
			}
			e := coordination.NewElection(a.client, key, opts)
			func() {
				defer func() {
					if r := recover(); r != "bug" {
						t.Errorf("recovered %v", r)
					}
				}()
				e.Run(context.Background(), func(context.Context, *coordination.Lease) error { panic("bug") })
			}()
			if h := agent.holder(t, key); h != "" {
				t.Errorf("shared: %t: %s leads", shared, h)
			}
		})
	}
}

// What lead returns after a loss does not count either if it has seen the loss by the
// context of its lease, which may end a moment before its own.
func TestRunWithContextOfLease(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		own := errors.New("enough")
		terms := 0
		err := agent.host().election("").Run(context.Background(), func(_ context.Context, l *coordination.Lease) error {
			if terms++; terms > 200 {
				return own
			}
			time.Sleep(time.Second)
			agent.RemoveKey(key)
			<-l.Context().Done()
			if terms%2 == 0 {
				return l.Context().Err()
			}
			return context.Cause(l.Context())
		})
		if err != own {
			t.Errorf("after %d terms Run returned %v", terms, err)
		}
		agent.wantNothing(t)
	})
}

// A lead that is lost at once, again and again, does not keep the servers busy.
func TestRunLosesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		a := agent.host()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		terms := 0
		err := a.election("").Run(ctx, func(ctx context.Context, _ *coordination.Lease) error {
			if terms++; terms > 1000 {
				return errors.New("too many terms")
			}
			agent.SetKey(key, []byte("another program"))
			<-ctx.Done()
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || terms < 10 || terms > 100 {
			t.Errorf("%d terms in a minute; Run returned %v", terms, err)
		}
	})
}
