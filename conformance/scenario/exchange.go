package scenario

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"
)

// request is what is written to a connection, byte for byte.
type request struct {
	method  string
	target  string // path with query, as it is sent
	host    string
	headers [][2]string
	body    []byte // nil if there is none
	chunked bool   // the body goes in chunks, as one of the headers says

	// limit is when to stop reading. endless says that stopping is expected.
	limit   time.Duration
	endless bool
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	body    []byte // decompressed
	partial bool   // the end was not awaited
	err     string // the exchange failed: refused, closed, timeout, or the error's text
	took    time.Duration

	// started is how many requests had been sent when the answer was complete,
	// its own included.
	started int
}

type dialer func(ctx context.Context) (net.Conn, error)

// exchange sends a request over a connection of its own and reads the answer.
// Package net/http would not send all that is in the recordings.
func exchange(dial dialer, r *request) *answer {
	a := &answer{header: http.Header{}}
	begin := time.Now()
	defer func() { a.took = time.Since(begin) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		a.err = "refused"
		return a
	}
	defer conn.Close()
	limit := make(chan struct{})
	timer := time.AfterFunc(r.limit, func() { close(limit); conn.Close() })
	defer timer.Stop()
	fail := func(err error) {
		select {
		case <-limit:
			a.partial = a.status != 0 && r.endless
			if !a.partial {
				a.err = "timeout"
			}
		default:
			a.err = classify(err)
		}
	}
	// The write has a goroutine of its own, since an in-memory connection may
	// have no room for all of it while the server answers already.
	go conn.Write(r.bytes())
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		fail(err)
		return a
	}
	a.status, a.header = resp.StatusCode, resp.Header
	if resp.Close && a.header.Get("Connection") == "" {
		a.header.Set("Connection", "close") // ReadResponse has taken it out
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		fail(err)
	}
	a.body = decompress(resp.Header, body.Bytes())
	return a
}

func (r *request) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, r.target, r.host)
	for _, h := range r.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if !r.chunked && (r.body != nil || r.method == http.MethodPut || r.method == http.MethodPost) {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n")
	if r.chunked {
		writeChunks(&b, r.body)
	} else {
		b.Write(r.body)
	}
	return b.Bytes()
}

// writeChunks writes a body in chunks of at most 64 KiB, as the recorder did.
func writeChunks(b *bytes.Buffer, body []byte) {
	for chunk := range slices.Chunk(body, 1<<16) {
		fmt.Fprintf(b, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	b.WriteString("0\r\n\r\n")
}

func decompress(h http.Header, body []byte) []byte {
	if h.Get("Content-Encoding") != "gzip" {
		return body
	}
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		return body
	}
	return plain
}

// classify names what went wrong with a connection. How exactly a server's end
// of it was closed depends on chance, so that is one class.
func classify(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "refused"):
		return "refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed), strings.HasSuffix(text, "EOF"),
		strings.Contains(text, "reset"), strings.Contains(text, "broken pipe"):
		return "closed"
	case strings.Contains(text, "timeout"):
		return "timeout"
	}
	return text
}
