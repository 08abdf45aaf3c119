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
)

// This file reads the bodies of responses, up to a limit and to their end.

// buffers holds buffers for bodies. It costs less to receive a large body than to
// allocate the memory for it. The garbage collector empties the pool.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// minKept is the size from which on a buffer is kept only if a body has used a
// good part of it. Otherwise one large body would stay in memory for as long as
// there are small ones.
const minKept = 64 << 10

func release(buf *bytes.Buffer) {
	if buf.Cap() <= minKept || buf.Len() >= buf.Cap()/8 {
		buf.Reset()
		buffers.Put(buf)
	}
}

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
	buf := buffers.Get().(*bytes.Buffer)
	defer release(buf)
	// The Content-Length may be wrong, so it counts up to a limit. Long bodies have
	// none.
	size := int(min(max(resp.ContentLength, 0), maxBodyTrust))
	if resp.ContentLength < 0 && r.previous != nil {
		size = int(min(int64(r.previous.size+r.previous.size/16), c.maxBytes))
	}
	buf.Grow(size + bytes.MinRead)
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
