package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// This file takes the body of an answer in: within bounds, to its end, and
// without decoding again what the caller has.

// spareBuffer holds a buffer for the next long answer. It costs less to receive
// such an answer than to allocate the memory for it; but between answers that are
// far apart, nothing is held.
type spareBuffer struct{ atomic.Pointer[bytes.Buffer] }

const (
	longAnswer = 64 << 10
	spareTime  = 5 * time.Second
)

func (s *spareBuffer) take() *bytes.Buffer {
	buf := s.Swap(nil)
	if buf == nil {
		return new(bytes.Buffer)
	}
	buf.Reset()
	return buf
}

func (s *spareBuffer) put(buf *bytes.Buffer) {
	if buf.Cap() >= longAnswer {
		s.Store(buf)
		time.AfterFunc(spareTime, func() { s.CompareAndSwap(buf, nil) })
	}
}

// bodySizes are how long the last answers were, by a hash of their paths. Long
// answers come without their length, and a buffer that has to grow to it is
// allocated and copied a dozen times.
type bodySizes [64]atomic.Int64

func (s *bodySizes) of(path string) *atomic.Int64 {
	return &s[maphash.String(hashSeed, path)%uint64(len(s))]
}

var hashSeed = maphash.MakeSeed()

// fingerprint returns a number that stands for an answer. The odds that another
// answer has the same are 1 to 2^64, whoever makes it, because nobody else knows
// the seed.
func fingerprint(path string, body []byte) uint64 {
	f := maphash.Bytes(hashSeed, body) + maphash.String(hashSeed, path)
	return max(f, 1)
}

func (r *call) isKnown() bool { return r.known != 0 && r.known == r.fingerprint }

// takeBody takes the body of a good answer into the call's out.
func (c *Client) takeBody(resp *http.Response, r *call) error {
	if r.out == nil {
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			return errors.New("the answer is a web page; want that of a Consul agent")
		}
		_, err := io.CopyN(io.Discard, resp.Body, maxDrain)
		if err == io.EOF {
			err = nil
		}
		return wrapRead(err)
	}
	if resp.ContentLength > c.maxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrResponseTooLarge, resp.ContentLength, c.maxBytes)
	}
	limited := &io.LimitedReader{R: resp.Body, N: c.maxBytes + 1}
	if w, ok := r.out.(io.Writer); ok {
		_, err := io.Copy(w, limited)
		return c.judgeRead(err, limited)
	}
	raw, isRaw := r.out.(*[]byte)
	buf := new(bytes.Buffer)
	if !isRaw {
		buf = c.spare.take()
		defer c.spare.put(buf)
	}
	last := c.sizes.of(r.path)
	size := last.Load() * 9 / 8
	if resp.ContentLength >= 0 {
		size = min(resp.ContentLength, maxBodyTrust)
	}
	// ReadFrom wants room beyond the end to notice it.
	buf.Grow(int(size) + bytes.MinRead)
	_, err := buf.ReadFrom(limited)
	if err := c.judgeRead(err, limited); err != nil {
		return err
	}
	last.Store(int64(buf.Len()))
	if isRaw {
		*raw = buf.Bytes()
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

// judgeRead says what is wrong after limited, which allows one byte more than
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

// mediaType returns what an answer is said to be, such as application/json.
func mediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}

// decode decodes an answer, or says what it is instead of JSON.
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
		where += " (its type is " + media + ")"
	}
	return fmt.Errorf("decoding the answer%s: %w; it starts with %q", where, bad, shorten(string(data), maxErrorSnippet))
}

// decodeCold decodes an answer with encoding/json.
func decodeCold(data []byte, out any) *decodeError {
	err := json.Unmarshal(data, out)
	if err == nil {
		return nil
	}
	bad := &decodeError{what: err.Error(), cause: err}
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
