package consulmock

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// serve answers a request whose endpoint is known. It is the one place that
// writes answers.
func (q *request) serve(rt route) {
	h := q.w.Header()
	h.Set("Vary", "Accept-Encoding")
	if q.r.Method != rt.method {
		h.Set("Allow", "OPTIONS,"+rt.method)
		q.write(nil, &httpError{http.StatusMethodNotAllowed, "method " + q.r.Method + " not allowed"})
		return
	}
	body, err := io.ReadAll(q.r.Body)
	if err != nil {
		q.write(nil, &httpError{http.StatusBadRequest, err.Error()})
		return
	}
	q.body = body
	v, err := q.locked(rt.answer)
	q.write(v, err)
}

// locked runs a handler with the server's lock held.
func (q *request) locked(answer func(*request) (any, error)) (any, error) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.a = q.s.agent
	return answer(q)
}

func (q *request) write(v any, err error) {
	if errors.Is(err, errGone) {
		panic(http.ErrAbortHandler)
	}
	h := q.w.Header()
	var he *httpError
	switch {
	case errors.As(err, &he):
		q.send(he.status, "text/plain; charset=utf-8", []byte(he.text))
	case err != nil:
		q.send(http.StatusInternalServerError, "text/plain; charset=utf-8", []byte(err.Error()))
	case v == nil:
		h.Set("Content-Length", "0")
		if q.s.config.version == v1_21_4 {
			h.Set("Content-Type", "application/json")
		}
		q.w.WriteHeader(http.StatusOK)
	default:
		q.send(http.StatusOK, "application/json", q.encode(v))
	}
}

func (q *request) send(status int, contentType string, body []byte) {
	h := q.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(status)
	q.w.Write(body)
}

// encode writes JSON as the agent does.
func (q *request) encode(v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	if !q.s.config.compact {
		enc.SetIndent("", "    ")
	}
	if err := enc.Encode(v); err != nil {
		panic("consulmock: " + err.Error())
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
