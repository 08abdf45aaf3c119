package watch

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/internal/leaf"
)

func TestHashSeesEveryFieldButIndexes(t *testing.T) {
	h := newHasher()
	for _, v := range []any{
		[]*consul.ServiceEntry{}, consul.HealthChecks{}, []*consul.CatalogService{}, []*consul.Node{},
		consul.AgentService{}, []*consul.KVPair{},
	} {
		base := reflect.New(reflect.TypeOf(v)).Elem()
		leaf.Change(base, -1)
		for k := 0; ; k++ {
			other := reflect.New(reflect.TypeOf(v)).Elem()
			path := leaf.Change(other, k)
			if path == "" {
				break
			}
			isIndex := strings.HasSuffix(path, ".CreateIndex") || strings.HasSuffix(path, ".ModifyIndex")
			if same := h.sum(base.Interface()) == h.sum(other.Interface()); same != isIndex {
				t.Errorf("same hash when %s differs: %t", path, same)
			}
		}
	}
}

func TestHash(t *testing.T) {
	h := newHasher()
	same := func(a, b any) {
		t.Helper()
		if h.sum(a) != h.sum(b) {
			t.Errorf("%v and %v differ", a, b)
		}
	}
	differ := func(a, b any) {
		t.Helper()
		if h.sum(a) == h.sum(b) {
			t.Errorf("%v and %v are the same", a, b)
		}
	}
	// The order of a service's tags is random in catalog/services, the order of
	// instances is not.
	same(map[string][]string{"a": {"x", "y"}, "b": {}}, map[string][]string{"b": nil, "a": {"y", "x"}})
	differ(map[string][]string{"a": {"x"}, "b": {"y"}}, map[string][]string{"a": {"y"}, "b": {"x"}})
	differ(map[string][]string{"a": {"x", "x"}}, map[string][]string{"a": {"x"}})
	differ(map[string][]string{"a": {}}, map[string][]string{})
	differ([]string{"a", "b"}, []string{"b", "a"})
	differ([]string{"ab", "c"}, []string{"a", "bc"})
	differ([]string{"", "a"}, []string{"a", ""})
	same([]string{}, []string(nil))
	same(map[string]string{"a": "1", "b": "2"}, map[string]string{"b": "2", "a": "1"})
	differ(map[string]string{"a": "1", "b": "2"}, map[string]string{"a": "2", "b": "1"})
	differ(map[string]string{"a": "b"}, map[string]string{"b": "a"})
	differ((*consul.Node)(nil), &consul.Node{})
	same([]byte("x"), []byte("x"))
	differ([]byte("x"), []byte("y"))
	same(json.RawMessage(`{}`), json.RawMessage(`{}`))
	same(any(map[string]any{"a": 1.5}), any(map[string]any{"a": 1.5}))
	differ(map[string]any{"a": "1"}, map[string]any{"a": 1.0})
	differ([2]bool{true, false}, [2]bool{false, true})
	same(nil, nil)
	differ(complex(1, 2), complex(2, 1))
	same(func() {}, func() {}) // cannot be compared
	same(make(chan int), make(chan int))
}

// TestHashEnds hashes values that contain themselves.
func TestHashEnds(t *testing.T) {
	type tree struct {
		name     string
		parent   *tree
		children []*tree
	}
	grow := func(leaf string) *tree {
		root := &tree{name: "root"}
		at := root
		for range 200 { // deeper than anything that has to be walked through twice
			for range 3 {
				at.children = append(at.children, &tree{name: leaf, parent: at})
			}
			at = at.children[1]
		}
		at.name = leaf + " at the end"
		return root
	}
	h := newHasher()
	if one, other := grow("a"), grow("a"); h.sum(one) != h.sum(other) {
		t.Error("equal trees differ")
	}
	if h.sum(grow("a")) == h.sum(grow("b")) {
		t.Error("other trees are the same")
	}
	deep := func(leaf any) any {
		for range 2000 {
			leaf = []any{leaf}
		}
		return leaf
	}
	if h.sum(deep("a")) == h.sum(deep("b")) {
		t.Error("deep differences are not seen")
	}
	list := []any{nil, 1}
	list[0] = list
	table := map[string]any{}
	table["itself"] = table
	for _, v := range []any{list, table} {
		h.sum(v) // ends
	}
}
