package consulmock

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/api"
	"github.com/lictor-go/consul/internal/httplog"
)

// dump writes the requests that are open, and the last twenty others.
func (l *requestLog) dump(b *strings.Builder) {
	const last = 20
	l.mu.Lock()
	defer l.mu.Unlock()
	b.WriteString("requests\n")
	ended := 0
	for _, r := range l.kept {
		if !r.open {
			ended++
		}
	}
	for _, r := range l.kept {
		state := fmt.Sprint(r.Status)
		switch {
		case r.open:
			state = "open"
		case ended > last:
			ended--
			continue
		case r.Status == 0:
			state = "no response"
		}
		fmt.Fprintf(b, "  %s %s %s: %s\n", r.Time.Format("15:04:05.000"), r.Method, httplog.URL(r.Path, r.Query), state)
	}
}

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
	Status int         // 0 until there is a response
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
	var body []byte
	var err error
	if r.Body != nil { // which it is not if the handler is called with a client's request
		body, err = io.ReadAll(io.LimitReader(r.Body, api.MaxBody+1))
	}
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
			list = append(list, r.Method+" "+httplog.URL(r.Path, nil))
		}
	}
	return list
}

// Requests returns the requests that the server received, in the order of arrival. Of more
// than ten thousand requests the oldest are forgotten, except those that are not
// responded to yet. The caller may change what is returned.
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

// newest returns the last n requests, the last one first.
func (l *requestLog) newest(n int) []uiRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []uiRequest
	for i := len(l.kept) - 1; i >= 0 && len(list) < n; i-- {
		r := l.kept[i]
		shown := uiRequest{Time: r.Time.Format("15:04:05.000"), Method: r.Method, URL: uiURL(&r.Request), Status: "no response", Class: "critical"}
		switch {
		case r.open && r.Status == 0:
			shown.Status, shown.Class = "waiting for "+time.Since(r.Time).Truncate(time.Second).String(), "waiting"
		case r.Status != 0:
			shown.Status, shown.Class = strconv.Itoa(r.Status), ""
			if r.Status >= 400 {
				shown.Class = "critical"
			}
		}
		list = append(list, shown)
	}
	return list
}
