//go:build go1.25

package configuration_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
)

// TestDecode decodes numbers. A value that is none keeps the whole snapshot back.
func TestDecode(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		var calls []string
		number := func(p *consul.KVPair) (int, error) {
			calls = append(calls, p.Key)
			return strconv.Atoi(string(p.Value))
		}
		var lines []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for values, err := range configuration.Decode(configuration.Watch(ctx, agent.client, "app", nil), number) {
				if err != nil {
					lines = append(lines, strings.ReplaceAll(err.Error(), "\n", "; "))
					if values != nil || !errors.Is(err, strconv.ErrSyntax) && !strings.Contains(err.Error(), "EOF") {
						t.Errorf("%v, %v", values, err)
					}
					continue
				}
				lines = append(lines, fmt.Sprint(values))
				clear(values) // it is the loop's
			}
		}()
		want := func(wantLines []string, wantCalls ...string) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(lines, wantLines) || !slices.Equal(calls, wantCalls) {
				t.Errorf("got\n\t%q, decoded %q\nwant\n\t%q, %q", lines, calls, wantLines, wantCalls)
			}
			lines, calls = nil, nil
		}
		want([]string{"map[]"})
		agent.set("app/a=1")
		want([]string{"map[a:1]"}, "a")
		agent.set("app/b=2")
		want([]string{"map[a:1 b:2]"}, "b")
		agent.set("app/b=x")
		want([]string{`configuration: key "app/b": strconv.Atoi: parsing "x": invalid syntax`}, "b")
		agent.set("app/a=3") // not decoded into a map together with what b was before
		want([]string{`configuration: key "app/b": strconv.Atoi: parsing "x": invalid syntax`}, "a")
		agent.set("app/c=y")
		want([]string{`configuration: key "app/b": strconv.Atoi: parsing "x": invalid syntax; configuration: key "app/c": strconv.Atoi: parsing "y": invalid syntax`}, "c")
		agent.RemoveKey("app/c")
		agent.set("app/b=4")
		synctest.Wait()
		lines = lines[len(lines)-1:]
		want([]string{"map[a:3 b:4]"}, "b")
		agent.RemoveKey("app/a")
		want([]string{"map[b:4]"})
		time.Sleep(2 * time.Hour) // wakes up for nothing
		want(nil)
		cancel()
		<-done
	})
}

// TestDecodeErrors passes on the errors of snapshots, and ends when the loop does.
func TestDecodeErrors(t *testing.T) {
	boom := errors.New("boom")
	snapshots := func(yield func(*configuration.Snapshot, error) bool) {
		_ = yield(nil, boom) && yield(&configuration.Snapshot{Pairs: []*consul.KVPair{{Key: "a"}}}, nil) && yield(nil, boom)
	}
	text := func(p *consul.KVPair) (string, error) { return p.Key, nil }
	var lines []string
	for values, err := range configuration.Decode(snapshots, text) {
		lines = append(lines, fmt.Sprint(slices.Collect(maps.Keys(values)), err))
		if len(lines) == 2 {
			break
		}
	}
	if got := strings.Join(lines, ", "); got != "[] boom, [a] <nil>" {
		t.Errorf("got %s", got)
	}
	nothing := func(yield func(*configuration.Snapshot, error) bool) { yield(nil, nil) }
	for values, err := range configuration.Decode(nothing, text) {
		if values != nil || err == nil || err.Error() != "configuration: Decode was given neither a snapshot nor an error" {
			t.Errorf("%v, %v", values, err)
		}
	}
	for missing, seq := range map[string]iter.Seq2[map[string]string, error]{
		"snapshots": configuration.Decode(nil, text), "function decode": configuration.Decode[string](snapshots, nil),
	} {
		n := 0
		for values, err := range seq {
			if n++; values != nil || err == nil || err.Error() != "configuration: nil "+missing {
				t.Errorf("%v, %v", values, err)
			}
		}
		if n != 1 {
			t.Errorf("%d iterations, want an error", n)
		}
	}
}
