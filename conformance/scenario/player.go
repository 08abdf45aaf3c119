package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lictor-go/consul/conformance/recording"
)

// target is what a scenario is played to.
type target interface {
	// dial returns the way to the agent of an entry, and the host to name in the
	// request.
	dial(e *recording.Entry) (dialer, string)

	// rewrite puts the target's own addresses in the place of recorded ones.
	rewrite(text string) string

	// event makes happen what happened outside HTTP.
	event(e recording.Event) error

	// settle returns when everything that was sent has arrived.
	settle()

	// virtual says that waiting costs no real time.
	virtual() bool
}

// step is something that happened in a recording.
type step struct {
	seq   int
	at    time.Time
	entry *recording.Entry
	ends  bool // the entry's answer was complete; else its request was sent
	event *recording.Event
}

func steps(r *recording.Recording) []step {
	var all []step
	for _, e := range r.Entries {
		end := e.Started.Add(time.Duration(e.Ms * float64(time.Millisecond)))
		all = append(all, step{seq: e.Seq.Start, at: e.Started, entry: e}, step{seq: e.Seq.End, at: end, entry: e, ends: true})
	}
	for i := range r.Events {
		all = append(all, step{seq: r.Events[i].Seq, at: r.Events[i].Time, event: &r.Events[i]})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].seq < all[j].seq })
	return all
}

// player plays one recording to one target.
type player struct {
	rec     *recording.Recording
	target  target
	started atomic.Int64
	flights map[string]*flight
	last    time.Time // recorded time of the last step
	lastNow time.Time // our time of the last step
}

type flight struct {
	answer *answer
	done   chan struct{}
}

// play sends the requests of a recording in the recorded order, and returns the
// answers by the entries' IDs.
func play(rec *recording.Recording, t target) (map[string]*answer, error) {
	p := &player{rec: rec, target: t, flights: map[string]*flight{}}
	answers := map[string]*answer{}
	all := steps(rec)
	for i, s := range all {
		switch {
		case s.event != nil:
			pause := time.Duration(0)
			if (s.event.Event == "signal" || s.event.Event == "idle-connections") && !p.last.IsZero() {
				pause = s.at.Sub(p.last) // the recorder wrote down pauses before requests only
			}
			p.wait(s.at, pause)
			if err := t.event(*s.event); err != nil {
				return nil, fmt.Errorf("event %d, %s of %s: %w", s.event.Seq, s.event.Event, s.event.Agent, err)
			}
		case s.ends:
			f := p.flights[s.entry.ID]
			<-f.done
			answers[s.entry.ID] = f.answer
			p.catchUp(s.at)
		default:
			p.wait(s.at, time.Duration(s.entry.PauseMs)*time.Millisecond)
			if err := p.send(s.entry); err != nil {
				return nil, fmt.Errorf("entry %s: %w", s.entry.ID, err)
			}
			if i+1 < len(all) && (!all[i+1].ends || all[i+1].entry != s.entry) {
				t.settle()
			}
		}
		p.last, p.lastNow = s.at, time.Now()
	}
	return answers, nil
}

// wait lets the pause pass, and what else passed before the step in the
// recording if it costs nothing.
func (p *player) wait(until time.Time, pause time.Duration) {
	gap := pause
	if recorded := until.Sub(p.last); !p.last.IsZero() && p.target.virtual() && recorded > gap {
		gap = recorded
	}
	time.Sleep(gap)
}

// catchUp lets the time pass that an answer took in the recording and that ours
// did not, if that costs nothing: what expires at a certain time is then on time.
func (p *player) catchUp(at time.Time) {
	if p.target.virtual() {
		time.Sleep(at.Sub(p.last) - time.Since(p.lastNow))
	}
}

// send starts an exchange.
func (p *player) send(e *recording.Entry) error {
	r, err := p.request(e)
	if err != nil {
		return err
	}
	dial, host := p.target.dial(e)
	r.host = host
	f := &flight{done: make(chan struct{})}
	p.flights[e.ID] = f
	p.started.Add(1)
	go func() {
		f.answer = exchange(dial, r)
		f.answer.started = int(p.started.Load())
		close(f.done)
	}()
	return nil
}

// request is the recorded request, with the target's own indexes and addresses.
func (p *player) request(e *recording.Entry) (*request, error) {
	target, body, err := p.fill(e)
	if err != nil {
		return nil, err
	}
	r := &request{method: e.Request.Method, target: p.target.rewrite(target), body: body}
	for _, h := range e.Request.Headers {
		if !strings.EqualFold(h.Name, "Host") && !strings.EqualFold(h.Name, "Content-Length") {
			r.headers = append(r.headers, [2]string{h.Name, h.Value})
		}
		r.chunked = r.chunked || strings.EqualFold(h.Name, "Transfer-Encoding") && h.Value == "chunked"
	}
	if r.body != nil {
		r.body = []byte(p.target.rewrite(string(r.body)))
	}
	recorded := time.Duration(e.Ms * float64(time.Millisecond))
	r.endless = e.Response.Content.Partial || e.Error == "timeout"
	r.limit = recorded
	if !r.endless {
		r.limit = 2*recorded + 30*time.Second
	}
	for _, ref := range e.Refs {
		value, err := p.refer(ref)
		if err != nil {
			return nil, err
		}
		r.target = replaceParam(r.target, ref.Param, ref.Value, value)
	}
	return r, nil
}

// fill returns the target and the body of a request, with what the target's own
// answers have given in the place of variables.
func (p *player) fill(e *recording.Entry) (target string, body []byte, err error) {
	target, body = e.Request.Target(), e.Request.Body()
	if e.Template == nil {
		return target, body, nil
	}
	if target, err = e.Fill(e.Template.Target, p.value); err != nil {
		return "", nil, err
	}
	if body != nil {
		text, err := e.Fill(e.Template.Body, p.value)
		return target, []byte(text), err
	}
	return target, nil, nil
}

// value returns the value that the body of an earlier answer gives a variable.
func (p *player) value(v recording.Var) (string, error) {
	a, err := p.answer(v.From)
	if err != nil {
		return "", err
	}
	switch found := lookup(parse(a.body), strings.Split(v.Path, ".")).(type) {
	case string:
		return found, nil
	case json.Number:
		return found.String(), nil
	}
	return missing, nil // and the comparison says what is wrong with the earlier answer
}

// lookup returns what is at a path in a JSON value, or nil.
func lookup(v any, path []string) any {
	for _, name := range path {
		i, err := strconv.Atoi(name)
		switch within := v.(type) {
		case map[string]any:
			v = within[name]
		case []any:
			if err != nil || i < 0 || i >= len(within) {
				return nil
			}
			v = within[i]
		default:
			return nil
		}
	}
	return v
}

// missing is sent for a variable that an answer does not have.
const missing = "missing"

// answer waits for an earlier answer.
func (p *player) answer(id string) (*answer, error) {
	f := p.flights[id]
	if f == nil {
		return nil, fmt.Errorf("reference to %s, which was not sent yet", id)
	}
	<-f.done
	return f.answer, nil
}

// refer returns the value that an earlier answer gives a reference.
func (p *player) refer(ref recording.Ref) (string, error) {
	a, err := p.answer(ref.From)
	if err != nil {
		return "", err
	}
	value := a.header.Get(http.CanonicalHeaderKey(ref.Header))
	if ref.Plus == 0 || value == "" {
		return value, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return "", fmt.Errorf("reference to %s: %w", ref.From, err)
	}
	return strconv.FormatInt(n+ref.Plus, 10), nil
}

func replaceParam(target, param, from, to string) string {
	for _, before := range []string{"?", "&"} {
		old := before + param + "=" + from
		if i := strings.LastIndex(target, old); i >= 0 && (i+len(old) == len(target) || target[i+len(old)] == '&') {
			return target[:i] + before + param + "=" + to + target[i+len(old):]
		}
	}
	return target
}
