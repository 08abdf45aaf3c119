package discovery_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// TestNil leaves out what is needed, and gets an error that says what.
func TestNil(t *testing.T) {
	var none context.Context
	ctx := context.Background()
	web := &consul.AgentServiceRegistration{Name: "web", Port: 80}
	c := consulmock.New(t).Client()
	reg, err := discovery.Register(ctx, c, web, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	good, bad := discovery.NewResolver(c, nil), discovery.NewResolver(nil, nil)
	defer good.Close()
	defer bad.Close()
	if _, err := good.Pick(ctx, "web"); err != nil { // known from now on
		t.Fatal(err)
	}
	closed := new(closeCounter)
	closed.ReadCloser = http.NoBody
	req, _ := http.NewRequest("POST", "http://web/", closed)
	for _, test := range []struct {
		name string
		call func() error
		want string
	}{
		{"Register", func() error { _, err := discovery.Register(none, c, web, nil); return err }, "nil context"},
		{"Register", func() error { _, err := discovery.Register(ctx, nil, web, nil); return err }, "nil client"},
		{"Register", func() error { _, err := discovery.Register(ctx, c, nil, nil); return err }, "nil AgentServiceRegistration"},
		{"Update", func() error { return reg.Update(none, web) }, "nil context"},
		{"Update", func() error { return reg.Update(ctx, nil) }, "nil AgentServiceRegistration"},
		{"Watch", func() error { return firstError(discovery.Watch(none, c.Catalog().Nodes, nil)) }, "nil context"},
		{"Watch", func() error { return firstError(discovery.Watch[int](ctx, nil, nil)) }, "nil query"},
		{"WatchService", func() error { return firstError(discovery.WatchService(none, c, "web", nil)) }, "nil context"},
		{"WatchService", func() error { return firstError(discovery.WatchService(ctx, nil, "web", nil)) }, "nil client"},
		{"Pick", func() error { _, err := good.Pick(none, "web"); return err }, "nil context"},
		{"Pick", func() error { _, err := bad.Pick(ctx, "web"); return err }, "nil client"},
		{"Resolver.Watch", func() error { return firstError(good.Watch(none, "web")) }, "nil context"},
		{"DialContext", func() error { _, err := good.DialContext(none, "tcp", "127.0.0.1:1"); return err }, "nil context"},
		{"RoundTrip", func() error { _, err := discovery.NewTransport(bad, nil).RoundTrip(req); return err }, "nil client"},
		{"RoundTrip", func() error { _, err := discovery.NewTransport(nil, nil).RoundTrip(req); return err }, "nil resolver"},
	} {
		if err := test.call(); err == nil || err.Error() != "discovery: "+test.want {
			t.Errorf("%s: %v; want %s", test.name, err, test.want)
		}
	}
	if n := closed.n.Load(); n != 2 {
		t.Errorf("the body of 2 requests was closed %d times", n)
	}
	if _, known := bad.State("web"); known {
		t.Error("a resolver without a client follows a service")
	}
}

func firstError[T any](seq func(func(T, error) bool)) (first error) {
	for _, err := range seq {
		first = err
		break
	}
	return first
}
