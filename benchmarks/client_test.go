package benchmarks

import (
	"fmt"
	"testing"
)

func newRig(b *testing.B, body []byte) *Rig {
	b.Helper()
	r, err := NewRig(body)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	return r
}

// run measures an operation by each of the three clients.
func run(b *testing.B, t Trio) {
	for _, who := range []struct {
		name string
		op   Op
	}{{"ours", t.Ours}, {"api", t.API}, {"bare", t.Bare}} {
		b.Run(who.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := who.op(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHealthService(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, newRig(b, Instances(n)).HealthService(n)) })
	}
}

func BenchmarkPassTTL(b *testing.B) { run(b, newRig(b, nil).PassTTL()) }

func BenchmarkRegister(b *testing.B) { run(b, newRig(b, nil).Register()) }
