package configuration

import (
	"slices"
	"testing"

	"github.com/lictor-go/consul"
)

// TestUnexpectedResponses are of a proxy, which answers in another order, with nothing,
// or with what was not requested.
func TestUnexpectedResponses(t *testing.T) {
	r := &reader{folder: "app/"}
	s, origins := r.snapshot([]*consul.KVPair{{Key: "app/b"}, nil, {Key: "app/a"}, {Key: "other"}, {Key: "app/"}, {}, {Key: "ap"}}, 7)
	var keys []string
	for _, p := range s.Pairs {
		keys = append(keys, p.Key)
	}
	if !slices.Equal(keys, []string{"a", "b"}) || len(origins) != 2 || origins[0].Key != "app/a" {
		t.Errorf("keys %q of %d", keys, len(origins))
	}
}

// TestKeysThatReadTheSame has keys that are not valid UTF-8: agents replace each byte
// that is wrong by the same character, and their order is that of the bytes before. Such
// keys count as one.
func TestKeysThatReadTheSame(t *testing.T) {
	r := &reader{folder: "app/"}
	list := []*consul.KVPair{{Key: "app/\ufffd", Value: []byte("1")}, {Key: "app/é"}, {Key: "app/\ufffd", Value: []byte("2")}}
	for n, test := range []struct {
		list           []*consul.KVPair
		value          string
		added, changed []string
		removed        []string
	}{
		{list, "1", []string{"é", "\ufffd"}, nil, nil},
		{list, "1", nil, nil, nil},
		{list[1:], "2", nil, []string{"\ufffd"}, nil},
		{list[1:2], "", nil, nil, []string{"\ufffd"}},
	} {
		r.last, r.origins = r.snapshot(slices.Clone(test.list), 7)
		s := r.last
		if v, _ := s.Get("\ufffd"); string(v) != test.value || !slices.Equal(s.Added, test.added) || !slices.Equal(s.Changed, test.changed) || !slices.Equal(s.Removed, test.removed) {
			t.Errorf("response %d: %q, added %q, changed %q, removed %q", n, v, s.Added, s.Changed, s.Removed)
		}
	}
}
