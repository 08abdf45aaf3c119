package discovery

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul/internal/pace"
)

// queryLimiter limits the queries of a resolver that are under way. A query that
// waits for changes holds its connection nearly all the time. When there are more
// services than places for such queries, the others are polled now and then by
// queries that do not wait, in places that are free again within milliseconds. So
// a first query never waits for a place that another one holds for a minute, and
// heartbeats find connections left.
//
// Over HTTP/2 queries that wait share connections, so that there may be any number
// of them, unless the caller has chosen one. First queries are limited all the same:
// a thousand at once would open dozens of connections before it is known that one
// would do.
//
// A datacenter that hangs holds a place for as long as a query may take. So each
// datacenter polls in places of its own.
type queryLimiter struct {
	waiting chan struct{}
	polling []chan struct{} // one for each datacenter

	isStrict bool        // the number of queries holds over HTTP/2, too
	isShared atomic.Bool // the last response came over HTTP/2 or later
}

const (
	maxPolling = 16 // of all datacenters together

	// pollInterval is the time between two queries about a service for which there
	// is no place to wait, plus or minus 20 %.
	pollInterval = 5 * time.Second
)

// newQueryLimiter returns a limiter of n queries about so many datacenters. If
// there are not more queries than datacenters, none waits for changes.
func newQueryLimiter(n, datacenters int) *queryLimiter {
	groups := min(datacenters, n)
	each := max(min(n/8, maxPolling)/groups, 1)
	l := &queryLimiter{waiting: make(chan struct{}, n-groups*each)}
	for range groups {
		l.polling = append(l.polling, make(chan struct{}, each))
	}
	return l
}

// noteVersion is the key of a function in the context of a query that is told the
// version of HTTP of the response, whatever the transport. Package consul has it too.
const noteVersion = "github.com/lictor-go/consul: version of HTTP"

// observe returns a context for queries whose responses tell the limiter whether
// queries share connections.
func (l *queryLimiter) observe(ctx context.Context) context.Context {
	//lint:ignore SA1029 no type can be shared with package consul, which imports nothing
	return context.WithValue(ctx, noteVersion, func(major int) { l.isShared.Store(major >= 2) })
}

// acquire returns when a query about a datacenter may start, and whether it may
// wait for a change if it wants to. The caller has to call release after the
// query. A nil release means that ctx has ended.
func (l *queryLimiter) acquire(ctx context.Context, datacenter int, wait bool) (release func(), mayWait bool) {
	if wait && !l.isStrict && l.isShared.Load() {
		return func() {}, true
	}
	if wait {
		timer := time.NewTimer(pace.Jittered(pollInterval, rand.Float64()))
		defer timer.Stop()
		select {
		case l.waiting <- struct{}{}:
			return func() { <-l.waiting }, true
		case <-ctx.Done():
			return nil, false
		case <-timer.C:
		}
	}
	polling := l.polling[datacenter%len(l.polling)]
	select {
	case polling <- struct{}{}:
		return func() { <-polling }, false
	case <-ctx.Done():
		return nil, false
	}
}
