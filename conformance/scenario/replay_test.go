//go:build go1.25

package scenario

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
	"github.com/lictor-go/consul/consulmock"
)

// replayTarget is the recording itself, served by consulmock.
type replayTarget struct {
	dialer func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (r *replayTarget) dial(e *recording.Entry) (dialer, string) {
	return func(ctx context.Context) (net.Conn, error) { return r.dialer(ctx, "tcp", e.Agent) }, "localhost"
}

func (r *replayTarget) rewrite(text string) string { return text }

func (r *replayTarget) event(recording.Event) error { return nil }

func (r *replayTarget) settle() { synctest.Wait() }

func (r *replayTarget) virtual() bool { return true }

// TestReplay plays every recording to itself.
func TestReplay(t *testing.T) {
	playAll(t, "replay", playReplay)
}

// unreached are the entries that package net/http answers before a handler sees
// the request: malformed methods and headers, and what it does not support.
var unreached = map[string]string{"hostile": "e239 e241 e245"}

func playReplay(t *testing.T, run *report, rec *recording.Recording) {
	var answers map[string]*answer
	var err error
	synctest.Test(t, func(t *testing.T) {
		s, replayErr := consulmock.NewReplayServer(rec.File, func(problem string) { t.Error(problem) })
		if replayErr != nil {
			t.Fatal(replayErr)
		}
		defer s.Close()
		target := &replayTarget{dialer: s.Transport().(*http.Transport).DialContext}
		answers, err = play(rec, target)
		for _, left := range s.Leftovers() {
			id, _, _ := strings.Cut(left, " ")
			if !strings.Contains(unreached[rec.Scenario], id) {
				t.Errorf("not requested: %s", left)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// A replay does not wait, and ends a connection whatever the failure was.
	run.judge(t, rec, compare(rec, answers, tolerance{slack: 20 * time.Millisecond, noWaiting: true, anyError: true}), "")
}
