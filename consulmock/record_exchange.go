package consulmock

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/lictor-go/consul/consulmock/internal/api"
	"github.com/lictor-go/consul/consulmock/internal/memnet"
	"github.com/lictor-go/consul/internal/har"
)

// This file records one exchange.

// failureText returns how an exchange failed, in few words.
func failureText(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return failedCanceled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected EOF"
	case errors.Is(err, memnet.ErrRefused):
		return "connection refused"
	case errors.Is(err, memnet.ErrReset):
		return failedReset
	}
	return err.Error()
}

// begin gives the exchange its place in the order.
func (r *Recorder) begin(req *http.Request, body []byte) *har.Entry {
	e := &har.Entry{Started: har.Time{Time: time.Now().UTC()}}
	r.mu.Lock()
	r.entries++
	r.seq++
	e.ID = fmt.Sprintf("e%03d", r.entries)
	e.Seq = &har.Seq{Start: r.seq}
	r.mu.Unlock()
	u := *req.URL
	u.Scheme, u.Host = r.target.Scheme, req.Host
	if u.Path == "" {
		u.Path = "/" // as agents take it; it is empty in requests to proxies
	}
	e.Request = har.Request{
		Method: req.Method, URL: u.String(), HTTPVersion: req.Proto,
		Cookies: []har.Pair{}, Headers: har.Headers(req.Header), QueryString: har.Parameters(u.RawQuery),
		HeadersSize: -1, BodySize: len(body),
	}
	e.Request.Headers = append([]har.Pair{{Name: "Host", Value: req.Host}}, e.Request.Headers...)
	if req.ContentLength < 0 { // net/http has taken the header out
		e.Request.Headers = append(e.Request.Headers, har.Pair{Name: "Transfer-Encoding", Value: "chunked"})
	}
	e.Request.Body = body
	if len(body) > 0 {
		e.Request.PostData = &har.Post{MimeType: req.Header.Get("Content-Type")}
	}
	e.Answer = har.Response{Cookies: []har.Pair{}, Headers: []har.Pair{}, HeadersSize: -1, BodySize: -1}
	if !r.keep {
		// Now, for responses to others that are under way.
		r.redactor.LearnFrom(e)
	}
	return e
}

// pass sends the request to the agent. It sends a response of unknown length to the
// client as it comes. Of one whose length is known it returns the body, to be sent
// once the exchange is recorded: a client that has its response finds it in the file.
func (r *Recorder) pass(w http.ResponseWriter, req *http.Request, body []byte, e *har.Entry) (last []byte, err error) {
	u := *r.target
	u.RawQuery = req.URL.RawQuery
	u.Path, u.RawPath = r.target.Path+req.URL.Path, r.target.EscapedPath()+req.URL.EscapedPath()
	out, err := http.NewRequestWithContext(req.Context(), req.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.URL = &u // with the path as it came
	if req.ContentLength < 0 {
		out.ContentLength = -1 // in chunks, too: agents ignore such bodies in places
	}
	out.Header = req.Header.Clone()
	for _, name := range []string{"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		out.Header.Del(name)
	}
	if accepted := out.Header.Values("Accept-Encoding"); len(accepted) > 0 {
		out.Header.Del("Accept-Encoding")
		if api.AcceptsGzip(accepted) {
			out.Header.Set("Accept-Encoding", "gzip") // others hide what they compress from the redactor
		}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // or the transport would add its own
	}
	sent := time.Now()
	resp, err := r.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	e.Timings.Wait = milliseconds(time.Since(sent))
	e.Answer.Status, e.Answer.HTTPVersion = resp.StatusCode, resp.Proto
	e.Answer.StatusText = http.StatusText(resp.StatusCode)
	e.Answer.Headers = har.Headers(resp.Header)
	e.Answer.RedirectURL = resp.Header.Get("Location")

	header := w.Header()
	maps.Copy(header, resp.Header)
	header.Del("Connection")
	if resp.Header["Content-Type"] == nil {
		header["Content-Type"] = nil // or the server would guess one
	}
	w.WriteHeader(resp.StatusCode) // not sent yet
	kept := limitedBuffer{most: r.most}
	if resp.ContentLength >= 0 && resp.ContentLength <= int64(r.most) {
		_, err = io.Copy(&kept, resp.Body)
		last = kept.Bytes()
	} else {
		err = copyFlushing(w, io.TeeReader(resp.Body, &kept))
	}
	e.Answer.BodySize = kept.Len() + kept.left
	e.Answer.Content.MimeType = resp.Header.Get("Content-Type")
	plain, isWhole := r.decompressed(kept.Bytes(), resp.Header)
	e.Answer.Body = plain
	e.Answer.Content.Partial = err != nil || kept.left > 0 || !isWhole
	return last, err
}

// limitedBuffer takes what fits and counts the rest.
type limitedBuffer struct {
	bytes.Buffer
	most, left int
}

// Write implements [io.Writer].
func (l *limitedBuffer) Write(p []byte) (int, error) {
	fits := min(len(p), l.most-l.Len())
	l.Buffer.Write(p[:fits])
	l.left += len(p) - fits
	return len(p), nil
}

func copyFlushing(w http.ResponseWriter, body io.Reader) error {
	flusher := http.NewResponseController(w)
	flusher.Flush() // of an endless response, the header may be all there is for long
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
			flusher.Flush()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// decompressed returns the body of a response without its compression, and
// whether that is all of it. It returns nothing of what it cannot decompress,
// because nobody could tell which secrets are in it.
func (r *Recorder) decompressed(body []byte, h http.Header) (plain []byte, isWhole bool) {
	switch strings.ToLower(strings.Join(h.Values("Content-Encoding"), ",")) {
	case "", "identity":
		return body, true
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, len(body) == 0
		}
		plain, err = io.ReadAll(io.LimitReader(z, int64(r.most)+1))
		if len(plain) > r.most {
			return plain[:r.most], false
		}
		return plain, err == nil
	}
	return nil, len(body) == 0
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// finish writes the entry to the file.
func (r *Recorder) finish(e *har.Entry) {
	if !r.keep {
		r.redactor.Redact(e)
	}
	e.EncodeBodies()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	e.Seq.End = r.seq
	r.failed(r.archive.add(e))
}
