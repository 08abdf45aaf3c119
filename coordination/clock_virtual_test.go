//go:build go1.25

package coordination

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/lictor-go/consul/consulmock"
)

// A lease that has run out while the machine slept is lost, although no timer has fired
// and the servers still have it: what arrives now does not bring it back.
func TestSleptTooLong(t *testing.T) {
	for name, wake := range map[string]func(l *Lease) error{
		"check":   func(*Lease) error { return nil },
		"renewal": func(l *Lease) error { return l.session.renew(context.Background()) },
		"read":    func(l *Lease) error { _, err := l.confirm(); return err },
		"timer":   func(l *Lease) error { l.expire(); return nil },
	} {
		synctest.Test(t, func(t *testing.T) { sleepTooLong(t, name, wake) })
	}
}

func sleepTooLong(t *testing.T, name string, wake func(l *Lease) error) {
	agent := consulmock.New(t)
	l, err := NewMutex(agent.Client(), "app/lock", nil).Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the first read has found it in order
	s := l.session
	s.mu.Lock()
	s.renewed.wall = s.renewed.wall.Add(-s.opts.lifetime())
	s.unlock()
	if err := wake(l); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	cause := context.Cause(l.Context())
	if l.Valid() || name != "check" && !errors.Is(cause, ErrLost) || l.Context().Err() == nil {
		t.Errorf("%s: valid: %t, cause: %v", name, l.Valid(), cause)
	}
	if err := l.Release(context.Background()); err != nil {
		t.Error(err)
	}
}
