package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"sync"
)

// This file reads the bodies of responses: up to a limit, to their end, and
// without decoding what the caller already has.

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

// hashSeed makes fingerprints unknown to others.
var hashSeed = maphash.MakeSeed()

// fingerprint returns a number that stands for a response. The odds that another
// response has the same are 1 to 2^64, whoever makes it, because nobody else knows
// the seed.
func fingerprint(path string, body []byte) uint64 {
	f := maphash.Bytes(hashSeed, body) + maphash.String(hashSeed, path)
	return max(f, 1)
}

func (r *call) isKnown() bool { return r.known != 0 && r.known == r.fingerprint }

// takeBody reads the body of a good response into the call's out.
func (c *Client) takeBody(resp *http.Response, r *call) error {
	if r.out == nil {
		return drain(resp)
	}
	if resp.ContentLength > c.maxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrResponseTooLarge, resp.ContentLength, c.maxBytes)
	}
	limited := &io.LimitedReader{R: resp.Body, N: min(c.maxBytes, math.MaxInt64-1) + 1}
	if w, ok := r.out.(io.Writer); ok {
		_, err := io.Copy(w, limited)
		return c.judgeRead(err, limited)
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer release(buf)
	// What an agent says about the length may be wrong, so it counts up to a limit.
	buf.Grow(int(min(max(resp.ContentLength, 0), maxBodyTrust)) + bytes.MinRead)
	_, err := buf.ReadFrom(limited)
	if err := c.judgeRead(err, limited); err != nil {
		return err
	}
	if raw, ok := r.out.(*[]byte); ok {
		*raw = append([]byte{}, buf.Bytes()...)
		return nil
	}
	if r.timeout > 0 || r.known != 0 {
		r.fingerprint = fingerprint(r.path, buf.Bytes())
	}
	if r.isKnown() {
		return nil
	}
	return decode(buf.Bytes(), mediaType(resp.Header), r.out)
}

// drain reads a body that nobody wants, so that its connection can be used again.
func drain(resp *http.Response) error {
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return errors.New("the answer is a web page; want that of a Consul agent")
	}
	_, err := io.CopyN(io.Discard, resp.Body, maxDrain)
	if err == io.EOF {
		err = nil
	}
	return wrapRead(err)
}

// judgeRead returns what is wrong after limited, which allows one byte more than
// the client, has been read.
func (c *Client) judgeRead(err error, limited *io.LimitedReader) error {
	if err == nil && limited.N <= 0 {
		return fmt.Errorf("%w: more than %d bytes", ErrResponseTooLarge, c.maxBytes)
	}
	return wrapRead(err)
}

func wrapRead(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading the answer: %w", err)
}

// mediaType returns the type that a response declares, such as application/json.
func mediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}

// decode decodes a response, or says what it is instead of JSON.
func decode(data []byte, media string, out any) error {
	if len(data) == 0 {
		return errors.New("decoding the answer: it is empty; want JSON")
	}
	known, bad := decodeHot(data, out)
	if !known {
		bad = decodeCold(data, out)
	}
	if bad == nil {
		return nil
	}
	where := ""
	if bad.position > 0 {
		where = fmt.Sprintf(" at byte %d of %d", bad.position, len(data))
	}
	if media != "" && media != "application/json" {
		where += " (its type is " + shorten(media, maxErrorSnippet) + ")"
	}
	return fmt.Errorf("decoding the answer%s: %w; it starts with %q", where, bad, shorten(string(data), maxErrorSnippet))
}

// decodeCold decodes a response with encoding/json.
func decodeCold(data []byte, out any) *decodeError {
	err := json.Unmarshal(data, out)
	if err == nil {
		return nil
	}
	bad := &decodeError{what: shorten(err.Error(), maxErrorMessage), cause: err}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		bad.position = int(syntax.Offset)
	case errors.As(err, &kind):
		bad.position = int(kind.Offset)
	}
	return bad
}
