package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lictor-go/consul/consulmock/internal/agent"
	"github.com/lictor-go/consul/consulmock/internal/definition"
	"github.com/lictor-go/consul/consulmock/internal/filter"
	"github.com/lictor-go/consul/consulmock/internal/refusal"
	"github.com/lictor-go/consul/consulmock/internal/release"
	"github.com/lictor-go/consul/consulmock/internal/state"
)

// request is one request on its way through the agent.
type request struct {
	api    *API
	run    agent.Run // in which the request arrived; empty if it is the test's own
	config *agent.Config
	a      *agent.Agent // set once the lock is held
	w      http.ResponseWriter
	r      *http.Request
	parameters
	name string // what follows the path of the route
	body []byte

	seeding bool // the request is the test's own
}

// handler responds to a request. It is called with the agent's lock held, and may
// give it up while it waits. A nil response is an empty one; an *answer holds more
// than a body; everything else is a body in JSON.
type handler func(q *request) (any, error)

// answer is a body with more than the usual around it.
type answer struct {
	status int    // 0 means 200
	reason string // for the header X-Consul-Reason
	text   string // a body in plain text, instead of body
	body   any
}

// nothingFound is a response without a body that has the headers of a read.
type nothingFound struct{}

// rawValue is a response that is the value of a key.
type rawValue []byte

// errGone means that nobody is there to get a response any more.
var errGone = errors.New("the client or the agent has gone")

// MaxBody is how much of a request is read at all.
const MaxBody = 64 << 20

// gzipMinimum is the length from which on 1.21.4 compresses responses.
const gzipMinimum = 1024

// serve responds to a request whose endpoint is known. It is the one place that
// writes responses.
func (q *request) serve(rt *Route) {
	h := q.w.Header()
	h.Set("Vary", "Accept-Encoding")
	if q.v == release.V1_21_4 {
		h.Set("X-Consul-Default-Acl-Policy", "allow")
		if q.config.DefaultDeny {
			h.Set("X-Consul-Default-Acl-Policy", "deny")
		}
	}
	if q.api.config.Translate {
		h.Set("X-Consul-Translate-Addresses", "true")
	}
	if !q.parseQuery() {
		return
	}
	switch {
	case slices.Contains(strings.Split(rt.Method, ","), q.r.Method):
	case q.r.Method == http.MethodOptions:
		if rt.Method != "" {
			h.Set("Allow", "OPTIONS,"+rt.Method)
			q.write(nil, nil)
			return
		}
	default:
		if rt.Method != "" {
			h.Set("Allow", "OPTIONS,"+rt.Method)
			q.write(nil, refusal.New(http.StatusMethodNotAllowed, "method "+q.r.Method+" not allowed"))
			return
		}
	}
	body, err := io.ReadAll(q.r.Body)
	if err != nil {
		q.write(nil, refusal.BadRequest("Request decode failed: %v", err))
		return
	}
	if len(body) > MaxBody {
		q.write(nil, refusal.New(http.StatusRequestEntityTooLarge, "consulmock does not read bodies of more than 64 MiB"))
		return
	}
	q.body = body
	v, err := q.locked(rt.answer)
	q.write(v, err)
}

// parseQuery reads the parameters. Old agents leave out what they cannot read
// because of a semicolon.
func (q *request) parseQuery() bool {
	raw := q.r.URL.RawQuery
	query, err := url.ParseQuery(raw)
	if err != nil && q.v == release.V1_8_7 && strings.Contains(raw, ";") {
		query, err = url.ParseQuery(strings.ReplaceAll(raw, ";", "&"))
	}
	if err != nil {
		if q.v == release.V1_21_4 {
			q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		q.w.WriteHeader(http.StatusInternalServerError)
		return false
	}
	q.query = query
	return true
}

// sizedBody returns the body if its length was announced. Some handlers of the agent do
// not look at another one, which was sent in chunks.
func (q *request) sizedBody() []byte {
	if q.r.ContentLength > 0 {
		return q.body
	}
	return nil
}

// locked runs a handler with the agent's lock held, unless the agent has ended
// that the request was sent to.
func (q *request) locked(answer handler) (any, error) {
	q.api.lock.Lock()
	defer q.api.lock.Unlock()
	if !q.seeding && q.run.Over() {
		return nil, errGone
	}
	q.a = q.api.agent()
	if q.r.Method != http.MethodGet {
		q.a.UpdateDueAliases() // an agent has done so before the next registration
	}
	return answer(q)
}

// unlocked runs something without the agent's lock, from within a handler.
func (q *request) unlocked(f func()) {
	q.api.lock.Unlock()
	defer q.api.lock.Lock()
	f()
}

// forward returns why the agent cannot pass a request on to the servers of a datacenter.
// Any of them can serve one that is stale, else it has to be the leader.
func (q *request) forward(dc string, stale bool) error {
	if err := q.checkDatacenter(dc); err != nil {
		return err
	}
	if q.a.Leaderless && !stale && !q.seeding {
		return errNoLeader
	}
	return nil
}

// errNoLeader is what agents report that have noticed it.
var errNoLeader = errors.New("No cluster leader")

// checkDatacenter returns the refusal of a datacenter that there is not.
func (q *request) checkDatacenter(dc string) error {
	if dc != "" && dc != q.config.Datacenter {
		return errors.New("No path to datacenter")
	}
	return nil
}

// write writes what a handler returned.
func (q *request) write(v any, err error) {
	var he *refusal.Error
	switch {
	case errors.Is(err, errGone), errors.Is(err, filter.ErrBreaksAgent), errors.Is(err, definition.ErrNull), errors.Is(err, state.ErrNullDefinition):
		panic(http.ErrAbortHandler)
	case errors.As(err, &he):
		q.send(he.Status, "text/plain; charset=utf-8", []byte(he.Text))
	case err != nil:
		q.send(http.StatusInternalServerError, "text/plain; charset=utf-8", []byte(err.Error()))
	case v == nil:
		if q.v == release.V1_21_4 {
			q.w.Header().Set("Content-Type", "application/json")
		}
		q.w.WriteHeader(http.StatusOK)
	default:
		q.writeAnswer(v)
	}
}

func (q *request) writeAnswer(v any) {
	var a *answer
	switch v := v.(type) {
	case nothingFound:
		q.w.WriteHeader(http.StatusNotFound)
		return
	case rawValue:
		q.w.Header().Set("X-Content-Type-Options", "nosniff")
		q.w.Header().Set("Content-Security-Policy", "sandbox")
		q.send(http.StatusOK, "text/plain", v)
		return
	case *answer:
		a = v
	default:
		a = &answer{body: v}
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.reason != "" {
		q.w.Header().Set("X-Consul-Reason", a.reason)
	}
	if a.text != "" {
		q.send(a.status, "text/plain", []byte(a.text))
		return
	}
	q.send(a.status, "application/json", q.encode(a.body))
}

// send writes a response, compressed if the client and the version want it.
func (q *request) send(status int, contentType string, body []byte) {
	h := q.w.Header()
	h.Set("Content-Type", contentType)
	zip := len(body) >= gzipMinimum || q.v == release.V1_8_7 && len(body) > 0
	if !zip || !AcceptsGzip(q.r.Header.Values("Accept-Encoding")) {
		q.w.WriteHeader(status)
		q.w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	q.w.WriteHeader(status)
	w := gzip.NewWriter(q.w)
	w.Write(body)
	w.Close()
}

// AcceptsGzip reads the header Accept-Encoding.
func AcceptsGzip(values []string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(values, ","), ","), func(item string) bool {
		name, weight, _ := strings.Cut(item, ";")
		weight = strings.ReplaceAll(weight, " ", "")
		return strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.Trim(weight, "0.") != "q="
	})
}

// encode writes JSON as the agent does.
func (q *request) encode(v any) []byte {
	pretty := q.query.Has("pretty")
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	if pretty || !q.api.config.Compact {
		enc.SetIndent("", "    ")
	}
	if err := enc.Encode(v); err != nil {
		panic("consulmock: " + err.Error()) // every answer is made of types that encode
	}
	if pretty || q.v == release.V1_8_7 && !q.api.config.Compact {
		return out.Bytes()
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
