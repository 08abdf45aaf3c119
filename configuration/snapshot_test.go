package configuration

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lictor-go/consul"
)

// TestSince compares lists of keys, of which each letter is one; a capital letter has
// another value.
func TestSince(t *testing.T) {
	snapshot := func(keys string) *Snapshot {
		s := &Snapshot{}
		for _, k := range keys {
			value := "1"
			if k < 'a' {
				k, value = k+'a'-'A', "2"
			}
			s.Pairs = append(s.Pairs, &consul.KVPair{Key: string(k), Value: []byte(value)})
		}
		return s
	}
	for _, test := range []struct{ before, after, want string }{
		{"", "", "[] [] []"},
		{"", "ab", "[a b] [] []"},
		{"ab", "", "[] [] [a b]"},
		{"ab", "ab", "[] [] []"},
		{"abc", "aBc", "[] [b] []"},
		{"bd", "abcde", "[a c e] [] []"},
		{"abcde", "bd", "[] [] [a c e]"},
		{"abc", "xyz", "[x y z] [] [a b c]"},
		{"ace", "bCf", "[b f] [c] [a e]"},
	} {
		s := snapshot(test.after).since(snapshot(test.before))
		if got := fmt.Sprint(s.Added, s.Changed, s.Removed); got != test.want {
			t.Errorf("from %q to %q: %s, want %s", test.before, test.after, got, test.want)
		}
		if s.differs() != (test.want != "[] [] []") {
			t.Errorf("from %q to %q: differs %t", test.before, test.after, s.differs())
		}
	}
	if s := snapshot("ab").since(nil); !slices.Equal(s.Added, []string{"a", "b"}) {
		t.Errorf("since nothing: %q", s.Added)
	}
}

// TestAppend appends to what a snapshot has, as in a loop over the keys that were added
// or changed. Two goroutines that do so do not write to the same memory.
func TestAppend(t *testing.T) {
	list := make([]*consul.KVPair, 5)
	for n := range list {
		list[n] = &consul.KVPair{Key: fmt.Sprint("app/", n), Value: make([]byte, 1, 3)}
	}
	r := &reader{folder: "app/"}
	s, _ := r.snapshot(list, 7)
	value, _ := s.Get("0")
	if cap(s.Added) != len(s.Added) || cap(s.Pairs) != len(s.Pairs) || cap(value) != len(value) {
		t.Errorf("%d keys were added, in a slice for %d; %d pairs, in one for %d; %d bytes, in one for %d",
			len(s.Added), cap(s.Added), len(s.Pairs), cap(s.Pairs), len(value), cap(value))
	}
}

// TestSameContent has pairs of one key, of which some differ in what is no content.
func TestSameContent(t *testing.T) {
	p := &consul.KVPair{Key: "a", Value: []byte("1"), Flags: 1, LockIndex: 1, CreateIndex: 1, ModifyIndex: 1}
	for _, test := range []struct {
		pair consul.KVPair
		same bool
	}{
		{consul.KVPair{Value: []byte("1"), Flags: 1}, true},
		{consul.KVPair{Value: []byte("1"), Flags: 1, Session: "s", LockIndex: 2, ModifyIndex: 3}, true},
		{consul.KVPair{Value: []byte("2"), Flags: 1}, false},
		{consul.KVPair{Flags: 1}, false},
		{consul.KVPair{Value: []byte("1")}, false},
	} {
		if sameContent(p, &test.pair) != test.same || sameContent(&test.pair, p) != test.same {
			t.Errorf("%+v: want %t", test.pair, test.same)
		}
	}
	if !sameContent(&consul.KVPair{}, &consul.KVPair{Value: []byte{}}) {
		t.Error("nil and an empty value differ")
	}
}

// TestGet looks keys up, also in no snapshot.
func TestGet(t *testing.T) {
	var none *Snapshot
	if v, ok := none.Get("a"); v != nil || ok {
		t.Errorf("nil has %q, %t", v, ok)
	}
	s := &Snapshot{Pairs: []*consul.KVPair{{Key: "a/b", Value: []byte("1")}, {Key: "b"}}}
	for key, want := range map[string]string{"a/b": "1 true", "b": " true", "a": " false", "": " false", "c": " false"} {
		if v, ok := s.Get(key); fmt.Sprint(string(v), " ", ok) != want {
			t.Errorf("%q: %q, %t; want %s", key, v, ok, want)
		}
	}
}
