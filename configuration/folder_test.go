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
