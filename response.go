package consul

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
)

// This file reads the bodies of responses, up to a limit and to their end.

// spareBuffer keeps the buffer of a body for the next one. It costs less to receive
// a large body than to allocate the memory for it, and a pool that the garbage
// collector empties has nothing left when the next change comes.
type spareBuffer struct {
	mu        sync.Mutex
	buf       *bytes.Buffer // nil if there is none
	used      bool          // since the last tick
	scheduled bool          // there will be a tick
}

const (
	// spareTime is how long a buffer is kept at least if it is not used again. It is
	// kept for twice that time at most.
	spareTime = 5 * time.Second

	// minKept is the size from which on a buffer is kept only if a body has used a
	// good part of it. Otherwise one large body would stay in memory for as long as
	// there are small ones.
	minKept = 64 << 10
)

// take returns an empty buffer for a body of about the size, which is negative if
// it is unknown.
func (s *spareBuffer) take(size int) *bytes.Buffer {
	need := max(size, 0) + bytes.MinRead // room beyond the end, to notice it
	s.mu.Lock()
	defer s.mu.Unlock()
	buf := s.buf
	if buf == nil || buf.Cap() < need || size >= 0 && !isFilled(buf.Cap(), size) {
		return bytes.NewBuffer(make([]byte, 0, need))
	}
	s.buf = nil
	return buf
}

// put keeps a buffer that is not needed any more, unless there is a larger one.
func (s *spareBuffer) put(buf *bytes.Buffer) {
	if !isFilled(buf.Cap(), buf.Len()) {
		return
	}
	buf.Reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buf != nil && s.buf.Cap() >= buf.Cap() {
		return
	}
	s.buf, s.used = buf, true
	if !s.scheduled {
		s.scheduled = true
		time.AfterFunc(spareTime, s.tick)
	}
}

// tick drops the buffer if it has not been used since the last tick. Each tick has
// a timer of its own: one that is reset would have to stay in the synctest bubble in
// which it was made.
func (s *spareBuffer) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used {
		s.buf, s.scheduled = nil, false
		return
	}
	s.used = false
	time.AfterFunc(spareTime, s.tick)
}

// isFilled reports whether a body of the size justifies a buffer of the capacity.
func isFilled(capacity, size int) bool { return capacity <= minKept || size >= capacity/8 }

// readBody reads the body of a good response into the call's out.
func (c *Client) readBody(resp *http.Response, r *call) (*Result, error) {
	if r.out == nil {
		return nil, drain(resp)
	}
	if resp.ContentLength > c.maxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrResponseTooLarge, resp.ContentLength, c.maxBytes)
	}
	limited := &io.LimitedReader{R: resp.Body, N: min(c.maxBytes, math.MaxInt64-1) + 1}
	if w, ok := r.out.(io.Writer); ok {
		_, err := io.Copy(w, limited)
		return nil, c.checkRead(err, limited)
	}
	buf := c.spare.take(c.bodySize(resp, r))
	defer c.spare.put(buf)
	_, err := buf.ReadFrom(limited)
	if err := c.checkRead(err, limited); err != nil {
		return nil, err
	}
	if raw, ok := r.out.(*[]byte); ok {
		*raw = append([]byte{}, buf.Bytes()...)
		return nil, nil
	}
	if r.previous == nil && r.timeout == 0 {
		return nil, decode(buf.Bytes(), mediaType(resp.Header), r.out)
	}
	return decodeNext(buf.Bytes(), mediaType(resp.Header), r)
}

// bodySize returns about how long the body of a response is, -1 if that is unknown.
// Large bodies have no Content-Length, but are mostly as long as the one before. A
// Content-Length may be wrong, so it counts up to a limit.
func (c *Client) bodySize(resp *http.Response, r *call) int {
	switch {
	case resp.ContentLength >= 0:
		return int(min(resp.ContentLength, maxBodyTrust))
	case r.previous != nil && r.previous.size > 0:
		return int(min(int64(r.previous.size+r.previous.size/16), c.maxBytes))
	}
	return -1
}

// drain reads a body that nobody wants, so that its connection can be used again.
func drain(resp *http.Response) error {
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return errors.New("the response is a web page; want JSON of a Consul agent")
	}
	_, err := io.CopyN(io.Discard, resp.Body, maxDrain)
	if err == io.EOF {
		err = nil
	}
	return wrapRead(err)
}

// checkRead returns what is wrong after limited, which allows one byte more than
// the client, has been read.
func (c *Client) checkRead(err error, limited *io.LimitedReader) error {
	if err == nil && limited.N <= 0 {
		return fmt.Errorf("%w: more than %d bytes", ErrResponseTooLarge, c.maxBytes)
	}
	return wrapRead(err)
}

func wrapRead(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading the response: %w", err)
}

// mediaType returns the type that a response declares, such as application/json.
func mediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}
