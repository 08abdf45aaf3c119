package consul

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxDrain        = 256 << 10 // read of a body that nobody wants, so that its connection can be used again
	maxErrorRead    = 64 << 10  // of the body of an error
	maxErrorSnippet = 64        // of a body that cannot be decoded
	maxBodyTrust    = 1 << 20   // allocated for a body because of its Content-Length alone
	maxBuffered     = 1 << 20   // of a body to send whose length is unknown
)

// endpoint is the path of an endpoint, escaped and below the client's prefix, or
// the reason why there is none.
type endpoint struct {
	path string
	err  error
}

// at returns an endpoint without a name in its path.
func at(path string) endpoint { return endpoint{path: path} }

// named returns an endpoint with a name in its path, which it escapes. what is
// the noun for the name in the error about one that cannot be sent.
func named(prefix, what, name string) endpoint {
	switch {
	case name == "":
		return endpoint{err: fmt.Errorf("consul: %s is empty", what)}
	case hasDotElement(name):
		return endpoint{err: fmt.Errorf("consul: %s %q: the element . or .. is not allowed in a path", what, shorten(name, maxErrorMessage))}
	}
	return endpoint{path: prefix + url.PathEscape(name)}
}

// call is one request and what to do with its response.
type call struct {
	method string
	endpoint
	params url.Values
	header http.Header
	token  *string // instead of the client's; set to what was sent
	in     any     // nil, []byte, io.Reader, or something to be encoded as JSON
	out    any     // nil, *[]byte, io.Writer, or something to be decoded from JSON

	// A blocking query's time to respond; 0 for no limit but the context's. lost
	// reports that its connection has ended before; nil unless it blocks.
	timeout time.Duration
	lost    *atomic.Bool

	// accept are the status codes beyond 2xx that are no errors.
	accept []int

	// previous is the result that the caller has. shared allows out to have parts of
	// it.
	previous *Result
	shared   bool
}

// response is what came back for a call, besides what its out has got.
type response struct {
	status int
	header http.Header
	took   time.Duration // until the header had arrived
	result *Result       // nil unless the call keeps one
}

// origin returns what errors call the agent at the address.
func (a address) origin() string {
	if a.socket != "" {
		return "unix://" + a.socket
	}
	u := url.URL{Scheme: a.url.Scheme, Host: a.url.Host}
	return u.String()
}

// hasDotElement reports whether a path has an element "." or "..". Escaped or
// not, it means another endpoint to the agent and to everything on the way.
func hasDotElement(path string) bool {
	for _, element := range strings.Split(path, "/") {
		if element == "." || element == ".." {
			return true
		}
	}
	return false
}

// get reads an endpoint and decodes the response into a T. If what is missing can
// be waited for, there is metadata beside the error.
func get[T any](ctx context.Context, c *Client, at endpoint, q *QueryOptions) (T, *QueryMeta, error) {
	var v, none T
	r, err := c.query(at, q)
	if err != nil {
		return none, nil, err
	}
	r.out, r.shared = &v, true
	resp, err := c.do(ctx, r)
	meta, err := c.queryMeta(ctx, r, resp, err)
	if err != nil {
		return none, meta, err
	}
	return v, meta, nil
}

// queryMeta returns the metadata of the response to a read, and the error beside
// it: the one that do has returned, or what is wrong with the metadata.
func (c *Client) queryMeta(ctx context.Context, r *call, resp *response, err error) (*QueryMeta, error) {
	if err != nil && (resp == nil || !resp.isMissing()) {
		return nil, err
	}
	meta, metaErr := parseMeta(resp.header)
	switch {
	case metaErr != nil && err == nil:
		return nil, c.fail(ctx, r, metaErr)
	case metaErr != nil:
		return nil, err
	}
	meta.RequestTime, meta.Result = resp.took, resp.result
	return meta, err
}

// isMissing reports whether the response is a 404 about something that may come
// to be. Agents give an index only for those.
func (r *response) isMissing() bool {
	return r.status == http.StatusNotFound && r.header.Get("X-Consul-Index") != ""
}

// put performs a PUT whose response has nothing but success in it.
func (c *Client) put(ctx context.Context, at endpoint, params url.Values, in any) error {
	r := c.write(http.MethodPut, at, nil)
	r.in = in
	for name, values := range params {
		r.params[name] = values
	}
	_, err := c.do(ctx, r)
	return err
}

// query returns the call of a read with the options.
func (c *Client) query(at endpoint, q *QueryOptions) (*call, error) {
	if q == nil {
		q = &QueryOptions{}
	}
	params, timeout, err := q.encode(c.scope, c.waitTime)
	if err != nil {
		return nil, err
	}
	r := &call{method: http.MethodGet, endpoint: at, params: params, timeout: timeout, previous: q.Previous}
	if q.Token != "" {
		r.token = &q.Token
	}
	if cc := q.cacheControl(); cc != "" {
		r.header = http.Header{"Cache-Control": {cc}}
	}
	return r, nil
}

// write returns the call of a write with the options.
func (c *Client) write(method string, at endpoint, w *WriteOptions) *call {
	if w == nil {
		w = &WriteOptions{}
	}
	r := &call{method: method, endpoint: at, params: url.Values{}}
	c.scope.or(scope{w.Datacenter, w.Namespace, w.Partition}).addTo(r.params)
	if w.Token != "" {
		r.token = &w.Token
	}
	return r
}

// do sends the request and reads its response. There is a response beside an
// error if it is a [*StatusError].
func (c *Client) do(ctx context.Context, r *call) (*response, error) {
	start := time.Now()
	resp, cancel, err := c.send(ctx, r)
	if resp == nil {
		return nil, err
	}
	received := &response{status: resp.StatusCode, header: resp.Header, took: time.Since(start)}
	if err != nil {
		return received, err
	}
	defer cancel()
	defer resp.Body.Close()
	if received.result, err = c.readBody(resp, r); err != nil {
		return nil, c.fail(ctx, r, err)
	}
	return received, nil
}

// send sends the request and returns the response. The caller has to close its
// body, and to call cancel after that; but if there is an error, that is done.
func (c *Client) send(ctx context.Context, r *call) (resp *http.Response, cancel context.CancelFunc, err error) {
	refused := func(err *StatusError) error { return err }
	if r.token == nil {
		// Once for all, because the client's may change while the request is under way.
		token := c.token.get()
		r.token, refused = &token, c.token.refused
	}
	if err := c.check(ctx, r); err != nil {
		if in, ok := r.in.(io.Reader); ok {
			closer(in).Close()
		}
		return nil, nil, err
	}
	cancel = func() {}
	sendCtx := ctx
	if r.timeout > 0 {
		sendCtx, cancel = context.WithTimeout(ctx, r.timeout)
		r.lost = new(atomic.Bool)
		sendCtx = sendOnce(context.WithValue(sendCtx, blockingKey{}, true), cancel, r.lost)
	}
	req, err := c.newRequest(sendCtx, r)
	if err != nil {
		cancel()
		return nil, nil, c.fail(ctx, r, err)
	}
	resp, err = c.http.Do(req)
	if err != nil {
		cancel()
		return nil, nil, c.fail(ctx, r, err)
	}
	if note, ok := ctx.Value(noteVersion).(func(major int)); ok {
		note(resp.ProtoMajor)
	}
	if resp.StatusCode/100 == 2 || slices.Contains(r.accept, resp.StatusCode) {
		return resp, cancel, nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorRead))
	resp.Body.Close()
	cancel()
	return resp, nil, refused(c.statusError(r, resp.StatusCode, resp.Header, body))
}

// check returns why a call cannot be sent.
func (c *Client) check(ctx context.Context, r *call) error {
	switch {
	case ctx == nil:
		return c.fail(context.Background(), r, errors.New("nil context"))
	case r.err != nil:
		if clean := c.secrets(r).redact(r.err.Error()); clean != r.err.Error() {
			return errors.New(clean)
		}
		return r.err
	case !validToken(*r.token):
		return c.fail(ctx, r, errors.New(badToken))
	}
	return nil
}

// noteVersion is the key of a function in the context of a request that is told the
// version of HTTP of the response. Package discovery sets it; it is a string because
// this package can be copied without any other, which could have a type for it.
const noteVersion = "github.com/lictor-go/consul: version of HTTP"

// blockingKey is the key of a value that the contexts of blocking queries have.
type blockingKey struct{}

func isBlocking(ctx context.Context) bool { return ctx.Value(blockingKey{}) != nil }

// sendOnce keeps a blocking query from being sent again behind our back: package
// net/http repeats a GET whose connection ends, and over HTTP/2 everything that the
// agent has given back. The agent that takes the repeated one may have started
// again, and count from a lower index than the query waits on. It calls cancel
// then, and sets lost.
func sendOnce(ctx context.Context, cancel func(), lost *atomic.Bool) context.Context {
	const (
		begun = iota + 1
		sent
		responded // which may be noticed before it is noticed that the request was sent
	)
	var state atomic.Int32
	stop := func() {
		if state.Load() == sent {
			lost.Store(true)
			cancel()
		}
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { stop() },
		GotConn: func(info httptrace.GotConnInfo) { // sometimes without GetConn, over HTTP/2
			stop()
			if lost.Load() && info.Conn != nil && !speaksHTTP2(info.Conn) {
				// Over HTTP/1 the request is written although its context has ended, if there
				// was an idle connection.
				info.Conn.Close()
			}
			state.CompareAndSwap(0, begun)
			state.CompareAndSwap(responded, begun) // a redirect is followed
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				state.CompareAndSwap(begun, sent)
			}
		},
		GotFirstResponseByte: func() { state.Store(responded) },
	})
}

// speaksHTTP2 reports whether a connection may have other requests, too.
func speaksHTTP2(conn net.Conn) bool {
	secure, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	return ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

// requestBody returns the body for a call's in.
func requestBody(in any) (body io.Reader, contentType string, err error) {
	switch in := in.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return bytes.NewReader(in), "", nil
	case *bytes.Buffer, *bytes.Reader, *strings.Reader: // package net/http knows their length
		return in.(io.Reader), "", nil
	case io.Reader:
		body, err = withLength(in)
		return body, "", err
	}
	data, err := json.Marshal(in)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the request: %w", err)
	}
	return bytes.NewReader(data), "application/json", nil
}

// withLength reads what is to be sent, if it is not very long, because a body of
// unknown length is sent in chunks, and some endpoints take that for no body.
func withLength(in io.Reader) (io.Reader, error) {
	start, err := io.ReadAll(io.LimitReader(in, maxBuffered))
	if err == nil && len(start) == maxBuffered {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(start), in), closer(in)}, nil
	}
	if err = errors.Join(err, closer(in).Close()); err != nil {
		return nil, fmt.Errorf("reading the body to send: %w", err)
	}
	return bytes.NewReader(start), nil
}

// closer returns what closes in, as package net/http does with a body.
func closer(in io.Reader) io.Closer {
	if c, ok := in.(io.Closer); ok {
		return c
	}
	return io.NopCloser(in)
}

func (c *Client) newRequest(ctx context.Context, r *call) (*http.Request, error) {
	body, contentType, err := requestBody(r.in)
	if err != nil {
		return nil, err
	}
	unescaped, err := url.PathUnescape(r.path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "", body)
	if err != nil {
		return nil, err
	}
	u := req.URL
	*u = c.base
	u.Path, u.RawPath = c.base.Path+unescaped, c.base.EscapedPath()+r.path
	u.RawQuery = r.params.Encode()
	req.Host = u.Host

	req.Header.Set("User-Agent", defaultUserAgent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for name, values := range c.header {
		name = http.CanonicalHeaderKey(name)
		if name == "Host" && len(values) > 0 {
			req.Host = values[0]
			continue
		}
		req.Header[name] = append([]string(nil), values...)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if c.basicAuth != nil {
		password, _ := c.basicAuth.Password()
		req.SetBasicAuth(c.basicAuth.Username(), password)
	}
	if token := *r.token; token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	return req, nil
}

func (c *Client) tokenOf(r *call) string {
	if r.token != nil {
		return *r.token
	}
	return c.token.get()
}

// checkRedirect lets a redirect pass only if it stays on the same host and requests
// the same thing. The headers of a request, and with them the token, go
// wherever a redirect leads to.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host:
		return fmt.Errorf("redirect to another host refused: %s://%s", req.URL.Scheme, req.URL.Host)
	case req.Method != first.Method:
		return fmt.Errorf("redirect that turns %s into %s refused", first.Method, req.Method)
	case req.URL.Path == path.Clean(first.URL.Path) && req.URL.Path != first.URL.Path:
		return errors.New("the agent does not accept the name in this path, and redirects to another path")
	case strings.Contains(first.URL.Path, kvPath):
		return errors.New("redirect to another key refused")
	case len(via) >= 5:
		return errors.New("stopped after 5 redirects")
	}
	return nil
}
