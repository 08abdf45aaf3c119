//go:build go1.24

package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pingInterval is how long a connection may be silent before a ping is sent, and
	// how long the response to that may take. Over HTTP/2 a query that ends leaves the
	// connection open, with all that waits on it, so nothing else would tell a
	// connection that hangs from one on which nothing has changed.
	pingInterval = 15 * time.Second

	// openingTime is how long nobody else opens a connection, unless it is there
	// before, and maxDialDelay how long one may be held back so: those that are
	// being opened may hang. When it is there, sharingTime is how long all others who
	// want one have to notice that it is enough for them.
	openingTime  = 250 * time.Millisecond
	sharingTime  = 20 * time.Millisecond
	maxDialDelay = 5 * time.Second
)

// newHTTP2Transport returns a transport that speaks HTTP/2 where the agent does.
// build makes transports for HTTP/1.
func newHTTP2Transport(build func() *http.Transport) closingTransport {
	isHTTP1 := new(atomic.Bool)
	return &splitTransport{
		blocking: newSharingTransport(build(), build(), isHTTP1),
		other:    newSharingTransport(build(), build(), isHTTP1),
	}
}

// splitTransport has connections of their own for blocking queries. When many of
// those are canceled, agents may take no more requests over their connection for as
// long as they would have waited; see TestCanceledQueries in conformance/client.
// Heartbeats must get through all the same.
type splitTransport struct{ blocking, other *sharingTransport }

// RoundTrip implements [http.RoundTripper].
func (t *splitTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if isBlocking(r.Context()) {
		return t.blocking.RoundTrip(r)
	}
	return t.other.RoundTrip(r)
}

// CloseIdleConnections closes the connections that are not in use.
func (t *splitTransport) CloseIdleConnections() {
	t.blocking.CloseIdleConnections()
	t.other.CloseIdleConnections()
}

// sharingTransport is a transport that opens one connection at a time. Package
// net/http opens one for each request that finds no room, so that of a thousand
// requests at once hundreds would open one that nobody needs: the agent refuses
// those beyond its limit, and requests with them.
type sharingTransport struct {
	*http.Transport
	http1   *http.Transport // for requests that find out why there is no connection
	opening chan struct{}   // has an element while a connection is being opened
	isHTTP1 *atomic.Bool    // the agent does not speak HTTP/2, so that each request needs a connection
}

func newSharingTransport(base, http1 *http.Transport, isHTTP1 *atomic.Bool) *sharingTransport {
	http1.DisableKeepAlives = true
	base.ForceAttemptHTTP2 = true
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingInterval, PingTimeout: pingInterval}
	t := &sharingTransport{Transport: base, http1: http1, opening: make(chan struct{}, 1), isHTTP1: isHTTP1}
	if dial := base.DialContext; dial != nil {
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			served, ok := ctx.Value(servedKey{}).(*served)
			if !ok || t.isHTTP1.Load() {
				return dial(ctx, network, address)
			}
			opened, err := t.open(ctx, served.context())
			if err != nil {
				return nil, err
			}
			conn, err := dial(ctx, network, address)
			if err != nil {
				opened()
			}
			return conn, err
		}
	}
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *sharingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	served := &served{}
	served.renew()
	var secured, got atomic.Bool
	defer served.end()
	ctx := httptrace.WithClientTrace(context.WithValue(r.Context(), servedKey{}, served), &httptrace.ClientTrace{
		GetConn: func(string) { served.renew() },
		GotConn: func(httptrace.GotConnInfo) { served.end(); got.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				secured.Store(true)
			}
		},
	})
	resp, err := t.Transport.RoundTrip(r.WithContext(ctx))
	switch {
	case err == nil:
		t.isHTTP1.Store(resp.ProtoMajor == 1)
		resp.Request = r
	case r.Context().Err() == nil && r.Method == http.MethodGet && (secured.Load() && !got.Load() || isUnsent(err)):
		// The agent has hung up on a new connection before it got the request, mostly
		// because it does not accept the client's certificate. Over HTTP/1 the error has
		// its reason.
		return t.http1.RoundTrip(r)
	}
	return resp, err
}

// isUnsent reports whether an error means that a request was not sent.
func isUnsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "write" || strings.Contains(err.Error(), "http2: client conn could not be established")
}

var errServed = errors.New("the request has got another connection")

// open returns when a connection may be opened for a request, unless the request is
// served before. The caller has to call opened if that fails.
func (t *sharingTransport) open(ctx, served context.Context) (opened func(), err error) {
	timer := time.NewTimer(maxDialDelay)
	defer timer.Stop()
	select {
	case t.opening <- struct{}{}:
	case <-timer.C:
		return func() {}, nil
	case <-served.Done():
		return nil, errServed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	opened = sync.OnceFunc(func() { <-t.opening })
	if served.Err() != nil { // select chooses at random
		opened()
		return nil, errServed
	}
	context.AfterFunc(served, func() { time.AfterFunc(sharingTime, opened) })
	time.AfterFunc(openingTime, opened)
	return opened, nil
}

// served tells whether a request has got a connection, or has ended.
type served struct {
	mu     sync.Mutex
	ctx    context.Context // ends then
	cancel context.CancelFunc
}

type servedKey struct{}

func (s *served) context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

// renew notes that the request needs a connection, for the first time or again.
func (s *served) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil {
		s.ctx, s.cancel = context.WithCancel(context.Background())
	}
}

func (s *served) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
}
