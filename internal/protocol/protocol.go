// Package protocol lets package discovery know which version of HTTP the agent
// speaks, because that decides what queries cost that wait.
package protocol

import (
	"context"
	"sync/atomic"
)

// Version is the major version of HTTP of the last response; 0 before the first.
type Version struct{ major atomic.Int32 }

// SharesConnections reports whether requests share connections.
func (v *Version) SharesConnections() bool { return v.major.Load() >= 2 }

type key struct{}

// With returns a context for requests whose responses are noted in v.
func With(ctx context.Context, v *Version) context.Context { return context.WithValue(ctx, key{}, v) }

// Note notes the major version of HTTP of a response to a request with the context.
func Note(ctx context.Context, major int) {
	if v, ok := ctx.Value(key{}).(*Version); ok {
		v.major.Store(int32(major))
	}
}
