package consulmock

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what goes wrong with requests, for [Server.Inject]. The fields Method
// to Always select the requests; their zero values select the next request,
// whatever it is. The other fields are what happens, in the order in which they
// are listed: the request waits, then the fault may respond instead of the agent,
// and then it may change the response. They combine.
//
// The next registration takes two seconds and fails:
//
//	agent.Inject(consulmock.Fault{
//		Method: "PUT", Path: "/v1/agent/service/register",
//		Latency: 2 * time.Second, Status: 500,
//	})
//
// Two heartbeats out of all that follow are lost, after the agent has seen them:
//
//	agent.Inject(consulmock.Fault{Path: "/v1/agent/check/update/*", Times: 2, Drop: consulmock.DropAnswer})
//
// The index goes backwards in the third query for web:
//
//	agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Skip: 2, Index: 1})
//
// A fault that does nothing counts requests:
//
//	seen := &consulmock.Observer{}
//	agent.Inject(consulmock.Fault{Path: "/v1/health/service/web", Always: true, Observe: seen})
//
// A fault that changes the response buffers it, so it cannot be used with
// /v1/agent/monitor, which streams. To make the whole agent fail, see
// [Server.Stop] and [Server.Restart].
type Fault struct {
	// Method is the method of the selected requests. Empty means any.
	Method string

	// Path is a pattern for the path of the selected requests, in the syntax of
	// [path.Match]: * stands for everything up to the next slash. It is compared
	// with the unescaped path, without the query. It begins with a slash. A pattern
	// that ends in /** selects everything below. Empty means any path.
	Path string

	// Match selects among the requests that Method and Path select: those for which
	// it returns true. Nil selects all of them. It is called for every one of them,
	// by several goroutines at once, until the fault is used up or removed. It must
	// not read the body. It may call the methods of the server except
	// [Server.Close], which would wait for the request. What it injects or removes
	// takes effect with the next request.
	Match func(*http.Request) bool

	// Skip is the number of selected requests that pass unharmed first.
	Skip int

	// Times is the number of requests to which the fault applies. Zero means one.
	Times int

	// Always makes the fault apply to all selected requests until it is removed.
	Always bool

	// Observe counts the requests to which the fault applied. Nil counts nothing.
	Observe *Observer

	// Latency is how long the request waits before anything else happens to it.
	Latency time.Duration

	// Hang makes the request wait until the channel is closed or receives a value.
	// The wait also ends when the client disconnects or the server stops; the
	// request is then dropped. Nil means no wait.
	Hang <-chan struct{}

	// Drop ends the connection without a response. Go's [http.Transport] repeats a
	// GET by itself if this happens on a connection that it has used before, so
	// the client may not notice a drop that applies once.
	Drop Drop

	// NoLeader responds as an agent whose servers have no leader: with status 500
	// and "No cluster leader". An agent waits 7 s before it does so; to get that,
	// set Latency. For all that an election is, see [Server.ElectLeader].
	NoLeader bool

	// RateLimit responds as a 1.21.4 agent whose servers limit the rate of requests:
	// with status 429 and its text. If RateLimit is positive, the header Retry-After
	// has the seconds, rounded up, as with proxies in front of agents. Agents send
	// no such header; a negative RateLimit leaves it out.
	RateLimit time.Duration

	// Status is the status code of the response, from 200 to 999. Zero leaves the
	// agent's response as it is, unless Body is set, which then comes with 200.
	Status int

	// Body is the body of the response, instead of the agent's.
	Body string

	// Header is added to the header of the response, whoever made it, and replaces
	// fields of the same name. A nil or empty value removes a field, also one that
	// net/http would add, such as Content-Type and Date. A Content-Length less than
	// that of the body cuts the body; with a greater one the connection ends early.
	Header http.Header

	// Index is the X-Consul-Index of the response, instead of the agent's. Clients
	// see a lower index than before when servers have lost their state. Zero leaves
	// it as it is; [ZeroIndex] sets it to 0.
	Index uint64

	// TruncateAt ends the connection after that many bytes of the body, although
	// its Content-Length announces all of it. It has no effect on bodies that are
	// not longer. Zero leaves the body whole.
	TruncateAt int

	// Endless continues the body with blanks after its end, 64 KiB in each
	// millisecond, until the client disconnects or the server stops. It has no effect
	// on a response that has no body: to HEAD, and with the status 204 or 304.
	Endless bool
}

// Drop is a way in which a connection ends without a response.
type Drop int

const (
	// NoDrop leaves the connection alone.
	NoDrop Drop = iota

	// DropRequest closes the connection before the agent has seen the request.
	DropRequest

	// DropAnswer closes the connection after the agent has done what was requested.
	DropAnswer

	// ResetRequest is like DropRequest, but the client sees that the connection
	// was reset.
	ResetRequest

	// ResetAnswer is like DropAnswer, but the client sees that the connection was
	// reset.
	ResetAnswer
)

// ZeroIndex is the [Fault.Index] that sets the index of a response to 0.
const ZeroIndex uint64 = 1<<64 - 1

// Inject makes requests go wrong as f describes. All faults with Always apply to
// each request that they select. Of the other faults that do something, only one
// applies to a request: the first injected one that selects it and is not used up.
// So faults that apply once take turns, and a latency can be laid over all of them.
// Where two faults set the same thing, the one without Always wins, else the one
// that was injected first; everything that responds instead of the agent, and
// Drop, count as the same thing. The returned function removes the fault; it may be
// called at any time, and more than once.
//
// Inject panics if f.Path is malformed or if f contradicts itself: if [Fault.Check] returns
// an error.
func (s *Server) Inject(f Fault) (remove func()) { return s.faults.add(f) }

// Check returns the error that [Server.Inject] panics with, or nil. It is for faults with
// values that come from a user.
func (f Fault) Check() error {
	if err := f.check(); err != nil {
		return fmt.Errorf("consulmock: Fault: %w", err)
	}
	return nil
}

// faultTable holds the faults that wait for their requests. The zero faultTable
// is ready.
type faultTable struct {
	mu    sync.Mutex
	queue []*pendingFault
}

type pendingFault struct {
	Fault
	skip int
	left int
	over bool // it was removed, or is used up
}

func (t *faultTable) add(f Fault) (remove func()) {
	if err := f.Check(); err != nil {
		panic(err.Error())
	}
	header := make(http.Header, len(f.Header))
	for name, values := range f.Header {
		header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	f.Header = header
	p := &pendingFault{Fault: f, skip: f.Skip, left: max(f.Times, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, p)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.end(p)
	}
}

// end takes a fault out. t.mu must be held.
func (t *faultTable) end(p *pendingFault) {
	p.over = true
	t.queue = slices.DeleteFunc(t.queue, func(q *pendingFault) bool { return q == p })
}

func (f *Fault) check() error {
	if _, err := path.Match(f.Path, ""); err != nil {
		return fmt.Errorf("Path %q: %w", f.Path, err)
	}
	if f.Path != "" && f.Path[0] != '/' { // it would match nothing
		return fmt.Errorf("Path %q: want a slash at the beginning", f.Path)
	}
	responses := 0
	for _, does := range []bool{f.Drop == DropRequest || f.Drop == ResetRequest, f.NoLeader, f.RateLimit != 0, f.Status != 0 || f.Body != ""} {
		if does {
			responses++
		}
	}
	if err := checkHeader(f.Header); err != nil {
		return err
	}
	switch {
	case responses > 1:
		return errors.New("more than one response: want at most one of DropRequest or ResetRequest, NoLeader, RateLimit, and Status with Body")
	case f.Status != 0 && (f.Status < 200 || f.Status > 999):
		return fmt.Errorf("Status %d: want 200 to 999", f.Status)
	case hasNoBody(f.Status) && (f.Body != "" || f.Endless):
		return fmt.Errorf("Status %d has no Body", f.Status)
	case f.Drop < NoDrop || f.Drop > ResetAnswer:
		return fmt.Errorf("Drop %d: want NoDrop to ResetAnswer", f.Drop)
	case f.Skip < 0 || f.Times < 0 || f.TruncateAt < 0 || f.Latency < 0:
		return errors.New("Skip, Times, TruncateAt and Latency cannot be negative")
	case f.Always && f.Times > 0:
		return errors.New("both Times and Always are set")
	}
	return nil
}

// checkHeader refuses what could not be sent as it is.
func checkHeader(h http.Header) error {
	seen := make(map[string]bool, len(h))
	for name, values := range h {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case name == "" || strings.ContainsFunc(name, func(c rune) bool { return !isTokenChar(c) }):
			return fmt.Errorf("Header %q: want letters, digits and any of %s", name, tokenMarks)
		case seen[canonical]:
			return fmt.Errorf("Header: %s twice, in two spellings", canonical)
		}
		seen[canonical] = true
		text := strings.Join(values, ", ")
		switch _, err := strconv.ParseUint(text, 10, 63); {
		case len(values) == 0:
		case canonical == "Content-Length" && err != nil:
			return fmt.Errorf("Header %s: value %q: want one number", canonical, text)
		case canonical == "Transfer-Encoding" && text != "chunked":
			return fmt.Errorf("Header %s: value %q: want none or chunked", canonical, text)
		}
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n") {
				return fmt.Errorf("Header %s: value %q: want one line", canonical, v)
			}
		}
	}
	return nil
}

// tokenMarks are what a name in a header may have besides letters and digits.
const tokenMarks = "!#$%&'*+-.^_`|~"

func isTokenChar(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(tokenMarks, c)
}

// onlyObserves reports whether requests are not to notice the fault.
func (f *Fault) onlyObserves() bool {
	return f.Latency == 0 && f.Hang == nil && !f.responds() && !f.changesResponse()
}

func (f *Fault) responds() bool {
	return f.NoLeader || f.RateLimit != 0 || f.Status != 0 || f.Body != "" || f.Drop == DropRequest || f.Drop == ResetRequest
}

func (f *Fault) changesResponse() bool {
	return f.Drop != NoDrop || len(f.Header) > 0 || f.Index != 0 || f.TruncateAt > 0 || f.Endless
}

func (f *Fault) matches(r *http.Request) bool {
	if f.Method != "" && f.Method != r.Method || !matchPath(f.Path, r.URL.Path) {
		return false
	}
	return f.Match == nil || f.Match(r)
}

func matchPath(pattern, p string) bool {
	if pattern == "" {
		return true
	}
	if prefix, ok := cutDoubleStar(pattern); ok {
		for i := 1; i <= len(p); i++ {
			if p[i-1] == '/' {
				if ok, _ := path.Match(prefix, p[:i]); ok {
					return true
				}
			}
		}
		return false
	}
	ok, _ := path.Match(pattern, p)
	return ok
}

// cutDoubleStar returns the pattern without the ** at its end.
func cutDoubleStar(pattern string) (string, bool) {
	if n := len(pattern); n >= 3 && pattern[n-3:] == "/**" {
		return pattern[:n-2], true
	}
	return "", false
}

// take returns what happens to the request, or nil, and counts it.
func (t *faultTable) take(r *http.Request) *Fault {
	t.mu.Lock()
	meant := slices.Clone(t.queue)
	t.mu.Unlock()
	// Without the lock, because Match may call the server.
	meant = slices.DeleteFunc(meant, func(p *pendingFault) bool { return !p.matches(r) })

	t.mu.Lock()
	defer t.mu.Unlock()
	var met Fault
	var staying []*pendingFault
	isTaken := false // by a fault that does not stay
	for _, p := range meant {
		observes := p.onlyObserves()
		if p.over || isTaken && !p.Always && !observes {
			continue
		}
		switch {
		case p.skip > 0:
			p.skip--
			continue
		case p.Always && !observes:
			staying = append(staying, p)
			continue
		case !p.Always:
			if p.left--; p.left == 0 {
				t.end(p)
			}
		}
		p.Observe.note(r)
		if !observes {
			met, isTaken = p.Fault, true
		}
	}
	for _, p := range staying {
		if met.add(&p.Fault) {
			p.Observe.note(r)
		}
	}
	if !isTaken && len(staying) == 0 {
		return nil
	}
	return &met
}

// add makes f do also what g does, except for what f does already, and reports
// whether there is such a thing.
func (f *Fault) add(g *Fault) (does bool) {
	if f.Latency == 0 && g.Latency > 0 {
		f.Latency, does = g.Latency, true
	}
	if f.Hang == nil && g.Hang != nil {
		f.Hang, does = g.Hang, true
	}
	if f.Drop == NoDrop && !f.responds() && (g.Drop != NoDrop || g.responds()) {
		f.Drop, f.NoLeader, f.RateLimit, f.Status, f.Body = g.Drop, g.NoLeader, g.RateLimit, g.Status, g.Body
		does = true
	}
	if len(g.Header) > 0 {
		header := g.Header.Clone()
		maps.Copy(header, f.Header)
		f.Header, does = header, true
	}
	if f.Index == 0 && g.Index != 0 {
		f.Index, does = g.Index, true
	}
	if f.TruncateAt == 0 && g.TruncateAt > 0 {
		f.TruncateAt, does = g.TruncateAt, true
	}
	if !f.Endless && g.Endless {
		f.Endless, does = true, true
	}
	return does
}
