package interop

import (
	"context"
	"net/http"
	"reflect"
	"sort"
	"testing"

	"github.com/go-kratos/kratos/v2/registry"
	registryv3 "github.com/go-kratos/kratos/v3/registry"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/integrations/kratos"
	"github.com/lictor-go/consul/integrations/kratos/kratosv3"
	"github.com/lictor-go/consul/internal/agenttest"
)

// TestWire registers through each adapter and reads through each: kratos's own one,
// ours for kratos v2, and ours for kratos v3. (Kratos's own one for v3, as of
// commit 668db92c2, differs from that for v2 in nothing but what it logs. It could
// not be had as a Go module; built from its source it has passed this test with
// kratosv3, on both versions of Consul.)
func TestWire(t *testing.T) {
	test := func(t *testing.T, address string) {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		o := options{noTCPChecks: true}
		c, err := consul.NewClient(consul.Config{Address: address, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		adapters := map[string]adapter{
			"theirs": newAdapter(t, "theirs", transport, address, o),
			"v2":     newAdapter(t, "ours", transport, address, o),
			"v3":     fromV3{kratosv3.New(c, &kratos.Options{NoTCPChecks: true})},
		}
		for writerName, writer := range adapters {
			for readerName, reader := range adapters {
				t.Run(writerName+" to "+readerName, func(t *testing.T) {
					roundTrip(t, writer, reader, "from-"+writerName+"-to-"+readerName)
				})
			}
		}
	}
	t.Run("fake", func(t *testing.T) { test(t, consulmock.New(t).URL()) })
	t.Run("real", func(t *testing.T) { test(t, "http://"+agenttest.Start(t, agenttest.Options{}).Addr) })
}

func roundTrip(t *testing.T, writer, reader adapter, name string) {
	i := &registry.ServiceInstance{
		ID: name + "-1", Name: name, Version: "v1.2.3-rc=1", Metadata: map[string]string{"zone": "a", "weight": "30"},
		Endpoints: []string{"grpc://127.0.0.1:9000?isSecure=false", "http://[::1]:8000?isSecure=true"},
	}
	ctx := testContext(t)
	if err := writer.Register(ctx, i); err != nil {
		t.Fatal(err)
	}
	w, err := reader.Watch(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	list, err := w.Next()
	if err != nil || len(list) != 1 {
		t.Fatalf("Next: %v, %v; want one", list, err)
	}
	sort.Strings(list[0].Endpoints)
	if !reflect.DeepEqual(list[0], i) {
		t.Errorf("read %+v; want %+v", list[0], i)
	}
	if err := writer.Deregister(ctx, i); err != nil {
		t.Error(err)
	}
}

// fromV3 is a registry for kratos v3 with the types of v2.
type fromV3 struct{ *kratosv3.Registry }

func (f fromV3) Register(ctx context.Context, i *registry.ServiceInstance) error {
	return f.Registry.Register(ctx, (*registryv3.ServiceInstance)(i))
}

func (f fromV3) Deregister(ctx context.Context, i *registry.ServiceInstance) error {
	return f.Registry.Deregister(ctx, (*registryv3.ServiceInstance)(i))
}

func (f fromV3) GetService(ctx context.Context, name string) ([]*registry.ServiceInstance, error) {
	return toV2(f.Registry.GetService(ctx, name))
}

func (f fromV3) Watch(ctx context.Context, name string) (registry.Watcher, error) {
	w, err := f.Registry.Watch(ctx, name)
	return watcherV3{w}, err
}

type watcherV3 struct{ registryv3.Watcher }

func (w watcherV3) Next() ([]*registry.ServiceInstance, error) { return toV2(w.Watcher.Next()) }

func toV2(list []*registryv3.ServiceInstance, err error) ([]*registry.ServiceInstance, error) {
	var converted []*registry.ServiceInstance
	for _, i := range list {
		converted = append(converted, (*registry.ServiceInstance)(i))
	}
	return converted, err
}
