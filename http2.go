//go:build go1.24

package consul

import (
	"net/http"
	"time"
)

// pingInterval is how long a connection may be silent before a ping is sent, and
// how long the response to that may take. Over HTTP/2 a query that ends leaves the
// connection open, with all that waits on it, so nothing else would tell a
// connection that hangs from one on which nothing has changed.
const pingInterval = 15 * time.Second

// newHTTP2Transport returns a transport that speaks HTTP/2 where the agent does.
// build makes transports for HTTP/1.
func newHTTP2Transport(build func() *http.Transport) closingTransport {
	withHTTP2 := func() *http.Transport {
		t := build()
		t.ForceAttemptHTTP2 = true
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingInterval, PingTimeout: pingInterval}
		return t
	}
	return &splitTransport{blocking: withHTTP2(), other: withHTTP2()}
}

// splitTransport has connections of their own for blocking queries. When many of
// those are canceled, agents may take no more requests over their connection for as
// long as they would have waited; see TestCanceledQueries in conformance/client.
// Heartbeats must get through all the same.
type splitTransport struct{ blocking, other *http.Transport }

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
