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
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxDrain        = 256 << 10 // read from an answer that nobody wants, so that its connection can be used again
	maxErrorRead    = 64 << 10  // of an answer with an error
	maxErrorSnippet = 64        // of an answer that cannot be decoded
	maxBodyTrust    = 1 << 20   // set aside for an answer that only says that it is so long
)

// call is one request and what to do with its answer.
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

	// isAnswer says which answers with another status than 2xx are not errors.
	isAnswer func(*http.Response) bool

	// received is called with the header of the answer.
	received func(*http.Response)

	// known is the fingerprint of an answer that is not to be decoded again. The
	// other one is that of the answer, if it was to be decoded.
	known, fingerprint uint64
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

// read performs a call and reads the metadata of its answer.
func (c *Client) read(ctx context.Context, r *call) (*QueryMeta, error) {
	var meta *QueryMeta
	var metaErr error
	start := time.Now()
	r.received = func(resp *http.Response) {
		if meta, metaErr = parseMeta(resp.Header); meta != nil {
			meta.RequestTime = time.Since(start)
		}
	}
	if err := c.do(ctx, r); err != nil {
		return nil, err
	}
	if metaErr != nil {
		return nil, c.fail(ctx, r, metaErr)
	}
	meta.Fingerprint, meta.Unchanged = r.fingerprint, r.isKnown()
	return meta, nil
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
		return none, nil, err
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
	if r.received != nil {
		r.received(resp)
	}
	if err := c.takeBody(resp, r); err != nil {
		return c.fail(ctx, r, err)
	}
	return nil
}

// send sends the request and returns the answer if it is a good one. The caller
// has to close its body, and to call cancel after that.
func (c *Client) send(ctx context.Context, r *call) (resp *http.Response, cancel context.CancelFunc, err error) {
	if ctx == nil {
		return nil, nil, fmt.Errorf("consul: %s %s: nil context", r.method, r.path)
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
	resp, err = c.http.Do(req)
	if err != nil {
		cancel()
		return nil, nil, c.fail(ctx, r, err)
	}
	if resp.StatusCode/100 == 2 || r.isAnswer != nil && r.isAnswer(resp) {
		return resp, cancel, nil
	}
	err = refused(c.statusError(r, resp))
	resp.Body.Close()
	cancel()
	return nil, nil, err
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

func (c *Client) newRequest(ctx context.Context, r *call) (*http.Request, error) {
	var body io.Reader
	contentType := ""
	switch in := r.in.(type) {
	case nil:
	case io.Reader:
		body = in
	case []byte:
		body = bytes.NewReader(in)
	default:
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body, contentType = bytes.NewReader(data), "application/json"
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

// fail turns what went wrong before or after the status into an error that
// stands alone.
func (c *Client) fail(ctx context.Context, r *call, err error) error {
	var outer *url.Error // says the URL again, query included
	if errors.As(err, &outer) {
		err = outer.Err
	}
	switch ended := ctx.Err(); {
	case ended == nil && r.lost != nil && r.lost.Load():
		err = fmt.Errorf("the connection ended before the answer: %w", io.ErrUnexpectedEOF)
	case ended != nil && !errors.Is(err, ended):
		// Package net/http says the cause of the end instead, if there is one.
		err = fmt.Errorf("%w: %w", ended, err)
	case ended == nil && r.timeout > 0 && errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s, which is the wait and %s more: %w", r.timeout, waitSlack, err)
	}
	err = fmt.Errorf("consul: %s %s: %w", r.method, shorten(r.path, maxErrorMessage), err)
	if said := err.Error(); c.scrub(r, said) != said {
		cause := err
		return &scrubbedError{c.scrub(r, said), func(target error) bool { return errors.Is(cause, target) }}
	}
	return err
}

// scrubbedError is an error whose text had the token in it. It does not give out
// what it wraps, which would print the token, but is still what that is: a token
// can be a word that is in every error.
type scrubbedError struct {
	said string
	is   func(target error) bool
}

func (e *scrubbedError) Error() string { return e.said }

func (e *scrubbedError) Is(target error) bool { return e.is(target) }

// scrub removes the token from a text.
func (c *Client) scrub(r *call, s string) string {
	if token := *r.token; token != "" {
		s = strings.ReplaceAll(s, token, "[redacted]")
	}
	return s
}

func (c *Client) statusError(r *call, resp *http.Response) *StatusError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorRead))
	said := strings.TrimSpace(c.scrub(r, string(body)))
	if reason := resp.Header.Get("X-Consul-Reason"); reason != "" {
		// The local health endpoints answer with JSON that does not say what is wrong.
		said = c.scrub(r, reason)
	}
	return &StatusError{
		Method:     r.method,
		Path:       c.scrub(r, c.base.EscapedPath()+r.path),
		Code:       resp.StatusCode,
		Body:       shorten(said, maxErrorBody),
		RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
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
