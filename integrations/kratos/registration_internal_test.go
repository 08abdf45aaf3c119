package kratos

import (
	"context"
	"fmt"
	"testing"

	"github.com/lictor-go/consul/consulmock"
)

// TestRegistrationsAreForgotten deregisters many instances, after which the registry
// holds nothing of them; nor of those that could not be registered.
func TestRegistrationsAreForgotten(t *testing.T) {
	agent := consulmock.New(t)
	r := New(agent.Client(), nil)
	defer r.Close()
	ctx := context.Background()
	for n := range 20 {
		i := &Instance{ID: fmt.Sprint(n), Name: "web"}
		if err := r.Register(ctx, i); err != nil {
			t.Fatal(err)
		}
		if err := r.Deregister(ctx, i); err != nil {
			t.Fatal(err)
		}
		agent.Inject(consulmock.Fault{Path: "/v1/agent/service/register", Status: 500})
		if err := r.Register(ctx, i); err == nil {
			t.Fatal("no error of Register")
		}
	}
	if err := r.Register(ctx, &Instance{ID: "1", Name: "web"}); err != nil { // after all turns have ended
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.registrations); n != 1 {
		t.Errorf("%d registrations; want the one that is registered", n)
	}
}
