// Package httplog has what a log of HTTP requests needs: the status that a handler
// sent, and the address of a request without its token.
package httplog

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
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

// legacyToken matches the paths of 1.8.7 in which the ID of a token is its secret.
var legacyToken = regexp.MustCompile(`/v1/acl/(?:info|clone|destroy)/([^/?#]+)`)

// CutToken returns the secret of a token that is in a path, as it is there, and what
// is around it. If there is none, the path is all before it.
func CutToken(path string) (before, token, after string) {
	m := legacyToken.FindStringSubmatchIndex(path)
	if m == nil || path[m[2]:m[3]] == "anonymous" {
		return path, "", ""
	}
	return path[:m[2]], path[m[2]:m[3]], path[m[3]:]
}

// URL returns the path of a request, which is escaped already, with its parameters,
// without the tokens in both.
func URL(path string, query url.Values) string {
	if before, token, after := CutToken(path); token != "" {
		path = before + "redacted" + after
	}
	if len(query) == 0 {
		return path
	}
	if query.Has("token") {
		query = maps.Clone(query)
		query.Set("token", "redacted")
	}
	return path + "?" + query.Encode()
}
