package outage

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// Way is a client's way to its agent, which can be cut.
type Way struct {
	server *httptest.Server
	down   atomic.Bool
}

// NewWay returns a way to the agent at the address, host:port. It has to be closed.
func NewWay(address string) *Way {
	w := &Way{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.down.Load() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(rw, r)
	}))
	return w
}

// Address returns where clients find the agent, as host:port.
func (w *Way) Address() string { return w.server.Listener.Addr().String() }

// SetDown cuts the way with what is on it, or repairs it.
func (w *Way) SetDown(down bool) {
	w.down.Store(down)
	if down {
		w.server.CloseClientConnections()
	}
}

// Close ends the way. It does not wait for those who still ask.
func (w *Way) Close() {
	w.server.Listener.Close()
	w.server.CloseClientConnections()
}
