package consulmock

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxRecorded bounds what is recorded of one answer. It is passed on whole.
const maxRecorded = 64 << 20

// Recorder is a proxy in front of a real agent that records what passes, as an
// HTTP archive (HAR 1.2). It is an [http.Handler]; [Recorder.URL] serves it.
//
// The archive is complete JSON after every exchange, so that nothing is lost
// when the program ends before [Recorder.Close]. Its entries stand in the order
// in which they ended. What overlapped is kept in the field _seq of each entry,
// which [Replay] goes by.
//
// Tokens are replaced in headers, parameters and bodies, and so are the secrets
// in the JSON of ACL tokens and certificates, unless [KeepTokens] is given.
//
//	recorder, err := consulmock.Record("http://127.0.0.1:8500", "testdata/watch.har")
//	...
//	defer recorder.Close()
//	client, err := consul.NewClient(consul.Config{Address: recorder.URL()})
type Recorder struct {
	target    *url.URL
	transport *http.Transport
	keep      bool
	redactor  redactor

	mu      sync.Mutex // guards what follows
	file    *os.File
	end     int64 // of the entries in the file
	entries int   // that have begun
	written int
	seq     int
	err     error // the first failure to write

	http   *http.Server // nil until a port is asked for
	addr   string
	closed bool
	busy   sync.WaitGroup
}

// RecordOption changes what a [Recorder] does.
type RecordOption func(*Recorder)

// KeepTokens makes a [Recorder] write tokens and other secrets as they are.
func KeepTokens() RecordOption { return func(r *Recorder) { r.keep = true } }

// harTrailer ends the file after the last entry.
const harTrailer = "\n]}}\n"

// Record returns a recorder in front of the agent at target, which is a URL such
// as http://127.0.0.1:8500. It creates the file har, or empties it. The caller
// closes the recorder.
func Record(target, har string, opts ...RecordOption) (*Recorder, error) {
	u, err := url.Parse(target)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = errors.New("want http://host:port or https://host:port")
	}
	if err != nil {
		return nil, fmt.Errorf("consulmock: target %q: %w", target, err)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	header, err := json.Marshal(harFile{harLog{
		Version: "1.2",
		Creator: harCreator{Name: "consulmock", Version: "1"},
		Entries: []harEntry{},
	}})
	if err != nil {
		return nil, err
	}
	f, err := os.Create(har)
	if err != nil {
		return nil, fmt.Errorf("consulmock: %w", err)
	}
	r := &Recorder{
		target: u,
		file:   f,
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConnsPerHost: 100,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true, // the client decides
		},
	}
	for _, o := range opts {
		o(r)
	}
	header = append(bytes.TrimSuffix(header, []byte("]}}")), '\n')
	r.end = int64(len(header))
	if _, err := f.WriteAt(append(header, harTrailer[1:]...), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("consulmock: %w", err)
	}
	return r, nil
}

// URL returns the address at which the recorder listens, on the loopback
// interface. The first call opens the port. It panics if there is none.
func (r *Recorder) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.http == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic("consulmock: cannot listen: " + err.Error())
		}
		r.addr = l.Addr().String()
		r.http = &http.Server{Handler: r, ErrorLog: log.New(io.Discard, "", 0)}
		go r.http.Serve(l)
	}
	return "http://" + r.addr
}

// Close stops listening, ends the exchanges that are under way, which are
// recorded as far as they went, and closes the file. It returns the first error
// of writing to the file.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.closed = true
	server := r.http
	r.mu.Unlock()
	if server != nil {
		server.Close()
	}
	r.busy.Wait()
	r.transport.CloseIdleConnections()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.file.Close(); r.err == nil && err != nil && !errors.Is(err, os.ErrClosed) {
		r.err = err
	}
	return r.err
}

// ServeHTTP passes a request on to the agent, and its answer back. If the agent
// cannot be reached, the answer is 502.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	r.busy.Add(1)
	r.mu.Unlock()
	defer r.busy.Done()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "consulmock: reading the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	e := r.begin(req, body)
	start := time.Now()
	last, err := r.pass(w, req, body, e)
	e.Time = milliseconds(time.Since(start))
	e.Timings.Receive = e.Time - e.Timings.Wait
	if err != nil {
		e.Failure = failureText(req.Context(), err)
	}
	r.finish(e)
	switch {
	case e.Answer.Status != 0:
		w.Write(last)
		if err != nil {
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler) // the client sees the same as the recorder
		}
	case req.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	default:
		http.Error(w, "consulmock: the agent cannot be reached: "+err.Error(), http.StatusBadGateway)
	}
}

// failureText returns how an exchange failed, in few words.
func failureText(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return failedCanceled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected EOF"
	case errors.Is(err, errRefused):
		return "connection refused"
	case errors.Is(err, errReset):
		return failedReset
	}
	return err.Error()
}

// begin gives the exchange its place in the order.
func (r *Recorder) begin(req *http.Request, body []byte) *harEntry {
	e := &harEntry{Started: time.Now().UTC()}
	r.mu.Lock()
	r.entries++
	r.seq++
	e.ID = fmt.Sprintf("e%03d", r.entries)
	e.Seq = &harSeq{Start: r.seq}
	r.mu.Unlock()
	u := *req.URL
	u.Scheme, u.Host = r.target.Scheme, req.Host
	e.Request = harRequest{
		Method: req.Method, URL: u.String(), HTTPVersion: req.Proto,
		Cookies: []harPair{}, Headers: pairs(req.Header), QueryString: queryPairs(u.RawQuery),
		HeadersSize: -1, BodySize: len(body),
	}
	e.Request.Headers = append([]harPair{{"Host", req.Host}}, e.Request.Headers...)
	e.Request.body = body
	if len(body) > 0 {
		e.Request.PostData = &harPost{MimeType: req.Header.Get("Content-Type")}
	}
	e.Answer = harResponse{Cookies: []harPair{}, Headers: []harPair{}, HeadersSize: -1, BodySize: -1}
	if !r.keep {
		// Now, for responses to others that are under way.
		r.redactor.learnFrom(e)
	}
	return e
}

func pairs(h http.Header) []harPair {
	list := []harPair{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			list = append(list, harPair{name, v})
		}
	}
	return list
}

func queryPairs(query string) []harPair {
	list := []harPair{}
	for _, part := range strings.FieldsFunc(query, func(c rune) bool { return c == '&' }) {
		name, value, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err == nil {
			name = n
		}
		if v, err := url.QueryUnescape(value); err == nil {
			value = v
		}
		list = append(list, harPair{name, value})
	}
	return list
}

// pass sends the request to the agent. It sends an answer of unknown length to the
// client as it comes. Of one whose length is known it returns the body, to be sent
// once the exchange is recorded: a client that has its answer finds it in the file.
func (r *Recorder) pass(w http.ResponseWriter, req *http.Request, body []byte, e *harEntry) (last []byte, err error) {
	u := *r.target
	u.RawQuery = req.URL.RawQuery
	u.Path, u.RawPath = r.target.Path+req.URL.Path, r.target.EscapedPath()+req.URL.EscapedPath()
	out, err := http.NewRequestWithContext(req.Context(), req.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.URL = &u // with the path as it came
	out.Header = req.Header.Clone()
	for _, name := range []string{"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		out.Header.Del(name)
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
	e.Answer.Headers = pairs(resp.Header)
	e.Answer.RedirectURL = resp.Header.Get("Location")

	header := w.Header()
	maps.Copy(header, resp.Header)
	header.Del("Connection")
	if resp.Header["Content-Type"] == nil {
		header["Content-Type"] = nil // or the server would guess one
	}
	w.WriteHeader(resp.StatusCode) // not sent yet
	var kept bytes.Buffer
	if resp.ContentLength >= 0 && resp.ContentLength <= maxRecorded {
		_, err = kept.ReadFrom(resp.Body)
		last = kept.Bytes()
	} else {
		err = copyFlushing(w, io.TeeReader(resp.Body, &limitedBuffer{&kept}))
	}
	e.Answer.BodySize = kept.Len()
	e.Answer.Content.MimeType = resp.Header.Get("Content-Type")
	e.Answer.body = decompressed(kept.Bytes(), resp.Header)
	e.Answer.Content.Partial = err != nil
	return last, err
}

// limitedBuffer takes what fits and forgets the rest.
type limitedBuffer struct{ b *bytes.Buffer }

func (l *limitedBuffer) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), maxRecorded-l.b.Len())])
	return len(p), nil
}

func copyFlushing(w http.ResponseWriter, body io.Reader) error {
	flusher := http.NewResponseController(w)
	flusher.Flush() // of an endless answer, the header may be all there is for long
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

// decompressed returns the body of a response without its compression.
func decompressed(body []byte, h http.Header) []byte {
	if h.Get("Content-Encoding") == "gzip" {
		if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			// What is missing of a response that was cut off is no error here.
			body, _ = io.ReadAll(io.LimitReader(z, maxRecorded))
		}
	}
	return body
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// finish writes the entry to the file.
func (r *Recorder) finish(e *harEntry) {
	if !r.keep {
		r.redactor.redact(e)
	}
	e.encodeBodies()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	e.Seq.End = r.seq
	data, err := json.Marshal(e)
	if err == nil {
		if r.written > 0 {
			data = append([]byte(",\n"), data...)
		}
		// One write, so that the file is never seen without its end.
		if _, err = r.file.WriteAt(append(data, harTrailer...), r.end); err == nil {
			r.end += int64(len(data))
			r.written++
		}
	}
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("consulmock: recording: %w", err)
	}
}
