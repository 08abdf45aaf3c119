package consulmock

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	maxRequests = 10_000   // kept in the log
	maxBody     = 64 << 20 // of a request that is read at all
	maxLogBody  = 64 << 10 // of a request's body in the log
)

// Request is a request that a server was sent.
type Request struct {
	Method string
	Path   string // as it was sent, escaped
	Query  url.Values
	Header http.Header // with the token, if there was one
	Body   []byte      // at most 64 KiB of it
	Time   time.Time   // of its arrival
	Status int         // 0 until it is answered
}

// requestLog remembers the last requests, and which of them are open.
type requestLog struct {
	mu     sync.Mutex
	kept   []*Request
	opened map[*Request]struct{}
}

// arrived records a request of which the body has not been read.
func (l *requestLog) arrived(r *http.Request) *Request {
	rec := &Request{
		Method: r.Method,
		Path:   r.URL.EscapedPath(),
		Query:  r.URL.Query(),
		Header: r.Header.Clone(),
		Time:   time.Now(),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == maxRequests {
		l.kept = append(l.kept[:0], l.kept[maxRequests/10:]...)
	}
	l.kept = append(l.kept, rec)
	if l.opened == nil {
		l.opened = make(map[*Request]struct{})
	}
	l.opened[rec] = struct{}{}
	return rec
}

// readBody reads the body of r and records it. The returned request has the body
// that was read.
func (l *requestLog) readBody(rec *Request, r *http.Request) *http.Request {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
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

func (l *requestLog) setStatus(rec *Request, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Status == 0 {
		rec.Status = status
	}
}

func (l *requestLog) done(rec *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.opened, rec)
}

// open returns the requests that are not answered yet.
func (l *requestLog) open() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for _, r := range l.kept {
		if _, ok := l.opened[r]; ok {
			list = append(list, fmt.Sprintf("%s %s", r.Method, r.Path))
		}
	}
	return list
}

// Requests returns what the server was asked, in the order of arrival. Of more
// than ten thousand requests the oldest are forgotten.
func (s *Server) Requests() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	list := make([]Request, len(s.log.kept))
	for i, r := range s.log.kept {
		list[i] = *r
	}
	return list
}

// recordingWriter notes the status of an answer.
type recordingWriter struct {
	http.ResponseWriter
	rec *Request
	log *requestLog
}

// WriteHeader implements [http.ResponseWriter].
func (w *recordingWriter) WriteHeader(status int) {
	w.log.setStatus(w.rec, status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *recordingWriter) Write(p []byte) (int, error) {
	w.log.setStatus(w.rec, http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *recordingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
