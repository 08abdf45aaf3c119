package kratos_test

import "testing"

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
