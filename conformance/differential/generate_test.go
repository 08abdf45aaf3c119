package differential

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestGenerate makes the same sequence of a seed every time, and another of
// another seed.
func TestGenerate(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		one := generate(7, version, 100)
		if len(one) != 100 {
			t.Errorf("%s: %d steps, want 100", version, len(one))
		}
		if !reflect.DeepEqual(one, generate(7, version, 100)) {
			t.Errorf("%s: two sequences of one seed differ", version)
		}
		if reflect.DeepEqual(one, generate(8, version, 100)) {
			t.Errorf("%s: two seeds have one sequence", version)
		}
		seen := map[int]bool{}
		for _, s := range one {
			for _, r := range s.all() {
				if r.id == 0 || seen[r.id] {
					t.Errorf("%s: request ID %d is not unique", version, r.id)
				}
				seen[r.id] = true
			}
		}
	}
}

// TestTimesStay gives nothing that runs or expires a time that ends while a sequence lasts.
func TestTimesStay(t *testing.T) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 0))}
	for range 2000 {
		for _, m := range g.odd([]member{{"Interval", `"10h"`}, {"TTL", `"10m"`}}) {
			if isTime[m.name] && m.value[0] == '1' {
				t.Fatalf("%s is %s", m.name, m.value)
			}
		}
	}
}
