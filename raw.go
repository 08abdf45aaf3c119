package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
)

// Raw calls endpoints without a typed method: access control, prepared queries,
// configuration entries, the operator's and so on. They have the same options,
// metadata and errors as the others.
//
// A path starts with /v1/ and is escaped already: pass names that may hold
// special characters through [url.PathEscape]. Parameters that the options do
// not have may follow it, as in /v1/kv/config?recurse. To read a key's raw value:
//
//	var value []byte
//	meta, err := client.Raw().Query(ctx, "/v1/kv/config?raw", &value, nil)
//
// A key that does not exist is ErrNotFound. The metadata is there all the same,
// because the key can be waited for.
type Raw struct {
	c *Client
}

// Query reads an endpoint. The body of the response is written to out as it is if
// out is a *[]byte or an [io.Writer], dropped if out is nil, and else decoded from JSON.
//
// GET {path}
func (r *Raw) Query(ctx context.Context, path string, out any, q *QueryOptions) (*QueryMeta, error) {
	call, err := r.c.query(endpoint{}, q)
	if err != nil {
		return nil, err
	}
	call.setPath(r.c, path)
	call.setBodies(nil, out)
	resp, err := r.c.do(ctx, call)
	return r.c.queryMeta(ctx, call, resp, err)
}

// Write writes to an endpoint. The request's body is in as it is if in is a
// []byte or an [io.Reader], empty if in is nil, and else in encoded as JSON. A
// reader of up to 1 MiB is read before anything is sent, which the context does not
// bound. One that is an [io.Closer] is closed, also if there is an error. For out
// see [Raw.Query].
//
// PUT {path}
func (r *Raw) Write(ctx context.Context, path string, in, out any, w *WriteOptions) error {
	return r.write(ctx, http.MethodPut, path, in, out, w)
}

// Delete deletes what is at an endpoint. For out see [Raw.Query].
//
// DELETE {path}
func (r *Raw) Delete(ctx context.Context, path string, out any, w *WriteOptions) error {
	return r.write(ctx, http.MethodDelete, path, nil, out, w)
}

func (r *Raw) write(ctx context.Context, method, path string, in, out any, w *WriteOptions) error {
	call := r.c.write(method, endpoint{}, w)
	call.setPath(r.c, path)
	call.setBodies(in, out)
	_, err := r.c.do(ctx, call)
	return err
}

// setPath sets the path that a caller wrote, and adds its parameters to those of
// the options.
func (r *call) setPath(c *Client, path string) {
	escaped, query, _ := strings.Cut(path, "?")
	problem := ""
	unescaped, err := url.PathUnescape(escaped)
	switch again := (&url.URL{Path: unescaped, RawPath: escaped}).EscapedPath(); {
	case !strings.HasPrefix(escaped, "/v1/"):
		problem = "want one that starts with /v1/"
	case err != nil:
		problem = "malformed escape"
	case strings.Contains(escaped, "#"):
		problem = "a fragment is not allowed; # in a name is written %23"
	case again != escaped:
		// Package net/url would escape the rest, and undo the escapes that are there.
		problem = "special characters have to be escaped, as url.PathEscape does"
	case hasDotElement(unescaped):
		problem = "an element . or .. is not allowed"
	}
	params, err := url.ParseQuery(query)
	if err != nil && problem == "" {
		problem = "malformed parameters"
	}
	if problem != "" {
		said := fmt.Sprintf("consul: path %q: %s", shorten(escaped, maxErrorMessage), problem)
		r.err = errors.New(c.secrets(r).redact(said))
		return
	}
	r.path = escaped
	for name, values := range params {
		r.params[name] = append(r.params[name], values...)
	}
}

// setBodies sets what a caller wants to be sent, and where the response is to go.
func (r *call) setBodies(in, out any) {
	r.in, r.out = in, out
	problem := ""
	if _, ok := in.(io.Reader); ok && isNil(in) {
		r.in = nil // which cannot be closed either
		problem = fmt.Sprintf("in is a nil %T; want nil itself, or one that works", in)
	}
	_, isWriter := out.(io.Writer)
	usable := isWriter || reflect.ValueOf(out).Kind() == reflect.Pointer
	if out != nil && (!usable || isNil(out)) {
		what := fmt.Sprintf("%T", out)
		if isNil(out) {
			what = "nil " + what
		}
		problem = fmt.Sprintf("out is a %s; want nil, a pointer, or an io.Writer", what)
	}
	if problem != "" && r.err == nil {
		r.err = errors.New("consul: " + problem)
	}
}
