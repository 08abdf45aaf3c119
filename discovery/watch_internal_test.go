package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// TestKnownAnswers checks that a watch which may skip answers asks for that only
// while it has the last one, and yields nothing that was not decoded.
func TestKnownAnswers(t *testing.T) {
	type answer struct {
		content     string
		index       uint64
		fingerprint uint64
		unchanged   bool
		err         error
	}
	answers := []answer{
		{content: "a", index: 5}, // from who gives no fingerprint
		{content: "a", index: 5, fingerprint: 77},
		{content: "", index: 5, fingerprint: 77, unchanged: true},
		{content: "", index: 6, fingerprint: 77, unchanged: true},
		{content: "b", index: 7, fingerprint: 88},
		{err: errors.New("boom")},
		{content: "c", index: 7},
		{content: "c", index: 3, fingerprint: 99}, // starts over
		{content: "d", index: 3},
	}
	for _, skips := range []bool{true, false} {
		ctx, cancel := context.WithCancel(context.Background())
		var known []uint64
		w := &watcher[string]{skipsKnown: skips, opts: (&WatchOptions{MinInterval: time.Nanosecond, MinBackoff: time.Nanosecond}).withDefaults()}
		w.query = func(_ context.Context, q *consul.QueryOptions) (string, *consul.QueryMeta, error) {
			if len(known) == len(answers) {
				cancel()
				return "", nil, ctx.Err()
			}
			a := answers[len(known)]
			known = append(known, q.Known)
			return a.content, &consul.QueryMeta{LastIndex: a.index, Fingerprint: a.fingerprint, Unchanged: a.unchanged}, a.err
		}
		var yields []string
		for v, err := range w.seq(ctx) {
			yields = append(yields, fmt.Sprint(v, err))
		}
		if want := []string{"a<nil>", "b<nil>", "boom", "c<nil>", "d<nil>"}; !slices.Equal(yields, want) {
			t.Errorf("yielded %q, want %q", yields, want)
		}
		want := []uint64{1, 1, 77, 77, 77, 88, 1, 1, 99}
		if !skips {
			want = make([]uint64, len(answers))
		}
		if !slices.Equal(known, want) {
			t.Errorf("said to know %d, want %d", known, want)
		}
	}
}

func TestNextIndex(t *testing.T) {
	for _, test := range []struct {
		asked, got, next uint64
		reset            bool
	}{
		{0, 0, 0, false}, // an endpoint that cannot be waited on
		{0, 7, 7, false}, // the first answer
		{7, 7, 7, false}, // nothing happened
		{7, 9, 9, false},
		{7, 1 << 63, 1 << 63, false}, // ahead: waiting there is fine
		{7, 6, 0, true},              // backwards
		{7, 0, 0, true},
	} {
		next, reset := nextIndex(test.asked, test.got)
		if next != test.next || reset != test.reset {
			t.Errorf("nextIndex(%d, %d) = %d, %t; want %d, %t", test.asked, test.got, next, reset, test.next, test.reset)
		}
	}
}
