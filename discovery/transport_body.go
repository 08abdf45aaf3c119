package discovery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// sharedBody is the body of a request that may be tried more than once. Each
// attempt gets a reader of it. A transport closes what it gets, perhaps after it
// has returned, so the body itself is closed when its last reader is.
type sharedBody struct {
	req     *http.Request // a copy, since the caller may reuse the request
	body    io.ReadCloser // nil if there is none
	awaited atomic.Bool   // a read of it is under way, or was when the request ended

	mu      sync.Mutex
	current *bodyReader // of the attempt that is under way
	touched bool        // something was read
	last    bool        // there will be no other attempt
}

func newSharedBody(req *http.Request) *sharedBody {
	if req.Body == nil || req.Body == http.NoBody {
		return &sharedBody{}
	}
	return &sharedBody{req: req.WithContext(req.Context()), body: req.Body}
}

// reader returns the body for one attempt.
func (b *sharedBody) reader() io.ReadCloser {
	if b.body == nil {
		return http.NoBody
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = &bodyReader{b: b}
	return b.current
}

// rewind takes the body away from an attempt that has failed, and reports
// whether another one can have it: not if something was read, even if that
// cannot have been sent.
func (b *sharedBody) rewind() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.touched {
		b.current = nil
	}
	return !b.touched
}

// end marks that there will be no other attempt. Unless one still has the body,
// it is closed.
func (b *sharedBody) end() {
	b.mu.Lock()
	unused := !b.last && (b.current == nil || b.current.closed)
	b.last = true
	b.mu.Unlock()
	if b.body != nil && unused {
		b.body.Close()
	}
}

// bodyReader is a sharedBody in the hands of one attempt.
type bodyReader struct {
	b      *sharedBody
	closed bool // guarded by b.mu
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.b.mu.Lock()
	mine := r.b.current == r && !r.closed
	r.b.touched = r.b.touched || mine
	r.b.mu.Unlock()
	if !mine {
		return 0, errors.New("discovery: read of a closed request body")
	}
	r.b.awaited.Store(true)
	n, err := r.b.body.Read(p)
	r.b.awaited.Store(endOf(r.b.req) != nil)
	return n, err
}

func (r *bodyReader) Close() error {
	r.b.mu.Lock()
	closes := r.b.current == r && r.b.last && !r.closed
	r.closed = true
	r.b.mu.Unlock()
	if closes {
		return r.b.body.Close()
	}
	return nil
}

// newTrackedBody returns the body of a response that calls done when it was read
// to its end, has failed, or is closed: not every caller closes what it has read.
// A body that can be written to stays so: it is a connection after 101 Switching
// Protocols.
func newTrackedBody(body io.ReadCloser, done func(error)) io.ReadCloser {
	if body == nil || body == http.NoBody {
		done(nil)
		return body
	}
	t := &trackedBody{body, done}
	if w, ok := body.(io.Writer); ok {
		return struct {
			*trackedBody
			io.Writer
		}{t, w}
	}
	return t
}

type trackedBody struct {
	io.ReadCloser
	done func(error)
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		b.done(nil)
	default:
		b.done(context.Canceled) // neither a success nor a failure
	}
	return n, err
}

func (b *trackedBody) Close() error {
	err := b.ReadCloser.Close()
	b.done(nil)
	return err
}
