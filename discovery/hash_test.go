package discovery

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/lictor-go/consul"
)

// leaves calls visit for every leaf of v that can be set, with its path. Nil
// pointers, slices and maps on the way are given one element.
func leaves(v reflect.Value, path string, visit func(path string, leaf reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		leaves(v.Elem(), path, visit)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				leaves(v.Field(i), path+"."+f.Name, visit)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		leaves(v.Index(0), path+"[0]", visit)
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		leaves(elem, path+"[k]", func(path string, leaf reflect.Value) {
			visit(path, leaf)
			v.SetMapIndex(reflect.ValueOf("k"), elem)
		})
		v.SetMapIndex(reflect.ValueOf("k"), elem)
	default:
		visit(path, v)
	}
}

// change sets a leaf to something else.
func change(leaf reflect.Value) {
	switch leaf.Kind() {
	case reflect.String:
		leaf.SetString(leaf.String() + "x")
	case reflect.Bool:
		leaf.SetBool(!leaf.Bool())
	case reflect.Int, reflect.Int64:
		leaf.SetInt(leaf.Int() + 1)
	case reflect.Uint8, reflect.Uint64:
		leaf.SetUint(leaf.Uint() + 1)
	default:
		panic("cannot change a " + leaf.Kind().String())
	}
}

// changeLeaf changes one leaf of v and returns its path, or an empty string if
// there are not so many.
func changeLeaf(v reflect.Value, k int) (changed string) {
	i := 0
	leaves(v, v.Type().String(), func(path string, leaf reflect.Value) {
		if i == k {
			change(leaf)
			changed = path
		}
		i++
	})
	return changed
}

func TestHashSeesEveryFieldButIndexes(t *testing.T) {
	h := newHasher()
	for _, v := range []any{
		[]*consul.ServiceEntry{}, consul.HealthChecks{}, []*consul.CatalogService{}, []*consul.Node{},
		consul.AgentService{}, []Instance{},
	} {
		base := reflect.New(reflect.TypeOf(v)).Elem()
		changeLeaf(base, -1)
		for k := 0; ; k++ {
			other := reflect.New(reflect.TypeOf(v)).Elem()
			path := changeLeaf(other, k)
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
