//go:build go1.25

package kratos_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
)

// TestDeadDatacenter finds the instances of the datacenters that respond, at once if
// the others fail, and after a second if they hang.
func TestDeadDatacenter(t *testing.T) {
	for name, test := range map[string]struct {
		opts kratos.Options
		hang bool
		want time.Duration
	}{
		"out of reach, listed":  {opts: kratos.Options{Datacenters: []string{"dc1", "dc2", "dc9"}}},
		"out of reach, counted": {opts: kratos.Options{AllDatacenters: true}},
		"hangs, listed":         {opts: kratos.Options{Datacenters: []string{"dc1", "dc2", "dc3"}}, hang: true, want: time.Second},
		"hangs, counted":        {opts: kratos.Options{AllDatacenters: true}, hang: true, want: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, "dc2", "dc3")
				c.add("dc1", "1")
				c.add("dc2", "2")
				c.add("dc3", "3")
				if test.hang {
					c.servers["dc3"].Inject(consulmock.Fault{Path: webPath, Hang: make(chan struct{}), Always: true})
				} else {
					c.setList("dc1", "dc2", "dc9")
				}
				r := c.registry(t, &test.opts)
				for n := range 3 {
					begin := time.Now()
					list, err := r.GetService(t.Context(), "web")
					if took := time.Since(begin); err != nil || len(list) != 2 || took > test.want {
						t.Errorf("GetService %d: %d instances, %v after %s; want 2 within %s", n, len(list), err, took, test.want)
					}
				}
				begin := time.Now()
				if got := ids(watch(t, r)); got != "1 2" || time.Since(begin) > test.want {
					t.Errorf("Next: instances %q after %s; want 2 within %s", got, time.Since(begin), test.want)
				}
			})
		})
	}
}

// TestSlowDatacenter holds the first list back for a datacenter that responds within
// a second, and no later list.
func TestSlowDatacenter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "dc2", "dc3")
		c.add("dc1", "1")
		c.add("dc2", "2")
		c.add("dc3", "3")
		c.servers["dc2"].Inject(consulmock.Fault{Path: webPath, Latency: 500 * time.Millisecond})
		c.servers["dc3"].Inject(consulmock.Fault{Path: webPath, Latency: 5 * time.Second})
		w := watch(t, c.registry(t, &kratos.Options{AllDatacenters: true}))
		begin := time.Now()
		if got := ids(w); got != "1 2" || time.Since(begin) != time.Second {
			t.Errorf("instances %q after %s; want those of two datacenters after a second", got, time.Since(begin))
		}
		add(c.local, "4")
		if got := ids(w); got != "1 4 2" || time.Since(begin) != time.Second {
			t.Errorf("instances %q after %s; want the change at once", got, time.Since(begin))
		}
		if got := ids(w); got != "1 4 2 3" || time.Since(begin) != 5*time.Second {
			t.Errorf("instances %q after %s; want those of all after 5 s", got, time.Since(begin))
		}
	})
}

// TestDatacenterFailsLater keeps the last instances of a datacenter that has become
// unreachable, and sees its changes when it is back.
func TestDatacenterFailsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "dc2")
		c.add("dc1", "1")
		c.add("dc2", "2")
		w := watch(t, c.registry(t, &kratos.Options{Datacenters: []string{"dc1", "dc2"}}))
		if got := ids(w); got != "1 2" {
			t.Fatalf("instances %q", got)
		}
		c.servers["dc2"].Stop()
		time.Sleep(time.Hour)
		c.add("dc1", "3")
		if got := ids(w); got != "1 3 2" {
			t.Errorf("instances %q; want the last ones of dc2 as well", got)
		}
		c.servers["dc2"].Start()
		c.add("dc2", "4")
		begin := time.Now()
		if got := ids(w); got != "1 3 2 4" || time.Since(begin) > 3*time.Second {
			t.Errorf("instances %q after %s; want the change in dc2 soon", got, time.Since(begin))
		}
	})
}

// TestRecount sees datacenters come and go within a minute.
func TestRecount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "dc2")
		c.add("dc1", "1")
		c.add("dc2", "2")
		c.setList("dc1")
		w := watch(t, c.registry(t, &kratos.Options{AllDatacenters: true}))
		if got := ids(w); got != "1" {
			t.Fatalf("instances %q; want those of dc1", got)
		}
		for _, change := range []struct {
			list []string
			want string
		}{
			{[]string{"dc2", "dc1"}, "1 2"},
			{[]string{"dc2"}, "2"},
			{[]string{"dc1"}, "1"},
		} {
			time.Sleep(10 * time.Second)
			c.setList(change.list...)
			begin := time.Now()
			if got := ids(w); got != change.want || time.Since(begin) > time.Minute {
				t.Errorf("with %v: instances %q after %s; want %q within a minute", change.list, got, time.Since(begin), change.want)
			}
		}
		// A list without any datacenter is an error of the agent's.
		c.setList()
		time.Sleep(10 * time.Minute)
		c.add("dc1", "3")
		if got := ids(w); got != "1 3" {
			t.Errorf("without a list: instances %q; want those of the last one", got)
		}
	})
}

// TestCountAgain counts the datacenters again within seconds after the agent was away.
func TestCountAgain(t *testing.T) {
	for _, away := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, "dc2")
			c.add("dc1", "1")
			c.add("dc2", "2")
			c.setDown(true)
			w := watch(t, c.registry(t, &kratos.Options{AllDatacenters: true}))
			if _, err := w.Next(); err == nil {
				t.Fatal("no error without an agent")
			}
			time.Sleep(away)
			c.setDown(false)
			back := time.Now()
			if got := ids(w); got != "1 2" || time.Since(back) > 3*time.Second {
				t.Errorf("agent away for %s: instances %q %s after its return", away, got, time.Since(back))
			}
		})
	}
}

// TestAllDatacentersFromMemory calls GetService without a request while there is a
// watch, and for a minute after it, also while the agent is away or hangs.
func TestAllDatacentersFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "dc2")
		c.add("dc1", "1")
		c.add("dc2", "2")
		r := c.registry(t, &kratos.Options{AllDatacenters: true})
		w := watch(t, r)
		if got := ids(w); got != "1 2" {
			t.Fatalf("instances %q", got)
		}
		get := func(when string) {
			t.Helper()
			begin := time.Now()
			list, err := r.GetService(t.Context(), "web")
			if err != nil || len(list) != 2 || time.Since(begin) > 0 {
				t.Errorf("%s: %d instances, %v after %s; want 2 at once", when, len(list), err, time.Since(begin))
			}
		}
		for range 100 {
			get("with an agent")
		}
		if n := c.asked(datacentersPath); n != 1 {
			t.Errorf("the datacenters were counted %d times; want 1", n)
		}
		c.setDown(true)
		get("in an outage")
		time.Sleep(10 * time.Minute)
		get("in a long outage")
		c.setDown(false)
		remove := c.local.Inject(consulmock.Fault{Path: "/v1/**", Hang: make(chan struct{}), Always: true})
		get("when the agent hangs")
		time.Sleep(10 * time.Minute)
		get("when the agent hangs for long")
		remove()
		w.Stop()
		time.Sleep(time.Minute - time.Second)
		get("after the watch")
	})
}

// TestManyWatchersOfAllDatacenters share the requests, which end a minute after the
// last of the watchers.
func TestManyWatchersOfAllDatacenters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "dc2")
		c.add("dc1", "1")
		r := c.registry(t, &kratos.Options{AllDatacenters: true})
		var all []*kratos.Watcher
		for range 20 {
			w := watch(t, r)
			if got := next(t, w); got != "1" {
				t.Fatalf("instances %q", got)
			}
			all = append(all, w)
		}
		time.Sleep(10*time.Minute + time.Second)
		if n := c.asked(datacentersPath); n != 11 {
			t.Errorf("the datacenters were counted %d times in ten minutes; want 11 times", n)
		}
		for _, w := range all {
			w.Stop()
		}
		time.Sleep(5 * time.Minute)
		before := len(c.local.Requests())
		time.Sleep(time.Hour)
		if n := len(c.local.Requests()) - before; n != 0 {
			t.Errorf("%d requests with nobody watching", n)
		}
		if list, err := r.GetService(t.Context(), "web"); err != nil || len(list) != 1 {
			t.Errorf("GetService after that: %v, %v", list, err)
		}
	})
}

// TestDatacenterErrors returns the errors of all datacenters if none responds, and at
// once if all refuse.
func TestDatacenterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "dc2")
		for dc, status := range map[string]int{"dc1": 403, "dc2": 400} {
			c.servers[dc].Inject(consulmock.Fault{Path: webPath, Status: status, Body: "no from " + dc, Always: true})
		}
		r := c.registry(t, &kratos.Options{Datacenters: []string{"dc1", "dc2"}})
		begin := time.Now()
		_, err := r.GetService(t.Context(), "web")
		wantError(t, err, "no from dc1", "no from dc2")
		if took := time.Since(begin); took > 0 {
			t.Errorf("took %s; want no second try", took)
		}
		_, err = watch(t, r).Next()
		wantError(t, err, "no from dc1", "no from dc2")

		c.setDown(true)
		begin = time.Now()
		_, err = r.GetService(t.Context(), "db")
		wantError(t, err, "connection refused", "deadline exceeded", `"db"`)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %s; want the timeout", took)
		}
		r = c.registry(t, &kratos.Options{AllDatacenters: true})
		_, err = r.GetService(t.Context(), "db")
		wantError(t, err, "connection refused", "deadline exceeded", `"db"`)
	})
}

// TestManyDatacenters puts the lists together, in the order of the datacenters' names.
func TestManyDatacenters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dcs []string
		for n := range 20 {
			dcs = append(dcs, fmt.Sprintf("dc%02d", 20-n))
		}
		c := newCluster(t, dcs...)
		want := ""
		for n := range 20 {
			c.add(dcs[19-n], fmt.Sprint(n))
			want += fmt.Sprint(n, " ")
		}
		w := watch(t, c.registry(t, &kratos.Options{Datacenters: append(dcs, dcs...)})) // each is named twice
		if got := ids(w) + " "; got != want {
			t.Errorf("instances %q; want %q", got, want)
		}
	})
}
