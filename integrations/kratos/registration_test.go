package kratos_test

import (
	"testing"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/integrations/kratos"
)

func TestRegisterAgainAndDeregister(t *testing.T) {
	agent, r := newRegistry(t, nil)
	w, err := r.Watch(testContext(t), "helloworld")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	i := hello("1")
	for range 3 { // the same again changes nothing
		if err := r.Register(testContext(t), i); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(t, w); got != "1" {
		t.Fatalf("instances %q", got)
	}
	i.Version = "v2"
	if err := r.Register(testContext(t), i); err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "1" { // never gone in between
		t.Fatalf("instances %q", got)
	}
	if n := countPuts(agent, "register"); n != 2 {
		t.Errorf("%d registrations; want 2", n)
	}
	if err := r.Deregister(testContext(t), i); err != nil {
		t.Fatal(err)
	}
	if got := next(t, w); got != "" {
		t.Fatalf("instances %q; want none", got)
	}
	for range 2 { // what is not registered is deregistered
		if err := r.Deregister(testContext(t), hello("other")); err != nil {
			t.Error(err)
		}
	}
	if n := countPuts(agent, "deregister/1"); n != 1 {
		t.Errorf("%d deregistrations; want 1", n)
	}
	if err := r.Register(testContext(t), i); err != nil { // and once more
		t.Fatal(err)
	}
	if got := next(t, w); got != "1" {
		t.Fatalf("instances %q", got)
	}
}

// TestChecksWithID shows why the CheckID of Options.Checks should be empty: the second
// instance takes the check of the first.
func TestChecksWithID(t *testing.T) {
	for id, want := range map[string]int{"": 2, "own": 1} {
		agent, r := newRegistry(t, &kratos.Options{
			NoTCPChecks: true, NoHeartbeat: true, Checks: []*consul.AgentServiceCheck{{CheckID: id, TTL: time.Minute}},
		})
		for _, instance := range []string{"1", "2"} {
			if err := r.Register(testContext(t), hello(instance)); err != nil {
				t.Fatal(err)
			}
		}
		if checks, err := agent.Client().Agent().Checks(testContext(t), nil); err != nil || len(checks) != want {
			t.Errorf("CheckID %q: %d checks, %v; want %d", id, len(checks), err, want)
		}
	}
}
