//go:build go1.25

package configuration_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
	"github.com/lictor-go/consul/configuration"
	"github.com/lictor-go/consul/consulmock"
)

// fakeAgent is a fake agent, and a client of it whose token can be changed.
type fakeAgent struct {
	*consulmock.Server
	t      *testing.T
	client *consul.Client

	mu    sync.Mutex
	token string
}

// bubble runs a test in virtual time with a fake agent. A goroutine that is left
// behind fails the test.
func bubble(t *testing.T, test func(t *testing.T, agent *fakeAgent), opts ...consulmock.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		agent := &fakeAgent{Server: consulmock.New(t, opts...), t: t}
		c, err := consul.NewClient(consul.Config{Transport: agent})
		if err != nil {
			t.Fatal(err)
		}
		agent.client = c
		test(t, agent)
	})
}

// bothVersions is bubble with an agent of each version.
func bothVersions(t *testing.T, test func(t *testing.T, agent *fakeAgent), opts ...consulmock.Option) {
	t.Helper()
	for _, version := range []string{"1.8.7", "1.21.4"} {
		t.Run(version, func(t *testing.T) {
			bubble(t, test, append(slices.Clone(opts), consulmock.WithVersion(version))...)
		})
	}
}

// RoundTrip implements [http.RoundTripper].
func (a *fakeAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	a.mu.Lock()
	token := a.token
	a.mu.Unlock()
	if token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("X-Consul-Token", token)
	}
	return a.Transport().RoundTrip(req)
}

// use makes the client send another token from now on.
func (a *fakeAgent) use(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = token
}

// set writes keys, each given as key=value.
func (a *fakeAgent) set(pairs ...string) {
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		a.SetKey(key, []byte(value))
	}
}

// deleteTree deletes recursively what begins with a prefix; all keys if it is empty.
func (a *fakeAgent) deleteTree(prefix string) {
	a.t.Helper()
	if err := a.client.Raw().Delete(a.t.Context(), "/v1/kv/"+prefix+"?recurse=", nil, nil); err != nil {
		a.t.Fatal(err)
	}
}

// diary is what a loop over snapshots was given, one line each with the time.
type diary struct {
	t      *testing.T
	begin  time.Time
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	lines     []string
	snapshots []*configuration.Snapshot
}

// follow loops over snapshots until the end of the test.
func follow(t *testing.T, snapshots func(context.Context) iter.Seq2[*configuration.Snapshot, error]) *diary {
	ctx, cancel := context.WithCancel(t.Context())
	d := &diary{t: t, begin: time.Now(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		for s, err := range snapshots(ctx) {
			d.note(s, err)
		}
	}()
	t.Cleanup(d.stop)
	return d
}

// watchOf is follow for a Watch.
func watchOf(agent *fakeAgent, prefix string, opts *configuration.Options) *diary {
	return follow(agent.t, func(ctx context.Context) iter.Seq2[*configuration.Snapshot, error] {
		return configuration.Watch(ctx, agent.client, prefix, opts)
	})
}

func (d *diary) stop() {
	d.cancel()
	<-d.done
}

func (d *diary) note(s *configuration.Snapshot, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := time.Since(d.begin).Truncate(time.Second).String()
	if err != nil {
		if s != nil {
			d.t.Errorf("a snapshot beside the error %v", err)
		}
		d.lines = append(d.lines, line+" "+brief(err))
		return
	}
	d.lines = append(d.lines, line+describe(s))
	d.snapshots = append(d.snapshots, s)
}

// brief returns what matters in an error.
func brief(err error) string {
	switch {
	case errors.Is(err, consul.ErrPermissionDenied):
		return "permission denied"
	case errors.Is(err, consul.ErrNoLeader):
		return "no leader"
	case errors.Is(err, configuration.ErrClosed):
		return "closed"
	}
	return "error"
}

// describe returns the differences and the number of keys of a snapshot.
func describe(s *configuration.Snapshot) string {
	var b strings.Builder
	for _, part := range []struct {
		sign string
		keys []string
	}{{"+", s.Added}, {"~", s.Changed}, {"-", s.Removed}} {
		for _, key := range part.keys {
			value, ok := s.Get(key)
			if ok == (part.sign == "-") {
				value = []byte("?")
			}
			fmt.Fprintf(&b, " %s%s", part.sign, key)
			if ok {
				fmt.Fprintf(&b, "=%s", value)
			}
		}
	}
	fmt.Fprintf(&b, " (%d)", len(s.Pairs))
	return b.String()
}

// want compares what has been noted since the last call, when nothing more happens
// at this moment.
func (d *diary) want(lines ...string) {
	d.t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		d.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(d.lines, "\n\t"), strings.Join(lines, "\n\t"))
	}
	d.lines = nil
}

// last returns the last snapshot.
func (d *diary) last() *configuration.Snapshot {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.snapshots[len(d.snapshots)-1]
}

// after waits until so much time has passed since the beginning.
func (d *diary) after(elapsed time.Duration) {
	time.Sleep(elapsed - time.Since(d.begin))
	synctest.Wait()
}
