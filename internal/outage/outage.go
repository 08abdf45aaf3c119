// Package outage measures for how long calls to a service fail when one of its
// instances is killed. The tests of the integrations share it: they make the calls
// through a framework, with its own adapter for Consul and with ours.
package outage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lictor-go/consul"
)

// Start runs the test program once more, as a process that has the variables in
// its environment. It returns what kills that process at once, as kill -9 does.
// Each process has to be killed; to kill one again is no error.
func Start(env ...string) (kill func(), err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
		stdin.Close()
	}), nil
}

// Serve keeps a process of Start running until it is killed or the process that
// has started it ends, however that ends.
func Serve() { os.Stdin.Read(make([]byte, 1)) }

// AwaitInstances returns when the service has n passing instances.
func AwaitInstances(ctx context.Context, c *consul.Client, service string, n int) error {
	for {
		passing, err := instances(ctx, c, service)
		if passing == n {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d passing instances of %s, want %d: %w", passing, service, n, errors.Join(err, ctx.Err()))
		}
	}
}

func instances(ctx context.Context, c *consul.Client, service string) (int, error) {
	entries, _, err := c.Health().Service(ctx, service, &consul.QueryOptions{PassingOnly: true})
	return len(entries), err
}

// Kill is a kill and what is measured after it.
type Kill struct {
	Client  *consul.Client // sees when the agent notices
	Service string
	Kill    func()                  // kills one instance
	Callers map[string]func() error // each makes a call, and makes them one after the other
	Every   time.Duration           // pause of a caller between two calls
	After   time.Duration           // for how long calls go on when the agent has noticed
}

// Result is what happened to the calls of a caller after the kill.
type Result struct {
	Noticed time.Duration // when the agent noticed
	Last    time.Duration // when the last call failed
	Lag     time.Duration // of that, what was after the agent had noticed
	Failed  int
	Errors  map[string]int // how often each was the error of a call
}

// Measure kills the instance, and returns what happened to the calls of each
// caller.
func (k Kill) Measure(ctx context.Context) (map[string]Result, error) {
	before, err := instances(ctx, k.Client, k.Service)
	if err != nil {
		return nil, err
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		results = map[string]Result{}
		done    = make(chan struct{})
	)
	killed := time.Now()
	k.Kill()
	for name, call := range k.Callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := Result{Errors: map[string]int{}}
			for !closed(done) {
				if err := call(); err != nil {
					r.Failed++
					r.Last = time.Since(killed)
					r.Errors[err.Error()]++
				}
				time.Sleep(k.Every)
			}
			mu.Lock()
			defer mu.Unlock()
			results[name] = r
		}()
	}
	err = AwaitInstances(ctx, k.Client, k.Service, before-1)
	noticed := time.Since(killed)
	if err == nil {
		time.Sleep(k.After)
	}
	close(done)
	wg.Wait()
	for name, r := range results {
		r.Noticed, r.Lag = noticed, max(0, r.Last-noticed)
		results[name] = r
	}
	return results, err
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Repeat calls kill several times at the same time, each time with another number
// from 0 on, and returns the results by the name of the caller.
func Repeat(t testing.TB, runs int, kill func(run int) (map[string]Result, error)) map[string][]Result {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all = map[string][]Result{}
	)
	for run := range runs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			results, err := kill(run)
			if err != nil {
				t.Errorf("run %d: %v", run, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for name, r := range results {
				all[name] = append(all[name], r)
			}
		}()
	}
	wg.Wait()
	return all
}

// Table returns a table of results, in the order of the names. There are two
// figures in each field: the median and the most of all runs.
func Table(all map[string][]Result) string {
	var b strings.Builder
	b.WriteString("| | the agent noticed after | last failed call | of that, after the agent had noticed | failed calls |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list := slices.Clone(all[name])
		noticed := func(r Result) time.Duration { return r.Noticed }
		last := func(r Result) time.Duration { return r.Last }
		lag := func(r Result) time.Duration { return r.Lag }
		failed := func(r Result) int { return r.Failed }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d, %d |\n",
			name, spread(list, noticed), spread(list, last), spread(list, lag), failed(median(list, failed)), failed(list[len(list)-1]))
	}
	return b.String()
}

// median returns the middle one of the results in the order of what by returns.
func median[T cmp.Ordered](list []Result, by func(Result) T) Result {
	slices.SortFunc(list, func(a, b Result) int { return cmp.Compare(by(a), by(b)) })
	return list[len(list)/2]
}

func spread(list []Result, by func(Result) time.Duration) string {
	middle := by(median(list, by))
	return fmt.Sprintf("%.2f s, %.2f s", middle.Seconds(), by(list[len(list)-1]).Seconds())
}
