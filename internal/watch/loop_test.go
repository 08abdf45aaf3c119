package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// TestPrevious checks which result a watch passes to its next query, and that a
// query of one request is not looked at if its result is the one from before.
func TestPrevious(t *testing.T) {
	first, second, other := new(consul.Result), new(consul.Result), new(consul.Result)
	type response struct {
		content string
		index   uint64
		result  *consul.Result // nil for that of the query before
		err     error
	}
	responses := []response{
		{content: "a", index: 5, result: first},
		{content: "a", index: 6, result: second}, // another spelling
		{content: "not looked at", index: 6},
		{content: "b", index: 7, result: first},
		{err: errors.New("boom")},
		{content: "not looked at", index: 7},
		{content: "b", index: 3, result: other}, // starts over
		{content: "c", index: 3, result: second},
	}
	for _, isDirect := range []bool{true, false} {
		ctx, cancel := context.WithCancel(context.Background())
		var sent []*consul.Result
		l := &Loop[string]{IsDirect: isDirect, Options: Options{MinInterval: time.Nanosecond, MinBackoff: time.Nanosecond}.WithDefaults()}
		l.Query = func(_ context.Context, q *consul.QueryOptions) (string, *consul.QueryMeta, error) {
			if len(sent) == len(responses) {
				cancel()
				return "", nil, ctx.Err()
			}
			r := responses[len(sent)]
			sent = append(sent, q.Previous)
			return r.content, &consul.QueryMeta{LastIndex: r.index, Result: cmp.Or(r.result, q.Previous)}, r.err
		}
		var yields []string
		for v, err := range l.Changed(ctx) {
			yields = append(yields, fmt.Sprint(v, err))
		}
		want := []string{"a<nil>", "b<nil>", "boom", "c<nil>"}
		if !isDirect {
			want = []string{"a<nil>", "not looked at<nil>", "b<nil>", "boom", "not looked at<nil>", "b<nil>", "c<nil>"}
		}
		if !slices.Equal(yields, want) {
			t.Errorf("direct %t: yielded %q, want %q", isDirect, yields, want)
		}
		if want := []*consul.Result{first, second, second, first, first, first, other}; !slices.Equal(sent[1:], want) || sent[0] == nil {
			t.Errorf("direct %t: the results passed on are %p, want %p", isDirect, sent, want)
		}
	}
}

// TestListChanged compares lists of pointers, of which it looks only at what is not
// the same.
func TestListChanged(t *testing.T) {
	changed := ContentChanges[[]*consul.Node]()
	a, b := &consul.Node{Node: "a"}, &consul.Node{Node: "b"}
	for n, step := range []struct {
		list []*consul.Node
		want bool
	}{
		{[]*consul.Node{a, b}, true},
		{[]*consul.Node{a, b}, false},
		{[]*consul.Node{a, {Node: "b", ModifyIndex: 7}}, false}, // an index is no content
		{[]*consul.Node{a, {Node: "c"}}, true},
		{[]*consul.Node{a}, true},
		{nil, true},
		{[]*consul.Node{}, false},
		{[]*consul.Node{nil}, true},
		{[]*consul.Node{nil}, false},
	} {
		if got := changed(step.list); got != step.want {
			t.Errorf("step %d: changed %t, want %t", n, got, step.want)
		}
		slices.Reverse(step.list) // as a loop may
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
