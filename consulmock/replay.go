package consulmock

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Replay returns a server that answers from a recording, an HTTP archive (HAR
// 1.2) as [Record] writes it, and that is closed when the test ends.
//
// A request is answered by the first recorded one that is identical and has not
// been answered with yet: method, path, parameters in any order, and the body as
// a JSON value. What agents take for the same is the same, such as wait=2m and
// wait=120000ms. Hosts, headers and tokens do not matter. An index or hash to wait
// on may also be another one than in the recording, if an earlier answer of the
// replay gave it.
//
// The answer to a blocking query is held until the requests have come that
// arrived while it waited in the recording. No time is waited otherwise. A
// failure is replayed as a connection that ends.
//
// A request that was never recorded fails the test, with the nearest recorded one
// in the message, and is answered with 501. From then on nothing is held. What was
// recorded but not asked for is logged at the end.
func Replay(t testing.TB, har string) *Server {
	if t == nil {
		panic("consulmock: Replay: nil testing.TB; for programs that are not tests there is NewReplayServer")
	}
	t.Helper()
	s, err := NewReplayServer(har, func(problem string) { t.Errorf("%s", problem) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if left := s.Leftovers(); len(left) > 0 {
			t.Logf("consulmock: %s: not asked for: %s", har, strings.Join(left, ", "))
		}
	})
	return s
}

// NewReplayServer returns a server as [Replay] does, for programs that are not
// tests. It calls report for every request that was never recorded; nil means
// that nobody wants to know. The caller closes the server.
func NewReplayServer(har string, report func(problem string)) (*Server, error) {
	entries, err := readHAR(har)
	if err != nil {
		return nil, fmt.Errorf("consulmock: %w", err)
	}
	s := NewServer()
	s.replay = newReplayer(har, entries, report)
	return s, nil
}

// Leftovers returns what was recorded but has not been asked for, in the order
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

// replayer answers from a recording.
type replayer struct {
	file   string
	report func(string)
	hasUI  bool // the recording has requests for an agent's own pages

	mu      sync.Mutex
	entries []*replayEntry
	given   map[string]bool // indexes and hashes in the answers so far
	arrived chan struct{}   // closed and replaced at each arrival
	astray  bool            // there was a request that was never recorded
}

type replayEntry struct {
	harEntry
	asked   askedFor
	arrived bool
}

func newReplayer(file string, entries []harEntry, report func(string)) *replayer {
	r := &replayer{file: file, report: report, given: map[string]bool{}, arrived: make(chan struct{})}
	for _, e := range entries {
		if e.Request.url == nil {
			continue // no request with such a URL gets this far
		}
		r.hasUI = r.hasUI || isUI(e.Request.url.Path)
		r.entries = append(r.entries, &replayEntry{harEntry: e, asked: newAskedFor(e.Request.Method, e.Request.url, e.Request.body)})
	}
	return r
}

// ServeHTTP implements [http.Handler].
func (r *replayer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	asked := newAskedFor(req.Method, req.URL, body)
	e, problem := r.find(asked)
	if e == nil {
		if r.report != nil {
			r.report(problem)
		}
		http.Error(w, problem, http.StatusNotImplemented)
		return
	}
	if e.asked.blocks() && !r.hold(e, req.Context().Done()) {
		panic(http.ErrAbortHandler)
	}
	r.send(w, req, e)
}

// find returns the entry that answers, or says why there is none.
func (r *replayer) find(asked askedFor) (*replayEntry, string) {
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
		r.astray = true
		return nil, r.explain(asked)
	}
	found.arrived = true
	return found, ""
}

// hold returns when the requests have come that came while e waited in the
// recording. After a request that was never recorded nothing is held any more,
// because what is waited for may never come. It returns false if done is closed
// before.
func (r *replayer) hold(e *replayEntry, done <-chan struct{}) bool {
	for {
		r.mu.Lock()
		arrived := r.arrived
		missing := !r.astray && slices.ContainsFunc(r.entries, func(o *replayEntry) bool {
			return !o.arrived && e.Seq.Start < o.Seq.Start && o.Seq.Start < e.Seq.End
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
	for _, name := range []string{"X-Consul-Index", "X-Consul-Contenthash"} {
		if v := header.Get(name); v != "" {
			r.mu.Lock()
			r.given[v] = true
			r.mu.Unlock()
		}
	}
	if !answer.Content.Partial && e.Failure == "" {
		header.Set("Content-Length", strconv.Itoa(len(answer.body)))
	}
	if req.Method == http.MethodHead {
		header.Del("Content-Length")
	}
	w.WriteHeader(answer.Status)
	w.Write(answer.body)
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

// explain says why there is no answer for a request. r.mu must be held.
func (r *replayer) explain(asked askedFor) string {
	text := fmt.Sprintf("consulmock: %s has no answer for %s", r.file, asked)
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
		return text + ": it was recorded once, and has been answered"
	case times > 1:
		return text + fmt.Sprintf(": it was recorded %d times, and all have been answered", times)
	case best < 0:
		return text + ": nothing was recorded"
	}
	e := r.entries[best]
	text += fmt.Sprintf(";\nthe nearest is %s %s", e.name(best), e.asked)
	if e.arrived {
		text += ", which has been answered"
	}
	return text + ":\n\t" + strings.Join(asked.differences(e.asked), "\n\t")
}
