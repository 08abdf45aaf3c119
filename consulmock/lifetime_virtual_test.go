//go:build go1.25

package consulmock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lictor-go/consul"
)

// An agent that was told to leave and is killed meanwhile is not stopped once
// more when it has been started again.
func TestLeaveEndsOneLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		c := s.Client()
		left := make(chan error)
		go func() { left <- c.Agent().Leave(context.Background()) }()
		synctest.Wait()
		s.Restart(true)
		if err := <-left; err == nil {
			t.Error("the leave was answered")
		}
		time.Sleep(time.Minute)
		if _, err := c.Status().Leader(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What is set on a stopped server counts from its start on: a check that was set
// to critical takes its service with it.
func TestStatusSetWhileStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		r := registration("web")
		r.Check.DeregisterCriticalServiceAfter = time.Minute
		s.AddService(r)
		s.Stop()
		s.SetCheckStatus("service:web", consul.HealthCritical, "")
		time.Sleep(time.Hour)
		s.Start()
		for _, want := range []int{1, 0} {
			services, err := s.Client().Agent().Services(context.Background(), nil)
			if err != nil || len(services) != want {
				t.Errorf("got %d services, %v; want %d", len(services), err, want)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}
