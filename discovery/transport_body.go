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
	awaited atomic.Bool   // a read of it is under way, or was when the request ended

	mu      sync.Mutex
	body    io.ReadCloser // nil if there is none
	current *bodyReader   // of the attempt that is under way
	read    int64         // so many bytes of body
	touched bool          // somebody has read body, perhaps no bytes
	failed  bool          // it is no body for the request
	last    bool          // there will be no other attempt
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
	b.current = &bodyReader{b: b, body: b.body}
	return b.current
}

// rewind takes the body away from an attempt that has failed, and reports whether
// another one can have it. If something was read, even if that cannot have been sent,
// it has to be one that the request can make anew.
func (b *sharedBody) rewind() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.touched {
		b.current = nil
		return true
	}
	if b.req.GetBody == nil {
		return false
	}
	fresh, err := b.req.GetBody()
	if err != nil {
		return false
	}
	b.body.Close()
	b.body, b.current, b.read, b.touched = fresh, nil, 0, false
	return true
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

// hasFailed reports whether the request could not succeed because its body has
// failed, or is not as long as announced.
func (b *sharedBody) hasFailed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// bodyReader is a sharedBody in the hands of one attempt.
type bodyReader struct {
	b      *sharedBody
	body   io.ReadCloser
	closed bool // guarded by b.mu
}

// isMine reports whether the attempt still has the body. b.mu must be held.
func (r *bodyReader) isMine() bool { return r.b.current == r && !r.closed }

func (r *bodyReader) Read(p []byte) (int, error) {
	r.b.mu.Lock()
	mine := r.isMine()
	r.b.touched = r.b.touched || mine
	r.b.mu.Unlock()
	if !mine {
		return 0, errors.New("discovery: read of a closed request body")
	}
	r.b.awaited.Store(true)
	n, err := r.body.Read(p)
	r.b.awaited.Store(endOf(r.b.req) != nil)
	r.note(n, err)
	return n, err
}

// note notes what has been read. What a transport reads of a body that it has closed
// tells nothing about the body.
func (r *bodyReader) note(n int, err error) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if !r.isMine() {
		return
	}
	r.b.read += int64(n)
	announced := r.b.req.ContentLength
	if err != nil && err != io.EOF || announced > 0 && (r.b.read > announced || err == io.EOF && r.b.read < announced) {
		r.b.failed = true
	}
}

func (r *bodyReader) Close() error {
	r.b.mu.Lock()
	closes := r.isMine() && r.b.last
	r.closed = true
	r.b.mu.Unlock()
	if closes {
		return r.body.Close()
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
