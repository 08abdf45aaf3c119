//go:build go1.25

package kratos_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
	"github.com/lictor-go/consul/integrations/kratos"
)

func watch(t *testing.T, r *kratos.Registry) *kratos.Watcher {
	t.Helper()
	w, err := r.Watch(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Stop() })
	return w
}

func add(agent *consulmock.Server, id string) {
	agent.AddService(&consul.AgentServiceRegistration{ID: id, Name: "web", Port: 80})
}

// TestWatcher waits for the first instance, sees each change at once, and sees the
// last instance leave.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		w := watch(t, r)
		go func() {
			time.Sleep(24 * time.Hour)
			add(agent, "1")
		}()
		begin := time.Now()
		list, err := w.Next()
		if took := time.Since(begin); err != nil || len(list) != 1 || took != 24*time.Hour {
			t.Fatalf("the first list: %v, %v after %s; want the instance when it is there", list, err, took)
		}
		begin = time.Now()
		add(agent, "2")
		if got := next(t, w); got != "1 2" {
			t.Errorf("instances %q", got)
		}
		agent.RemoveService("1")
		if got := next(t, w); got != "2" {
			t.Errorf("instances %q", got)
		}
		agent.RemoveService("2")
		if got := next(t, w); got != "" {
			t.Errorf("instances %q; want none", got)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("three changes took %s", took)
		}
		if list, err := r.GetService(t.Context(), "web"); err != nil || len(list) != 0 {
			t.Errorf("GetService: %v, %v; want none", list, err)
		}
		if n := len(agent.Requests()); n > 24*60+10 {
			t.Errorf("%d requests in a quiet day; want one a minute", n)
		}
	})
}

// TestWatcherWithoutAgent passes on the error as long as there is nothing else to
// pass on.
func TestWatcherWithoutAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		agent.Stop()
		w := watch(t, r)
		if _, err := w.Next(); err == nil {
			t.Fatal("no error without an agent")
		}
		go func() {
			time.Sleep(time.Hour)
			agent.Start()
			add(agent, "1")
		}()
		if got := ids(w); got != "1" {
			t.Fatalf("instances %q", got)
		}
		// Later outages are none of the caller's business, and watchers are not blind
		// for long after them.
		agent.Stop()
		back := make(chan time.Time, 1)
		go func() {
			time.Sleep(time.Hour)
			back <- time.Now()
			agent.Start()
			add(agent, "2")
		}()
		if got := ids(w); got != "1 2" {
			t.Errorf("instances %q", got)
		}
		if blind := time.Since(<-back); blind > 6*time.Second {
			t.Errorf("the change was seen after %s", blind)
		}
	})
}

// ids is next with a limit of two days. An error stands for the IDs.
func ids(w *kratos.Watcher) string {
	limit := time.AfterFunc(48*time.Hour, func() { w.Stop() })
	defer limit.Stop()
	list, err := w.Next()
	if err != nil {
		return err.Error()
	}
	all := ""
	for n, i := range list {
		if n > 0 {
			all += " "
		}
		all += i.ID
	}
	return all
}

// TestWatcherEnds ends Next by Stop and by the context; the bubble fails the test if
// a goroutine is left.
func TestWatcherEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newRegistry(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		timeout, cancelTimeout := context.WithTimeout(t.Context(), time.Second)
		defer cancelTimeout()
		stopped, err := r.Watch(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		cancelled, err := r.Watch(ctx, "web")
		if err != nil {
			t.Fatal(err)
		}
		timedOut, err := r.Watch(timeout, "web")
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			w    *kratos.Watcher
			end  func()
			want error
		}{
			{stopped, func() { stopped.Stop() }, context.Canceled},
			{cancelled, cancel, context.Canceled},
			{timedOut, func() {}, context.DeadlineExceeded},
		} {
			go func() {
				synctest.Wait()
				test.end()
			}()
			for range 2 {
				if _, err := test.w.Next(); !errors.Is(err, test.want) {
					t.Errorf("Next: %v; want %v", err, test.want)
				}
			}
			if err := errors.Join(test.w.Stop(), test.w.Stop()); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.Watch(ctx, "web"); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch after the end: %v", err)
		}
		if _, err := r.Watch(t.Context(), ""); err == nil {
			t.Error("Watch of nothing is no error")
		}
	})
}

// TestWatchersShare one query, which ends a minute after the last of them.
func TestWatchersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		add(agent, "1")
		var all []*kratos.Watcher
		for range 20 {
			w := watch(t, r)
			if got := next(t, w); got != "1" {
				t.Fatalf("instances %q", got)
			}
			all = append(all, w)
		}
		synctest.Wait()
		if n := len(agent.Requests()); n != 2 {
			t.Errorf("%d requests for 20 watchers; want a first one and one that waits", n)
		}
		for _, w := range all {
			w.Stop()
		}
		time.Sleep(5 * time.Minute)
		before := len(agent.Requests())
		time.Sleep(time.Hour)
		if n := len(agent.Requests()) - before; n != 0 {
			t.Errorf("%d requests with nobody watching", n)
		}
	})
}

// TestFailedFirstWatch leaves nothing behind that makes later watchers wait.
func TestFailedFirstWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		agent.Inject(consulmock.Fault{Path: webPath, Status: 500, Body: "no"})
		first := watch(t, r)
		if _, err := first.Next(); err == nil {
			t.Fatal("no error of the first watch")
		}
		first.Stop()
		add(agent, "1")
		second := watch(t, r)
		list, err := second.Next()
		if err != nil { // that the agent has not answered yet
			list, err = second.Next()
		}
		if err != nil || len(list) != 1 {
			t.Errorf("instances %v, %v; want one", list, err)
		}
	})
}

// TestIndexReset sees changes after the index went back.
func TestIndexReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		add(agent, "1")
		agent.Inject(consulmock.Fault{Path: webPath, Index: 1_000_000})
		w := watch(t, r)
		next(t, w)
		time.Sleep(2 * time.Minute)
		begin := time.Now()
		add(agent, "2")
		if got := next(t, w); got != "1 2" || time.Since(begin) > time.Second {
			t.Errorf("instances %q after %s", got, time.Since(begin))
		}
	})
}

// TestWatcherOfClosedRegistry ends with an error that ends kratos's loops, whether
// there were instances or not.
func TestWatcherOfClosedRegistry(t *testing.T) {
	for name, opts := range map[string]*kratos.Options{"one datacenter": nil, "all datacenters": {AllDatacenters: true}} {
		for _, instances := range []int{0, 1} {
			synctest.Test(t, func(t *testing.T) {
				agent, r := newRegistry(t, opts)
				w := watch(t, r)
				for range instances {
					add(agent, "1")
					next(t, w)
				}
				go func() {
					time.Sleep(time.Hour)
					r.Close()
				}()
				begin := time.Now()
				for range 3 {
					_, err := w.Next()
					if took := time.Since(begin); !errors.Is(err, discovery.ErrClosed) || !errors.Is(err, context.Canceled) || took != time.Hour {
						t.Errorf("%s, %d instances: Next: %v after %s; want ErrClosed and Canceled after an hour", name, instances, err, took)
					}
				}
				if err := w.Stop(); err != nil {
					t.Error(err)
				}
				if _, err := w.Next(); err != context.Canceled {
					t.Errorf("Next after Stop: %v; want context.Canceled", err)
				}
				if _, err := r.Watch(t.Context(), "web"); !errors.Is(err, discovery.ErrClosed) {
					t.Errorf("Watch after Close: %v", err)
				}
				if _, err := r.GetService(t.Context(), "web"); !errors.Is(err, discovery.ErrClosed) {
					t.Errorf("GetService after Close: %v", err)
				}
			})
		}
	}
}

// TestWatchOfHungAgent returns at once, and the watcher can be stopped.
func TestWatchOfHungAgent(t *testing.T) {
	for name, opts := range map[string]*kratos.Options{"one datacenter": nil, "all datacenters": {AllDatacenters: true}} {
		synctest.Test(t, func(t *testing.T) {
			agent, r := newRegistry(t, opts)
			agent.Inject(consulmock.Fault{Path: "/v1/**", Hang: make(chan struct{}), Always: true})
			begin := time.Now()
			w := watch(t, r)
			go func() {
				time.Sleep(time.Second)
				w.Stop()
			}()
			if _, err := w.Next(); err != context.Canceled || time.Since(begin) != time.Second {
				t.Errorf("%s: Next: %v after %s; want the end by Stop after a second", name, err, time.Since(begin))
			}
		})
	}
}

// TestWatchOfNothing waits for a service that never exists, with one request a minute.
func TestWatchOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		w, err := r.Watch(ctx, "nobody")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Next(); err != context.DeadlineExceeded {
			t.Errorf("Next: %v; want the end of the context", err)
		}
		if n := len(agent.Requests()); n > 65 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

// TestConcurrentNext gives each change to one of the callers, and the end to all.
func TestConcurrentNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		w := watch(t, r)
		got := make(chan error, 3)
		for range cap(got) {
			go func() {
				_, err := w.Next()
				got <- err
			}()
		}
		synctest.Wait()
		add(agent, "1")
		synctest.Wait()
		if n := len(got); n != 1 {
			t.Errorf("%d calls have got the first instance; want one", n)
		}
		w.Stop()
		for n := range cap(got) {
			if err := <-got; (err == nil) != (n == 0) {
				t.Errorf("call %d: %v", n, err)
			}
		}
	})
}
