//go:build go1.25

package kratos_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
)

const webPath = "/v1/health/service/web"

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

// ids is next without a limit of time.
func ids(w *kratos.Watcher) string {
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

// TestHeals measures for how long an instance is missing after the agent has lost
// everything: until the next heartbeat, which comes within 8 s, and then it is
// healthy at once.
func TestHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		i := hello("1")
		ctx, cancel := context.WithCancel(t.Context())
		if err := r.Register(ctx, i); err != nil {
			t.Fatal(err)
		}
		cancel() // the heartbeat does not depend on it
		time.Sleep(time.Hour)
		if !healthy(t, agent) {
			t.Fatal("not healthy after an hour")
		}
		agent.Restart(false)
		begin := time.Now()
		for !healthy(t, agent) {
			time.Sleep(10 * time.Millisecond)
			if time.Since(begin) > 8100*time.Millisecond {
				t.Fatal("not healthy again after 8 s")
			}
		}
		if err := r.Deregister(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if services, err := agent.Client().Agent().Services(t.Context(), nil); err != nil || len(services) > 0 {
			t.Errorf("services after Deregister: %v, %v", services, err)
		}
	})
}

func healthy(t *testing.T, agent *consulmock.Server) bool {
	t.Helper()
	entries, _, err := agent.Client().Health().Service(t.Context(), "helloworld", &consul.QueryOptions{PassingOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) == 1
}

// TestBackground registers as soon as there is an agent.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, strict := newRegistry(t, nil)
		agent.Stop()
		if err := strict.Register(t.Context(), hello("1")); err == nil {
			t.Fatal("no error without an agent")
		}
		patient := kratos.New(agent.Client(), &kratos.Options{Background: true})
		defer patient.Close()
		if err := patient.Register(t.Context(), hello("1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		agent.Start()
		time.Sleep(10 * time.Second)
		if !healthy(t, agent) {
			t.Error("not healthy 10 s after the agent's start")
		}
	})
}

// TestDeregisterInTime returns when its context ends, even if the agent hangs, and
// holds nobody else up.
func TestDeregisterInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, r := newRegistry(t, nil)
		if err := r.Register(t.Context(), hello("1")); err != nil {
			t.Fatal(err)
		}
		remove := agent.Inject(consulmock.Fault{
			Method: http.MethodPut, Path: "/v1/agent/service/deregister/1", Hang: make(chan struct{}), Always: true,
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.Deregister(ctx, hello("1")); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Deregister: %v after %s", err, time.Since(begin))
		}
		begin = time.Now()
		if err := r.Register(t.Context(), hello("2")); err != nil || time.Since(begin) > 0 {
			t.Errorf("Register of another instance: %v after %s", err, time.Since(begin))
		}
		time.Sleep(10 * time.Second)
		remove()
	})
}
