//go:build go1.25

package consulmock

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
)

func TestFaultLatencyInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		transport := s.Transport().(*http.Transport)
		defer transport.CloseIdleConnections()
		client, err := consul.NewClient(consul.Config{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		s.Inject(Fault{Latency: 7 * time.Second, NoLeader: true})
		start := time.Now()
		_, _, err = client.Health().Service(t.Context(), "web", nil)
		if !errors.Is(err, consul.ErrNoLeader) || time.Since(start) != 7*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		s.Inject(Fault{Latency: time.Hour})
		start = time.Now()
		if _, _, err = client.Health().Service(t.Context(), "web", nil); err != nil || time.Since(start) != time.Hour {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}
