// Package httplog has what a log of HTTP requests needs: the status that a handler
// sent, and the address of a request without its token.
package httplog

import (
	"maps"
	"net/http"
	"net/url"
)

// StatusWriter is an [http.ResponseWriter] that reports the status of the
// response.
type StatusWriter struct {
	http.ResponseWriter
	Report func(status int) // called once, before the header is sent

	reported bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *StatusWriter) WriteHeader(status int) {
	w.report(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *StatusWriter) Write(p []byte) (int, error) {
	w.report(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *StatusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *StatusWriter) report(status int) {
	if !w.reported && status >= 200 { // a lower one is followed by another
		w.reported = true
		w.Report(status)
	}
}

// URL returns the path of a request, which is escaped already, with its parameters
// except for the value of token.
func URL(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	if query.Has("token") {
		query = maps.Clone(query)
		query.Set("token", "redacted")
	}
	return path + "?" + query.Encode()
}
