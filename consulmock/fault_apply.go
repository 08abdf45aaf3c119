package consulmock

import (
	"bytes"
	"cmp"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// intercept responds to a request itself or leaves it to next.
func (t *faultTable) intercept(w http.ResponseWriter, r *http.Request, next http.Handler) {
	f := t.take(r)
	if f == nil {
		next.ServeHTTP(w, r)
		return
	}
	f.wait(r)
	if f.Drop == DropRequest || f.Drop == ResetRequest {
		drop(w, f.Drop == ResetRequest)
	}
	if f.responds() {
		next = http.HandlerFunc(f.respond)
	}
	if !f.changesResponse() {
		next.ServeHTTP(w, r)
		return
	}
	kept := &bufferedResponse{header: http.Header{}}
	next.ServeHTTP(kept, r)
	f.send(w, r, kept)
}

// wait returns when the fault lets the request go on. It ends the request if it
// is over before.
func (f *Fault) wait(r *http.Request) {
	if f.Latency > 0 {
		timer := time.NewTimer(f.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if f.Hang != nil {
		select {
		case <-f.Hang:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// respond responds instead of the agent.
func (f *Fault) respond(w http.ResponseWriter, r *http.Request) {
	status, body := cmp.Or(f.Status, http.StatusOK), f.Body
	switch {
	case f.NoLeader:
		status, body = http.StatusInternalServerError, "No cluster leader"
	case f.RateLimit != 0:
		status, body = http.StatusTooManyRequests, "rate limit exceeded, try again later or against a different server"
		if f.RateLimit > 0 {
			seconds := int64(f.RateLimit / time.Second)
			if f.RateLimit%time.Second > 0 {
				seconds++
			}
			w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if status == http.StatusOK {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// bufferedResponse buffers a response. It is not for endless ones.
type bufferedResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (k *bufferedResponse) Header() http.Header { return k.header }

// WriteHeader implements [http.ResponseWriter].
func (k *bufferedResponse) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

// Write implements [http.ResponseWriter].
func (k *bufferedResponse) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}

// send sends the buffered response with what the fault changes in it.
func (f *Fault) send(w http.ResponseWriter, r *http.Request, kept *bufferedResponse) {
	if f.Drop != NoDrop {
		drop(w, f.Drop == ResetAnswer)
	}
	header := w.Header()
	maps.Copy(header, kept.header)
	maps.Copy(header, f.Header) // a nil value also keeps net/http from adding the field
	switch f.Index {
	case 0:
	case ZeroIndex:
		header.Set("X-Consul-Index", "0")
	default:
		header.Set("X-Consul-Index", strconv.FormatUint(f.Index, 10))
	}
	body := kept.body.Bytes()
	status := cmp.Or(kept.status, http.StatusOK)
	endless := f.Endless && r.Method != http.MethodHead && !hasNoBody(status)
	truncate := f.TruncateAt > 0 && f.TruncateAt < len(body)
	length, named := f.Header["Content-Length"]
	unknownLength := named && len(length) == 0
	switch {
	case truncate && !unknownLength:
		header.Set("Content-Length", strconv.Itoa(len(body)))
	case endless:
		header.Del("Content-Length")
	case named && !unknownLength:
		// Of a body that is longer net/http would send nothing.
		if n, err := strconv.Atoi(length[0]); err == nil && n < len(body) {
			body = body[:n]
		}
	}
	if truncate {
		body = body[:f.TruncateAt]
	}
	w.WriteHeader(status)
	if unknownLength {
		http.NewResponseController(w).Flush() // or net/http would count it
	}
	w.Write(body)
	if truncate {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if endless {
		writeBlanks(w, r)
	}
}

// hasNoBody reports whether responses with a status have no body.
func hasNoBody(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// writeBlanks writes blanks until nobody wants them any more. Between two writes
// it waits, so that the time of a bubble of testing/synctest does not stand still.
func writeBlanks(w http.ResponseWriter, r *http.Request) {
	blanks := bytes.Repeat([]byte(" "), 64<<10)
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		if _, err := w.Write(blanks); err != nil {
			panic(http.ErrAbortHandler)
		}
		select {
		case <-pause.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// drop ends the connection of the request, and with it the handler.
func drop(w http.ResponseWriter, reset bool) {
	if reset {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
				c.SetLinger(0)
			}
			conn.Close()
		}
	}
	panic(http.ErrAbortHandler)
}
