package differential

import (
	"slices"
	"testing"
)

// numbered returns a sequence of steps with one request each.
func numbered(n int) []step {
	var steps []step
	for i := range n {
		steps = append(steps, step{writes: []request{{id: i + 1}}})
	}
	return steps
}

// ids returns the IDs of all requests of a sequence.
func ids(steps []step) []int {
	var list []int
	for _, s := range steps {
		for _, r := range s.all() {
			list = append(list, r.id)
		}
	}
	return list
}

// TestShrink leaves only the steps that are needed.
func TestShrink(t *testing.T) {
	needed := []int{3, 17, 18, 60}
	shows := func(steps []step) bool {
		got := ids(steps)
		for _, id := range needed {
			if !slices.Contains(got, id) {
				return false
			}
		}
		return true
	}
	if got := ids(shrink(numbered(60), 1000, shows)); !slices.Equal(got, needed) {
		t.Errorf("left %v, want %v", got, needed)
	}
	if got := ids(shrink(numbered(1), 1000, shows)); !slices.Equal(got, []int{1}) {
		t.Errorf("of one step it left %v", got)
	}
	if got := ids(shrink(numbered(60), 0, shows)); len(got) != 60 {
		t.Errorf("without a try it left %d steps, want 60", len(got))
	}
}

// TestShrinkWaits leaves only the waits that are needed, with the reads before them.
func TestShrinkWaits(t *testing.T) {
	s := step{
		reads: []request{{id: 1}, {id: 2}, {id: 3}},
		waits: []request{{id: 4, index: 1}, {id: 5, index: 2}, {id: 6, index: 3}},
	}
	short := shrink([]step{s}, 100, func(steps []step) bool { return slices.Contains(ids(steps), 5) })
	if got, want := ids(short), []int{2, 5}; !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if len(s.waits) != 3 || s.waits[0].id != 4 {
		t.Errorf("the sequence itself was changed: %v", ids([]step{s}))
	}
}
