package agent

import (
	"context"
	"errors"
	"net"
	"testing"
)

// TestOneOfSeveralAgents keeps to an agent until it does not accept connections any
// more.
func TestOneOfSeveralAgents(t *testing.T) {
	down := map[string]bool{}
	a := &agents{addrs: []string{"a", "b", "c"}}
	used := func() string {
		var at string
		if _, err := a.each(context.Background(), func(_ context.Context, addr string) (net.Conn, error) {
			if at = addr; down[addr] {
				return nil, errors.New(addr + " is down")
			}
			return nil, nil
		}); err != nil {
			return err.Error()
		}
		return at
	}
	for _, step := range []struct{ down, want string }{
		{"", "a"}, {"a", "b"}, {"", "b"}, {"bc", "a"}, {"a", "b"}, {"b", "c"}, {"abc", "c is down\na is down\nb is down"}, {"", "c"},
	} {
		clear(down)
		for _, addr := range step.down {
			down[string(addr)] = true
		}
		if got := used(); got != step.want {
			t.Errorf("with %q down: %q, want %q", step.down, got, step.want)
		}
	}
}

// NewRegistry has no error to return, so everything else has.
