package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	maxDrain        = 256 << 10 // read from an answer that nobody wants, so that its connection can be used again
	maxErrorRead    = 64 << 10  // of an answer with an error
	maxErrorSnippet = 64        // of an answer that cannot be decoded
	maxBodyTrust    = 1 << 20   // set aside for an answer that only says that it is so long
	maxBuffered     = 1 << 20   // of a body to send whose length is unknown
)

// call is one request and what to do with its response.
type call struct {
	method string
	path   string // escaped, below the client's prefix
	params url.Values
	header http.Header
	token  *string // instead of the client's; set to what was sent
	in     any     // nil, []byte, io.Reader, or something to be encoded as JSON
	out    any     // nil, *[]byte, io.Writer, or something to be decoded from JSON

	// A blocking query's time to answer; 0 for no bound but the context's. lost
	// says that its connection has ended before; nil unless it blocks.
	timeout time.Duration
	lost    *atomic.Bool

	// accept are the status codes beyond 2xx that are no errors.
	accept []int

	// known is the fingerprint of a response that is not to be decoded again. The
	// other one is that of the response, if it was to be decoded.
	known, fingerprint uint64

	// resp is the response, whose body has been read; nil if there was none. took is
	// how long it took until its header had arrived.
	resp *http.Response
	took time.Duration
}

// endpoint returns the path of an endpoint with a name in it, escaped.
func endpoint(prefix, what, name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("consul: %s is empty", what)
	}
	if hasDotElement(name) {
		return "", fmt.Errorf("consul: %s %q: the element . or .. is not allowed in a path", what, shorten(name, maxErrorMessage))
	}
	return prefix + url.PathEscape(name), nil
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

// read performs a call and reads the metadata of its response. They come with the
// error too if something is missing that can be waited for.
func (c *Client) read(ctx context.Context, r *call) (*QueryMeta, error) {
	err := c.do(ctx, r)
	if err != nil && !r.isMissing() {
		return nil, err
	}
	meta, metaErr := parseMeta(r.resp.Header)
	switch {
	case metaErr != nil && err == nil:
		return nil, c.fail(ctx, r, metaErr)
	case metaErr != nil:
		return nil, err
	}
	meta.RequestTime = r.took
	meta.Fingerprint, meta.Unchanged = r.fingerprint, r.isKnown()
	return meta, err
}

// isMissing reports whether the response is a 404 about something that may come
// to be. Agents give an index only for those.
func (r *call) isMissing() bool {
	return r.resp != nil && r.resp.StatusCode == http.StatusNotFound && r.resp.Header.Get("X-Consul-Index") != ""
}

// read performs a GET and decodes the answer into a T.
func read[T any](ctx context.Context, c *Client, path string, q *QueryOptions) (T, *QueryMeta, error) {
	var answer, none T
	r := &call{method: http.MethodGet, path: path, out: &answer}
	if err := r.setQuery(c, q); err != nil {
		return none, nil, err
	}
	meta, err := c.read(ctx, r)
	if err != nil {
		return none, meta, err
	}
	return answer, meta, nil
}

// readNamed is read for an endpoint with a name in it.
func readNamed[T any](ctx context.Context, c *Client, prefix, what, name string, q *QueryOptions) (T, *QueryMeta, error) {
	path, err := endpoint(prefix, what, name)
	if err != nil {
		var none T
		return none, nil, err
	}
	return read[T](ctx, c, path, q)
}

// write performs a PUT for which nothing but success is answered.
func (c *Client) write(ctx context.Context, path string, params url.Values, in any) error {
	call := &call{method: http.MethodPut, path: path, params: params, in: in}
	call.setScope(c, "", "", "")
	return c.do(ctx, call)
}

// writeNamed performs a PUT on an endpoint with a name in it.
func (c *Client) writeNamed(ctx context.Context, prefix, what, name string, params url.Values, in any) error {
	path, err := endpoint(prefix, what, name)
	if err != nil {
		return err
	}
	return c.write(ctx, path, params, in)
}

// setScope sets the parameters that reads and writes have in common.
func (r *call) setScope(c *Client, datacenter, namespace, partition string) {
	if r.params == nil {
		r.params = url.Values{}
	}
	set := func(name, value, unset string) {
		if value == "" {
			value = unset
		}
		if value != "" {
			r.params.Set(name, value)
		}
	}
	set("dc", datacenter, c.datacenter)
	set("ns", namespace, c.namespace)
	set("partition", partition, c.partition)
}

func (r *call) setQuery(c *Client, q *QueryOptions) error {
	if q == nil {
		q = &QueryOptions{}
	}
	params, timeout, err := q.encode(c)
	if err != nil {
		return err
	}
	r.params, r.timeout, r.known = params, timeout, q.Known
	if q.Token != "" {
		r.token = &q.Token
	}
	if cc := q.cacheControl(); cc != "" {
		r.header = http.Header{"Cache-Control": {cc}}
	}
	return nil
}

// do sends the request and takes its answer in.
func (c *Client) do(ctx context.Context, r *call) error {
	resp, cancel, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer cancel()
	defer resp.Body.Close()
	if err := c.takeBody(resp, r); err != nil {
		return c.fail(ctx, r, err)
	}
	return nil
}

// send sends the request and returns the answer if it is a good one. The caller
// has to close its body, and to call cancel after that.
func (c *Client) send(ctx context.Context, r *call) (resp *http.Response, cancel context.CancelFunc, err error) {
	if ctx == nil {
		return nil, nil, c.fail(context.Background(), r, errors.New("nil context"))
	}
	refused := func(err *StatusError) error { return err }
	if r.token == nil {
		// Once for all, because the client's may change while the request is under way.
		token := c.token.get()
		r.token, refused = &token, c.token.refused
	}
	cancel = func() {}
	sendCtx := ctx
	if r.timeout > 0 {
		sendCtx, cancel = context.WithTimeout(ctx, r.timeout)
		r.lost = new(atomic.Bool)
		sendCtx = sendOnce(sendCtx, cancel, r.lost)
	}
	req, err := c.newRequest(sendCtx, r)
	if err != nil {
		cancel()
		return nil, nil, c.fail(ctx, r, err)
	}
	start := time.Now()
	resp, err = c.http.Do(req)
	if err != nil {
		cancel()
		return nil, nil, c.fail(ctx, r, err)
	}
	r.resp, r.took = resp, time.Since(start)
	if resp.StatusCode/100 == 2 || slices.Contains(r.accept, resp.StatusCode) {
		return resp, cancel, nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorRead))
	resp.Body.Close()
	cancel()
	return nil, nil, refused(c.statusError(r, body))
}

// sendOnce keeps a blocking query from being sent again behind our back: package
// net/http repeats a GET whose connection ends, and the agent that takes the
// repeated one may have started again, and count from a lower index than the
// query waits on. It calls cancel then, and sets lost.
func sendOnce(ctx context.Context, cancel func(), lost *atomic.Bool) context.Context {
	var sent atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			if sent.Load() {
				lost.Store(true)
				cancel()
			}
		},
		WroteRequest:         func(info httptrace.WroteRequestInfo) { sent.Store(info.Err == nil) },
		GotFirstResponseByte: func() { sent.Store(false) }, // a redirect may follow
	})
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
		if !validToken(token) {
			return nil, errors.New(badToken)
		}
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

// checkRedirect lets a redirect pass only if it stays on the same host and asks
// for the same thing. The headers of a request, and with them the token, go
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
	case len(via) >= 5:
		return errors.New("stopped after 5 redirects")
	}
	return nil
}
