//go:build go1.25

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/consulmock"
	"github.com/lictor-go/consul/discovery"
)

// script is a query whose answers are given by the test. It notes what it was
// asked and when.
type script struct {
	start   time.Time
	asked   []asked
	answers func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error)
}

type asked struct {
	at    time.Duration
	index uint64
	hash  string
	wait  time.Duration
}

func newScript(answers func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error)) *script {
	return &script{start: time.Now(), answers: answers}
}

func (s *script) query(ctx context.Context, q *consul.QueryOptions) (string, *consul.QueryMeta, error) {
	s.asked = append(s.asked, asked{time.Since(s.start), q.WaitIndex, q.WaitHash, q.WaitTime})
	v, index, err := s.answers(len(s.asked)-1, ctx, q)
	if err != nil {
		return "", nil, err
	}
	return v, &consul.QueryMeta{LastIndex: index}, nil
}

func (s *script) indexes() (list []uint64) {
	for _, a := range s.asked {
		list = append(list, a.index)
	}
	return list
}

// waitFor blocks as an agent does that has nothing to say.
func waitFor(ctx context.Context, q *consul.QueryOptions) {
	select {
	case <-ctx.Done():
	case <-time.After(q.WaitTime):
	}
}

func TestWatchIndexRules(t *testing.T) {
	type answer struct {
		content string
		index   uint64
	}
	for _, test := range []struct {
		name    string
		answers []answer // then the context ends
		asked   []uint64 // the last one is the query that ends with it
		yields  string
		resets  int
	}{
		{"first at once, then on its index", []answer{{"a", 5}, {"b", 6}}, []uint64{0, 5, 6}, "a b", 0},
		{"same index, same content", []answer{{"a", 5}, {"a", 5}, {"a", 5}}, []uint64{0, 5, 5, 5}, "a", 0},
		{"same content, other index", []answer{{"a", 5}, {"a", 6}, {"a", 9}}, []uint64{0, 5, 6, 9}, "a", 0},
		{"other content, same index", []answer{{"a", 5}, {"b", 5}}, []uint64{0, 5, 5}, "a b", 0},
		{"backwards", []answer{{"a", 5}, {"b", 3}, {"b", 3}, {"c", 4}}, []uint64{0, 5, 0, 3, 4}, "a b c", 1},
		{"backwards, same content", []answer{{"a", 5}, {"a", 3}, {"a", 3}}, []uint64{0, 5, 0, 3}, "a", 1},
		{"zero", []answer{{"a", 5}, {"b", 0}, {"c", 7}}, []uint64{0, 5, 0, 7}, "a b c", 1},
		{"always zero", []answer{{"a", 0}, {"a", 0}, {"b", 0}}, []uint64{0, 0, 0, 0}, "a b", 0},
		{"far ahead", []answer{{"a", 5}, {"b", 1 << 63}, {"c", 1<<63 + 1}}, []uint64{0, 5, 1 << 63, 1<<63 + 1}, "a b c", 0},
		{"there and back again", []answer{{"a", 5}, {"b", 6}, {"a", 7}}, []uint64{0, 5, 6, 7}, "a b a", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
					if n == len(test.answers) {
						cancel()
						return "not to be seen", 99, nil
					}
					return test.answers[n].content, test.answers[n].index, nil
				})
				resets := 0
				var yields []string
				for v, err := range discovery.Watch(ctx, s.query, &discovery.WatchOptions{OnEvent: func(e discovery.Event) {
					if _, ok := e.(discovery.IndexResetEvent); ok {
						resets++
					}
				}}) {
					if err != nil {
						t.Error(err)
					}
					yields = append(yields, v)
				}
				if got := strings.Join(yields, " "); got != test.yields {
					t.Errorf("yielded %q, want %q", got, test.yields)
				}
				if got := s.indexes(); !slices.Equal(got, test.asked) {
					t.Errorf("asked with %d, want %d", got, test.asked)
				}
				if resets != test.resets {
					t.Errorf("%d resets, want %d", resets, test.resets)
				}
			})
		})
	}
}

// TestWatchErrors checks that errors are yielded one by one with growing pauses,
// that the position is given up, and that a success resets the pauses.
func TestWatchErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		const failing = 12
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			switch {
			case n == 0 || n == failing+1:
				return "a", 5, nil
			case n <= failing:
				return "junk", 77, fmt.Errorf("error %d: %w", n, boom)
			}
			return "b", 6, boom
		})
		var pauses []time.Duration
		var recovered []discovery.WatchRecoveredEvent
		opts := &discovery.WatchOptions{Name: "web", OnEvent: func(e discovery.Event) {
			switch e := e.(type) {
			case discovery.WatchErrorEvent:
				pauses = append(pauses, e.RetryIn)
			case discovery.WatchRecoveredEvent:
				recovered = append(recovered, e)
			}
		}}
		yields, errs := 0, 0
		for v, err := range discovery.Watch(t.Context(), s.query, opts) {
			if err == nil {
				yields++
				if v != "a" {
					t.Errorf("yielded %q, want a", v)
				}
				continue
			}
			if v != "" || !errors.Is(err, boom) {
				t.Errorf("yielded %q with %v", v, err)
			}
			if errs++; errs == failing+1 {
				break
			}
		}
		if yields != 1 {
			t.Errorf("%d answers, want one: it was the same after the errors", yields)
		}
		want := append([]uint64{0, 5}, make([]uint64, failing)...)
		if got := s.indexes(); !slices.Equal(got, append(want, 5)) {
			t.Errorf("asked with %d, want %d", got, append(want, 5))
		}
		bound := 500 * time.Millisecond
		for i, p := range pauses {
			if i == failing {
				bound = 500 * time.Millisecond // after a success
			}
			if p < 0 || p > bound {
				t.Errorf("pause %d is %s, more than %s", i, p, bound)
			}
			bound = min(2*bound, 10*time.Second)
		}
		for i := 1; i <= failing; i++ {
			if gap := s.asked[i+1].at - s.asked[i].at; gap < pauses[i-1] {
				t.Errorf("query %d came after %s, before the pause of %s was over", i+1, gap, pauses[i-1])
			}
		}
		wantRecovered := discovery.WatchRecoveredEvent{Watch: "web", Failures: failing, Took: s.asked[failing+1].at - s.asked[1].at}
		if len(recovered) != 1 || recovered[0] != wantRecovered {
			t.Errorf("recovered %+v, want once %+v", recovered, wantRecovered)
		}
	})
}

func TestWatchObeysRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			if n == 0 {
				return "", 0, fmt.Errorf("wrapped: %w", &consul.StatusError{Code: 429, RetryAfter: 50 * time.Second})
			}
			return "a", 1, nil
		})
		for _, err := range discovery.Watch(t.Context(), s.query, nil) {
			if err == nil {
				break
			}
		}
		if gap := s.asked[1].at; gap < 50*time.Second || gap > 51*time.Second {
			t.Errorf("asked again after %s, want 50s and at most half a second more", gap)
		}
	})
}

func TestWatchRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			return fmt.Sprint(n), uint64(n + 1), nil // changes all the time
		})
		for v := range discovery.Watch(t.Context(), s.query, nil) {
			if v == "29" {
				break
			}
		}
		for n, a := range s.asked {
			if want := time.Duration(max(0, n-9)) * time.Second; a.at != want {
				t.Errorf("query %d after %s, want %s", n, a.at, want)
			}
		}
		if want := time.Minute; s.asked[1].wait != want {
			t.Errorf("wait is %s, want %s", s.asked[1].wait, want)
		}
	})
}

// TestWatchSlowLoop checks that a loop which takes its time sees the latest
// state afterwards, and that its time counts as a rest.
func TestWatchSlowLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			now := uint64(time.Since(start)/time.Second) + 1
			return fmt.Sprint(now), now, nil
		})
		var got []string
		for v := range discovery.Watch(t.Context(), s.query, &discovery.WatchOptions{Burst: 1}) {
			if got = append(got, v); len(got) == 3 {
				break
			}
			time.Sleep(10 * time.Second)
		}
		if want := []string{"1", "11", "21"}; !slices.Equal(got, want) {
			t.Errorf("saw %q, want %q", got, want)
		}
	})
}

// TestWatchEndsWithContext ends the context at every point at which a watch can
// be waiting.
func TestWatchEndsWithContext(t *testing.T) {
	for _, test := range []struct {
		name    string
		after   time.Duration
		answers func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error)
	}{
		{"before the start", 0, func(int, context.Context, *consul.QueryOptions) (string, uint64, error) {
			return "never", 1, nil
		}},
		{"in the first query", time.Second, func(_ int, ctx context.Context, _ *consul.QueryOptions) (string, uint64, error) {
			<-ctx.Done()
			return "", 0, ctx.Err()
		}},
		{"in a waiting query", 30 * time.Second, func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			if n > 0 {
				waitFor(ctx, q)
			}
			return "a", 1, ctx.Err()
		}},
		{"in a pause", 1000 * time.Second, func(int, context.Context, *consul.QueryOptions) (string, uint64, error) {
			return "", 0, &consul.StatusError{Code: 429, RetryAfter: 300 * time.Second}
		}},
		{"held up by the rate", 100500 * time.Millisecond, func(n int, _ context.Context, _ *consul.QueryOptions) (string, uint64, error) {
			return fmt.Sprint(n), uint64(n), nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.after)
				defer cancel()
				start := time.Now()
				for _, err := range discovery.Watch(ctx, newScript(test.answers).query, nil) {
					if errors.Is(err, context.DeadlineExceeded) || test.after == 0 {
						t.Errorf("yielded (%v) after the context had ended", err)
					}
				}
				if got := time.Since(start); got != test.after {
					t.Errorf("ended after %s, want %s", got, test.after)
				}
			})
		})
	}
}

// TestWatchBreak checks that a loop can break at any yield, and that the
// sequence can be ranged over again.
func TestWatchBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			if n%2 == 1 {
				return "", 0, errors.New("boom")
			}
			return "a", 5, nil
		})
		seq := discovery.Watch(t.Context(), s.query, nil)
		for range 3 {
			for _, err := range seq {
				if err != nil {
					break
				}
			}
		}
		if want := []uint64{0, 5, 0, 5, 0, 5}; !slices.Equal(s.indexes(), want) {
			t.Errorf("asked with %d, want %d", s.indexes(), want)
		}
	})
}

// TestWatchHangingAgent checks that a query which is never answered ends.
func TestWatchHangingAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			switch n {
			case 1:
				return "a", 5, nil
			}
			<-ctx.Done()
			return "", 0, fmt.Errorf("asking: %w", ctx.Err())
		})
		n := 0
		for _, err := range discovery.Watch(t.Context(), s.query, nil) {
			if n++; n == 2 {
				continue
			}
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no response within ") {
				t.Errorf("error %v", err)
			}
			if n == 3 {
				break
			}
		}
		if first := s.asked[1].at; first < 30*time.Second || first > 31*time.Second {
			t.Errorf("the first query took %s, want 30s", first)
		}
		if got, want := time.Since(s.start)-s.asked[2].at, 60*time.Second+60*time.Second/16+30*time.Second; got != want {
			t.Errorf("a waiting query took %s, want %s", got, want)
		}
	})
}

// TestWatchNoticesRestart has an agent that starts again at once and counts from
// the beginning. A query that waited on the old index would wait a minute more.
func TestWatchNoticesRestart(t *testing.T) {
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run(version, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				for i := range 20 {
					agent.add("web", fmt.Sprintf("web-%d", i))
				}
				var restarted time.Time
				ctx := within(t, time.Hour)
				for entries, err := range discovery.WatchService(ctx, agent.client, "web", nil) {
					switch {
					case err == nil && len(entries) == 20:
						time.AfterFunc(50*time.Second, func() {
							restarted = time.Now()
							agent.Restart(false)
							agent.add("web", "web-new")
						})
					case err == nil && len(entries) == 1:
						if took := time.Since(restarted); took > time.Second {
							t.Errorf("noticed after %s", took)
						}
						return
					}
				}
				t.Error("not noticed")
			}, consulmock.WithVersion(version))
		})
	}
}

func TestWatchByHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hashes []string
		query := func(ctx context.Context, q *consul.QueryOptions) (int, *consul.QueryMeta, error) {
			hashes = append(hashes, q.WaitHash)
			return len(hashes), &consul.QueryMeta{LastContentHash: fmt.Sprint("h", len(hashes))}, nil
		}
		for n := range discovery.Watch(t.Context(), query, nil) {
			if n == 3 {
				break
			}
		}
		if want := []string{"", "h1", "h2"}; !slices.Equal(hashes, want) {
			t.Errorf("waited on %q, want %q", hashes, want)
		}
	})
}

// TestWatchOptionsAreCopied changes the options, and what a query got, under a
// running watch.
func TestWatchOptionsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		others := new(consul.Result)
		opts := &discovery.WatchOptions{Query: consul.QueryOptions{
			Tags: []string{"a"}, NodeMeta: map[string]string{"k": "v"}, WaitIndex: 9, WaitHash: "x", WaitTime: time.Hour, Previous: others,
		}}
		n := 0
		ctx, cancel := context.WithCancel(t.Context())
		seq := discovery.Watch(ctx, func(ctx context.Context, q *consul.QueryOptions) ([]string, *consul.QueryMeta, error) {
			if q.Tags[0] != "a" || q.NodeMeta["k"] != "v" || q.WaitIndex != uint64(n) || q.WaitHash != "" || q.WaitTime != time.Hour || q.Previous == others {
				t.Errorf("asked with %v", *q)
			}
			if n++; n == 5 {
				cancel()
			}
			q.Tags[0], q.NodeMeta["k"], q.WaitIndex, q.Previous = "b", "w", 77, others
			return []string{"same"}, &consul.QueryMeta{LastIndex: uint64(n)}, nil
		}, opts)
		opts.Query.Tags[0], opts.Query.NodeMeta["k"] = "c", "x"
		yields := 0
		for v := range seq {
			v[0] = "changed by the loop"
			yields++
		}
		if yields != 1 || n != 5 {
			t.Errorf("%d values of %d answers, want 1 of 5: what a loop does with a value is its own affair", yields, n)
		}
	})
}

// TestWatchRateOfFailures limits queries that fail as it does others, however
// short the pauses after errors are.
func TestWatchRateOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(int, context.Context, *consul.QueryOptions) (string, uint64, error) {
			return "", 0, errors.New("boom")
		})
		errs := 0
		for range discovery.Watch(t.Context(), s.query, &discovery.WatchOptions{MinBackoff: 1, MaxBackoff: 1}) {
			if errs++; errs == 30 {
				break
			}
		}
		for n, a := range s.asked {
			if want := time.Duration(max(0, n-9)) * time.Second; a.at != want {
				t.Errorf("query %d after %s, want %s", n, a.at, want)
			}
		}
	})
}

// TestWatchOfAgentService follows a service of the local agent, on which a query
// waits by its hash.
func TestWatchOfAgentService(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.add("web", "web-1")
		query := func(ctx context.Context, q *consul.QueryOptions) (*consul.AgentService, *consul.QueryMeta, error) {
			return agent.client.Agent().Service(ctx, "web-1", q)
		}
		start := time.Now()
		var ports []int
		for service, err := range discovery.Watch(t.Context(), query, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if ports = append(ports, service.Port); len(ports) == 2 {
				break
			}
			time.AfterFunc(90*time.Second, func() {
				// No request: it would be cut off when the test ends.
				agent.AddService(&consul.AgentServiceRegistration{Name: "web", ID: "web-1", Port: 81})
			})
		}
		want(t, "ports", fmt.Sprint(ports), "[80 81]")
		want(t, "took", time.Since(start), 90*time.Second)
		if n := agent.wire.count("GET /v1/agent/service/web-1"); n > 4 {
			t.Errorf("%d queries in 90 s: they do not wait", n)
		}
	})
}

// TestWatchServiceHangingAgent has an agent that hangs from the first query on, and
// one that hangs while a query waits.
func TestWatchServiceHangingAgent(t *testing.T) {
	for _, test := range []struct {
		name  string
		after int // queries
		took  time.Duration
	}{
		{"at once", 0, 30 * time.Second},
		{"while a query waits", 1, time.Minute + time.Minute/16 + 20*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, agent *fakeAgent) {
				queries := 0
				agent.Inject(consulmock.Fault{Always: true, Hang: make(chan struct{}), Match: func(*http.Request) bool {
					queries++
					return queries > test.after
				}})
				start := time.Now()
				var named []string
				opts := &discovery.WatchOptions{OnEvent: func(e discovery.Event) {
					named = append(named, e.(discovery.WatchErrorEvent).Watch)
				}}
				for _, err := range discovery.WatchService(t.Context(), agent.client, "web", opts) {
					if err != nil {
						want(t, "deadline exceeded", errors.Is(err, context.DeadlineExceeded), true)
						break
					}
				}
				want(t, "error after", time.Since(start), test.took)
				want(t, "name of the watch", strings.Join(named, " "), "web")
			})
		})
	}
}

// TestWatchWithoutIndex repeats a query that cannot be waited on: once in each
// MinInterval from the beginning, whatever Burst is.
func TestWatchWithoutIndex(t *testing.T) {
	const interval = 3 * time.Second
	for _, test := range []struct {
		name string
		meta *consul.QueryMeta
	}{
		{"no index", &consul.QueryMeta{}},
		{"no metadata", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var asked []time.Duration
				query := func(context.Context, *consul.QueryOptions) (int, *consul.QueryMeta, error) {
					asked = append(asked, time.Since(start))
					time.Sleep(time.Second) // it takes its time
					return len(asked), test.meta, nil
				}
				for n := range discovery.Watch(t.Context(), query, &discovery.WatchOptions{MinInterval: interval}) {
					if n == 20 {
						break
					}
				}
				for n, at := range asked {
					if want := time.Duration(n) * interval; at != want {
						t.Fatalf("query %d after %s, want %s", n, at, want)
					}
				}
			})
		})
	}
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		for range discovery.Watch(within(t, 19500*time.Millisecond), agent.client.Catalog().Datacenters, nil) {
		}
		want(t, "requests in 19.5 s", agent.wire.count("GET /v1/catalog/datacenters"), 20)
	})
}

// TestWatchOfWhatDoesNotExist has a query that makes an empty value of a response
// with 404 and its index: it is waited on as any other. A query that returns the
// error has it yielded, and is not waited on.
func TestWatchOfWhatDoesNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var indexes []uint64
		missing := &consul.StatusError{Method: "GET", Path: "/v1/kv/a", Code: 404}
		query := func(mapped bool) discovery.Query[*string] {
			indexes = nil
			return func(ctx context.Context, q *consul.QueryOptions) (*string, *consul.QueryMeta, error) {
				indexes = append(indexes, q.WaitIndex)
				meta := &consul.QueryMeta{LastIndex: uint64(len(indexes) + 6)}
				if len(indexes) == 3 {
					value := "there"
					return &value, meta, nil
				}
				if q.WaitIndex > 0 {
					waitFor(ctx, q)
				}
				if mapped {
					return nil, meta, nil
				}
				return nil, meta, missing
			}
		}
		start := time.Now()
		var seen []string
		for v, err := range discovery.Watch(t.Context(), query(true), nil) {
			switch {
			case err != nil:
				t.Error(err)
			case v == nil:
				seen = append(seen, "missing")
			default:
				seen = append(seen, *v)
			}
			if v != nil {
				break
			}
		}
		want(t, "seen", strings.Join(seen, " "), "missing there")
		want(t, "asked with", fmt.Sprint(indexes), "[0 7 8]")
		want(t, "took", time.Since(start), time.Minute)

		errs := 0
		for v, err := range discovery.Watch(t.Context(), query(false), nil) {
			if err == nil {
				want(t, "value", *v, "there")
				break
			}
			if !errors.Is(err, consul.ErrNotFound) {
				t.Error(err)
			}
			errs++
		}
		want(t, "errors", errs, 2)
		want(t, "asked with", fmt.Sprint(indexes), "[0 0 0]")
	})
}

// TestWatchSendsItsOwnWait has a client with a WaitTime: a watch sends its own.
func TestWatchSendsItsOwnWait(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "60000ms", 2 * time.Minute: "120000ms"} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		client, err := consul.NewClient(consul.Config{WaitTime: 10 * time.Minute, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if got := r.URL.Query().Get("wait"); got != want {
				t.Errorf("wait=%s, want %s", got, want)
			}
			cancel()
			return nil, ctx.Err()
		})})
		if err != nil {
			t.Fatal(err)
		}
		for range discovery.WatchService(ctx, client, "web", &discovery.WatchOptions{Query: consul.QueryOptions{WaitTime: wait}}) {
		}
	}
}

// TestWatchExtremeOptions sets each number to what nobody would.
func TestWatchExtremeOptions(t *testing.T) {
	numbers := []int{math.MinInt, -1, 0, 1, math.MaxInt - 1, math.MaxInt}
	durations := []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64 / 2, math.MaxInt64 - 1, math.MaxInt64}
	for _, d := range durations {
		for _, n := range numbers {
			t.Run(fmt.Sprint("Burst ", n, ", MinInterval ", int64(d)), func(t *testing.T) {
				testExtremeRate(t, n, d)
			})
		}
		for _, high := range durations {
			t.Run(fmt.Sprint("MinBackoff ", int64(d), ", MaxBackoff ", int64(high)), func(t *testing.T) {
				testExtremeBackoff(t, d, high)
			})
		}
		t.Run(fmt.Sprint("WaitTime ", int64(d)), func(t *testing.T) { testExtremeWait(t, d) })
	}
}

// testExtremeRate counts the queries of a watch that is answered at once.
func testExtremeRate(t *testing.T, burst int, interval time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		const enough = 100
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			if n == enough-1 {
				cancel()
			}
			return "a", 1, nil
		})
		for _, err := range discovery.Watch(ctx, s.query, &discovery.WatchOptions{Burst: burst, MinInterval: interval}) {
			if err != nil {
				t.Error(err)
			}
		}
		if burst <= 0 {
			burst = 10
		}
		if interval <= 0 {
			interval = time.Second
		}
		for n, a := range s.asked {
			want := time.Duration(0)
			if n >= burst {
				want = time.Duration(n-burst+1) * interval
			}
			if a.at != want {
				t.Fatalf("query %d after %s, want %s", n, a.at, want)
			}
		}
		if n := len(s.asked); n < min(burst, enough) {
			t.Errorf("%d queries, want a burst of %d", n, min(burst, enough))
		}
	})
}

// testExtremeBackoff counts the queries of a watch that always fails.
func testExtremeBackoff(t *testing.T, low, high time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		most := high
		if most <= 0 {
			most = 10 * time.Second
		}
		opts := &discovery.WatchOptions{MinBackoff: low, MaxBackoff: high, OnEvent: func(e discovery.Event) {
			if e := e.(discovery.WatchErrorEvent); e.RetryIn < time.Minute || e.RetryIn-time.Minute > most {
				t.Errorf("pause of %s after failure %d, want 1m0s and at most %s more", e.RetryIn, e.Failures, most)
			}
		}}
		s := newScript(func(int, context.Context, *consul.QueryOptions) (string, uint64, error) {
			return "", 0, &consul.StatusError{Code: 429, RetryAfter: time.Minute}
		})
		for range discovery.Watch(within(t, time.Hour), s.query, opts) {
		}
		if n := len(s.asked); n < 1 || n > 61 {
			t.Errorf("%d queries in an hour", n)
		}
	})
}

// testExtremeWait has a query that takes as long as it was told to wait.
func testExtremeWait(t *testing.T, wait time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(func(n int, ctx context.Context, q *consul.QueryOptions) (string, uint64, error) {
			if q.WaitIndex > 0 {
				waitFor(ctx, q)
			}
			return "a", 1, ctx.Err()
		})
		ctx := within(t, 24*time.Hour)
		for _, err := range discovery.Watch(ctx, s.query, &discovery.WatchOptions{Query: consul.QueryOptions{WaitTime: wait}}) {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// TestWatchSortedList sorts what is yielded, which is the loop's own, and cuts it
// off. The next responses are the same, so there is nothing more to yield.
func TestWatchSortedList(t *testing.T) {
	bubble(t, func(t *testing.T, agent *fakeAgent) {
		agent.wire.intercepted = func(req *http.Request) (*http.Response, error, bool) {
			body := io.NopCloser(strings.NewReader(`["near", "far", "away"]`))
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body}, nil, true
		}
		yields := 0
		for list, err := range discovery.Watch(within(t, time.Minute), agent.client.Catalog().Datacenters, nil) {
			yields++
			if err != nil || !slices.Equal(list, []string{"near", "far", "away"}) {
				t.Errorf("yielded %q, %v", list, err)
			}
			slices.Sort(list)
			clear(list[1:])
		}
		want(t, "yields", yields, 1)
	})
}
