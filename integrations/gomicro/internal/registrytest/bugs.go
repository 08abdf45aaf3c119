package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"time"

	"go-micro.dev/v4/registry"
)

// The comments tell how the official plugin, v1.2.1 with go-micro v4.11.0, failed
// these tests with an agent of version 1.21.4: TestOfficial in module interop
// shows it.

// "Must specify a single service to watch".
func testWatchAll(t *T) {
	r := t.registry()
	w := t.watch(r)
	one, two := t.service("1", "1", "10.0.0.1:80"), t.service("1", "2", "10.0.0.2:80")
	two.Name += "2"
	t.register(r, one, registry.RegisterTTL(time.Minute))
	w.want("create", one)
	t.register(r, two, registry.RegisterTTL(time.Minute))
	w.want("create", two)
	t.check(t.client.Agent().FailTTL(t.ctx(), "service:"+two.Nodes[0].Id, ""))
	w.want("delete", two)
	t.check(t.client.Agent().PassTTL(t.ctx(), "service:"+two.Nodes[0].Id, ""))
	w.want("create", two)
	t.check(r.Deregister(one))
	w.want("delete", one)
	t.check(r.Register(one))
	w.want("create", one)
}

// `CheckID "service:..." does not have associated TTL`, at every Register.
func testTCPCheckWithTTL(t *T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.check(err)
	defer l.Close()
	r := t.registry(t.adapter.TCPCheck(time.Second))
	s := t.service("1", "1", l.Addr().String())
	t.register(r, s, registry.RegisterTTL(time.Minute))
	first := t.entry(s.Name).Service.ModifyIndex
	t.check(r.Register(s, registry.RegisterTTL(time.Minute)))
	e := t.entry(s.Name)
	if e.Service.ModifyIndex != first {
		t.Error("refreshing changed the service")
	}
	for _, c := range e.Checks {
		if c.ServiceID != "" && c.Type != "tcp" {
			t.Errorf("check %s is %q", c.CheckID, c.Type)
		}
	}
}

// Only the first node was registered.
func testSeveralNodes(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	s.Nodes = append(s.Nodes, &registry.Node{Id: s.Nodes[0].Id + "b", Address: "10.0.0.2:80", Metadata: map[string]string{}})
	t.register(r, s, registry.RegisterTTL(time.Minute))
	services, err := r.GetService(s.Name)
	t.check(err)
	if len(services) != 1 || len(services[0].Nodes) != 2 {
		t.Errorf("%d services, want one with two nodes", len(services))
	}
	t.check(r.Deregister(s))
	if services, _ := r.GetService(s.Name); len(services) > 0 {
		t.Errorf("left of it: %v", services)
	}
}

// The watch asked /v1/health/service without "dc", and without regard to Connect:
// it told of the wrong node.
func testWatchOptions(t *T) {
	p := t.proxy((*httptest.Server).Start)
	r := t.adapter.New(registry.Addrs(p.address()), t.adapter.Datacenter("dc1"), t.adapter.Connect())
	native, plain := t.service("1", "1", "10.0.0.1:80"), t.service("1", "2", "10.0.0.2:80")
	w := t.watch(r, registry.WatchService(native.Name))
	t.register(t.registry(), plain)
	t.register(r, native)
	w.want("create", native)
	asked := p.asked("/v1/health/connect/" + native.Name)
	if len(asked) == 0 || asked[0].Query().Get("dc") != "dc1" {
		t.Errorf("asked %v", asked)
	}
	services, err := r.GetService(native.Name)
	t.check(err)
	if len(services) != 1 || len(services[0].Nodes) != 1 || services[0].Nodes[0].Id != native.Nodes[0].Id {
		t.Errorf("found %v", services)
	}
}

// The watch told "queue-1:0".
func testPortlessNodes(t *T) {
	r := t.registry()
	s := t.service("1", "1", "queue-1")
	w := t.watch(r, registry.WatchService(s.Name))
	t.register(r, s)
	if n := w.want("create", s); n.Address != "queue-1" {
		t.Errorf("told %q", n.Address)
	}
	services, err := r.GetService(s.Name)
	t.check(err)
	if got := services[0].Nodes[0].Address; got != "queue-1" {
		t.Errorf("got %q", got)
	}
}

// After an agent had been away for a moment, nothing was told for 5 s: the plugin
// waits 5 s times the square of the failures in a row.
func testOutage(t *T) {
	p := t.proxy((*httptest.Server).Start)
	r := t.adapter.New(registry.Addrs(p.address()))
	one, two := t.service("1", "1", "10.0.0.1:80"), t.service("1", "2", "10.0.0.2:80")
	t.register(t.registry(), one, registry.RegisterTTL(time.Minute))
	w := t.watch(r, registry.WatchService(one.Name))
	w.want("create", one)
	p.setDown(true)
	t.register(t.registry(), two, registry.RegisterTTL(time.Minute))
	<-time.After(100 * time.Millisecond) // the outage itself
	p.setDown(false)
	w.wantWithin(4500*time.Millisecond, "update", two)
}

// The goroutine that had results left for a full channel stayed for ever.
func testStopWithResultsLeft(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(r, s, registry.RegisterTTL(time.Minute))
	watcher, err := r.Watch(registry.WatchService(s.Name))
	t.check(err)
	for i := range 30 {
		s.Nodes[0].Metadata["i"] = strings.Repeat("x", i)
		t.check(r.Register(s, registry.RegisterTTL(time.Minute)))
	}
	watcher.Stop()
	watcher.Stop()
	t.eventually("no goroutine of the watcher is left", func() bool {
		stacks := make([]byte, 4<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !strings.Contains(string(stacks), "atcher)") && !strings.Contains(string(stacks), "/watch.(*Plan)")
	})
	if _, err := watcher.Next(); err != registry.ErrWatcherStopped {
		t.Errorf("Next after Stop: %v", err)
	}
}

// The timeout cut the watch, and nothing was told for the next 3 s.
func testTimeoutAndWatch(t *T) {
	p := t.proxy((*httptest.Server).Start)
	r := t.adapter.New(registry.Addrs(p.address()), registry.Timeout(200*time.Millisecond))
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(t.registry(), s, registry.RegisterTTL(time.Minute))
	w := t.watch(r, registry.WatchService(s.Name))
	w.want("create", s)
	<-time.After(500 * time.Millisecond) // more than the timeout
	if asked := p.asked("/v1/health/service/" + s.Name); len(asked) > 3 {
		t.Errorf("%d queries in half a second", len(asked))
	}
	t.check(t.client.Agent().FailTTL(t.ctx(), "service:"+s.Nodes[0].Id, ""))
	w.want("delete", s)
}

// Any certificate was accepted.
func testSecureVerifies(t *T) {
	p := t.proxy((*httptest.Server).StartTLS)
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(t.registry(), s)
	r := t.adapter.New(registry.Addrs(p.address()), registry.Secure(true), registry.Timeout(2*time.Second))
	if services, err := r.GetService(s.Name); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: got %v, error %v", services, err)
	}
	trust := &tls.Config{RootCAs: x509.NewCertPool()}
	trust.RootCAs.AddCert(p.Certificate())
	r = t.adapter.New(registry.Addrs(p.address()), registry.TLSConfig(trust))
	if services, err := r.GetService(s.Name); err != nil {
		t.Errorf("a known certificate: got %v, error %v", services, err)
	}
}

// The first agent that had responded was used for ever.
func testFailover(t *T) {
	first, second := t.proxy((*httptest.Server).Start), t.proxy((*httptest.Server).Start)
	r := t.adapter.New(registry.Addrs(first.address(), second.address()))
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(t.registry(), s, registry.RegisterTTL(time.Minute))
	w := t.watch(r, registry.WatchService(s.Name))
	w.want("create", s)
	if _, err := r.GetService(s.Name); err != nil {
		t.Fatal(err)
	}
	first.setDown(true)
	first.CloseClientConnections()
	first.Listener.Close()
	if _, err := r.GetService(s.Name); err != nil {
		t.Errorf("after the first agent has gone: %v", err)
	}
	t.check(t.client.Agent().FailTTL(t.ctx(), "service:"+s.Nodes[0].Id, ""))
	w.want("delete", s)
}

// Older plugins opened a connection for each request; v1.2.1 passes this test.
func testConnections(t *T) {
	p := t.proxy((*httptest.Server).Start)
	r := t.adapter.New(registry.Addrs(p.address()))
	s := t.service("1", "1", "10.0.0.1:80")
	t.register(r, s, registry.RegisterTTL(time.Minute))
	for range 20 {
		if _, err := r.GetService(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.connections.Load(); n > 3 {
		t.Errorf("%d connections for 22 requests", n)
	}
}

// "Key contains invalid characters": the service was not registered at all.
func testDottedMetadata(t *T) {
	r := t.registry()
	s := t.service("1", "1", "10.0.0.1:80")
	s.Nodes[0].Metadata = map[string]string{"micro.build": "7", "long": strings.Repeat("x", 600), "protocol": "mucp"}
	t.register(r, s, registry.RegisterTTL(time.Minute))
	services, err := r.GetService(s.Name)
	t.check(err)
	got := services[0].Nodes[0].Metadata
	if len(got) != 3 || got["micro.build"] != "7" || len(got["long"]) != 600 {
		t.Errorf("metadata %v", got)
	}
	if meta := t.entry(s.Name).Service.Meta; len(meta) != 1 || meta["protocol"] != "mucp" {
		t.Errorf("the agent has %v", meta)
	}
}
