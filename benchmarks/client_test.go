package benchmarks

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newRig(b *testing.B, body []byte) *Rig { return newRigAt(b, Answer{Index: 7, Body: body}) }

func newRigAt(b *testing.B, agent http.Handler) *Rig {
	b.Helper()
	s := httptest.NewServer(agent)
	b.Cleanup(s.Close)
	b.Cleanup(s.CloseClientConnections)
	r, err := NewRig(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// run measures an operation by each of the three clients.
func run(b *testing.B, t Trio) {
	for _, who := range []struct {
		name string
		op   Op
	}{{"ours", t.Ours}, {"api", t.API}, {"bare", t.Bare}} {
		b.Run(who.name, func(b *testing.B) { loop(b, who.op) })
	}
}

func loop(b *testing.B, op Op) {
	b.ReportAllocs()
	for b.Loop() {
		if err := op(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHealthService(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, newRig(b, Instances(n)).HealthService(n)) })
	}
}

func BenchmarkCatalogServices(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, newRig(b, ServiceMap(n)).CatalogServices(n)) })
	}
}

func BenchmarkPassTTL(b *testing.B) { run(b, newRig(b, nil).PassTTL()) }

func BenchmarkRegister(b *testing.B) { run(b, newRig(b, nil).Register()) }

func BenchmarkWake(b *testing.B) {
	t, err := newRig(b, Instances(1000)).Wake()
	if err != nil {
		b.Fatal(err)
	}
	run(b, t)
}

// BenchmarkChange follows a service of which some instances change each time.
func BenchmarkChange(b *testing.B) {
	for _, size := range []struct{ instances, change int }{
		{100, 1}, {1000, 1}, {10000, 1}, {1000, 10}, {1000, 100}, {1000, 1000},
	} {
		b.Run(fmt.Sprintf("%d of %d", size.change, size.instances), func(b *testing.B) {
			c, err := newRigAt(b, NewChanging(size.instances, size.change)).NewChanges(size.instances)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			runChanges(b, c)
		})
	}
}

// runChanges measures each way to follow a list that changes.
func runChanges(b *testing.B, c *Changes) {
	for _, way := range []struct {
		name string
		op   Op
	}{{"loop", c.Loop}, {"watch", c.Watch}, {"resolver", c.Resolver}, {"api", c.API}, {"floor", c.Floor}} {
		if way.op == nil {
			continue
		}
		b.Run(way.name, func(b *testing.B) {
			if err := way.op(); err != nil {
				b.Fatal(err)
			}
			loop(b, way.op)
		})
	}
}

// BenchmarkKVList reads keys.
func BenchmarkKVList(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, newRig(b, Keys(n)).KVList(n)) })
	}
}

// BenchmarkKeyChange follows a prefix of which one key changes each time.
func BenchmarkKeyChange(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("1 of %d", n), func(b *testing.B) {
			c := newRigAt(b, NewChangingKeys(n, 1)).NewKeyChanges(n)
			defer c.Close()
			runChanges(b, c)
		})
	}
}

// BenchmarkGzip reads instances from an agent on the same machine with and
// without compression, which costs both sides time and saves bytes that never
// leave the machine.
func BenchmarkGzip(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, n := range []int{10, 100, 1000} {
			g, err := NewGzip(network, n)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(g.Close)
			for _, way := range []struct {
				name string
				op   Op
			}{{"plain", g.Plain}, {"gzip", g.Zipped}} {
				b.Run(fmt.Sprintf("%s/%d/%s", network, n, way.name), func(b *testing.B) { loop(b, way.op) })
			}
		}
	}
}
