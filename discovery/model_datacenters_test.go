//go:build go1.25

package discovery_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestModelDatacenters takes random steps in three datacenters: instances come and
// go, and each datacenter fails in every way. After each quiet period the instances
// are those of the first datacenter that has any.
func TestModelDatacenters(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { modelDatacenters(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func modelDatacenters(t *testing.T, random *rand.Rand) {
	names := []string{"dc1", "dc2", "dc3"}
	agents := map[string]*fakeAgent{}
	for _, dc := range names {
		agents[dc] = newFakeAgent(t, consulmock.WithDatacenter(dc))
	}
	c, err := consul.NewClient(consul.Config{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return agents[r.URL.Query().Get("dc")].wire.RoundTrip(r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	r := discovery.NewResolver(c, &discovery.ResolverOptions{Datacenters: names, MaxQueries: 5})
	defer r.Close()
	var seen string
	go func() {
		for list, err := range r.Watch(t.Context(), "web") {
			if err == nil {
				seen = ids(list)
			}
		}
	}()
	there := map[string]map[string]bool{"dc1": {}, "dc2": {}, "dc3": {}}
	var heal []func()
	var trace []string
	step := func() {
		dc := names[random.IntN(len(names))]
		id := fmt.Sprint(dc, "-", random.IntN(2))
		switch n := random.IntN(8); {
		case n < 4 && there[dc][id]:
			trace = append(trace, "remove "+id)
			agents[dc].RemoveService(id)
			delete(there[dc], id)
		case n < 4:
			trace = append(trace, "add "+id)
			agents[dc].AddService(&consul.AgentServiceRegistration{Name: "web", ID: id})
			there[dc][id] = true
		case n < 6:
			f := []consulmock.Fault{
				{Status: 500, Body: "No path to datacenter"}, {Status: 403, Body: "Permission denied"}, {Hang: make(chan struct{})},
				{Drop: consulmock.DropRequest}, {RateLimit: time.Second}, {Index: 1}, {NoLeader: true},
			}[random.IntN(7)]
			f.Path, f.Always = "/v1/health/**", true
			trace = append(trace, fmt.Sprintf("fault in %s: %d %q", dc, f.Status, f.Body))
			heal = append(heal, agents[dc].Inject(f))
		}
		time.Sleep(time.Duration(random.IntN(30)) * time.Second)
	}
	for range 100 {
		for range 8 {
			step()
		}
		for _, f := range heal {
			f()
		}
		heal = nil
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		want := ""
		for _, dc := range names {
			for n := range 2 {
				if id := fmt.Sprint(dc, "-", n); there[dc][id] {
					want += " " + id
				}
			}
			if want != "" {
				break
			}
		}
		if " "+seen != want && seen != want {
			t.Fatalf("sees %q, want%q; steps: %q", seen, want, trace)
		}
		if state, _ := r.State("web"); state.Err != nil {
			t.Fatalf("error %v; steps: %q", state.Err, trace)
		}
		for _, dc := range names {
			if now, _ := agents[dc].wire.inFlight(); now > 1 {
				t.Fatalf("%d queries about %s", now, dc)
			}
		}
		trace = nil
	}
}
