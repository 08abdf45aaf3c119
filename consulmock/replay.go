package consulmock

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lictor-go/consul/internal/har"
)

// Replay returns a server that responds from a recording, an HTTP archive (HAR
// 1.2) as [Record] writes it, and that is closed when the test ends. Archives of
// other programs work too, except that they tell by the clock only which exchanges
// overlapped. What cannot be read fails the test at once.
//
// A request gets the response of the first recorded request that is identical and
// was not used yet: method, path, parameters in any order, and the body as a JSON
// value. What agents take for the same is the same, such as wait=2m and
// wait=120000ms. Hosts and headers do not matter, and neither do tokens, also where
// the path or the body repeats one that a request has carried. An index or hash to
// wait on may also be another one than in the recording, if an earlier response of
// the replay had it.
//
// IDs and indexes in other places, such as the session that acquires a key and the
// index of a check-and-set, have to be the recorded ones. A program that takes them
// from responses sends those, because the responses have them. What it makes up anew
// each time, such as the name of a key, does not match.
//
// The response to a blocking query is held until the requests have come that
// arrived while it waited in the recording. No time is waited otherwise. A
// failure is replayed as a connection that ends.
//
// A request that was never recorded fails the test, with the nearest recorded one
// in the message, and gets the status 501. From then on nothing is held. What was
// recorded but not requested is logged at the end.
func Replay(t testing.TB, file string) *Server {
	if t == nil {
		panic("consulmock: Replay: nil testing.TB; for programs that are not tests there is NewReplayServer")
	}
	t.Helper()
	s, err := NewReplayServer(file, func(problem string) { t.Errorf("%s", problem) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if left := s.Leftovers(); len(left) > 0 {
			t.Logf("consulmock: %s: not requested: %s", file, strings.Join(left, ", "))
		}
	})
	return s
}

// NewReplayServer returns a server as [Replay] does, for programs that are not
// tests. It calls report for every request that was never recorded; nil means
// that nobody wants to know. The caller closes the server.
func NewReplayServer(file string, report func(problem string)) (*Server, error) {
	entries, err := har.Read(file)
	if err != nil {
		return nil, fmt.Errorf("consulmock: %w", err)
	}
	s := NewServer()
	s.replay = newReplayer(file, entries, report)
	return s, nil
}

// Leftovers returns what was recorded but has not been requested, in the order
// of the recording. It returns nil unless the server is a replay.
func (s *Server) Leftovers() []string {
	if s.replay == nil {
		return nil
	}
	return s.replay.leftovers()
}

// The failures in recordings that are more than the end of a connection.
const (
	failedCanceled = "canceled"                 // the client left
	failedTimeout  = "timeout"                  // the recorder did
	failedReset    = "connection reset by peer" // and not just closed
)

// replayer responds from a recording.
type replayer struct {
	file   string
	report func(string)
	hasUI  bool // the recording has requests for an agent's own pages

	mu        sync.Mutex
	redactor  har.Redactor
	entries   []*replayEntry
	given     map[string]bool // indexes and hashes in the responses so far
	arrived   chan struct{}   // closed and replaced at each arrival
	unmatched bool            // there was a request that was never recorded
}

type replayEntry struct {
	har.Entry
	asked   requestKey
	arrived bool
}

func newReplayer(file string, entries []har.Entry, report func(string)) *replayer {
	r := &replayer{file: file, report: report, given: map[string]bool{}, arrived: make(chan struct{})}
	for _, e := range entries {
		if e.Request.Parsed == nil {
			continue // no request with such a URL gets this far
		}
		r.hasUI = r.hasUI || isUI(e.Request.Parsed.Path)
		r.redactor.LearnFrom(&e)
		r.entries = append(r.entries, &replayEntry{Entry: e})
	}
	r.nameEntries()
	return r
}

// nameEntries computes the keys of the recorded requests by the secrets that are
// known.
func (r *replayer) nameEntries() {
	for _, e := range r.entries {
		e.asked = newRequestKey(&r.redactor, e.Request.Method, e.Request.Parsed, e.Request.Body)
	}
}

// key returns the key of a request. A token that it is the first to carry is
// learned before, for it and for the recorded requests, so that it makes no
// difference.
func (r *replayer) key(req *http.Request, body []byte) requestKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	if u.Path == "" {
		u.Path = "/"
	}
	if r.redactor.LearnFrom(&har.Entry{Request: har.Request{URL: u.String(), Headers: har.Headers(req.Header), Body: body}}) {
		r.nameEntries()
	}
	return newRequestKey(&r.redactor, req.Method, &u, body)
}

// ServeHTTP implements [http.Handler].
func (r *replayer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	asked := r.key(req, body)
	e, problem := r.find(asked)
	if e == nil {
		if r.report != nil {
			r.report(problem)
		}
		http.Error(w, problem, http.StatusNotImplemented)
		return
	}
	if !r.hold(e, req.Context().Done()) {
		panic(http.ErrAbortHandler)
	}
	r.send(w, req, e)
}

// find returns the entry that has the response, or why there is none.
func (r *replayer) find(asked requestKey) (*replayEntry, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found *replayEntry
	for _, e := range r.entries {
		if e.arrived || e.asked.key != asked.key {
			continue
		}
		if e.asked.waitsOn == asked.waitsOn {
			found = e
			break
		}
		if found == nil && r.given[asked.waitsOn] {
			found = e
		}
	}
	close(r.arrived)
	r.arrived = make(chan struct{})
	if found == nil {
		r.unmatched = true
		return nil, r.explain(asked)
	}
	found.arrived = true
	return found, ""
}

// hold returns when the requests have come that came while e waited in the
// recording, if e is a blocking query. After a request that was never recorded
// nothing is held any more, because what is waited for may never come. It returns
// false if done is closed before.
func (r *replayer) hold(e *replayEntry, done <-chan struct{}) bool {
	for {
		r.mu.Lock()
		arrived := r.arrived
		missing := e.asked.blocks() && !r.unmatched && slices.ContainsFunc(r.entries, func(o *replayEntry) bool {
			return !o.arrived && e.Seq.Start < o.Seq.Start && o.Seq.Start < e.Seq.End && !o.follows(e)
		})
		r.mu.Unlock()
		if !missing {
			return true
		}
		select {
		case <-arrived:
		case <-done:
			return false
		}
	}
}

// waitHeaders are those whose values a client waits on in its next query.
var waitHeaders = []string{"X-Consul-Index", "X-Consul-Contenthash"}

// follows reports whether o cannot have been sent while e waited, whatever the
// clock of the recording says: it waits on what the response to e has told.
func (o *replayEntry) follows(e *replayEntry) bool {
	return e.ByClock && o.asked.blocks() && slices.ContainsFunc(e.Answer.Headers, func(h har.Pair) bool {
		return h.Value == o.asked.waitsOn && slices.Contains(waitHeaders, http.CanonicalHeaderKey(h.Name))
	})
}

// notReplayed are the fields of a header that belong to a connection or to how a
// body was sent.
var notReplayed = []string{"Connection", "Keep-Alive", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Trailer", "Upgrade"}

func (r *replayer) send(w http.ResponseWriter, req *http.Request, e *replayEntry) {
	answer := &e.Answer
	if answer.Status == 0 {
		if e.Failure == failedCanceled || e.Failure == failedTimeout {
			<-req.Context().Done()
		}
		drop(w, e.Failure == failedReset)
	}
	header := w.Header()
	header["Content-Type"] = nil // or the server would guess one
	for _, h := range answer.Headers {
		name := http.CanonicalHeaderKey(h.Name)
		if slices.Contains(notReplayed, name) {
			continue
		}
		header[name] = append(header[name], h.Value)
	}
	for _, name := range waitHeaders {
		if v := header.Get(name); v != "" {
			r.mu.Lock()
			r.given[v] = true
			r.mu.Unlock()
		}
	}
	if !answer.Content.Partial && e.Failure == "" {
		header.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	}
	if req.Method == http.MethodHead {
		header.Del("Content-Length")
	}
	w.WriteHeader(answer.Status)
	w.Write(answer.Body)
	switch {
	case answer.Content.Partial && (e.Failure == "" || e.Failure == failedCanceled || e.Failure == failedTimeout):
		http.NewResponseController(w).Flush()
		<-req.Context().Done() // it had no end
	case e.Failure != "":
		http.NewResponseController(w).Flush()
		drop(w, e.Failure == failedReset)
	}
}

func (r *replayer) leftovers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for i, e := range r.entries {
		if !e.arrived {
			list = append(list, fmt.Sprintf("%s %s", e.name(i), e.asked))
		}
	}
	return list
}

// name returns what a reader finds the entry by.
func (e *replayEntry) name(i int) string {
	if e.ID != "" {
		return e.ID
	}
	return "entry " + strconv.Itoa(i+1)
}

// explain returns why there is no response for a request. r.mu must be held.
func (r *replayer) explain(asked requestKey) string {
	text := fmt.Sprintf("consulmock: %s has no response for %s", r.file, asked)
	best, least, times := -1, 0, 0
	for i, e := range r.entries {
		if e.asked.key == asked.key && e.asked.waitsOn == asked.waitsOn {
			times++
		}
		if n := asked.distance(e.asked); best < 0 || n < least || n == least && r.entries[best].arrived && !e.arrived {
			best, least = i, n
		}
	}
	switch {
	case times == 1:
		return text + ": it was recorded once, and has been used"
	case times > 1:
		return text + fmt.Sprintf(": it was recorded %d times, and all have been used", times)
	case best < 0:
		return text + ": nothing was recorded"
	}
	e := r.entries[best]
	text += fmt.Sprintf(";\nthe nearest is %s %s", e.name(best), e.asked)
	if e.arrived {
		text += ", which has been used"
	}
	return text + ":\n\t" + strings.Join(asked.differences(e.asked), "\n\t")
}
