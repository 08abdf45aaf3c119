package gomicro

import (
	"errors"
	"testing"
	"time"

	"go-micro.dev/v4/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
)

// The token of the client is for everything, that of the query options for reads
// and watches.
func TestTokens(t *testing.T) {
	fake := consulmock.New(t, consulmock.WithTokens(consulmock.ServiceToken("writer", "greeter"), consulmock.ReadToken("reader")))
	config := func(token string) registry.Option {
		return Config(consul.Config{Transport: fake.Transport(), Token: token})
	}
	s := greeterAt("1", "10.0.0.1:80")
	for _, token := range []string{"", "reader", "nobody"} {
		err := NewRegistry(config(token)).Register(s, registry.RegisterTTL(time.Minute))
		if !errors.Is(err, consul.ErrPermissionDenied) {
			t.Errorf("token %q: registered with error %v", token, err)
		}
	}
	writer := NewRegistry(config("writer"))
	if err := writer.Register(s, registry.RegisterTTL(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if services, err := NewRegistry(config("")).GetService("greeter"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without a token: found %v, error %v", services, err)
	}
	reader := NewRegistry(config(""), QueryOptions(&consul.QueryOptions{Token: "reader"}))
	if services, err := reader.GetService("greeter"); err != nil || len(services) != 1 {
		t.Errorf("with a token to read: found %v, error %v", services, err)
	}
	w, err := reader.Watch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for range 2 { // consul itself is also a service
		result, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if name := result.Service.Name; result.Action != "create" || name != "greeter" && name != "consul" {
			t.Errorf("with a token to read: told %s of %s", result.Action, name)
		}
	}
	if err := writer.Deregister(s); err != nil {
		t.Error(err)
	}
}
