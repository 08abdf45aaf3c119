//go:build !go1.24

package consul

import "net/http"

// newHTTP2Transport returns a transport for HTTP/1: package net/http of Go 1.23 has
// no pings, so requests would be sent again and again over a connection that hangs.
func newHTTP2Transport(build func() *http.Transport) closingTransport { return build() }
