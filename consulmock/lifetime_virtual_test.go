//go:build go1.25

package consulmock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
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
