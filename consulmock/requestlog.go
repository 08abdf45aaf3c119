package consulmock

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/lictor-go/consul/internal/httplog"
)

const (
	maxRequests = 10_000   // kept in the log
	maxLogBody  = 64 << 10 // of a request's body in the log
)

// Request is a request that a server was sent.
type Request struct {
	Method string
	Path   string // as it was sent, escaped
	Query  url.Values
	Header http.Header // with the token, if there was one
	Body   []byte      // at most 64 KiB of it; nil until it has been read
	Time   time.Time   // of its arrival
	Status int         // 0 until it is answered
}

// requestLog remembers the last requests, and those that are open.
type requestLog struct {
	mu   sync.Mutex
	kept []*loggedRequest
	full int // the number of kept ones at which some are forgotten
}

// loggedRequest is a request in the log, whose lock guards it.
type loggedRequest struct {
	Request
	open bool // it has not ended
}

// arrived records a request of which the body has not been read.
func (l *requestLog) arrived(r *http.Request) *loggedRequest {
	rec := &loggedRequest{open: true, Request: Request{
		Method: r.Method,
		Path:   r.URL.EscapedPath(),
		Query:  r.URL.Query(),
		Header: r.Header.Clone(),
		Time:   time.Now(),
	}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= max(l.full, maxRequests) {
		l.forget()
	}
	l.kept = append(l.kept, rec)
	return rec
}

// forget drops the oldest requests that are not open, to have room for some more.
// l.mu must be held.
func (l *requestLog) forget() {
	const room = maxRequests / 10
	drop := len(l.kept) - (maxRequests - room)
	l.kept = slices.DeleteFunc(l.kept, func(r *loggedRequest) bool {
		if r.open || drop == 0 {
			return false
		}
		drop--
		return true
	})
	l.full = len(l.kept) + room
}

// readBody reads the body of r and records it. The returned request has the body
// that was read.
func (l *requestLog) readBody(rec *loggedRequest, r *http.Request) *http.Request {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Body = bytes.Clone(body[:min(len(body), maxLogBody)])
	r = r.WithContext(r.Context())
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failingReader{err}))
	return r
}

// failingReader gives the error that reading a body ended with.
type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// noting returns w as a writer that records the status of the response.
func (l *requestLog) noting(w http.ResponseWriter, rec *loggedRequest) http.ResponseWriter {
	return &httplog.StatusWriter{ResponseWriter: w, Report: func(status int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		rec.Status = status
	}}
}

func (l *requestLog) done(rec *loggedRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.open = false
}

// open returns the requests that have not ended.
func (l *requestLog) open() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, r := range l.kept {
		if r.open {
			list = append(list, fmt.Sprintf("%s %s", r.Method, r.Path))
		}
	}
	return list
}

// Requests returns what the server was asked, in the order of arrival. Of more
// than ten thousand requests the oldest are forgotten, except those that are not
// answered yet. The caller may change what is returned.
func (s *Server) Requests() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	list := make([]Request, len(s.log.kept))
	for i, r := range s.log.kept {
		list[i] = r.Request
		list[i].Query = url.Values(http.Header(r.Query).Clone())
		list[i].Header = r.Header.Clone()
		list[i].Body = bytes.Clone(r.Body)
	}
	return list
}
